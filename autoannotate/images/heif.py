"""HEIC and HEIF photographs, as telephones take them, through pillow-heif where it is installed."""

from __future__ import annotations

from pathlib import Path

from autoannotate.errors import UnreadableImageError
from autoannotate.images.raster import check_magic, is_avif, to_picture, upright
from autoannotate.images.ref import MAX_PIXELS, TOO_LARGE, Picture, Reader

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def _recognises(head: bytes) -> bool:
    brands = head[8 : min(64, head[3])] if head[4:8] == b"ftyp" else b""
    return any(brands[start : start + 4] in _BRANDS for start in range(0, len(brands), 4)) and not is_avif(head)


def _read(file: Path, frame: int | None) -> Picture:
    check_magic(file, _recognises)
    try:
        import pillow_heif
    except ImportError:
        raise UnreadableImageError(
            "The file is a HEIC photograph: pip install 'autoannotate[heic]' reads those."
        ) from None
    found = pillow_heif.open_heif(file, convert_hdr_to_8bit=True)
    if found.size[0] * found.size[1] > MAX_PIXELS:
        raise UnreadableImageError(TOO_LARGE)
    return Picture(to_picture(upright(found.to_pillow())))


READER = Reader(
    formats="HEIC (with the extra heic)",
    suffixes=frozenset({".heic", ".heif", ".hif"}),
    recognises=_recognises,
    frames=None,
    read=_read,
)
