"""Zero-shot accuracy of an encoder on the evaluation sets, and whether a run would trust it, as a Markdown table.

The prompts are the product's own, in the sense that suits the kind of the images (as a run finds it out); the answer is the
class of the highest similarity after distribution normalisation, as in a run; nothing is fitted. `trust` is what a run
estimates without the truth, ✗ where it calls the labels guesses (autoannotate/reliability.py). At 28 pixels every image is
squashed to 28 × 28 as in MedMNIST, and the encoder enlarges it again.

    python eval/embedded/zero_shot.py --data EVAL_DIR --model embedded
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from autoannotate.evaluation.datasets import read_labelled
from autoannotate.images import read_image
from autoannotate.labelling.zero_shot import classifier
from autoannotate.labelling.zero_shot.image_kinds import image_kinds
from autoannotate.labelling.zero_shot.label_images import UNRELATED
from autoannotate.labelling.zero_shot.prompts import class_prompts, modality_prompts
from autoannotate.labelling.zero_shot.reliability import estimate_reliability
from autoannotate.models.encoder import Encoder, load_encoder


@dataclass(frozen=True)
class Task:
    """Classes by the name given on the command line; each is a set (`chest_nih`) or a label in it (`skin_ham10000:mel`)."""

    name: str
    classes: dict[str, str]


SETS = {"retina": "medmnist/retinamnist.npz"}
BLOOD_5 = ("neutrophil", "eosinophil", "basophil", "monocyte", "lymphocyte")
BLOOD_8 = (*BLOOD_5, "erythroblast", "ig", "platelet")
SKIN_7 = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
TASKS = (
    Task("chest X-ray / breast ultrasound", {"chest": "chest_nih", "breast": "breast_busi"}),
    Task("blood cell / dermatoscopy", {"blood": "blood_pbc", "skin": "skin_ham10000"}),
    Task(
        "six ways",
        {
            "chest X-ray": "chest_nih",
            "breast ultrasound": "breast_busi",
            "blood cell": "blood_pbc",
            "dermatoscopy": "skin_ham10000",
            "retinal fundus": "retina",
            "brain MRI": "brain_mri",
        },
    ),
    Task("melanoma / nevus", {"mel": "skin_ham10000:mel", "nv": "skin_ham10000:nv"}),
    Task("five white blood cells", {name: f"blood_pbc:{name}" for name in BLOOD_5}),
    Task("eight blood cells", {name: f"blood_pbc:{name}" for name in BLOOD_8}),
    Task("seven skin lesions", {name: f"skin_ham10000:{name}" for name in SKIN_7}),
    Task("normal / pneumonia (children)", {name: f"chest_pneumonia:{name}" for name in ("normal", "pneumonia")}),
    Task("normal / abnormal (chest)", {name: f"chest_nih:{name}" for name in ("normal", "abnormal")}),
    Task("breast ultrasound, three", {name: f"breast_busi:{name}" for name in ("normal", "benign", "malignant")}),
    Task("benign / malignant (breast)", {name: f"breast_busi:{name}" for name in ("benign", "malignant")}),
    Task("tumor / no tumor (brain)", {name: f"brain_mri:{name}" for name in ("tumor", "no tumor")}),
)


class Sets:
    """The evaluation images of each set, encoded once at each resolution."""

    def __init__(self, data: Path, encoder: Encoder, most: int) -> None:
        self.data, self.encoder, self.most = data, encoder, most
        self.images, self.seconds = 0, 0.0

    @cache  # noqa: B019 - one instance a run
    def encode(self, name: str, side: int | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Embeddings (N, D), features (N, F) and labels of a set, at most `most` images in a fixed random order."""
        found = read_labelled([self.data / SETS.get(name, name)])
        order = np.random.default_rng(0).permutation(len(found))[: self.most]

        def pictures() -> Iterator[Image.Image]:
            for i in order:
                image = read_image(found.refs[i])
                yield image if side is None else image.resize((side, side), Image.Resampling.BICUBIC)

        started = time.monotonic()
        encodings = self.encoder.encode_images(pictures())
        self.seconds += time.monotonic() - started
        self.images += len(order)
        return encodings.embeddings, encodings.features, [found.class_names[found.labels[i]] for i in order]

    def of_task(self, task: Task, side: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Embeddings (N, D), features (N, F) and true classes (N,) of a task."""
        embeddings, features, truth = [], [], []
        for k, source in enumerate(task.classes.values()):
            name, _, label = source.partition(":")
            e, f, labels = self.encode(name, side)
            chosen = np.array([not label or found == label for found in labels])
            embeddings.append(e[chosen])
            features.append(f[chosen])
            truth += [k] * int(chosen.sum())
        return np.concatenate(embeddings), np.concatenate(features), np.array(truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--most", type=int, default=100_000, help="images of each set")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()

    encoder = load_encoder(options.model)
    sets = Sets(options.data, encoder, options.most)
    unrelated = encoder.encode_texts(UNRELATED)
    numbers: dict[str, dict[str, float | str]] = {}
    print("| task | classes | images | full: accuracy | balanced | trust | 28 px: accuracy | balanced | trust |")
    print("|---|---|---|---|---|---|---|---|---|")
    for task in TASKS:
        names = list(task.classes)
        cells: list[str] = []
        for side, name in ((None, "full"), (28, "28 px")):
            embeddings, _, truth = sets.of_task(task, side)
            normalised = classifier.distribution_normalised(embeddings)
            kinds = image_kinds(embeddings, modality_prompts(), encoder.encode_texts, encoder.logit_scale).common()
            texts = [encoder.encode_texts(prompt.texts) for prompt in class_prompts(names, modality=kinds)]
            classes = classifier.class_embeddings(texts)
            right = (normalised @ classes.T).argmax(1) == truth
            balanced = float(np.mean([right[truth == k].mean() for k in range(len(classes))]))
            found = estimate_reliability(normalised, texts, unrelated)
            numbers[f"{task.name}, {name}"] = {
                "images": len(truth),
                "accuracy": float(right.mean()),
                "balanced": balanced,
                "trust": found.trust,
                **asdict(found.evidence),
            }
            cells += [f"{right.mean():.1%}", f"{balanced:.1%}", f"{found.trust:.2f}{'' if found.meaningful else ' ✗'}"]
        print(f"| {task.name} | {len(task.classes)} | {len(truth)} | {' | '.join(cells)} |", flush=True)
    print(f"\n{sets.images} images read and encoded in {sets.seconds:.0f} s, {sets.images / sets.seconds:.0f} a second")
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
