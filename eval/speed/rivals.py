"""Ours beside other tools that label images with CLIP, whole processes from the first import to a table of labels.

The same files, and the same weights in each tool's own format: a ViT-B/32 drawn at random (time does not depend on what
weights are), or the embedded model where a tool takes a folder of open_clip's. Each way is a process of its own, in turns
(`--rounds`), the round of least CPU time counts; CPU seconds are those of the process and of all that it started. What a tool
says goes to a CSV of path and label, so that the table can tell how many labels are as those of `loop`.

- label, label_all: `autoannotate label` without a student, and as it is by default (prompts of its own)
- encode: our reading, encoding and zero-shot alone, which is all that the others do
- loop: open_clip with a DataLoader, a worker a core
- autodistill: autodistill-clip
- transformers: its zero-shot-image-classification pipeline
- fiftyone: the zoo's open-clip-torch with the loader of `apply_model`; no dataset, which wants a MongoDB server
- clip_retrieval: `clip-retrieval inference`, and the nearest text of each row that it wrote

`--others` names for a way the Python of a virtual environment that has it; autodistill's wants clip-anytorch too.

    python eval/speed/rivals.py --images DIR --count 500 --others fiftyone=PYTHON,clip_retrieval=PYTHON,autodistill=PYTHON
    python eval/speed/rivals.py --made 60 --model embedded
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CLASSES = ("chest X-ray", "breast ultrasound", "photograph of skin")
PROMPTS = [f"a photo of a {name}" for name in CLASSES]
BATCH = 16
ENDINGS = (".jpg", ".jpeg", ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of JPEG or PNG files")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--made", type=int, help="instead, so many made radiographs of 2,000 x 2,500 pixels")
    parser.add_argument("--format", default="jpg", choices=("jpg", "png"), help="of these")
    parser.add_argument("--model", default="vit", choices=("vit", "embedded"))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--others", default="", help="WAY=PYTHON,…")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", type=Path, help="where all is made, and stays")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        WAYS[options.way](options.work)
        return
    pythons = dict(each.split("=", 1) for each in options.others.split(",") if each)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        images = work / "images"
        if not images.exists():
            gather(options, images)
        if not (work / "model.json").exists():
            save_model(work, options.model)
        best: dict[str, dict[str, Any]] = {}
        for _ in range(options.rounds):
            for way in options.ways.split(","):
                told = measured(way, work, pythons.get(way, sys.executable))
                print(f"{way}: {told}", file=sys.stderr, flush=True)
                if told.get("cpu", float("inf")) <= best.get(way, {}).get("cpu", float("inf")):
                    best[way] = told
        report(best, len(files(work)), options)


def gather(options: argparse.Namespace, images: Path) -> None:
    """The images that all ways read, each under a name of its own."""
    images.mkdir(parents=True)
    if options.made:
        make(images, options.made, options.format)
        return
    found = sorted(each for each in options.images.rglob("*") if each.suffix.lower() in ENDINGS)[: options.count]
    if len(found) < options.count:
        sys.exit(f"{options.images} holds {len(found)} JPEG and PNG files")
    for i, file in enumerate(found):
        shutil.copy(file, images / f"{i:05d}{file.suffix.lower()}")


def make(images: Path, count: int, ending: str) -> None:
    """Pictures with the spectrum of photographs, 1/f."""
    import numpy as np
    from PIL import Image

    width, height = 2000, 2500
    spectrum = 1.0 / np.maximum(np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)), 1 / width) ** 1.2
    for i in range(count):
        noise = np.fft.rfft2(np.random.default_rng(i).normal(size=(height, width)))
        values = np.fft.irfft2(noise * spectrum, s=(height, width))
        values = 255 * (values - values.min()) / np.ptp(values)
        Image.fromarray(values.astype(np.uint8)).save(images / f"{i:05d}.{ending}", quality=92)


def save_model(work: Path, model: str) -> None:
    """The weights in each tool's format; model.json says where."""
    if model == "embedded":
        from autoannotate.models import EMBEDDED

        folder = work / "embedded"
        shutil.copytree(EMBEDDED, folder)
        about = {"autoannotate": str(folder), "open_clip": f"local-dir:{folder}", "pretrained": None, "side": 128}
    else:
        import torch
        import transformers
        from open_clip.tokenizer import SimpleTokenizer

        from autoannotate.models.loading.transformers_clip import convert
        from autoannotate.models.loading.weights import save_weights

        torch.manual_seed(0)
        config = transformers.CLIPConfig(
            text_config={"hidden_act": "gelu", "eos_token_id": 49407}, vision_config={"hidden_act": "gelu"}
        )
        network = transformers.CLIPModel(config).eval()
        network.save_pretrained(work / "transformers")
        words = SimpleTokenizer()
        names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
        (work / "vocab.json").write_text(json.dumps({names.get(word, word): i for word, i in words.encoder.items()}))
        merges = sorted(words.bpe_ranks, key=words.bpe_ranks.__getitem__)
        (work / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n")
        file = work / "vit.safetensors"
        save_weights(convert(network.state_dict()), file)
        about = {"autoannotate": f"ViT-B-32@{file}", "open_clip": "ViT-B-32", "pretrained": str(file), "side": 224}
    (work / "model.json").write_text(json.dumps(about))


def measured(way: str, work: Path, python: str) -> dict[str, Any]:
    """Seconds by the clock, CPU seconds with those of all children, peak memory of the largest process in GiB."""
    (work / f"{way}.csv").unlink(missing_ok=True)
    shutil.rmtree(work / "out", ignore_errors=True)
    for mark in ("ready", "used"):
        (work / mark).unlink(missing_ok=True)
    log = work / f"{way}.log"
    own = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "FIFTYONE_DO_NOT_TRACK": "true", "HOME": str(work)}
    started = time.monotonic()
    with log.open("w") as said:
        child = subprocess.Popen(
            [python, __file__, "--way", way, "--work", str(work)], stdout=said, stderr=said, env={**os.environ, **own}
        )
        _, status, used = os.wait4(child.pid, 0)
    seconds = time.monotonic() - started
    if status or not (work / f"{way}.csv").exists():
        return {"failed": (log.read_text().strip().splitlines() or ["no output"])[-1][:200]}
    with (work / f"{way}.csv").open() as table:
        labels = dict(csv.reader(table))
    if sorted(labels) != [file.name for file in files(work)]:
        return {"failed": f"{len(labels)} labels for {len(files(work))} images"}
    used_for_images = float((work / "used").read_text()) / len(labels) if (work / "used").exists() else float("nan")
    cpu, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
    return {"seconds": seconds, "cpu": cpu, "image": used_for_images, "GiB": memory, "labels": labels}


def report(best: dict[str, dict[str, Any]], count: int, options: argparse.Namespace) -> None:
    print("| | seconds | CPU seconds | an image, loaded | times `encode` | peak GiB | labels as `loop` |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    base, loop = best.get("encode", {}).get("image", float("nan")), best.get("loop", {}).get("labels", {})
    for way, told in best.items():
        if "failed" in told:
            print(f"| {way} | failed: {told['failed']} | | | | | |")
            continue
        same = sum(label == loop.get(name) for name, label in told["labels"].items()) / count
        numbers = f"{told['seconds']:.0f} | {told['cpu']:.1f} | {told['image']:.3f} | {told['image'] / base:.2f}"
        print(f"| {way} | {numbers} | {told['GiB']:.2f} | {same:.1%} |")
    what = f"{options.made} made {options.format} of 2,000 x 2,500" if options.made else f"{count} of {options.images}"
    print(f"\n{what}; {options.model}; {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}")


# --- each in a process of its own ---------------------------------------------------------------------------------------------
def files(work: Path) -> list[Path]:
    return sorted((work / "images").iterdir())


def model(work: Path) -> dict[str, Any]:
    return json.loads((work / "model.json").read_text())


def ready(work: Path) -> None:
    """The model is loaded: what is used from now on is for the images."""
    (work / "ready").write_text(str(sum(os.times()[:4])))


def write(way: str, work: Path, chosen: Sequence[int | str]) -> None:
    """The labels of all images in their order, by class number or by name."""
    if (work / "ready").exists():
        (work / "used").write_text(str(sum(os.times()[:4]) - float((work / "ready").read_text())))
    names = [CLASSES[each] if isinstance(each, int) else each for each in chosen]
    with (work / f"{way}.csv").open("w", newline="") as table:
        csv.writer(table).writerows((file.name, name) for file, name in zip(files(work), names, strict=True))


def _label(way: str, work: Path, arguments: list[str]) -> None:
    command = [
        sys.executable, "-m", "autoannotate", "label", str(work / "images"), "--classes", ",".join(CLASSES), "--model",
        model(work)["autoannotate"], "--no-cache", "--out", str(work / "out"), *arguments,
    ]  # fmt: skip
    subprocess.run(command, check=True)
    with (work / "out" / "labels.csv").open() as table:
        labels = {row["path"]: row["label"] for row in csv.DictReader(table)}
    write(way, work, [labels[file.name] for file in files(work)])


def label(work: Path) -> None:
    _label("label", work, ["--student", "none"])


def label_all(work: Path) -> None:
    _label("label_all", work, [])


def encode(work: Path) -> None:
    from autoannotate.images import find_images, isolation
    from autoannotate.models.encoder import Encoder, load_encoder
    from autoannotate.models.encoding import encode

    encoder = load_encoder(model(work)["autoannotate"])
    ready(work)
    real = Encoder.encode_images
    Encoder.encode_images = lambda self, images, *_, **__: real(self, images)  # type: ignore[method-assign]  # one look
    seen = encode(find_images(work / "images"), encoder, cache=False)
    isolation._end_all()  # the readers, so that what they used is known
    write("encode", work, (seen.embeddings @ encoder.encode_texts(PROMPTS).T).argmax(1).tolist())


def loop(work: Path) -> None:
    import open_clip
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    about = model(work)
    network, _, transform = open_clip.create_model_and_transforms(about["open_clip"], pretrained=about["pretrained"])
    network.eval()

    class Files(Dataset):
        def __len__(self) -> int:
            return len(files(work))

        def __getitem__(self, i: int) -> Any:
            with Image.open(paths[i]) as image:
                return transform(image.convert("RGB"))

    paths, chosen = files(work), []
    ready(work)
    with torch.inference_mode():
        texts = network.encode_text(open_clip.get_tokenizer(about["open_clip"])(PROMPTS), normalize=True)
        for batch in DataLoader(Files(), batch_size=64, num_workers=os.cpu_count() or 1):
            chosen += (network.encode_image(batch, normalize=True) @ texts.T).argmax(1).tolist()
    write("loop", work, chosen)


def autodistill(work: Path) -> None:
    import clip
    import open_clip
    import torch
    from autodistill.detection import CaptionOntology

    about = model(work)

    class Clip(torch.nn.Module):
        """open_clip's model, called as OpenAI's."""

        def __init__(self) -> None:
            super().__init__()
            self.network = open_clip.create_model(about["open_clip"], pretrained=about["pretrained"]).eval()

        def encode_image(self, image: Any) -> Any:
            return self.network.encode_image(image, normalize=True)

        def forward(self, image: Any, text: Any) -> tuple[Any, Any]:
            logits = 100 * self.encode_image(image) @ self.network.encode_text(text, normalize=True).T
            return logits, logits.T

    clip.load = lambda *_, **__: (Clip(), open_clip.image_transform(about["side"], is_train=False))
    clip.tokenize = open_clip.get_tokenizer(about["open_clip"])
    installed = Path.home() / ".cache" / "autodistill" / "clip"  # without it OpenAI's is installed by pip
    installed.mkdir(parents=True, exist_ok=True)
    from autodistill_clip import CLIP

    labeller = CLIP(ontology=CaptionOntology(dict(zip(PROMPTS, CLASSES, strict=True))))
    ending = files(work)[0].suffix
    ready(work)
    found = labeller.label(str(work / "images"), extension=ending, output_folder=str(work / "autodistill"))
    shutil.rmtree(work / "autodistill", ignore_errors=True)
    chosen = {Path(path).name: int(each.class_id[each.confidence.argmax()]) for path, each in found.annotations.items()}
    write("autodistill", work, [chosen[file.name] for file in files(work)])


def transformers(work: Path) -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    pipe = transformers.pipeline(
        "zero-shot-image-classification", model=transformers.CLIPModel.from_pretrained(work / "transformers"),
        tokenizer=transformers.CLIPTokenizer(str(work / "vocab.json"), str(work / "merges.txt"), model_max_length=77),
        image_processor=transformers.CLIPImageProcessor(),
    )  # fmt: skip
    ready(work)
    answers = pipe(
        [str(file) for file in files(work)],
        candidate_labels=list(CLASSES),
        hypothesis_template="a photo of a {}",
        batch_size=BATCH,
    )
    write("transformers", work, [answer[0]["label"] for answer in answers])


def fiftyone(work: Path) -> None:
    import fiftyone.utils.torch as loading
    import fiftyone.zoo as zoo
    import torch

    about = model(work)
    network = zoo.load_zoo_model(
        "open-clip-torch",
        clip_model=about["open_clip"],
        pretrained=about["pretrained"],
        text_prompt="a photo of a",
        classes=list(CLASSES),
    )
    images = loading.TorchImageDataset(
        image_paths=[str(file) for file in files(work)], transform=network.transforms, force_rgb=True
    )
    chosen = []
    ready(work)
    with network:
        network.preprocess = False
        for batch in torch.utils.data.DataLoader(images, batch_size=BATCH, num_workers=os.cpu_count() or 1):
            chosen += [each.label for each in network.predict_all(batch)]
    write("fiftyone", work, chosen)


def clip_retrieval(work: Path) -> None:
    import numpy as np
    import open_clip
    import torch
    from clip_retrieval.clip_inference.main import main as inference

    about, out = model(work), work / "clip-retrieval"
    shutil.rmtree(out, ignore_errors=True)
    inference(
        input_dataset=str(work / "images"), output_folder=str(out), enable_text=False, batch_size=64,
        num_prepro_workers=os.cpu_count() or 1, clip_model=f"open_clip:{about['open_clip']}/{about['pretrained']}",
    )  # fmt: skip
    rows = np.concatenate([np.load(file) for file in sorted((out / "img_emb").glob("*.npy"))])
    import pandas as pd

    names = pd.concat(pd.read_parquet(file) for file in sorted((out / "metadata").glob("*.parquet")))["image_path"]
    network = open_clip.create_model(about["open_clip"], pretrained=about["pretrained"]).eval()
    with torch.inference_mode():
        texts = network.encode_text(open_clip.get_tokenizer(about["open_clip"])(PROMPTS), normalize=True).numpy()
    chosen = dict(
        zip((Path(name).name for name in names), (rows.astype(np.float32) @ texts.T).argmax(1).tolist(), strict=True)
    )
    write("clip_retrieval", work, [chosen[file.name] for file in files(work)])


WAYS: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (label, label_all, encode, loop, autodistill, transformers, fiftyone, clip_retrieval)
}


if __name__ == "__main__":
    main()
