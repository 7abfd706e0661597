"""A folder of real images whose classes the encoder knows."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from PIL import Image
from pydicom import dcmread

from autoannotate.errors import UnreadableImageError
from autoannotate.images import find_images, read_image

CLASSES = ["CT", "MRI", "ultrasound", "X-ray"]
CLASS_OF_MODALITY = {"CT": "CT", "MR": "MRI", "US": "ultrasound", **dict.fromkeys(("CR", "DX", "DR", "RG"), "X-ray")}
SMALLEST_SIDE = 64


def write_scans(folder: Path, of_each: int | None = None) -> None:
    """The real images that pydicom and pydicom-data bring, whole, mirrored and cropped, in folders named by what they show.

    Taken are the first frames of files with such a Modality tag, of at least 64 pixels, one of those with the very same pixels;
    no more than `of_each` of a class.
    """
    for name, picture, label in _scans(of_each):
        kind = folder / label
        kind.mkdir(exist_ok=True)
        variants = {"": picture, "-mirrored": picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)}
        variants["-cropped"] = picture.crop([int(side * share) for share in (0.05, 0.95) for side in picture.size])
        for variant, pixels in variants.items():
            pixels.save(kind / f"{name}{variant}.png")


def _scans(of_each: int | None) -> Iterator[tuple[str, Image.Image, str]]:
    """Name, picture and class of each distinct image."""
    seen = set()
    left = dict.fromkeys(CLASSES, 10**9 if of_each is None else of_each)
    for package, inside in (("pydicom", "data/test_files"), ("data_store", "data")):
        found = find_spec(package)
        assert found is not None
        assert found.origin is not None
        for ref in find_images(Path(found.origin).parent / inside):
            label = None if ref.frame else CLASS_OF_MODALITY.get(_modality(ref.file))
            if label is None or not left[label]:
                continue
            try:
                image = read_image(ref)
            except UnreadableImageError:
                continue
            pixels = hashlib.sha256(image.tobytes()).digest()
            if min(image.size) >= SMALLEST_SIDE and pixels not in seen:
                seen.add(pixels)
                left[label] -= 1
                yield ref.file.stem + ("" if ref.frame is None else "-first-frame"), image, label


def _modality(file: Path) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return str(dcmread(file, stop_before_pixels=True, force=True, specific_tags=["Modality"]).Modality)
    except Exception:  # among pydicom's test files are broken ones, and ones that are not DICOM
        return ""
