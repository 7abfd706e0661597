"""Accuracy per item beside per slice, and what pooling costs: zero-shot on volumes whose content is known.

python eval/items/measure.py DATA/more/volumes
python eval/items/measure.py DATA/more/dicom_series
python eval/items/measure.py organmnist3d.npz
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from autoannotate import Annotator
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.images import ImageRef, find_images, read_grey
from autoannotate.images.items import items_of
from autoannotate.images.scaling import stretch, with_square_pixels

CLASSES = ("brain MRI", "heart MRI", "CT scan")
MODALITIES = ("CT scan", "MRI", "PET scan")
OF_MODALITY = {"CT": "CT scan", "MR": "MRI", "PT": "PET scan"}
OF_PART = {
    "brain": "brain MRI",
    "hippocampus": "brain MRI",
    "heart": "heart MRI",
    "body": "CT scan",
    "head phantom": "CT scan",
}


def read(place: Path) -> tuple[list[ImageRef], list[str], np.ndarray]:
    """The items, the classes and the right class of each."""
    if place.suffix == ".npz":
        found = read_labelled([str(place)])
        return list(found.refs), list(found.class_names), np.asarray(found.labels)
    table = pd.read_csv(place / "labels.csv")
    if "instance" in table:  # slices of DICOM series
        modality = dict(zip(table["path"], table["modality"].map(OF_MODALITY), strict=True))
        items = items_of(find_images(place))
        right = np.array([MODALITIES.index(modality[item.refs[0].path]) for item in items])
        return [item.middle for item in items], list(MODALITIES), right
    truth = dict(zip(table["path"].str.removeprefix("images/"), table["body_part"].map(OF_PART), strict=True))
    items = [item for item in items_of(find_images(place / "images")) if isinstance(truth.get(item.path), str)]
    right = np.array([CLASSES.index(truth[item.path]) for item in items])
    return [item.middle for item in items], list(CLASSES), right


def main(place: Path) -> None:
    refs, classes, right = read(place)
    annotator = Annotator(classes, student="none")
    start = time.monotonic()
    encoded = annotator.encode(refs)
    slices = encoded.slices
    assert slices is not None
    assert len(encoded.refs) == len(refs)
    counts = [len(ref.slices) for ref in refs]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(refs)} items, {sum(counts)} slices looked at, {time.monotonic() - start:.0f} s, at most {memory:.1f} GiB"
    )
    row = {ref.path: i for i, ref in enumerate(slices.refs)}
    of = [np.array([row[part.path] for part in ref.slices]) for ref in refs]
    each = annotator.zero_shot(slices.embeddings).probabilities
    hits = np.concatenate([each[rows].argmax(1) == k for rows, k in zip(of, right, strict=True)])
    print(f"one slice at a time: {hits.mean():.3f} of {len(hits)} slices")

    def scored(name: str, embeddings: list[np.ndarray]) -> None:
        unit = np.stack(embeddings)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        said = annotator.zero_shot(unit.astype(np.float32)).probabilities.argmax(1)
        print(f"{name}: {(said == right).mean():.3f} of {len(right)} items")

    views = [slices.embeddings[rows] for rows in of]
    scored("middle slice", [view[len(view) // 2] for view in views])
    scored("mean", [view.mean(0) for view in views])
    scored("median of each dimension", [np.median(view, 0) for view in views])
    scored("maximum of each dimension", [view.max(0) for view in views])
    scored("mean of the half nearest to the mean", [_trimmed(view) for view in views])
    for name, said in (
        ("majority of slices", [np.bincount(each[rows].argmax(1), minlength=len(classes)).argmax() for rows in of]),
        ("surest slice", [each[rows].max(0).argmax() for rows in of]),
    ):
        print(f"{name}: {(np.array(said) == right).mean():.3f} of {len(right)} items")
    planes = [plane for ref in refs for plane in _central_planes(ref)]
    seen = annotator.encoder.encode_images(iter(planes), closer=True).embeddings.reshape(len(refs), 3, -1)
    scored("mean of three central planes", [view.mean(0) for view in seen])
    scored("mean, central planes counting as one third", [
        (2 * view.mean(0) + three.mean(0)) / 3 for view, three in zip(views, seen, strict=True)
    ])  # fmt: skip


def _trimmed(view: np.ndarray) -> np.ndarray:
    nearest = np.argsort(-(view @ view.mean(0)), kind="stable")
    return view[nearest[: max(1, len(view) // 2)]].mean(0)


def _central_planes(ref: ImageRef) -> list[Image.Image]:
    """The middle slice of each of three axes, of the slices that are looked at; a slice takes as many rows as it is thick."""
    grey = [read_grey(part) for part in ref.slices]
    first = grey[0]
    assert first is not None
    stack = np.stack([each.values for each in grey if each is not None])
    thickness = max(stack.shape[1:]) / len(stack)
    middle = [size // 2 for size in stack.shape]
    flat = [(stack[middle[0]], 1.0), (stack[:, middle[1]], thickness), (stack[:, :, middle[2]], thickness)]
    return [
        Image.fromarray(with_square_pixels(stretch(values, first.low, first.high), height, 1.0)).convert("RGB")
        for values, height in flat
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
