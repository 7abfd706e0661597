"""The images of `autoannotate demo`: real ones whose classes are known, shipped inside the package.

Samples of PneumoniaMNIST and BreastMNIST (MedMNIST v2, Yang et al. 2023, CC BY 4.0; chest X-rays of Kermany et al. 2018, breast
ultrasound of Al-Dhabyani et al. 2020), 28 × 28 pixels, drawn from the official test splits by eval/demo/draw_sample.py.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from autoannotate.errors import InputError, OutputError

SETS = ("pneumoniamnist", "breastmnist")
SOURCE = "PneumoniaMNIST (children's chest X-rays) and BreastMNIST (breast ultrasound) of MedMNIST v2, CC BY 4.0"
DATA = Path(__file__).with_name("demo_data")
NORMAL, PNEUMONIA = 0, 1  # PneumoniaMNIST's labels
EACH = 150  # images of a class at most, of the sample that is shipped
IMAGES, TRUTH = "images", "truth.csv"


@dataclass(frozen=True)
class DemoImage:
    """A picture, (H, W) uint8, with the set, split and number that MedMNIST knows it by, and its label there."""

    name: str
    pixels: np.ndarray
    label: int


@dataclass(frozen=True)
class DemoSet:
    """A folder of images whose classes are known.

    Attributes
    ----------
    folder : Path
        Holds `images/`, and `truth.csv` with the columns path and label; `autoannotate evaluate --data` reads the table.
    classes : tuple of str
        As they are given to the annotator.
    truth : mapping
        The class of each image, by the path that labels.csv gives it.
    """

    folder: Path
    classes: tuple[str, ...]
    truth: Mapping[str, str]

    @property
    def images(self) -> Path:
        """The folder of the images, and nothing else."""
        return self.folder / IMAGES


def read_medmnist(file: Path) -> list[DemoImage]:
    """All images of a MedMNIST .npz in its order: the sample in this package, or an official file with its three splits.

    Raises
    ------
    InputError
        Where the file is damaged.
    """
    found = []
    try:
        with np.load(file) as arrays:
            for split in ("train", "val", "test"):
                if f"{split}_images" not in arrays:
                    continue
                images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"].ravel()
                numbers = arrays[f"{split}_index"] if f"{split}_index" in arrays else np.arange(len(images))
                found += [
                    DemoImage(f"{file.stem}-{split}-{number:04d}.png", pixels, int(label))
                    for number, pixels, label in zip(numbers, images, labels, strict=True)
                ]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} cannot be read ({error}): delete it, and get it again.") from None
    return found


def chest_or_breast(folder: Path, source: Path = DATA, each: int | None = EACH) -> DemoSet:
    """Chest X-rays against breast ultrasound: two kinds of image, which any CLIP of the field tells apart.

    Parameters
    ----------
    folder : Path
        Where the images go.
    source : Path
        The folder of pneumoniamnist.npz and breastmnist.npz.
    each : int, optional
        Images of a class, the first ones of the file, healthy and ill chests alike; None for all.
    """
    chest, breast = (read_medmnist(source / f"{name}.npz") for name in SETS)
    half = None if each is None else each // 2
    chosen = [image for label in (NORMAL, PNEUMONIA) for image in [one for one in chest if one.label == label][:half]]
    return _written(folder, {"chest": chosen, "breast": breast[:each]})


def normal_or_pneumonia(folder: Path, source: Path = DATA, each: int | None = EACH) -> DemoSet:
    """Healthy children's chest X-rays against those with pneumonia: a finding, for which the embedded CLIP only guesses.

    Parameters are those of `chest_or_breast`.
    """
    chest = read_medmnist(source / "pneumoniamnist.npz")
    by_class = {"normal": NORMAL, "pneumonia": PNEUMONIA}
    return _written(folder, {name: [one for one in chest if one.label == k][:each] for name, k in by_class.items()})


def _written(folder: Path, images: Mapping[str, list[DemoImage]]) -> DemoSet:
    """The images of each class as PNG files, with the table of their classes."""
    truth = dict(sorted((one.name, name) for name, ones in images.items() for one in ones))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("path", "label"))
    rows.writerows((f"{IMAGES}/{path}", label) for path, label in truth.items())
    target = folder / IMAGES
    try:
        target.mkdir(parents=True, exist_ok=True)
        if other := sorted({file.name for file in target.iterdir() if not file.name.startswith(".")} - truth.keys()):
            raise OutputError(f"{target} holds other files than the demo's images ({other[0]}): choose another folder.")
        for one in (one for ones in images.values() for one in ones):
            if not (target / one.name).is_file():  # as it was, an image is in the cache of what was encoded
                Image.fromarray(one.pixels).save(target / one.name)
        (folder / TRUTH).write_text(table.getvalue(), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"The demo's images cannot be written to {target} ({error.strerror}): choose another folder with --out."
        ) from None
    return DemoSet(folder, tuple(images), truth)
