"""From DICOM's pixel data to stored values: pydicom decodes what it can, imagecodecs the other compressions."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from autoannotate.errors import UnreadableImageError
from autoannotate.images.dicom_objects import known_name
from autoannotate.images.raster import is_whole_jpeg

if TYPE_CHECKING:
    from pydicom import Dataset

_JPEG = "1.2.840.10008.1.2.4."
_DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
_PLAIN_FRAME = "1.2.840.10008.1.2.1.98"  # encapsulated, and not compressed
_NAMES = {  # not in every pydicom's dictionary
    _JPEG + "52": "JPEG Extended (Process 3 & 5)", _JPEG + "53": "JPEG Spectral Selection (Process 6 & 8)",
    _JPEG + "54": "JPEG Spectral Selection (Process 7 & 9)", _JPEG + "55": "JPEG Full Progression (Process 10 & 12)",
    _JPEG + "56": "JPEG Full Progression (Process 11 & 13)", _JPEG + "110": "JPEG XL Lossless",
    _JPEG + "111": "JPEG XL JPEG Recompression", _JPEG + "112": "JPEG XL", _DEFLATED_FRAME: "Deflated Image Frame Compression",
    _JPEG + "92": "JPEG 2000 Part 2 Multi-component (Lossless Only)", _JPEG + "93": "JPEG 2000 Part 2 Multi-component",
}  # fmt: skip
_UID = re.compile(r"[0-9]+(\.[0-9]+){2,63}")
_JPEG_LS = (_JPEG + "80", _JPEG + "81")
_VIDEO = tuple(str(number) for number in range(100, 109))
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "XYB")

_KNOWN_COLOURS = (
    "MONOCHROME1",
    "MONOCHROME2",
    "PALETTE COLOR",
    *_COLOURS,
    "ARGB",
    "CMYK",
    "HSV",
)  # the last three are retired


def source_of(file: Path) -> Path | BytesIO:
    """The file for pydicom: as it is, or, where it begins with the word DICM, with the 128 bytes that belong before it."""
    with file.open("rb") as stream:
        return BytesIO(bytes(128) + b"DICM" + stream.read()) if stream.read(4) == b"DICM" else file


def opened(file: Path) -> BinaryIO:
    """The same, open for reading."""
    source = source_of(file)
    return source.open("rb") if isinstance(source, Path) else source


def frame_values(file: Path, header: Dataset, frame: int, pixels: int, notes: list[str]) -> np.ndarray:
    """The stored values of one frame, (rows, columns) or (rows, columns, 3); YBR colours come as RGB.

    Attributes that are missing get their usual values in `header`, with a note for each.
    """
    from pydicom.pixels import pixel_array

    complete = _complete(header, pixels, notes)
    syntax = getattr(header, "file_meta", {}).get("TransferSyntaxUID")
    if header.PhotometricInterpretation == "YBR_FULL_422" and not (syntax and _is_compressed(syntax)):
        complete = _is_subsampled(file, header, notes) and complete
    try:
        if syntax is not None and complete and _pydicom_can(syntax) and not syntax.is_deflated:
            try:
                return _signed(pixel_array(source_of(file), index=frame), header, syntax)  # reads this frame alone
            except MemoryError:
                raise
            except Exception:
                if not _is_compressed(syntax):
                    raise
        whole = _whole(file, header)
        syntax = whole.file_meta.TransferSyntaxUID
        decode = _codec(syntax)
        if decode is not None and complete and _is_compressed(syntax) and _pydicom_can(syntax):
            # of the whole data set pydicom finds frames that it does not find in the file
            with contextlib.suppress(ValueError, RuntimeError, AttributeError):
                return _signed(pixel_array(whole, index=frame), header, syntax)
        if _is_compressed(syntax) and decode is not None:
            return _signed(_decoded(whole, header, frame, decode), header, syntax)
        if syntax in _NAMES or not _pydicom_can(syntax):
            raise UnreadableImageError(_no_decoder(syntax))
        return pixel_array(whole, index=frame)
    except (MemoryError, UnreadableImageError):
        raise
    except Exception:
        compressed = syntax is not None and _is_compressed(syntax)
        as_what = f", compressed as {_name(syntax)}," if compressed else ""
        raise UnreadableImageError(
            f"The image data of the DICOM file{as_what} is damaged, cut short or not what the header says."
        ) from None


def _signed(values: np.ndarray, header: Dataset, syntax: Any) -> np.ndarray:
    """Signed values of JPEG-LS, which only knows unsigned ones, with their sign (PS3.5 8.2.3)."""
    if syntax not in _JPEG_LS or header.get("PixelRepresentation") != 1 or values.dtype.kind not in "iu":
        return values
    half = 1 << (int(header.BitsStored) - 1)
    return values if values.max() < half else ((values.astype(np.int64) + half) & (2 * half - 1)) - half


def _complete(header: Dataset, pixels: int, notes: list[str]) -> bool:
    """Put usual values where the header has none; whether nothing had to be done that pydicom needs to know."""
    as_found = True

    def assume(name: str, value: Any) -> None:
        nonlocal as_found
        what = "is missing" if header.get(name) in (None, "") else "has no usable value"
        setattr(header, name, value)
        notes.append(f"{name} {what}; {value} was assumed.")
        as_found = False

    colours = str(header.get("PhotometricInterpretation") or "").strip().upper()
    if header.get("SamplesPerPixel") in (None, ""):
        assume("SamplesPerPixel", 3 if colours in _COLOURS else 1)
    if colours not in _KNOWN_COLOURS:
        assume("PhotometricInterpretation", "RGB" if header.SamplesPerPixel == 3 else "MONOCHROME2")
    elif colours != header.PhotometricInterpretation:
        header.PhotometricInterpretation = colours
        as_found = False
    if header.get("BitsAllocated") in (None, ""):
        stored = header.get("BitsStored") or 16
        assume("BitsAllocated", {0x7FE00008: 32, 0x7FE00009: 64}.get(pixels) or (8 if stored <= 8 else 16))
    if pixels == 0x7FE00010:
        if header.get("BitsStored") in (None, "") or not 0 < header.BitsStored <= header.BitsAllocated:
            assume("BitsStored", header.BitsAllocated)
        if header.get("PixelRepresentation") not in (0, 1):
            assume("PixelRepresentation", 0)
    if header.SamplesPerPixel == 3 and header.get("PlanarConfiguration") not in (0, 1):
        assume("PlanarConfiguration", 0)
    if "NumberOfFrames" in header and not header.NumberOfFrames:
        header.NumberOfFrames = 1
        as_found = False
    return as_found


def _is_subsampled(file: Path, header: Dataset, notes: list[str]) -> bool:
    """Whether two pixels share their colour, as YBR_FULL_422 says; where each has its own, the header will say YBR_FULL."""
    if _stored_bytes(file) < 3 * header.Rows * header.Columns * int(header.get("NumberOfFrames") or 1):
        return True
    header.PhotometricInterpretation = "YBR_FULL"
    notes.append(
        "PhotometricInterpretation is YBR_FULL_422, but each pixel has a colour of its own; YBR_FULL was assumed."
    )
    return False


def _stored_bytes(file: Path) -> int:
    """How long the pixel data is as the file states it, without reading it."""
    from pydicom.filereader import read_partial

    lengths = [0]

    def stop(tag: int, vr: str | None, length: int) -> bool:
        if tag == 0x7FE00010:
            lengths.append(length)
        return tag >= 0x7FE00010

    with opened(file) as stream:
        read_partial(stream, stop_when=stop, force=True)
    return lengths[-1]


def _whole(file: Path, header: Dataset) -> Dataset:
    """The data set in memory with the header as it was completed, and a transfer syntax where the file states none."""
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    whole = dcmread(source_of(file), force=True)
    for name in (
        "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation",
        "PlanarConfiguration", "NumberOfFrames",
    ):  # fmt: skip
        if name in header:
            whole[name] = header[name]
    implicit, little_endian = whole.original_encoding
    explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
    whole.file_meta.setdefault("TransferSyntaxUID", ImplicitVRLittleEndian if implicit else explicit)
    return whole


def _is_compressed(syntax: Any) -> bool:
    """Whether frames are encapsulated; so they are in every transfer syntax that pydicom does not know."""
    return bool(syntax.is_encapsulated) if syntax.is_transfer_syntax else True


def _pydicom_can(syntax: Any) -> bool:
    from pydicom.pixels import get_decoder

    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _decoded(whole: Dataset, header: Dataset, frame: int, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    """One frame decompressed here, and given to pydicom as if it had never been compressed."""
    from pydicom.encaps import get_frame
    from pydicom.pixels import pixel_array
    from pydicom.uid import ExplicitVRLittleEndian

    syntax = whole.file_meta.TransferSyntaxUID
    frames = int(whole.get("NumberOfFrames") or 1)
    data = get_frame(whole.PixelData, frame, number_of_frames=frames)
    if data.startswith(b"\xff\xd8\xff") and not is_whole_jpeg(data):
        raise ValueError("cut short")
    values = decode(data)
    if values.dtype == np.uint8 and values.ndim == 1:  # bytes as they would be in an uncompressed file
        if whole.BitsAllocated == 1:
            count = whole.Rows * whole.Columns
            return np.unpackbits(values, bitorder="little")[:count].reshape(whole.Rows, whole.Columns)
    else:
        if values.shape[:2] != (whole.Rows, whole.Columns):
            raise ValueError("another size than the header's")
        whole.BitsAllocated = 8 * values.dtype.itemsize
        whole.BitsStored = header.BitsStored = min(whole.BitsStored, whole.BitsAllocated)
        whole.SamplesPerPixel = 1 if values.ndim == 2 else values.shape[2]
        whole.PlanarConfiguration = 0
        if values.ndim == 3 and (
            syntax not in _KEEP_COLOURS or whole.PhotometricInterpretation in ("YBR_ICT", "YBR_RCT")
        ):
            whole.PhotometricInterpretation = "RGB"  # the decoder did it
    whole.HighBit = whole.BitsStored - 1
    whole.NumberOfFrames = 1
    plain = np.ascontiguousarray(values).tobytes()
    whole.PixelData = plain + b"\0" * (len(plain) % 2)
    whole["PixelData"].VR = "OW" if whole.BitsAllocated > 8 else "OB"
    whole["PixelData"].is_undefined_length = False
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return pixel_array(whole, index=0)


_KEEP_COLOURS = tuple(_JPEG + number for number in ("57", "70", "80", "81", "90", "91", "201", "202", "203"))
"""Compressions that store colours as the header names them."""


def _codec(syntax: str) -> Callable[[bytes], np.ndarray] | None:
    """The function that decompresses a frame of this transfer syntax, from bytes to (rows, columns[, samples])."""
    if syntax == _PLAIN_FRAME:
        return lambda data: np.frombuffer(data, np.uint8)
    if syntax == _DEFLATED_FRAME:
        return lambda data: np.frombuffer(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data), np.uint8)
    with contextlib.suppress(ImportError):
        import imagecodecs

        decoders = {
            "jpeg_decode": ("50", "51", "52", "53", "54", "55", "56"),
            "ljpeg_decode": ("57", "70"),
            "jpegls_decode": ("80", "81"),
            "jpeg2k_decode": ("90", "91", "92", "93", "201", "202", "203"),
            "jpegxl_decode": ("110", "111", "112"),
        }
        for name, numbers in decoders.items():
            if syntax in {_JPEG + number for number in numbers}:
                return getattr(imagecodecs, name)
    return None


def _name(syntax: Any) -> str:
    """The name of the transfer syntax with its UID; nothing of a text that is none, which a damaged header may put there."""
    if not _UID.fullmatch(str(syntax)):
        return "a transfer syntax that does not exist"
    name = _NAMES.get(str(syntax)) or known_name(syntax)
    return f"{name} ({syntax})" if name else f"the transfer syntax {syntax}"


def _no_decoder(syntax: Any) -> str:
    if str(syntax).startswith(_JPEG) and str(syntax).removeprefix(_JPEG).partition(".")[0] in _VIDEO:
        return f"The DICOM file holds a video, {_name(syntax)}: save its frames as images, which most viewers can."
    if not _UID.fullmatch(str(syntax)):
        return "The header of the DICOM file is damaged: it names a transfer syntax that does not exist."
    if syntax.is_private:
        return f"The image data is stored in a maker's private way, {_name(syntax)}, which nobody else can decode."
    return f"There is no decoder for {_name(syntax)}, in which the image data is stored."
