"""Search the training images for near duplicates of the evaluation images, under flips, rotations and crops.

Every image becomes a 24×24 grey picture of zero mean and unit norm, so that a dot product is a correlation. Each
evaluation image is compared in eight orientations (the dihedral group), whole and as its central 80 %, with every
training image, whole and as its central 80 %. Pairs above the threshold are listed, most alike first; a person looks at them.

    python eval/embedded/leaks.py --train PRETRAIN_DIR --test EVAL_DIR --out leaks.csv
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 24
KEEP = 0.8
SUFFIXES = {".jpg", ".jpeg", ".png"}


def thumbnails(files: list[Path], keep: float) -> np.ndarray:
    """Central part of each image, as rows of zero mean and unit norm: (N, SIDE, SIDE) float32."""
    out = np.empty((len(files), SIDE, SIDE), np.float32)
    for row, file in enumerate(files):
        with Image.open(file) as image:
            grey = image.convert("L")
            width, height = grey.size
            box = (
                width * (1 - keep) / 2,
                height * (1 - keep) / 2,
                width * (1 + keep) / 2,
                height * (1 + keep) / 2,
            )
            out[row] = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX, box=box), np.float32)
    out -= out.mean(axis=(1, 2), keepdims=True)
    return out / np.maximum(np.linalg.norm(out, axis=(1, 2), keepdims=True), 1e-6)


def orientations(pictures: np.ndarray) -> Iterator[np.ndarray]:
    """The eight rotations and flips of square pictures (N, S, S), flattened to (N, S*S)."""
    for turns in range(4):
        turned = np.rot90(pictures, turns, axes=(1, 2))
        yield turned.reshape(len(pictures), -1)
        yield turned[:, :, ::-1].reshape(len(pictures), -1)


def pictures_below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=0.95)
    options = parser.parse_args()

    train, test = pictures_below(options.train), pictures_below(options.test)
    found: dict[tuple[int, int], float] = {}
    for train_keep in (1.0, KEEP):
        reference = thumbnails(train, train_keep).reshape(len(train), -1)
        for test_keep in (1.0, KEEP):
            for view in orientations(thumbnails(test, test_keep)):
                for start in range(0, len(test), 1024):
                    correlation = view[start : start + 1024] @ reference.T
                    for row, column in np.argwhere(correlation >= options.threshold):
                        pair = (start + int(row), int(column))
                        found[pair] = max(found.get(pair, 0.0), float(correlation[row, column]))

    with options.out.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["correlation", "test", "train"])
        for (i, j), value in sorted(found.items(), key=lambda item: (-item[1], item[0])):
            rows.writerow([f"{value:.4f}", test[i].relative_to(options.test), train[j].relative_to(options.train)])
    print(f"{len(test)} evaluation images against {len(train)} training images")
    for level in (0.95, 0.96, 0.97, 0.98, 0.99):
        pairs = [pair for pair, value in found.items() if value >= level]
        print(f"  correlation ≥ {level}: {len(pairs)} pairs, {len({j for _, j in pairs})} training images")


if __name__ == "__main__":
    main()
