"""What an image looks like apart from what it shows: brightness, sharpness, information, size; and a thumbnail.

The measures are CleanVision's (github.com/cleanlab/cleanvision, `issue_managers/image_property.py`, version 0.3.7), which
reads files with Pillow only and would read each a second time; here they are taken of the picture that every other stage sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageStat

THUMBNAIL = 64  # pixels a side
SHARPNESS_SIDE = 64  # pixels of the longer side at which sharpness is measured, as in CleanVision


@dataclass(frozen=True, eq=False)
class Appearance:
    """N images.

    Attributes
    ----------
    bright : (N,) the 99th percentile of brightness, 0 to 1. dim : (N,) the 5th.
    entropy : (N,) of the grey levels or colours, in bits.
    edges : (N,) standard deviation of the edges at 64 pixels. spread : (N,) standard deviation of the grey histogram.
    width, height : (N,) in pixels.
    thumbnails : (N, 64 * 64) uint8, grey, squashed to a square.
    """

    bright: NDArray[np.float64]
    dim: NDArray[np.float64]
    entropy: NDArray[np.float64]
    edges: NDArray[np.float64]
    spread: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]
    thumbnails: NDArray[np.uint8]


def measure(images: Iterable[Image.Image]) -> Appearance:
    """The appearance of images of mode RGB, one after another."""
    numbers: list[tuple[float, ...]] = []
    thumbnails: list[NDArray[np.uint8]] = []
    for image in images:
        numbers.append(_numbers(image))
        small = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        thumbnails.append(np.asarray(small, dtype=np.uint8).ravel())
    columns = np.array(numbers, dtype=np.float64).reshape(len(numbers), 7).T
    pictures = np.stack(thumbnails) if thumbnails else np.zeros((0, THUMBNAIL**2), dtype=np.uint8)
    bright, dim, entropy, edges, spread, width, height = columns
    return Appearance(bright, dim, entropy, edges, spread, width, height, pictures)


def _numbers(image: Image.Image) -> tuple[float, ...]:
    red, green, blue = (np.asarray(band, dtype=np.int64) for band in image.split())
    brightness = np.sqrt(0.241 * red * red + 0.691 * green * green + 0.068 * blue * blue) / 255.0
    dim, bright = np.percentile(brightness, [5, 99])
    ratio = max(image.width, image.height) / SHARPNESS_SIDE
    small = image
    if ratio > 1:
        small = image.resize((max(int(image.width // ratio), 1), max(int(image.height // ratio), 1)))
    grey = small.convert("L")
    edges = float(np.sqrt(ImageStat.Stat(grey.filter(ImageFilter.FIND_EDGES)).var[0]))
    return (
        float(bright), float(dim), image.entropy(), edges, float(np.std(grey.histogram())), image.width, image.height,
    )  # fmt: skip
