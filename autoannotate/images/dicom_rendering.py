"""From stored values to what a viewer shows: modality LUT, VOI LUT or window, inversion and colours (PS3.3 C.7.6, C.11)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate.images.scaling import colours_to_8_bit, stretch, stretched_from, to_8_bit

if TYPE_CHECKING:
    from pydicom import Dataset


def as_stated_for(frame: int, header: Dataset) -> Dataset:
    """The header, with what enhanced multi-frame files state for each frame (rescaling, window, spacing) on top."""
    shared = header.get("SharedFunctionalGroupsSequence") or []
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    for group in (*shared[:1], *per_frame[frame : frame + 1]):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence"):
            for item in (group.get(name) or [])[:1]:
                header.update(item)
    return header


def is_colour(values: np.ndarray, header: Dataset) -> bool:
    """Whether a frame of stored values has colours."""
    return values.ndim == 3 or header.PhotometricInterpretation == "PALETTE COLOR"


def render(values: np.ndarray, header: Dataset, notes: list[str]) -> np.ndarray:
    """Stored values to what a viewer shows: uint8, (rows, columns) or (rows, columns, 3). What is assumed goes to `notes`."""
    if header.PhotometricInterpretation == "PALETTE COLOR" and values.ndim == 2:
        colours = _palette(values, header)
        if colours is not None:
            return colours
        notes.append("The colour palette is missing or faulty; its numbers are shown as greys.")
        return to_8_bit(values)
    if values.ndim == 3:
        values = values[..., :3]
        return (
            values.astype(np.uint8) if values.dtype == np.uint8 or header.BitsStored <= 8 else colours_to_8_bit(values)
        )
    modality = rescaled(values, header, notes)
    grey = _windowed(modality, header, notes)
    if grey is not None and grey.min() == grey.max() and values.min() != values.max():
        notes.append("The window of the file shows nothing of the picture; the whole range of values is shown.")
        grey = None
    elif grey is None and values.dtype == np.uint8 and header.BitsStored == 8:
        grey = values
    if grey is None or grey.min() == grey.max():
        grey = to_8_bit(modality, counted=~_padding(values, header))
    return 255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey


def rescaled(values: np.ndarray, header: Dataset, notes: list[str]) -> np.ndarray:
    """The values after the modality LUT or rescaling (PS3.3 C.11.1); as they are stored where those are faulty.

    Those of angiography whose values are shown as they are, or are logarithms, lead back to the intensity of the X-rays: they
    are not for showing (C.8.7.1.1.2).
    """
    modality, relationship = (_word(header, name) for name in ("Modality", "PixelIntensityRelationship"))
    if modality in ("XA", "RF", "XRF") and relationship in ("LOG", "DISP"):
        if header.get("ModalityLUTSequence"):
            notes.append("The modality LUT gives the intensity of the X-rays, not what to show; it was not used.")
        return values
    if "ModalityLUTSequence" in header:
        table, first = _table(header, "ModalityLUTSequence", values)
        mapped = _looked_up(values, table, first) if len(table) else values
        if len(table) and (np.ptp(mapped) > 0 or np.ptp(values) == 0):
            return mapped
        if header.ModalityLUTSequence or not _has_rescaling(header):
            notes.append("The modality LUT is empty or faulty; the stored values are shown.")
            return values
    slope, intercept = (_number(header, name) for name in ("RescaleSlope", "RescaleIntercept"))
    empty = [name for name in ("RescaleSlope", "RescaleIntercept") if name in header and _number(header, name) is None]
    if empty:
        notes.append(f"{' and '.join(empty)} {'have' if len(empty) > 1 else 'has'} no usable value; 1 and 0 are usual.")
    if slope == 0:
        notes.append("RescaleSlope is 0, which would make all values alike; the stored values are shown.")
        return values
    if slope in (None, 1.0) and intercept in (None, 0.0):
        return values
    return values.astype(np.float64) * (1.0 if slope is None else slope) + (intercept or 0.0)


def window_of(modality: np.ndarray, values: np.ndarray, header: Dataset) -> tuple[float, float]:
    """The values to show as black and white: the file's own first window, else what `to_8_bit` stretches to."""
    stated = _stated_window(header)
    if stated is not None and stated[0] < stated[1]:
        return stated
    return stretched_from(modality, ~_padding(values, header))


_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def pixel_side(header: Dataset) -> float:
    """Millimetres that the shorter side of a pixel is; 0 where the header does not say."""
    for name in _SPACINGS:
        try:
            side = min(float(number) for number in header[name].value)
        except Exception:
            continue
        if side > 0 and math.isfinite(side):
            return side
    return 0.0


def pixel_shape(header: Dataset) -> tuple[float, float]:
    """Height and width of a pixel in any unit; equal where the file says nothing of it.

    Pixel Aspect Ratio and the spacings all put the vertical before the horizontal (PS3.3 10.7.1.3, C.7.6.3.1.7).
    """
    for name in (*_SPACINGS, "PixelAspectRatio"):
        try:
            height, width = (float(number) for number in header[name].value)
        except Exception:
            continue
        if height > 0 and width > 0 and math.isfinite(height / width):
            return height, width
    return 1.0, 1.0


def _table(header: Dataset, sequence: str, values: np.ndarray) -> tuple[np.ndarray, int]:
    """The first lookup table of a sequence (PS3.3 C.11.1.1.1), empty where it is faulty, and the value of its first entry.

    How the entries are stored, one or two bytes each, their number tells: the depth that tables state is often another.
    """
    empty = np.empty(0, dtype=np.int64), 0
    try:
        item = header[sequence].value[0]
        count, first, bits = (int(number) for number in item.LUTDescriptor[:3])
        data = item.LUTData
        count = count & 0xFFFF or 2**16
        if isinstance(data, bytes):
            order = "<" if header.original_encoding[1] is not False else ">"
            width = 2 if len(data) >= 2 * count else 1
            entries = np.frombuffer(data, f"{order}u{width}", count=len(data) // width)
        else:
            entries = np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
            if len(entries) < count <= 2 * len(entries):  # two entries of 8 bits in each number
                entries = np.stack([entries & 0xFF, entries >> 8], axis=1).ravel()
    except Exception:
        return empty
    if len(entries) < count or (sequence == "ModalityLUTSequence" and bits <= 8 and entries[:count].max() > 255):
        return empty
    if first >= 2**15 and values.min() < 0:  # a signed number that is stored as an unsigned one
        first -= 2**16
    return entries[:count].astype(np.int64), first


def _looked_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    """The table's entries for values; those below and above the table take its first and its last."""
    whole = values if values.dtype.kind in "iu" else np.rint(np.nan_to_num(values))
    return table[np.clip(whole - float(first), 0, len(table) - 1).astype(np.intp)]


def _has_rescaling(header: Dataset) -> bool:
    return "RescaleSlope" in header or "RescaleIntercept" in header


def _word(header: Dataset, name: str) -> str:
    """The value of an attribute as one word in capitals; empty where there is none."""
    return str(header.get(name) or "").strip().upper()


def _number(header: Dataset, name: str) -> float | None:
    """The first value of an attribute as a finite number; None where there is none."""
    try:
        number = float(np.atleast_1d(header[name].value)[0])
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _palette(values: np.ndarray, header: Dataset) -> np.ndarray | None:
    """Numbers of a palette as its colours, (rows, columns, 3); None where the palette cannot be used."""
    from pydicom.pixels import apply_color_lut

    try:
        colours: Any = apply_color_lut(values, header)[..., :3]
    except Exception:
        return None
    if (colours == colours[:1, :1]).all() and np.ptp(values) > 0:
        return None
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)


def _windowed(values: np.ndarray, header: Dataset, notes: list[str]) -> np.ndarray | None:
    """The file's own first VOI LUT or window applied (PS3.3 C.11.2), as uint8; None where it states none."""
    if header.get("VOILUTSequence"):
        table, first = _table(header, "VOILUTSequence", values)
        if len(table) and np.ptp(table) > 0:
            # to the table's own largest value, because tables often fill fewer bits than they state
            return stretch(_looked_up(values, table, first), 0, table.max())
        notes.append("The VOI LUT is empty or faulty; it was not used.")
    window = _stated_window(header)
    if window is None:
        return None
    low, high = window
    if str(header.get("VOILUTFunction")).upper() == "SIGMOID" and low < high:
        return stretch(1 / (1 + np.exp(-4 * (values - (low + high) / 2) / (high - low))), 0, 1)
    if low == high:  # a width of 1 is a threshold
        return np.where(values > low, 255, 0).astype(np.uint8)
    return stretch(values, low, high)


def _stated_window(header: Dataset) -> tuple[float, float] | None:
    """The values that the file's own first window makes black and white; None where it states none."""
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    if centre is None or width is None:
        return None
    if str(header.get("VOILUTFunction") or "LINEAR").upper() in ("LINEAR_EXACT", "SIGMOID"):
        return centre - width / 2, centre + width / 2
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _padding(values: np.ndarray, header: Dataset) -> np.ndarray:
    """Which stored values fill the space around the picture, as the file states it: bool, (rows, columns)."""
    padding = _number(header, "PixelPaddingValue")
    if padding is None:
        return np.zeros(values.shape, dtype=bool)
    limit = _number(header, "PixelPaddingRangeLimit")
    limit = padding if limit is None else limit
    return (values >= min(padding, limit)) & (values <= max(padding, limit))
