"""Whole-slide images in DICOM (VL Whole Slide Microscopy, PS3.3 A.32.8), through OpenSlide as those of other makers.

A slide is several files of one series: a file for each level of its pyramid, its label and its overview. The largest level
stands for the slide; the others are passed over, the label for what is written on it too.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from autoannotate.errors import UnreadableImageError
from autoannotate.images.ref import Box, PassOver
from autoannotate.images.slide import Slide, opened_slide, slide_of

if TYPE_CHECKING:
    from pydicom import Dataset

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_MOST_FILES = 2000  # of a folder, that are looked through for other levels
_TAGS = ["SOPClassUID", "SeriesInstanceUID", "ImageType", "TotalPixelMatrixColumns", "TotalPixelMatrixRows"]
_OVERVIEW_PIXELS = 25_000_000  # at most


def is_slide(header: Dataset) -> bool:
    """Whether an object is a file of a whole-slide image."""
    return str(header.get("SOPClassUID")) == _WHOLE_SLIDE


def frames(file: Path, stated: int | None) -> int | None:
    """How many images: the tiles of a slide; None for one that is shown whole; what is stated where OpenSlide cannot read it.

    Raises
    ------
    PassOver
        For labels, overviews and smaller levels.
    """
    series, area, kind = _about(file)
    if kind & {"LABEL", "OVERVIEW"}:
        raise PassOver("labels and overviews of DICOM slides", "they belong to a slide, and labels may name patients")
    if _base(file.parent, series, file.parent.stat().st_mtime_ns) not in (None, file.name) and area:
        raise PassOver("smaller levels of DICOM slides", "they are read with the largest level of their slide")
    found = places(file)
    return len(found) if found else None if _shown_whole(file) else stated


def places(file: Path) -> list[Box]:
    """Where the tiles lie; none of a slide that is shown whole, or that OpenSlide cannot read."""
    slide = slide_of(file)
    return slide.boxes if slide is not None and len(slide.places) > 1 else []


def read(file: Path, frame: int | None) -> Image.Image | None:
    """A tile, or without a frame the whole slide from its largest level that is no larger than an overview should be.

    None where OpenSlide cannot read the file: then its frames are pictures.
    """
    slide = slide_of(file)
    if frame is not None:
        return slide.tile(frame) if isinstance(slide, Slide) and len(slide.places) > 1 else None
    opened = opened_slide(file)
    if opened is None:
        return None
    sizes = opened.level_dimensions
    level = next((number for number, (width, height) in enumerate(sizes) if width * height <= _OVERVIEW_PIXELS), None)
    if level is None:
        raise UnreadableImageError("The slide has no level that is small enough to be an overview.")
    region = opened.read_region((0, 0), level, sizes[level])
    return Image.alpha_composite(Image.new("RGBA", region.size, (255, 255, 255, 255)), region).convert("RGB")


def _shown_whole(file: Path) -> bool:
    opened = opened_slide(file)
    return opened is not None and bool(np.prod(opened.dimensions) <= _OVERVIEW_PIXELS)


def _about(file: Path) -> tuple[str, int, set[str]]:
    """The series, the pixels and the kind of a file of a slide; no series for another file."""
    from pydicom import dcmread

    try:
        header = dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
        area = int(header.get("TotalPixelMatrixColumns") or 0) * int(header.get("TotalPixelMatrixRows") or 0)
        kind = {str(word).upper() for word in header.get("ImageType") or ()}
        return str(header.get("SeriesInstanceUID") or "") if is_slide(header) else "", area, kind
    except Exception:
        return "", 0, set()


@lru_cache(maxsize=64)
def _base(folder: Path, series: str, modified: int) -> str | None:
    """The name of the file with a slide's largest level; None where there is none of the series."""
    found = []
    for name, (of, area, kind) in _slides_in(folder, modified).items():
        if of == series and area and not kind & {"LABEL", "OVERVIEW"}:
            found.append((-area, name))
    return min(found)[1] if found else None


@lru_cache(maxsize=2)
def _slides_in(folder: Path, modified: int) -> dict[str, tuple[str, int, set[str]]]:
    files = sorted(file for file in folder.iterdir() if file.is_file())[:_MOST_FILES]
    return {file.name: _about(file) for file in files}
