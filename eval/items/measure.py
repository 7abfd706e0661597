"""Accuracy per item beside per slice, and what pooling costs: zero-shot on volumes whose part of the body is known.

python eval/items/measure.py DATA/more/volumes
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from autoannotate import Annotator
from autoannotate.images import find_images
from autoannotate.images.items import items_of

CLASSES = ("brain MRI", "heart MRI", "CT scan")
OF_PART = {
    "brain": "brain MRI",
    "hippocampus": "brain MRI",
    "heart": "heart MRI",
    "body": "CT scan",
    "head phantom": "CT scan",
}


def main(folder: Path) -> None:
    table = pd.read_csv(folder / "labels.csv")
    truth = dict(zip(table["path"].str.removeprefix("images/"), table["body_part"].map(OF_PART), strict=True))
    items = [item for item in items_of(find_images(folder / "images")) if isinstance(truth.get(item.path), str)]
    annotator = Annotator(list(CLASSES), student="none")
    start = time.monotonic()
    encoded = annotator.encode([item.middle for item in items])
    print(f"{len(items)} items, {sum(len(item.refs) for item in items)} slices, {time.monotonic() - start:.0f} s")
    slices = encoded.slices
    assert slices is not None
    row = {ref.path: i for i, ref in enumerate(slices.refs)}
    of = [np.array([row[part.path] for part in item.sampled]) for item in items]
    right = np.array([CLASSES.index(truth[item.path]) for item in items])
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
    scored("mean of the half nearest to the mean", [_trimmed(view) for view in views])
    votes = np.array([np.bincount(each[rows].argmax(1), minlength=len(CLASSES)).argmax() for rows in of])
    print(f"majority of slices: {(votes == right).mean():.3f} of {len(right)} items")


def _trimmed(view: np.ndarray) -> np.ndarray:
    nearest = np.argsort(-(view @ view.mean(0)), kind="stable")
    return view[nearest[: max(1, len(view) // 2)]].mean(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
