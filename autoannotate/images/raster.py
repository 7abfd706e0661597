"""Everyday picture files, through Pillow; imagecodecs reads those deeper than 8 bits that Pillow cuts to 8."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from autoannotate.errors import UnreadableImageError
from autoannotate.images.ref import HEAD_BYTES, MAX_PIXELS, TOO_LARGE, Grey, Picture, Reader
from autoannotate.images.scaling import colours_to_8_bit, stretched_from, to_8_bit

# Pillow knows many more, some of which start other programs (EPS): only these are tried
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "JPEG2000", "PPM", "AVIF")
_NOT_AN_IMAGE = "The file is named like an image, but what it holds is none, or of a kind that is not supported."
_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".jp2", ".j2k", ".jpx", ".j2c", ".avif"}
    | {".jls", ".pgm", ".ppm", ".pbm", ".pnm"}
)
_PNG = b"\x89PNG\r\n\x1a\n"
_JP2 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_MAGIC = (b"\xff\xd8\xff", _PNG, b"GIF87a", b"GIF89a", *_JP2)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def _recognises(head: bytes) -> bool:
    if head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[:2] == b"BM" and len(head) > 18:
        return int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return head[3:].split(maxsplit=1)[:1] != [] and head[3:].lstrip()[:1] in b"#0123456789"
    return is_avif(head)


def is_avif(head: bytes) -> bool:
    """Whether the head is that of an ISO base media file (ISO/IEC 14496-12) with AVIF among its brands."""
    return head[4:8] == b"ftyp" and any(brand in head[8 : min(64, head[3])] for brand in (b"avif", b"avis"))


def _read_scaled(file: Path, side: int) -> Picture:
    """A JPEG at the smallest of a whole, a half, a quarter and an eighth of its size that is no smaller than this: libjpeg then
    computes no more coefficients than it needs."""
    return _read(file, None, side)


def _read(file: Path, frame: int | None, side: int | None = None) -> Picture:
    deep = _deep_values(file)
    if deep is not None and deep.ndim == 3:
        return Picture(flattened(colours_to_8_bit(deep)))
    try:
        with Image.open(file, formats=FORMATS) as image:
            if side is not None:
                image.draft(image.mode, (side, side))
            image.load()
            return Picture(to_picture(upright(image)))
    except Image.DecompressionBombError:
        raise UnreadableImageError(TOO_LARGE) from None
    except OSError as error:
        picture = _rare_jpeg(file)  # 12 bits a sample, lossless, and JPEG-LS: Pillow has no decoder
        if picture is not None:
            return picture
        if isinstance(error, UnidentifiedImageError):
            check_magic(file, _recognises)
        raise


def check_magic(file: Path, recognises: Callable[[bytes], bool]) -> None:
    """Raise `UnreadableImageError` for a file that only its name makes an image."""
    with file.open("rb") as stream:
        if not recognises(stream.read(HEAD_BYTES)):
            raise UnreadableImageError(_NOT_AN_IMAGE)


def _read_grey(file: Path, frame: int | None) -> Grey | None:
    """The values of a grey picture deeper than 8 bits."""
    with Image.open(file, formats=FORMATS) as image:
        if not is_deep(image):
            return None
        image.load()
        values = np.asarray(upright(image))
    return Grey(values, *stretched_from(values))


def _deep_values(file: Path) -> np.ndarray | None:
    """The colours of a PNG, JPEG 2000 or PPM file of more than 8 bits, (rows, columns, channels); else None."""
    with file.open("rb") as stream:
        head = stream.read(4096)
    if head.startswith(_PNG) and head[24:26] in (b"\x10\x02", b"\x10\x06", b"\x10\x04"):
        width, height = struct.unpack(">II", head[16:24])
        _check_size(width * height)
        import imagecodecs

        values = imagecodecs.png_decode(file.read_bytes())
        return _turned(values, file)
    if head.startswith(_JP2) and (start := head.find(b"\xff\x51")) > 0:
        width, height, left, top = struct.unpack(">IIII", head[start + 6 : start + 22])
        channels, depth = int.from_bytes(head[start + 38 : start + 40], "big"), (head[start + 40] & 127) + 1
        _check_size((width - left) * (height - top))
        if depth > 8 and channels > 2:
            import imagecodecs

            return imagecodecs.jpeg2k_decode(file.read_bytes())
    if head.startswith(b"P6"):
        return _deep_ppm(file)
    return None


def _turned(values: np.ndarray, file: Path) -> np.ndarray:
    """The values upright, as the file's EXIF asks; grey with transparency as its colours."""
    if values.ndim == 3 and values.shape[2] == 2:
        values = values[..., [0, 0, 0, 1]]
    with contextlib.suppress(Exception), Image.open(file, formats=FORMATS) as image:
        return oriented(values, image.getexif().get(0x0112, 1))
    return values


def _deep_ppm(file: Path) -> np.ndarray | None:
    """A colour PPM with a largest value over 255: two bytes a sample, the first one the higher."""
    fields: list[bytes] = []
    with file.open("rb") as stream:
        stream.read(2)
        while len(fields) < 3:
            line = stream.readline(1000)
            if not line:
                return None
            fields += line.partition(b"#")[0].split()
        width, height, largest = (int(field) for field in fields[:3])
        if largest < 256:
            return None
        _check_size(width * height)
        data = stream.read(width * height * 6)
    return np.frombuffer(data, ">u2").reshape(height, width, 3).astype(np.uint16)


def _rare_jpeg(file: Path) -> Picture | None:
    data = file.read_bytes()
    if not data.startswith(b"\xff\xd8\xff") or not is_whole_jpeg(data):
        return None
    import imagecodecs

    for decode in (imagecodecs.jpeg_decode, imagecodecs.ljpeg_decode, imagecodecs.jpegls_decode):
        try:
            values = decode(data)
        except Exception:
            continue
        if values.size:
            return Picture(Image.fromarray(values_to_8_bit(values)).convert("RGB"))
    return None


def is_whole_jpeg(data: bytes) -> bool:
    """Whether a JPEG has its end: libjpeg fills up what is missing with grey, and does not complain."""
    return b"\xff\xd9" in data[-16:]  # fillers may follow


def _check_size(pixels: int) -> None:
    if pixels > MAX_PIXELS:
        raise UnreadableImageError(TOO_LARGE)


def values_to_8_bit(values: np.ndarray) -> np.ndarray:
    """Grey values or colours of any depth as uint8; those of 8 bits as they are."""
    if values.dtype == np.uint8:
        return values
    return to_8_bit(values) if values.ndim == 2 else colours_to_8_bit(values)


def oriented(values: np.ndarray, orientation: int) -> np.ndarray:
    """Rows and columns as EXIF and TIFF ask: `orientation` is the tag 274, from 1 to 8."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def is_deep(image: Image.Image) -> bool:
    """Whether Pillow holds more than 8 bits of it."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF data asks."""
    with contextlib.suppress(Exception):  # broken EXIF data must not cost the picture
        return ImageOps.exif_transpose(image)
    return image


def to_picture(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB, or L where it is grey: deep values are stretched, transparency is laid over black."""
    if is_deep(image):
        return Image.fromarray(to_8_bit(np.asarray(image)))
    if image.has_transparency_data:
        return flattened(image)
    return image if image.mode == "L" else image.convert("RGB")


def flattened(colours: Image.Image | np.ndarray) -> Image.Image:
    """Colours with or without transparency laid over black: an image, or uint8 (rows, columns, 3 or 4)."""
    image = Image.fromarray(colours) if isinstance(colours, np.ndarray) else colours
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() != (0, 0):  # alpha that hides everything is a slip, not a wish
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


READER = Reader(
    formats="JPEG, PNG, BMP, WebP, GIF, AVIF, JPEG 2000, PGM and PPM",
    suffixes=_SUFFIXES,
    recognises=_recognises,
    frames=None,  # animations (GIF, WebP) count as one image, their first
    read=_read,
    read_grey=_read_grey,
    read_scaled=_read_scaled,
)
