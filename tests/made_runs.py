"""A small run made by hand from real image files, for the tests of what is kept, reported and exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from autoannotate import Annotations
from autoannotate.images import stamp

REASON = "looks like its 8 nearest neighbours, all labelled breast"


def draw_images(folder: Path, paths: Sequence[str], side: int = 48) -> Path:
    """Write one small picture a path: a bright disc on noise, another for each path."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    for number, path in enumerate(paths):
        disc = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < (side / 3 + number % 5) ** 2
        pixels = np.clip(rng.normal(60, 5, (side, side)) + 120 * disc, 0, 255).astype(np.uint8)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / path)
    return folder


def stamped(annotations: Annotations) -> Annotations:
    """The run, knowing how its files are now, as runs made by `label` do."""
    annotations.run["stamps"] = "".join(stamp(annotations.image(path)) for path in annotations.table["path"])
    return annotations


def replace_picture(folder: Path, path: str) -> None:
    """Put another picture in the place of one."""
    with Image.open(folder / path) as picture:
        picture.resize((picture.width + 9, picture.height)).save(folder / path)


def make_run(
    images: Path,
    paths: Sequence[str] = ("a/1.png", "a/2.png", "a/10.png", "b/3.png"),
    classes: Sequence[str] = ("chest", "breast"),
    reason: str = REASON,
    trust: float | None = 0.95,
    draw: bool = True,
    **run: Any,
) -> Annotations:
    """A run over pictures in `images`: classes in turn, the first image a suspect that the student changed."""
    if draw:
        draw_images(images, paths)
    labels = [classes[i % len(classes)] for i in range(len(paths))]
    first = [i == 0 for i in range(len(paths))]
    table = pd.DataFrame(
        {
            "path": list(paths),
            "label": labels,
            "confidence": [0.91234567 if f else 0.98 for f in first],
            "source": ["student" if f else "clip" for f in first],
            "suspect": [int(f) for f in first],
            "suspect_score": [0.875 if f else 0.01 for f in first],
            "clip_label": [classes[1] if f else label for f, label in zip(first, labels, strict=True)],
            "clip_confidence": [1 / 3 for _ in first],
        }
    )
    suspects = pd.DataFrame(
        {
            "rank": [1],
            "path": [paths[0]],
            "label": [labels[0]],
            "suggested_label": [classes[1]],
            "suspect_score": [0.875],
            "reason": [reason],
        }
    )
    unreadable = pd.DataFrame({"path": ["a/broken.png"], "reason": ["the file ends in the middle of the picture"]})
    known = {
        "version": "0.1.0",
        "command": "autoannotate label scans --classes chest,breast",
        "arguments": {"images": str(images), "out": "autoannotate-run"},
        "seed": 0,
        "classes": list(classes),
        "model": {"name": "embedded", "weights_sha256": "ab" * 32, "image_size": 128},
        "modality": None,
        "counts": {"images": len(paths), "clip_student_disagreements": 1},
        "reliability": {"trust": trust},
        "student": {"kind": "embedded", "held_out_accuracy": 0.99, "baseline_accuracy": 0.97, "note": ""},
        "estimated_error_rate": 0.0123,
        "timings": {"encode": 1.5},
        "versions": {"python": "3.11"},
    }
    sure = pd.DataFrame(
        {name: [0.98 if label == name else 0.02 / (len(classes) - 1) for label in labels] for name in classes}
    )
    sure.insert(0, "path", table["path"])
    return Annotations(table, suspects, unreadable, known | run, probabilities=sure)
