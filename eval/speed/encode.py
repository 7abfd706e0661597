"""How near reading and encoding are to this machine's limits, and to other tools with the same weights: a table and a picture.

On one set of images, each way in a process of its own and in turns (`--rounds`), the best of which counts:

- limits: the encoder alone on pixels that are ready, and at the rate of matrix products on this machine; the fastest known
  way to read the files (libjpeg-turbo at the scale that is needed, a thread a core);
- ours: `encode` with an empty cache, at the look that rivals have too (`ours, one look`) and as `label` does (`ours`);
- a plain open_clip loop with a DataLoader and autodistill with autodistill-clip, with our weights; these and transformers'
  zero-shot pipeline with ViT-B/32 and weights drawn at random: time does not depend on what they are.

Of another tool that wants versions of its own, `--others` names the Python of a virtual environment that has it and us.

    python eval/speed/encode.py --images DIR --count 500
    python eval/speed/encode.py --made 2000x2500 --count 100      # large radiographs, made as JPEG; --format png, dcm

On CUDA where there is a GPU; the table names it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 1024  # of the matrices whose product is timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of images")
    parser.add_argument("--made", help="make images of this size instead, as in 2000x2500")
    parser.add_argument(
        "--format", default="jpg", choices=("jpg", "png", "dcm"), help="of these; DICOM has 12 bits in 16"
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ways", default=",".join(WAYS), help=f"some of {', '.join(WAYS)}")
    parser.add_argument("--out", type=Path, help="a folder for the picture and the numbers (speed.png, speed.json)")
    parser.add_argument("--others", default=sys.executable, help="the Python that has autodistill and autodistill-clip")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        files = [Path(line) for line in options.files.read_text().splitlines()]
        print(json.dumps(WAYS[options.way](files)), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = _made(Path(folder) / "images", options) if options.made else _found(options)
        listed = Path(folder) / "files.txt"
        listed.write_text("\n".join(map(str, files)))
        best: dict[str, dict[str, Any]] = {}
        for _ in range(options.rounds):
            for way in options.ways.split(","):
                told = _run(way, listed, folder, options.others if way.startswith("autodistill") else sys.executable)
                print(f"{way}: {told}", file=sys.stderr, flush=True)
                if told.get("seconds", np.inf) <= best.get(way, {}).get("seconds", np.inf):
                    best[way] = told
    _report(best, files, options)


def _found(options: argparse.Namespace) -> list[Path]:
    files = sorted(each for each in options.images.rglob("*") if each.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not files:
        sys.exit(f"{options.images} holds no JPEG or PNG")
    return [files[i % len(files)] for i in range(options.count)]


def _made(folder: Path, options: argparse.Namespace) -> list[Path]:
    """Pictures of a size with the spectrum of photographs, 1/f; the same ones again and again."""
    from PIL import Image

    folder.mkdir()
    width, height = map(int, options.made.split("x"))
    spectrum = 1.0 / np.maximum(np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)), 1 / width) ** 1.2
    files = []
    for i in range(min(options.count, 20)):
        noise = np.fft.rfft2(np.random.default_rng(i).normal(size=(height, width)))
        values = np.fft.irfft2(noise * spectrum, s=(height, width))
        values = (values - values.min()) / np.ptp(values)
        files.append(folder / f"{i}.{options.format}")
        if options.format == "dcm":
            _radiograph((4095 * values).astype(np.uint16)).save_as(files[-1], enforce_file_format=True)
        else:
            Image.fromarray((255 * values).astype(np.uint8)).save(files[-1], quality=92)
    return [files[i % len(files)] for i in range(options.count)]


def _radiograph(values: np.ndarray) -> Any:
    """A DICOM data set of 12 bits in 16, with a window, as radiographs have it."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    about = FileMetaDataset()
    about.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    about.MediaStorageSOPInstanceUID, about.TransferSyntaxUID = generate_uid(), ExplicitVRLittleEndian
    made = FileDataset(None, {}, file_meta=about, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = about.MediaStorageSOPClassUID, about.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = generate_uid(), generate_uid(), "DX"
    made.Rows, made.Columns = values.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.WindowCenter, made.WindowWidth, made.RescaleSlope, made.RescaleIntercept = 2048, 3000, 1, 0
    made.PixelData = values.tobytes()
    return made


def _run(way: str, listed: Path, folder: str, python: str) -> dict[str, Any]:
    command = [python, __file__, "--way", way, "--files", str(listed)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "AUTOANNOTATE_CACHE": f"{folder}/cache"}
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"failed": (done.stderr.strip().splitlines() or ["no output"])[-1][:160]}
    return json.loads(lines[-1])


def _timed(work: Callable[[], int]) -> dict[str, float]:
    """Wall and CPU seconds; the latter of this process and of those that it started, whether they ended or not."""

    def used() -> float:
        return sum(os.times()[:4]) + sum(map(_used, _children(os.getpid())))

    before, started = used(), time.monotonic()
    images = work()
    return {"seconds": time.monotonic() - started, "cpu": used() - before, "images": images}


def _children(process: int) -> list[int]:
    """Processes that it has started and that live."""
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(each) for threads in lists for each in threads.read_text().split()]


def _used(process: int) -> float:
    """CPU seconds of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


# --- limits -------------------------------------------------------------------------------------------------------------------
def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def multiply(files: list[Path]) -> dict[str, Any]:
    """The rate of a matrix product in GFLOP/s, and at it the seconds for the multiplications of both looks at each image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    encoder, looks = _ours()
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        for look in looks(1):
            encoder._tower(encoder._normalised(look))
    rate = 0.0
    a, b = (torch.rand(SIDE, SIDE, device=_device()) for _ in range(2))
    for _ in range(10):
        started = time.monotonic()
        _ = a @ b
        _wait()
        rate = max(rate, 2 * SIDE**3 / (time.monotonic() - started))
    flops = counted.get_total_flops()
    return {"seconds": flops * len(files) / rate, "images": len(files), "gflops": rate / 1e9, "flops": flops / 1e9}


def network(files: list[Path]) -> dict[str, Any]:
    """The encoder alone, both looks, on pixels that are ready."""
    import torch

    encoder, looks = _ours()
    batch = 128 if _device() == "cuda" else 4
    ready = looks(batch)

    def work() -> int:
        with torch.inference_mode():
            for _ in range(0, len(files), batch):
                for look in ready:
                    encoder._tower(encoder._normalised(look))
        _wait()
        return -(-len(files) // batch) * batch

    return _timed(work)


def decode(files: list[Path]) -> dict[str, Any]:
    """All files decoded by the fastest route known, to the scale that is needed if it can be, a thread a core."""
    import imagecodecs
    import pydicom
    from PIL import Image

    def one(file: Path) -> int:
        if file.suffix == ".png":
            return len(imagecodecs.png_decode(file.read_bytes())) > 0
        if file.suffix == ".dcm":
            return len(pydicom.dcmread(file).pixel_array) > 0
        with Image.open(file) as image:
            image.draft(image.mode, (448, 448))
            image.load()
        return 1

    def work() -> int:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return sum(pool.map(one, files))

    return _timed(work)


def decode_whole(files: list[Path]) -> dict[str, Any]:
    """JPEG and PNG at full size through Pillow, as the rivals decode."""
    from PIL import Image

    def one(file: Path) -> int:
        with Image.open(file) as image:
            image.convert("RGB")
        return 1

    def work() -> int:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return sum(pool.map(one, files))

    return _timed(work)


# --- ours ---------------------------------------------------------------------------------------------------------------------
def _ours() -> tuple[Any, Callable[[int], list[np.ndarray]]]:
    from autoannotate.models.encoder import CLOSER, load_encoder

    encoder = load_encoder("embedded")

    def looks(count: int) -> list[np.ndarray]:
        sides = [encoder.image_size, CLOSER] if encoder.looks_closer else [encoder.image_size]
        return [np.random.default_rng(0).integers(0, 256, (count, s, s, 3), dtype=np.uint8) for s in sides]

    return encoder, looks


def ours(files: list[Path]) -> dict[str, Any]:
    """Reading and encoding as `label` does: both looks, features, the cache."""
    from autoannotate.images import ImageRef
    from autoannotate.models import encoding

    encoder, _ = _ours()
    refs = [ImageRef(f"{i}", file, None) for i, file in enumerate(files)]
    encoding.content_hash = lambda ref: f"{ref.path}"  # a file that comes twice is read twice here, as the others do
    encoding.fingerprint = lambda ref: f"{ref.path}"
    return _timed(lambda: len(encoding.encode(refs, encoder, cache=False).refs))


def ours_one_look(files: list[Path]) -> dict[str, Any]:
    """The same pipeline with the embeddings alone, which is all that the rivals compute."""
    from autoannotate.models.encoder import Encoder

    real = Encoder.encode_images
    Encoder.encode_images = lambda self, images, *_, **__: real(self, images)  # type: ignore[method-assign]
    return ours(files)


def ours_vit(files: list[Path]) -> dict[str, Any]:
    """The same pipeline with the rivals' architecture and its own weights at random."""
    import autoannotate.models.encoder as module

    network = _vit()
    from open_clip import get_tokenizer

    encoder = module.Encoder(network, get_tokenizer("ViT-B-32"), name="vit", weights_hash="random", device=_device())
    global _ours
    _ours = lambda: (encoder, lambda count: [])  # type: ignore[assignment]  # noqa: E731
    return ours(files)


def student_reads(files: list[Path]) -> dict[str, Any]:
    """What a student adds: each file read once more, at the size that it sees."""
    from autoannotate.annotator.annotator import STUDENT_SIDE
    from autoannotate.images import ImageRef, read_image

    refs = [ImageRef(f"{i}", file, None) for i, file in enumerate(files)]
    return _timed(lambda: sum(1 for ref in refs if read_image(ref, STUDENT_SIDE).size))


# --- rivals -------------------------------------------------------------------------------------------------------------------
def _vit() -> Any:
    import open_clip
    import torch

    torch.manual_seed(0)
    return open_clip.create_model("ViT-B-32", pretrained=None).eval()


def _loop(files: list[Path], network: Any, transform: Any) -> dict[str, Any]:
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    class Files(Dataset):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, i: int) -> Any:
            with Image.open(files[i]) as image:
                return transform(image.convert("RGB"))

    network = network.to(_device())

    def work() -> int:
        count = 0
        with torch.inference_mode():
            loader = DataLoader(Files(), batch_size=64, num_workers=os.cpu_count() or 1, pin_memory=_device() == "cuda")
            for batch in loader:
                count += len(network.encode_image(batch.to(_device(), non_blocking=True)))
        _wait()
        return count

    return _timed(work)


def open_clip_loop(files: list[Path]) -> dict[str, Any]:
    """A plain loop: open_clip, a DataLoader with a worker a core, batches of 64; our weights, one look."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    encoder, _ = _ours()
    config = PreprocessCfg(**encoder.model.visual.preprocess_cfg)
    return _loop(files, encoder.model, image_transform_v2(config, is_train=False))


def open_clip_vit(files: list[Path]) -> dict[str, Any]:
    """The plain loop with ViT-B/32."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    model = _vit()
    return _loop(files, model, image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False))


def transformers_pipeline(files: list[Path]) -> dict[str, Any]:
    """transformers' zero-shot-image-classification with ViT-B/32 (its default configuration), as its documentation calls it."""
    import transformers

    transformers.logging.set_verbosity_error()
    model = transformers.CLIPModel(transformers.CLIPConfig()).eval()
    words = {"<|startoftext|>": 49406, "<|endoftext|>": 49407} | {f"{c}</w>": i for i, c in enumerate("abcdefgh ")}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(json.dumps(words))
        (Path(folder) / "merges.txt").write_text("#version: 0.2\n")
        tokenizer = transformers.CLIPTokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt")
    pipe = transformers.pipeline(
        "zero-shot-image-classification", model=model, tokenizer=tokenizer,
        image_processor=transformers.CLIPImageProcessor(), device=_device(),
    )  # fmt: skip

    def work() -> int:
        return sum(1 for _ in pipe([str(file) for file in files], candidate_labels=["a", "b"], batch_size=16))

    return _timed(work)


def autodistill(files: list[Path]) -> dict[str, Any]:
    """autodistill-clip as its documentation has it, `CLIP(...).label(folder)`, with our weights in the place of OpenAI's."""
    return _autodistill(files, _ours()[0].model, 128)


def autodistill_vit(files: list[Path]) -> dict[str, Any]:
    """The same with ViT-B/32, its default, and weights drawn at random."""
    return _autodistill(files, _vit(), 224)


def _autodistill(files: list[Path], network: Any, side: int) -> dict[str, Any]:
    import clip
    import open_clip
    import torch
    from autodistill.detection import CaptionOntology

    class Clip(torch.nn.Module):
        """open_clip's models, called as OpenAI's."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network.eval().to(_device())

        def encode_image(self, image: Any) -> Any:
            return self.network.encode_image(image, normalize=True)

        def forward(self, image: Any, text: Any) -> tuple[Any, Any]:
            texts = self.network.encode_text(text, normalize=True)
            logits = 100 * self.encode_image(image) @ texts.T
            return logits, logits.T

    transform = open_clip.image_transform(side, is_train=False)
    clip.load = lambda *_, **__: (Clip(), transform)
    length = getattr(network, "context_length", 77)
    clip.tokenize = lambda texts: open_clip.tokenize(texts, context_length=length)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        (Path(folder) / ".cache" / "autodistill" / "clip").mkdir(parents=True)  # else it installs OpenAI's clip by pip
        from autodistill_clip import CLIP

        model = CLIP(ontology=CaptionOntology({"a chest X-ray": "chest", "a breast ultrasound": "breast"}))
        images = Path(folder) / "images"
        images.mkdir()
        for i, file in enumerate(files):
            (images / f"{i}.jpg").symlink_to(file.absolute())
        return _timed(lambda: len(model.label(str(images), extension=".jpg").image_paths))


WAYS: dict[str, Callable[[list[Path]], dict[str, Any]]] = {
    each.__name__: each
    for each in (
        multiply, network, decode, decode_whole, ours, ours_one_look, student_reads, open_clip_loop, ours_vit, open_clip_vit,
        transformers_pipeline, autodistill, autodistill_vit,
    )
}  # fmt: skip


def _report(best: dict[str, dict[str, Any]], files: list[Path], options: argparse.Namespace) -> None:
    import torch

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print("| | images a second | CPU seconds an image | compared |\n|---|---:|---:|---|")
    rate = {way: told["images"] / told["seconds"] for way, told in best.items() if "seconds" in told}

    def by_cpu(way: str) -> float:
        return float(best[way]["cpu"] / best[way]["images"])

    limit = min((rate[way] for way in ("network", "decode") if way in rate), default=np.nan)
    rivals = {"ours_one_look": "open_clip_loop", "ours_vit": "open_clip_vit"}
    for way, told in best.items():
        if way not in rate:
            print(f"| {way} | failed | | {told['failed']} |")
            continue
        compared = ""
        if way == "multiply":
            compared = f"{told['gflops']:.0f} GFLOP/s, {told['flops']:.2f} GFLOP an image: a bound, not to be reached"
        elif way == "ours":
            compared = f"{rate[way] / limit:.0%} of the lower of network and decode"
        elif way in rivals and rivals[way] in rate:
            other = rivals[way]
            compared = f"{rate[way] / rate[other]:.2f} times {other}, in CPU time {by_cpu(other) / by_cpu(way):.2f}"
        elif way == "transformers_pipeline" and "ours_vit" in rate:
            compared = f"ours_vit is {rate['ours_vit'] / rate[way]:.2f} times as fast"
        elif way in ("autodistill", "autodistill_vit"):
            compared = ", ".join(
                f"{each} is {rate[each] / rate[way]:.1f} times as fast, in CPU time {by_cpu(way) / by_cpu(each):.1f}"
                for each in ("ours_one_look", "ours", "ours_vit")
                if each in rate
            )
        cpu = f"{told['cpu'] / told['images']:.3f}" if "cpu" in told else ""
        print(f"| {way} | {rate[way]:.1f} | {cpu} | {compared} |")
    what = f"made, {options.made}, {options.format}" if options.made else str(options.images)
    print(f"\n{len(files)} images ({what}), {os.cpu_count()} cores, {_cpu()}, {card}, Python {platform.python_version()}, "
          f"torch {torch.__version__}, the best of {options.rounds} rounds")  # fmt: skip
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "speed.json").write_text(json.dumps(best, indent=2))
        _draw(rate, options.out / "speed.png", f"{len(files)} images, {card}")


def _cpu() -> str:
    def lines() -> Iterator[str]:
        if Path("/proc/cpuinfo").is_file():
            yield from Path("/proc/cpuinfo").read_text().splitlines()

    return next(
        (line.partition(":")[2].strip() for line in lines() if line.startswith("model name")), platform.machine()
    )


def _draw(rate: dict[str, float], file: Path, title: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    colours = {"multiply": "0.75", "network": "0.75", "decode": "0.75", "decode_whole": "0.75"}
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(rate) + 1.2), layout="constrained")
    ways = list(rate)[::-1]
    colour = [colours.get(way, "tab:blue" if way.startswith("ours") else "tab:orange") for way in ways]
    bars = axes.barh([way.replace("_", " ") for way in ways], [rate[way] for way in ways], color=colour)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xscale="log", xlabel="images a second (grey: limits; blue: ours; orange: others)", title=title)
    axes.margins(x=0.15)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
