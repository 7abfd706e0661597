"""Everyday picture files, through Pillow."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from autoannotate.errors import UnreadableImageError
from autoannotate.images.quiet import quiet
from autoannotate.images.ref import TOO_LARGE, Grey, Reader
from autoannotate.images.scaling import stretched_from, to_8_bit

# Pillow knows many more, some of which start other programs (EPS): only these are tried
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")
_TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
_OTHER_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".jp2", ".j2k", ".pgm", ".ppm"}
)
_NEW_SUBFILE_TYPE = 254
_TIFF_MAGIC = (b"II*\0", b"MM\0*")
_OTHER_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")


def _recognises(head: bytes) -> bool:
    return head.startswith(_TIFF_MAGIC + _OTHER_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _count_frames(file: Path) -> int | None:
    """The pages of a TIFF; animations (GIF, WebP) count as one image, their first."""
    if file.suffix.lower() in _OTHER_SUFFIXES:
        return None
    try:
        with file.open("rb") as stream:
            if not stream.read(4).startswith(_TIFF_MAGIC):
                return None
        with quiet():
            pages = len(_pages(file, file.stat().st_mtime_ns))
        return pages if pages > 1 else None
    except Exception:
        return None


@lru_cache(maxsize=8)
def _pages(file: Path, modified: int) -> tuple[int, ...]:
    """The pages of a TIFF that are pictures of their own, not smaller copies or masks of others."""
    with Image.open(file, formats=("TIFF",)) as image:
        tiff = cast(TiffImagePlugin.TiffImageFile, image)
        pages = []
        for page in range(tiff.n_frames):
            tiff.seek(page)
            kind = tiff.tag_v2.get(_NEW_SUBFILE_TYPE, 0)
            if not kind & 0b101:
                pages.append(page)
    return tuple(pages)


def _read(file: Path, frame: int | None) -> Image.Image:
    try:
        with Image.open(file, formats=_FORMATS) as image:
            if frame is not None:
                image.seek(_pages(file, file.stat().st_mtime_ns)[frame])
            image.load()
            return _to_rgb(_upright(image), _white_is_zero(image))
    except UnidentifiedImageError:
        raise UnreadableImageError(
            "The file is named like an image, but what it holds is none, or of a kind that is not supported."
        ) from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(TOO_LARGE) from None


def _read_grey(file: Path, frame: int | None) -> Grey | None:
    """The values of a picture deeper than 8 bits."""
    with Image.open(file, formats=_FORMATS) as image:
        if not _is_deep(image):
            return None
        if frame is not None:
            image.seek(_pages(file, file.stat().st_mtime_ns)[frame])
        image.load()
        values = np.asarray(_upright(image))
        return Grey(values, *stretched_from(values), inverted=_white_is_zero(image))


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _upright(image: Image.Image) -> Image.Image:
    with contextlib.suppress(Exception):  # broken EXIF data must not cost the picture
        return ImageOps.exif_transpose(image)
    return image


def _white_is_zero(image: Image.Image) -> bool:
    """Whether it is a TIFF with inverted grey values, which Pillow turns round only up to 8 bits."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0)


def _to_rgb(image: Image.Image, white_is_zero: bool) -> Image.Image:
    """Any Pillow mode to RGB: deep grey values are stretched, transparency is laid over black."""
    if _is_deep(image):
        grey = to_8_bit(np.asarray(image))
        return Image.fromarray(255 - grey if white_is_zero else grey).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        if colours.getchannel("A").getextrema() != (
            0,
            0,
        ):  # alpha that hides everything is a slip, not a wish
            black = Image.new("RGBA", colours.size, (0, 0, 0, 255))
            colours = Image.alpha_composite(black, colours)
        return colours.convert("RGB")
    return image.convert("RGB")


READER = Reader(
    formats="JPEG, PNG, TIFF, BMP, WebP, GIF, JPEG 2000, PGM and PPM",
    suffixes=_TIFF_SUFFIXES | _OTHER_SUFFIXES,
    recognises=_recognises,
    count_frames=_count_frames,
    read=_read,
    read_grey=_read_grey,
)
