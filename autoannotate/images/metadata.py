"""What picture files say beside the picture (EXIF, comments, texts), and the same files without it."""

from __future__ import annotations

import struct
from io import BytesIO

from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")
_JPEG_KEPT = (0xE0, 0xE2, 0xEE)  # APP0 JFIF, APP2 colour profile, APP14 Adobe's kind of colours
_TIFF_KEPT = frozenset(  # what it takes to show the picture
    (254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 296, 317, 320, 322, 323, 324, 325, 338, 339,
     347, 529, 530, 531, 532)
)  # fmt: skip
_ORIENTATION = 0x0112


def without_metadata(data: bytes) -> bytes | None:
    """The bytes of a picture file without EXIF, comments and texts; the same bytes where it holds none.

    The picture itself stays bit for bit. None for files that cannot be cleaned so: those that need their EXIF to stand
    upright, TIFF and WebP files with metadata, and what is damaged or of another format. They are to be rendered.
    """
    try:
        if data.startswith(_PNG):
            return _png(data)
        with Image.open(BytesIO(data), formats=("JPEG", "TIFF", "BMP", "WEBP", "GIF")) as image:
            if image.getexif().get(_ORIENTATION, 1) != 1:
                return None
            if image.format == "JPEG":
                return _jpeg(data)
            if image.format == "TIFF":
                return data if _TIFF_KEPT.issuperset(image.tag_v2) else None  # type: ignore[attr-defined]
            return None if {"exif", "xmp", "comment", "XML:com.adobe.xmp"} & image.info.keys() else data
    except Exception:
        return None


def kinds_of_metadata(data: bytes) -> tuple[str, ...]:
    """What a picture file says beside the picture: EXIF, XMP, IPTC, comments, texts; empty where nothing is."""
    try:
        with Image.open(BytesIO(data)) as image:
            there = {
                "EXIF": bool(image.getexif()) and image.format != "TIFF",
                "XMP": bool({"xmp", "XML:com.adobe.xmp", "Raw profile type xmp"} & image.info.keys()),
                "IPTC": "photoshop" in image.info,
                "comments": "comment" in image.info,
                "texts": bool(getattr(image, "text", None)),
                "TIFF tags": image.format == "TIFF" and not _TIFF_KEPT.issuperset(image.tag_v2),  # type: ignore[attr-defined]
            }
    except Exception:
        return ()
    return tuple(name for name, is_there in there.items() if is_there)


def _png(data: bytes) -> bytes:
    kept, at = [_PNG], len(_PNG)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if kind == b"eXIf" and _turned(data[at + 8 : end - 4]):
            raise ValueError("it needs its EXIF to stand upright")
        if kind not in _PNG_TEXTS:
            kept.append(data[at:end])
        at = end
        if kind == b"IEND":  # what comes behind is no picture
            break
    return b"".join(kept)


def _turned(exif: bytes) -> bool:
    found = Image.Exif()
    found.load(exif)
    return found.get(_ORIENTATION, 1) != 1


def _jpeg(data: bytes) -> bytes:
    kept, at = [data[:2]], 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + length
        icc = marker != 0xE2 or data[at + 4 :].startswith(b"ICC_PROFILE")
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or (marker in _JPEG_KEPT and icc):
            kept.append(data[at:end])
        at = end
    last = data.rfind(b"\xff\xd9")  # what comes behind is no picture
    return b"".join(kept) + data[at : last + 2 if last > at else len(data)]
