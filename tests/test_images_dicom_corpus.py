"""Every DICOM file of pydicom and pydicom-data that pydicom can decode, shown as pydicom's own pipeline shows it."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing, pixel_array

from autoannotate.errors import UnreadableImageError
from autoannotate.images import find, read_image

MEAN = 1.5  # grey levels


def shown_by_pydicom(file: Path, frame: int) -> np.ndarray:
    """uint8 as float, by pydicom's functions alone; where the file states no window, by the percentiles that we promise."""
    header = dcmread(file, force=True)
    try:
        values = pixel_array(file, index=frame)
    except (ValueError, AttributeError):  # of a data set it takes more than of a file
        values = pixel_array(header, index=frame)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(values, header)
        return colours / (257.0 if colours.max() > 255 else 1.0)  # some write 8 bits where they state 16
    if values.ndim == 3:
        return values.astype(float) if header.BitsStored <= 8 else stretched(values)
    _flatten_groups(header, frame)
    modality = apply_modality_lut(values, header)
    if header.get("VOILUTSequence"):
        grey = apply_voi(modality, header)
        entries, first, _ = header.VOILUTSequence[0].LUTDescriptor
        shown = grey / apply_voi(np.arange(first, first + (entries or 65536)), header).max() * 255.0
    elif header.get("WindowWidth") not in (None, ""):
        windowed = apply_windowing(modality, header).astype(float)
        low, high = (apply_windowing(np.array([end], float), header)[0] for end in (-1e9, 1e9))
        shown = (windowed - low) / (high - low) * 255.0
    elif values.dtype == np.uint8 and header.BitsStored == 8:
        shown = values.astype(float)
    else:
        padded = header.get("PixelPaddingValue")
        shown = stretched(modality, None if padded is None else values != padded)
    if shown.min() == shown.max():
        shown = stretched(modality)
    return 255.0 - shown if header.PhotometricInterpretation == "MONOCHROME1" else shown


def _flatten_groups(header: Dataset, frame: int) -> None:
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = header.get(name) or []
        for group in groups[frame : frame + 1] if name.startswith("Per") else groups[:1]:
            for inner in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in (group.get(inner) or [])[:1]:
                    header.update(item)


def stretched(values: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    values = values.astype(float)
    low, high = np.percentile(values if counted is None or not counted.any() else values[counted], (0.5, 99.5))
    if low >= high:
        low, high = values.min(), values.max()
    return np.zeros_like(values) if low >= high else np.clip((values - low) / (high - low), 0, 1) * 255.0


@pytest.mark.parametrize("package", ["pydicom", "data_store"])
def test_pictures_are_those_of_pydicom(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    compared, different = 0, []
    for ref in find(Path(spec.origin).parent / "data").refs:
        if ref.frame not in (None, 0, 1):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = shown_by_pydicom(ref.file, ref.frame or 0)
        except Exception:  # pydicom itself cannot: nothing to compare with
            continue
        try:
            picture = read_image(ref)
        except UnreadableImageError as error:
            different.append((ref.path, str(error)))
            continue
        found = np.asarray(picture).astype(float)
        expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
        if found.shape != expected.shape:  # made square: the means stay
            off = abs(found.mean() - expected[..., :3].mean())
        else:
            off = np.abs(found - expected[..., :3]).mean()
        compared += 1
        if off > MEAN:
            different.append((ref.path, round(float(off), 2)))
    assert compared > 50
    assert not different
