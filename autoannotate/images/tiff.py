"""TIFF and the whole-slide and microscopy formats made of it: tifffile reads the pages, Pillow what is left.

Where `slide` can read a file tile by tile, its frames are the tiles, and what has no number is its overview.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from autoannotate.errors import UnreadableImageError
from autoannotate.images import raster
from autoannotate.images.ref import MAX_PIXELS, TOO_LARGE, Box, Grey, Picture, Reader
from autoannotate.images.scaling import colours_to_8_bit, stretched_from, to_8_bit
from autoannotate.images.slide import slide_of

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_REDUCED_OR_MASK = 0b101  # NewSubfileType, tag 254
_MANY = 1000  # pages: beyond, they are counted only
_ENOUGH = 25_000_000  # pixels: of a pyramid, the largest level below is read
_SLIDES = ("is_svs", "is_ndpi", "is_scn", "is_bif", "is_philips", "is_qpi")
_VOLUMES = "The pages of the TIFF file are volumes, not flat images."
_CUT_SHORT = "The file is cut short: pages that follow are missing."
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _CIELAB, _ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
_SIGNED = 2  # SampleFormat, tag 339
_JPEG = (7, 33007, 34892)


def _recognises(head: bytes) -> bool:
    return head.startswith(_MAGIC)


def _frames(file: Path) -> int | None:
    if places := _places(file):
        return len(places)
    pages = len(_opened(file).pages)
    return pages if pages > 1 else None


def _places(file: Path) -> list[Box]:
    """Where the tiles of a slide lie; none of another file, or of a slide with a single tile."""
    slide = slide_of(file)
    return slide.boxes if slide is not None and len(slide.places) > 1 else []


def _read(file: Path, frame: int | None) -> Picture:
    if frame is not None and _places(file):
        slide = slide_of(file)
        assert slide is not None
        return Picture(slide.tile(frame))
    try:
        page = _opened(file).page(frame)
    except UnreadableImageError:
        raise
    except Exception:  # not even its structure is understood: Pillow is more patient
        try:
            return Picture(_with_pillow(file, 0))
        except UnidentifiedImageError:
            raster.check_magic(file, _recognises)
            raise
    if page.imagewidth * page.imagelength > MAX_PIXELS:
        raise UnreadableImageError(TOO_LARGE)
    if page.imagedepth > 1:
        raise UnreadableImageError(_VOLUMES)
    notes: tuple[str, ...] = (_CUT_SHORT,) if _opened(file).is_cut_short else ()
    if page.samplesperpixel > 2 and page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        notes += (f"The first of {page.samplesperpixel} channels is shown.",)
    ways = [lambda: _with_tifffile(page)]
    if len(page.treeindex) == 1:  # Pillow knows no SubIFDs
        ways.append(lambda: _with_pillow(file, page.index))
    if _is_everyday(page) and _opened(file).count == 1:
        ways.reverse()
    failed = []
    for way in ways:
        try:
            return Picture(way(), notes)
        except (MemoryError, UnreadableImageError):
            raise
        except Exception as error:
            failed.append(error)
    if type(page.compression) is int:  # of no name in tifffile's list
        raise UnreadableImageError(
            f"There is no decoder for the way in which the TIFF file is compressed (number {page.compression})."
        )
    raise next((error for error in failed if isinstance(error, OSError) and error.errno), failed[0])


def _read_grey(file: Path, frame: int | None) -> Grey | None:
    """The values of a grey page deeper than 8 bits."""
    if frame is not None and _places(file):
        return None
    page = _opened(file).page(frame)
    values = _values(page)
    if values.ndim != 2 or values.dtype == np.uint8 or page.photometric == _PALETTE:
        return None
    return Grey(values, *stretched_from(values), inverted=page.photometric == _WHITE_IS_ZERO)


class _File:
    """An open TIFF, and which of its pages are pictures of their own.

    Not so are smaller copies of others and masks, which NewSubfileType marks; the levels of a pyramid; and the label and
    overview of a slide.
    """

    def __init__(self, file: Path) -> None:
        from tifffile import TiffFile

        self._file = TiffFile(file)
        self.count = len(self._file.pages)
        self.pages = self._own_pages(self._file)
        self.is_cut_short = self._names_a_further_page()

    def page(self, frame: int | None) -> TiffPage:
        index = self.pages[frame or 0]
        page = cast(Any, self._file.pages[index])
        page = getattr(page, "aspage", lambda: page)()
        if math.prod(page.chunked) > _MANY + 100 * len(page.dataoffsets):  # long filling up of what is not there
            raise UnreadableImageError("The TIFF file is damaged: it holds far fewer strips or tiles than it says.")
        if page.imagewidth * page.imagelength <= _ENOUGH:
            return page
        levels = [level for level in self._smaller_copies(page) if level.imagewidth * level.imagelength <= _ENOUGH]
        return max(levels, key=lambda level: level.imagewidth, default=page)

    def _names_a_further_page(self) -> bool:
        """Whether the last page that is there names a next one, which then lies behind the end of the file."""
        stream, kind = self._file.filehandle, self._file.tiff
        stream.seek(cast(Any, self._file.pages[self.count - 1]).offset)
        order: Any = "little" if kind.byteorder == "<" else "big"
        tags = int.from_bytes(stream.read(kind.tagnosize), order)
        stream.seek(tags * kind.tagsize, 1)
        following = int.from_bytes(stream.read(kind.offsetsize), order)
        return following >= stream.size

    def _own_pages(self, tiff: TiffFile) -> list[int]:
        if any(getattr(tiff, kind, False) for kind in _SLIDES):
            return [0]
        if self.count > _MANY:
            return list(range(self.count))
        own: list[int] = []
        for index in range(self.count):
            page = cast(Any, tiff.pages[index])
            if page.subfiletype & _REDUCED_OR_MASK:
                continue
            if not any(_is_smaller_copy(page, tiff.pages[other]) for other in own):
                own.append(index)
        return own or [0]

    def _smaller_copies(self, page: TiffPage) -> list[Any]:
        copies = []
        within = [cast(Any, level) for level in page.pages or ()]
        for other in [*within, *(self._file.pages[index] for index in range(min(self.count, _MANY)))]:
            other = getattr(other, "aspage", lambda other=other: other)()
            if _is_smaller_copy(other, page):
                copies.append(other)
        return copies


def _is_smaller_copy(page: Any, other: Any) -> bool:
    """Whether the page is a level of the pyramid whose base is the other, tiled, page."""
    if not other.is_tiled or page.dtype != other.dtype or page.samplesperpixel != other.samplesperpixel:
        return False
    across, down = other.imagewidth / page.imagewidth, other.imagelength / page.imagelength
    rounding = across / page.imagewidth + down / page.imagelength
    return across >= 1.9 and abs(across - down) <= 0.02 * across + rounding


def _opened(file: Path) -> _File:
    return _open(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _open(file: Path, modified: int) -> _File:
    try:
        return _File(file)
    except OSError:
        raise
    except Exception:
        raise UnidentifiedImageError from None


def _is_everyday(page: TiffPage) -> bool:
    """Whether Pillow reads the page as it should."""
    bits = page.bitspersample
    deepest = max(bits) if isinstance(bits, tuple) else bits
    usual = page.photometric in (0, 1, 2, 3, 5, 6) and page.sampleformat != _SIGNED
    return bool(deepest <= 8 and usual and page.samplesperpixel <= 4)


def _values(page: TiffPage) -> np.ndarray:
    """The page's values upright, (rows, columns) or (rows, columns, samples)."""
    values = page.asarray()
    if values.ndim == 3 and page.planarconfig == 2:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3):
        raise UnreadableImageError(_VOLUMES)
    if np.iscomplexobj(values):
        values = np.abs(values)
    tag = page.tags.get(274)
    return raster.oriented(values, int(tag.value) if tag is not None else 1)


def _with_tifffile(page: TiffPage) -> Image.Image:
    values, kind = _values(page), page.photometric
    if kind == _YCBCR and page.compression not in _JPEG:
        raise NotImplementedError
    if kind == _PALETTE and values.ndim == 2 and page.colormap is not None:
        colours = np.moveaxis(page.colormap, 0, -1)[values.astype(np.intp)]
        return raster.flattened((colours >> 8 if colours.max() > 255 else colours).astype(np.uint8))
    if values.ndim == 3 and kind == _CMYK and values.shape[2] >= 4:
        if values.dtype == np.uint8:
            return Image.frombytes(
                "CMYK", values.shape[1::-1], np.ascontiguousarray(values[..., :4]).tobytes()
            ).convert("RGB")
        paper = 1 - np.clip(values[..., :4] / (np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1.0), 0, 1)
        return Image.fromarray(colours_to_8_bit(paper[..., :3] * paper[..., 3:]))
    if values.ndim == 3 and kind in (_CIELAB, _ICCLAB):
        lab = (values[..., :3] >> 8 * (values.dtype.itemsize - 1)).astype(np.uint8)
        lab[..., 1:] ^= 128 if kind == _ICCLAB else 0  # there a* and b* begin at 128, here they are signed
        return Image.frombytes("LAB", lab.shape[1::-1], lab.tobytes()).convert("RGB")
    if values.ndim == 3 and (kind in (_RGB, _YCBCR) or values.shape[2] == 3):
        alpha = values.shape[2] == 4 and tuple(page.extrasamples)[:1] in ((1,), (2,))
        values = values[..., : 4 if alpha else 3]
        return raster.flattened(_as_bytes(values, page) if values.dtype == np.uint8 else colours_to_8_bit(values))
    if values.ndim == 3:
        values = values[..., 0]
    grey = _as_bytes(values, page) if values.dtype in (np.uint8, np.bool_) else to_8_bit(values)
    return Image.fromarray(255 - grey if kind == _WHITE_IS_ZERO else grey).convert("RGB")


def _as_bytes(values: np.ndarray, page: TiffPage) -> np.ndarray:
    """Values of 1 to 8 bits spread over all of the 8."""
    bits = page.bitspersample
    depth = max(bits) if isinstance(bits, tuple) else bits
    return (values.astype(np.uint16) * 255 // (2 ** min(depth, 8) - 1)).astype(np.uint8)


def _with_pillow(file: Path, index: int) -> Image.Image:
    try:
        with Image.open(file, formats=("TIFF",)) as image:
            if index:
                image.seek(index)
            image.load()
            tags = cast(TiffImagePlugin.TiffImageFile, image).tag_v2
            white_is_zero = raster.is_deep(image) and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
            picture = raster.to_picture(raster.upright(image))
            return Image.eval(picture, lambda value: 255 - value) if white_is_zero else picture
    except Image.DecompressionBombError:
        raise UnreadableImageError(TOO_LARGE) from None


READER = Reader(
    formats="TIFF (BigTIFF, OME-TIFF and slides made of it too)",
    suffixes=frozenset({".tif", ".tiff", ".btf", ".svs", ".ndpi", ".scn"}),
    recognises=_recognises,
    frames=_frames,
    read=_read,
    read_grey=_read_grey,
    places=_places,
)
