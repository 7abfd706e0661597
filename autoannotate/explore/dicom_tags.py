"""Covariates from DICOM headers: of a closed list of attributes that say how an image was made, and identify nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autoannotate._internal.progress import Track, silent
from autoannotate._internal.wording import listed
from autoannotate.errors import UsageError
from autoannotate.images import ImageRef
from autoannotate.images.quiet import quiet
from autoannotate.runs.metadata import Metadata, as_column

SAFE = (
    "Modality", "PatientSex", "PatientAge", "BodyPartExamined", "ViewPosition", "Laterality", "ImageLaterality",
    "PatientPosition", "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength", "KVP", "SliceThickness",
    "ScanningSequence", "SequenceVariant", "MRAcquisitionType", "RepetitionTime", "EchoTime", "FlipAngle",
    "ConvolutionKernel", "ExposureTime", "DetectorType", "PixelSpacing", "ImagerPixelSpacing", "PhotometricInterpretation",
    "Rows", "Columns", "BurnedInAnnotation",
)  # fmt: skip
"""Attributes by keyword. No name, date, identifier, free text or place is among them (PS3.15 table E.1-1 would have those
removed); sex and age are kept there too, where patient characteristics are retained."""
OLDEST = 89  # years: older people are few enough to be known by their age (HIPAA, 45 CFR 164.514)


def chosen_tags(text: str) -> list[str]:
    """The attributes that were asked for, by keyword; `all` for all of `SAFE`.

    Raises
    ------
    UsageError
        For one that is not in `SAFE`.

    Examples
    --------
    >>> chosen_tags("modality, PatientSex")
    ['Modality', 'PatientSex']
    """
    known = {name.casefold(): name for name in SAFE}
    if text.strip().casefold() == "all":
        return list(SAFE)
    asked = [name.strip() for name in text.split(",") if name.strip()]
    if odd := [name for name in asked if name.casefold() not in known]:
        raise UsageError(
            f"{odd[0]!r} is none of the DICOM attributes that identify nobody: choose from {listed(SAFE)}, or all."
        )
    return list(dict.fromkeys(known[name.casefold()] for name in asked))


def with_tags(known: Metadata, refs: Sequence[ImageRef], tags: Sequence[str], track: Track = silent) -> Metadata:
    """The metadata of N images, with a column for each attribute that their headers state in more than one way."""
    cells: dict[str, list[str]] = {tag: [] for tag in tags}
    for ref in track(refs, "reading DICOM headers", len(refs)):
        header = _header(ref, tags)
        for tag in tags:
            cells[tag].append(_cell(tag, header))
    columns, notes = list(known.columns), list(known.notes)
    for tag, values in cells.items():
        made = as_column(tag, values)
        if isinstance(made, str):
            notes.append(made)
        else:
            columns.append(made)
    return replace(known, columns=tuple(columns), notes=tuple(notes))


def _header(ref: ImageRef, tags: Sequence[str]) -> Any:
    """The header of a DICOM file; None where it is none, or cannot be read."""
    from pydicom import dcmread

    try:
        with quiet():
            if ref.content is not None and ref.content.header is not None:
                return ref.content.header()
            with ref.as_file() as file:
                return dcmread(file, stop_before_pixels=True, specific_tags=list(tags))
    except Exception:
        return None


def _cell(tag: str, header: Any) -> str:
    value = None if header is None else header.get(tag)
    if value is None:
        return ""
    if tag == "PatientAge":
        return _years(str(value))
    values = [value] if isinstance(value, str | int | float) else list(value) if hasattr(value, "__iter__") else [value]
    return "\\".join(str(one).strip() for one in values)[:64]


def _years(age: str) -> str:
    """An age string (PS3.5, AS) in years, at most `OLDEST`.

    >>> _years("034Y"), _years("006M"), _years("094Y"), _years("?")
    ('34', '0.5', '89', '')
    """
    number, unit = age.strip()[:-1], age.strip()[-1:].upper()
    share = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}.get(unit)
    if share is None or not number.isdecimal():
        return ""
    return f"{min(int(number) * share, OLDEST):.3g}"
