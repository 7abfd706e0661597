"""Draw the images that `autoannotate demo` ships: 150 of each class from the test splits of MedMNIST v2's official files.

PneumoniaMNIST gives 150 normal and 150 pneumonia, BreastMNIST 150 whatever their label, in a random order drawn from `SEED`.
Pixels are copied as they are (28 × 28, 8 bits). Each file is laid out as MedMNIST lays out its own, with `test_index`, the
number of each image in the official test split, beside images and labels. The checksum of the official files is verified first.

    python eval/demo/draw_sample.py --medmnist DIR    # DIR holds breastmnist.npz and pneumoniamnist.npz
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
from medmnist import INFO

SEED = 0
EACH = 150
TARGET = Path(__file__).parents[2] / "autoannotate" / "images" / "demo_data"


def draw(file: Path, by_class: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """`EACH` images of every class of the file's test split, or of the split as a whole, shuffled."""
    expected = INFO[file.stem]["MD5"]
    if hashlib.md5(file.read_bytes()).hexdigest() != expected:
        raise SystemExit(f"{file} is not MedMNIST's official file: its MD5 is not {expected}.")
    with np.load(file) as arrays:
        images, labels = arrays["test_images"], arrays["test_labels"]
    pools = [np.flatnonzero(labels.ravel() == k) for k in (0, 1)] if by_class else [np.arange(len(labels))]
    index = rng.permutation(np.concatenate([rng.permutation(pool)[:EACH] for pool in pools]))
    return {"test_images": images[index], "test_labels": labels[index], "test_index": index.astype(np.int32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medmnist", type=Path, required=True, metavar="DIR", help="the folder of the official files")
    folder = parser.parse_args().medmnist
    rng = np.random.default_rng(SEED)
    TARGET.mkdir(exist_ok=True)
    for name, by_class in (("pneumoniamnist", True), ("breastmnist", False)):
        np.savez_compressed(TARGET / f"{name}.npz", **draw(folder / f"{name}.npz", by_class, rng))


if __name__ == "__main__":
    main()
