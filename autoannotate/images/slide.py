"""Whole-slide images as tiles at one magnification, without their background, through OpenSlide (extra `slides`).

A slide is a pyramid of TIFF pages (Aperio, Hamamatsu, Leica, Philips, Ventana, generic), or of DICOM files, with more pixels
than a picture is read with. What is tissue is told from the saturation of an overview by Otsu's threshold.

References
----------
Goode et al. 2013, OpenSlide: a vendor-neutral software foundation for digital pathology.
Lu et al. 2021, Data-efficient and weakly supervised computational pathology on whole-slide images (saturation for tissue).
Otsu 1979, A threshold selection method from gray-level histograms.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from autoannotate.images.ref import MAX_PIXELS, Box

TILE = 256  # pixels of a tile's side
MICRONS = 1.0  # per pixel of a tile: what an objective of ten times shows
OBJECTIVE = 10.0  # times, of an objective with that many microns per pixel
UNKNOWN = 0.5  # microns per pixel of the base where a slide does not say: the usual scan at twenty times
FEWEST_PIXELS = 25_000_000  # of the base: smaller pyramids are one picture
OVERVIEW = 512  # pixels that the longer side of the level has, where there is one, on which tissue is sought
LARGEST_OVERVIEW = 25_000_000  # pixels of that level, beyond which tissue is not sought
TISSUE = 0.25  # of a tile, at least
FAINTEST = 0.06  # saturation that is tissue, at least: empty glass is grey


@dataclass(frozen=True, eq=False)
class Slide:
    """An open slide and the places of its tiles.

    Attributes
    ----------
    side : float
        Pixels of the base along a tile.
    places : list of (row, column)
        Of the tiles with tissue, from 0, row by row.
    """

    opened: Any
    side: float
    places: list[tuple[int, int]]

    @property
    def boxes(self) -> list[Box]:
        """Left, top, width and height of each tile, as shares of the slide's."""
        width, height = (self.side / length for length in self.opened.dimensions)
        return [
            (round(column * width, 5), round(row * height, 5), round(width, 5), round(height, 5))
            for row, column in self.places
        ]

    def tile(self, number: int) -> Image.Image:
        """A tile, RGB, `TILE` pixels along each side."""
        row, column = self.places[number]
        level = self.opened.get_best_level_for_downsample(self.side / TILE)
        side = max(1, round(self.side / self.opened.level_downsamples[level]))
        region = self.opened.read_region((round(column * self.side), round(row * self.side)), level, (side, side))
        white = Image.new("RGBA", region.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, region).convert("RGB").resize((TILE, TILE), Image.Resampling.BILINEAR)


def slide_of(file: Path) -> Slide | None:
    """The slide in a file; None where it is none, or OpenSlide is not installed."""
    return _slide(file, file.stat().st_mtime_ns)


def is_available() -> bool:
    """Whether slides can be read as tiles."""
    return find_spec("openslide") is not None


def opened_slide(file: Path) -> Any:
    """A file as OpenSlide opens it; None where it cannot, or is not installed."""
    return _opened(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _opened(file: Path, modified: int) -> Any:
    if not is_available():
        return None
    import openslide

    with contextlib.suppress(openslide.OpenSlideError, OSError):
        if openslide.OpenSlide.detect_format(file):
            opened = openslide.OpenSlide(file)
            one_level = opened.level_count == 1 and opened.properties.get("openslide.vendor") == "generic-tiff"
            levels = _sub_levels(file, opened.dimensions) if one_level else []
            return _SubLevels(opened, levels) if levels else opened
    return None


class _SubLevels:
    """A slide of which OpenSlide knows the base alone, with the smaller levels in the base's SubIFDs (OME-TIFF, QuPath)."""

    def __init__(self, base: Any, levels: list[Any]) -> None:
        self._base, self._levels = base, levels
        self.dimensions, self.properties = base.dimensions, base.properties
        self.level_dimensions = [base.dimensions, *((level.imagewidth, level.imagelength) for level in levels)]
        self.level_downsamples = [base.dimensions[0] / width for width, _ in self.level_dimensions]
        self.level_count = len(self.level_dimensions)
        self._values: dict[int, Image.Image] = {}

    def get_best_level_for_downsample(self, downsample: float) -> int:
        return max(level for level, by in enumerate(self.level_downsamples) if by <= max(downsample, 1.0) * 1.01)

    def read_region(self, place: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        """As OpenSlide's: `place` in pixels of the base, `size` in those of the level."""
        if level == 0:
            return cast(Image.Image, self._base.read_region(place, 0, size))
        if level not in self._values:
            self._values = {level: Image.fromarray(self._levels[level - 1].asarray())}
        left, top = (round(at / self.level_downsamples[level]) for at in place)
        return self._values[level].crop((left, top, left + size[0], top + size[1])).convert("RGBA")


def _sub_levels(file: Path, size: tuple[int, int]) -> list[Any]:
    """The pages in the SubIFDs of the first page, the largest first, that are smaller copies of it and are read as a whole."""
    from tifffile import TiffFile

    tiff = TiffFile(file)
    levels = []
    for page in cast(Any, tiff.pages[0]).pages or ():
        page = getattr(page, "aspage", lambda page=page: page)()
        same_shape = abs(page.imagewidth / size[0] - page.imagelength / size[1]) < 0.02 * page.imagewidth / size[0]
        if same_shape and page.dtype == np.uint8 and page.samplesperpixel == 3 and page.planarconfig == 1:
            levels.append(page)
    levels = [
        page for page in levels if page.imagewidth < size[0] and page.imagewidth * page.imagelength <= LARGEST_OVERVIEW
    ]
    return sorted(levels, key=lambda page: -page.imagewidth)


@lru_cache(maxsize=2)
def _slide(file: Path, modified: int) -> Slide | None:
    opened = _opened(file, modified)
    if opened is None:
        return None
    pyramid = opened.level_count > 1 or opened.properties.get("openslide.vendor") != "generic-tiff"
    if opened.dimensions[0] * opened.dimensions[1] <= (FEWEST_PIXELS if pyramid else MAX_PIXELS):
        return None
    side = TILE * MICRONS / _microns(opened.properties)
    columns, rows = (max(1, int(length / side)) for length in opened.dimensions)
    return Slide(opened, side, _tissue(opened, rows, columns, side))


def _microns(properties: Any) -> float:
    """Microns per pixel of the base."""
    for name, by in (("openslide.mpp-x", None), ("openslide.objective-power", OBJECTIVE)):
        try:
            value = float(properties[name])
        except (KeyError, ValueError):
            continue
        microns = value if by is None else MICRONS * by / value if value else 0.0
        if 0.01 < microns < 100:
            return microns
    return UNKNOWN


def _tissue(opened: Any, rows: int, columns: int, side: float) -> list[tuple[int, int]]:
    """The places of the tiles with tissue; of all tiles where none can be told from the glass."""
    every = [(row, column) for row in range(rows) for column in range(columns)]
    sizes = opened.level_dimensions
    usable = [level for level, (width, height) in enumerate(sizes) if width * height <= LARGEST_OVERVIEW]
    if not usable:
        return every
    level = [level for level in usable if max(sizes[level]) >= OVERVIEW or level == usable[0]][-1]
    size = sizes[level]
    region = opened.read_region((0, 0), level, size)
    shown = Image.alpha_composite(Image.new("RGBA", size, (255, 255, 255, 255)), region).convert("RGB")
    colours = np.asarray(shown, dtype=np.float32) / 255
    high = colours.max(axis=2)
    saturation = (high - colours.min(axis=2)) / np.maximum(high, 1e-3)
    tissue = saturation > max(otsu(saturation), FAINTEST)
    scale = shown.width / opened.dimensions[0]
    kept = []
    for row, column in every:
        top, left = (int(at * side * scale) for at in (row, column))
        bottom, right = (max(int((at + 1) * side * scale), least + 1) for at, least in ((row, top), (column, left)))
        if tissue[top:bottom, left:right].mean() >= TISSUE:
            kept.append((row, column))
    return kept or every


def otsu(values: np.ndarray) -> float:
    """Otsu's threshold of values from 0 to 1: it parts them with the least variance within the two parts.

    >>> 0.1 < otsu(np.array([0.1] * 5 + [0.8] * 5)) < 0.8
    True
    """
    counts, edges = np.histogram(values, bins=256, range=(0, 1))
    middles = (edges[:-1] + edges[1:]) / 2
    below, above = counts.cumsum(), counts.sum() - counts.cumsum()
    total = (counts * middles).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    best = np.flatnonzero(between == np.nanmax(between)) if np.isfinite(between).any() else np.array([0])
    return float(middles[int(best.mean())])
