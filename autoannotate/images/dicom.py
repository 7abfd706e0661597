"""DICOM files, through pydicom: which are pictures, and from stored values to what the file asks to show (PS3.3 C.11)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from autoannotate.errors import UnreadableImageError
from autoannotate.images import dicom_presentation as presentation
from autoannotate.images import dicom_slides
from autoannotate.images.dicom_objects import is_presentation_state, no_picture, passed_over
from autoannotate.images.dicom_pixels import frame_values, opened, source_of
from autoannotate.images.dicom_rendering import (
    as_stated_for,
    is_colour,
    pixel_shape,
    pixel_side,
    render,
    rescaled,
    window_of,
)
from autoannotate.images.ref import HEAD_BYTES, MAX_PIXELS, TOO_LARGE, Box, Grey, Picture, Reader
from autoannotate.images.scaling import with_square_pixels

if TYPE_CHECKING:
    from pydicom import Dataset

_BITS_ALLOCATED = 0x00280100
_MODALITY = 0x00080060
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # Float, Double Float and Pixel Data
_NOT_DICOM = "The file is named like DICOM, but what it holds is not DICOM."
_DAMAGED = "The header of the DICOM file is damaged or cut short."
_ENCRYPTED = "The file is encrypted (DICOM Secure Media): decrypt it with the programme that made it."
_ENVELOPED = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"  # the object identifier of CMS EnvelopedData, RFC 5652
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US".split()
)


def _recognises(head: bytes) -> bool:
    """The magic word, or, in files without it, an element of group 2 or 8 at the beginning."""
    if head[128:132] == b"DICM" or head[:6] == b"DICM\2\0" or _is_encrypted(head):
        return True
    group, element, rest = head[:2], head[2:4], head[4:8]
    if group in (b"\x02\0", b"\x08\0") and element == b"\0\0" and rest not in (b"UL\4\0", b"\4\0\0\0"):
        return False  # the length of the group takes four bytes
    if group == b"\x02\0" and element in (b"\0\0", b"\x01\0", b"\x02\0", b"\x03\0", b"\x10\0"):
        return rest[:2] in _VRS or rest[1:] == b"\0\0\0"
    if group == b"\x08\0" and element[1:] == b"\0" and element[:1] in b"\x00\x01\x05\x06\x08\x12\x14\x16\x18\x20":
        return rest[:2] in _VRS or rest[1:] == b"\0\0\0"
    return group == b"\0\x08" and element[:1] == b"\0" and rest[:2] in _VRS  # big endian


def _is_encrypted(head: bytes) -> bool:
    return head[:1] == b"\x30" and _ENVELOPED in head[:24]


def _frames(file: Path) -> int | None:
    header, _ = _header(file, up_to=_BITS_ALLOCATED)
    frames = header.get("NumberOfFrames")
    try:
        frames = int(frames or 1)
    except (TypeError, ValueError):
        frames = 1
    # a larger number than there are bytes for is a mistake, which reading will meet
    frames = frames if 1 < frames <= file.stat().st_size / _least_bytes(header) else None
    passed_over(header, frames)
    return dicom_slides.frames(file, frames) if dicom_slides.is_slide(header) else frames


def _least_bytes(header: Dataset) -> float:
    """That a frame takes in the file: its pixels where nothing is compressed, else the item that it is wrapped in."""
    syntax = getattr(header, "file_meta", {}).get("TransferSyntaxUID")
    try:
        if syntax is not None and (syntax.is_deflated or syntax.is_encapsulated):
            return 8.0
        return max(1.0, int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) / 8)
    except (AttributeError, TypeError, ValueError):
        return 1.0


def _places(file: Path) -> list[Box]:
    """Where the tiles of a slide lie; none of another file."""
    header, _ = _header(file, up_to=_MODALITY)
    return dicom_slides.places(file) if dicom_slides.is_slide(header) else []


def _read(file: Path, frame: int | None) -> Picture:
    state, of_slide = _other_than_frames(file, frame)
    if of_slide is not None:
        return Picture(of_slide)
    if state is not None:
        file, frame = presentation.image_of(file, state, frame or 0)
    values, header, notes = _stored(file, frame)
    if state is not None:
        header = presentation.as_the_state_says(header, state)
        notes += presentation.notes_on(state)
    try:
        shown = with_square_pixels(render(values, header, notes), *pixel_shape(header))
        image = Image.fromarray(shown if state is None else presentation.turned(shown, state))
    except MemoryError:
        raise
    except Exception:
        raise UnreadableImageError(
            "The pixel values of the DICOM file do not fit what its header says of them."
        ) from None
    return Picture(image, tuple(dict.fromkeys(notes)))


def _read_grey(file: Path, frame: int | None) -> Grey | None:
    """The values after the modality LUT, with the file's own window where it states one; None for colours."""
    if any(_other_than_frames(file, frame)):
        return None
    values, header, notes = _stored(file, frame)
    if is_colour(values, header):
        return None
    modality = rescaled(values, header, notes)
    low, high = window_of(modality, values, header)
    square = with_square_pixels(modality, *pixel_shape(header))
    return Grey(
        square, low, high, inverted=header.PhotometricInterpretation == "MONOCHROME1",
        mm=pixel_side(header),
        modality=str(header.get("Modality") or "").strip().upper()[:8],
    )  # fmt: skip


def _other_than_frames(file: Path, frame: int | None) -> tuple[Dataset | None, Image.Image | None]:
    """How a file says to show others, and what it shows of a slide; None and None where its frames are its pictures."""
    from pydicom import dcmread

    try:
        header, _ = _header(file, up_to=_MODALITY)
        if is_presentation_state(header):
            return dcmread(source_of(file), force=True), None
    except Exception:  # reading the frames says what is wrong
        return None, None
    return None, dicom_slides.read(file, frame) if dicom_slides.is_slide(header) else None


def _stored(file: Path, frame: int | None) -> tuple[np.ndarray, Dataset, list[str]]:
    """The stored values of one frame, the header as it holds for that frame, and notes on what was assumed."""
    notes: list[str] = []
    with file.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        if _is_encrypted(head):
            raise UnreadableImageError(_ENCRYPTED)
    try:
        header, pixels = _header(file)
    except (OSError, MemoryError):
        raise
    except Exception:
        raise UnreadableImageError(_DAMAGED) from None
    groups = {tag.group for tag in tuple(header.keys())}
    if not _recognises(head) and not {0x0008, 0x0028} & groups:
        raise UnreadableImageError(_NOT_DICOM)
    if pixels is None:
        passed_over(header, None)
        raise UnreadableImageError(no_picture(header))
    _check_size(header)
    values = frame_values(file, header, frame or 0, pixels, notes)
    return values, as_stated_for(frame or 0, header), notes


def _check_size(header: Dataset) -> None:
    missing = [name for name in ("Rows", "Columns") if header.get(name) in (None, "")]
    if missing:
        raise UnreadableImageError(
            f"The DICOM header lacks {' and '.join(missing)}, without which nobody knows the shape of the picture."
        )
    try:
        rows, columns = int(header.Rows), int(header.Columns)
    except (TypeError, ValueError):
        raise UnreadableImageError(_DAMAGED) from None
    if not rows or not columns:
        raise UnreadableImageError(
            f"The DICOM header is damaged: the picture would be {rows} rows by {columns} columns."
        )
    if rows * columns > MAX_PIXELS:
        raise UnreadableImageError(TOO_LARGE)


def _header(file: Path, up_to: int | None = None) -> tuple[Dataset, int | None]:
    """The header, and the tag of the pixel data behind it; None where there is none, or where `up_to` ends it before."""
    from pydicom.filereader import read_partial

    stopped: list[int] = []

    def stop(tag: int, vr: str | None, length: int) -> bool:
        if tag in _PIXELS:
            stopped.append(int(tag))
            return True
        return up_to is not None and tag > up_to

    with opened(file) as stream:
        header = read_partial(stream, stop_when=stop, force=True)
    return header, stopped[0] if stopped else None


READER = Reader(
    formats="DICOM",
    suffixes=frozenset({".dcm", ".dicom", ".dic", ".ima"}),
    recognises=_recognises,
    frames=_frames,
    read=_read,
    read_grey=_read_grey,
    places=_places,
)
