"""DICOM files, through pydicom: from stored values to the picture that the file asks for (PS3.3 C.11)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from autoannotate.errors import UnreadableImageError
from autoannotate.images.quiet import quiet
from autoannotate.images.ref import MAX_PIXELS, TOO_LARGE, Grey, Reader
from autoannotate.images.scaling import stretch, stretched_from, to_8_bit

if TYPE_CHECKING:
    from pydicom import Dataset

_NUMBER_OF_FRAMES = 0x00280008
_NO_IMAGE = "The file holds no DICOM image: it may be a report, a plan or an index, or not DICOM at all."
_DAMAGED = "The image data of the DICOM file is damaged, cut short or wrongly described."


def _recognises(head: bytes) -> bool:
    """The magic word, or, in files without it, a first element of group 8 in little endian order."""
    if head[128:132] == b"DICM":
        return True
    tag, vr_or_length = head[:4], head[4:8]
    first_tag = tag[:2] == b"\x08\0" and tag[2:3] in b"\x00\x01\x05\x08\x16\x18" and tag[3:] == b"\0"
    return first_tag and (vr_or_length[:2] in (b"UL", b"CS", b"UI") or vr_or_length[1:] == b"\0\0\0")


def _count_frames(file: Path) -> int | None:
    from pydicom.filereader import read_partial

    try:
        with quiet(), file.open("rb") as stream:
            header = read_partial(
                stream,
                stop_when=lambda tag, vr, length: tag > _NUMBER_OF_FRAMES,
                specific_tags=[_NUMBER_OF_FRAMES],
                force=True,
            )
            frames = int(header.get("NumberOfFrames") or 1)
        # a frame takes a byte at least: a larger number is a mistake, which reading will meet
        return frames if 1 < frames <= file.stat().st_size else None
    except Exception:
        return None


def _read(file: Path, frame: int | None) -> Image.Image:
    values, header = _stored(file, frame)
    try:
        return Image.fromarray(_render(values, header)).convert("RGB")
    except Exception:
        raise UnreadableImageError(_DAMAGED) from None


def _read_grey(file: Path, frame: int | None) -> Grey | None:
    """The values after the modality LUT, with the file's own window where it states one; None for colours."""
    from pydicom.pixels import apply_modality_lut

    values, header = _stored(file, frame)
    if values.ndim == 3 or header.PhotometricInterpretation == "PALETTE COLOR":
        return None
    rescaled = apply_modality_lut(values, header)
    low, high = _stated_window(header) or (0.0, 0.0)
    if not low < high:
        low, high = stretched_from(rescaled, ~_padding(values, header))
    return Grey(rescaled, low, high, inverted=header.PhotometricInterpretation == "MONOCHROME1")


def _stored(file: Path, frame: int | None) -> tuple[np.ndarray, Dataset]:
    """The stored values of one frame, and the header as it holds for that frame."""
    from pydicom import dcmread

    frame = frame or 0
    try:
        header = dcmread(file, stop_before_pixels=True, force=True)
        size = int(header.Rows) * int(header.Columns)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception:
        raise UnreadableImageError(_NO_IMAGE) from None
    if size > MAX_PIXELS:
        raise UnreadableImageError(TOO_LARGE)
    return _decode(file, header, frame), _as_stated_for(frame, header)


def _decode(file: Path, header: Dataset, frame: int) -> np.ndarray:
    """The stored values of one frame, (rows, columns) or (rows, columns, 3); YBR colours come as RGB."""
    from pydicom.pixels import get_decoder, pixel_array
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    syntax = header.file_meta.get("TransferSyntaxUID")
    reason = _DAMAGED
    if syntax is not None:
        name = "an unknown transfer syntax" if syntax.name == str(syntax) else syntax.name
        try:
            available = get_decoder(syntax).is_available
        except NotImplementedError:
            available = False
        if not available:
            raise UnreadableImageError(
                f"No decoder for {name} is installed: pip install 'autoannotate[dicom]' may help."
            )
        if syntax.is_encapsulated:
            reason = (
                f"The image data, compressed as {name}, is damaged or needs another decoder: "
                "pip install 'autoannotate[dicom]' may help."
            )
    try:
        if syntax is None or syntax == DeflatedExplicitVRLittleEndian:
            return pixel_array(_whole(file), index=frame)
        return pixel_array(file, index=frame)  # reads this frame alone
    except AttributeError:
        raise UnreadableImageError(_NO_IMAGE) from None
    except MemoryError:
        raise
    except Exception:
        raise UnreadableImageError(reason) from None


def _whole(file: Path) -> Dataset:
    """The data set in memory, with the transfer syntax that its bytes show where it states none."""
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    whole = dcmread(file, force=True)
    implicit, little_endian = whole.original_encoding
    explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
    whole.file_meta.setdefault("TransferSyntaxUID", ImplicitVRLittleEndian if implicit else explicit)
    return whole


def _as_stated_for(frame: int, header: Dataset) -> Dataset:
    """The header, with what enhanced multi-frame files state for each frame (rescaling, window) on top."""
    shared = header.get("SharedFunctionalGroupsSequence") or []
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    for group in (*shared[:1], *per_frame[frame : frame + 1]):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in (group.get(name) or [])[:1]:
                header.update(item)
    return header


def _render(values: np.ndarray, header: Dataset) -> np.ndarray:
    """Stored values to what a viewer shows: uint8, (rows, columns) or (rows, columns, 3)."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    if header.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(values, header)[..., :3]
        return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)
    if values.ndim == 3:
        return (values[..., :3] >> max(0, int(header.BitsStored) - 8)).astype(np.uint8)
    rescaled = apply_modality_lut(values, header)
    grey = _windowed(rescaled, header)
    if grey is None and values.dtype == np.uint8 and header.BitsStored == 8:
        grey = values
    if grey is None or grey.min() == grey.max():  # a window that shows nothing is a mistake
        grey = to_8_bit(rescaled, counted=~_padding(values, header))
    return 255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey


def _windowed(values: np.ndarray, header: Dataset) -> np.ndarray | None:
    """The file's own first VOI LUT or window applied (PS3.3 C.11.2), as uint8; None where it states none."""
    from pydicom.pixels import apply_voi

    if header.get("VOILUTSequence"):
        entries, first, _ = header.VOILUTSequence[0].LUTDescriptor
        table = apply_voi(np.arange(first, first + (entries or 2**16)), header)
        # to the table's own largest value, because tables often fill fewer bits than they state
        return stretch(apply_voi(values, header), 0, table.max())
    window = _stated_window(header)
    if window is None:
        return None
    low, high = window
    if str(header.get("VOILUTFunction")).upper() == "SIGMOID" and low < high:
        return stretch(1 / (1 + np.exp(-4 * (values - (low + high) / 2) / (high - low))), 0, 1)
    return stretch(values, low, high)


def _stated_window(header: Dataset) -> tuple[float, float] | None:
    """The values that the file's own first window makes black and white; None where it states none."""
    try:
        centre, width = (float(np.atleast_1d(header[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    if str(header.get("VOILUTFunction") or "LINEAR").upper() in ("LINEAR_EXACT", "SIGMOID"):
        return centre - width / 2, centre + width / 2
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _padding(values: np.ndarray, header: Dataset) -> np.ndarray:
    """Which stored values fill the space around the picture, as the file states it: bool, (rows, columns)."""
    padding = header.get("PixelPaddingValue")
    if padding is None:
        return np.zeros(values.shape, dtype=bool)
    limit = header.get("PixelPaddingRangeLimit", padding)
    return (values >= min(padding, limit)) & (values <= max(padding, limit))


READER = Reader(
    formats="DICOM",
    suffixes=frozenset({".dcm", ".dicom", ".dic", ".ima"}),
    recognises=_recognises,
    count_frames=_count_frames,
    read=_read,
    read_grey=_read_grey,
)
