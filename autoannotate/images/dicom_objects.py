"""What a DICOM object is where it is no picture, by its SOP class (PS3.4 B.5) or, without one that is known, its modality."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from autoannotate.images.ref import INCLUDED, PassOver

if TYPE_CHECKING:
    from pydicom import Dataset

T = TypeVar("T")

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_PASSED_OVER = {
    _STORAGE + "66.4": ("DICOM segmentations", "they are masks that belong to images, no pictures"),
    _STORAGE + "66.7": ("DICOM segmentations", "they are masks that belong to images, no pictures"),
    _STORAGE + "66.5": ("DICOM segmentations", "they are surfaces that belong to images, no pictures"),
    _STORAGE + "481.2": ("DICOM radiotherapy doses", "they are maps of dose, no pictures"),
    _STORAGE + "11.": ("DICOM presentation states", "they say how to show other files, and hold no picture"),
    "1.2.840.10008.1.3.10": ("DICOMDIR", "they are an index of other files"),
}
_BY_MODALITY = {
    "SEG": _STORAGE + "66.4", "RTDOSE": _STORAGE + "481.2", "PR": _STORAGE + "11.",
    "SR": _STORAGE + "88.", "KO": _STORAGE + "88.59", "RTSTRUCT": _STORAGE + "481.3", "RTPLAN": _STORAGE + "481.5",
    "RTRECORD": _STORAGE + "481.4", "ECG": _STORAGE + "9.", "EPS": _STORAGE + "9.", "HD": _STORAGE + "9.",
    "DOC": _STORAGE + "104.1",
    "REG": _STORAGE + "66.1", "FID": _STORAGE + "66.2", "PLAN": _STORAGE + "481.5", "AU": _STORAGE + "9.",
}  # fmt: skip
_WITHOUT_PICTURE = {
    _STORAGE + "88.59": "a key object selection, which points at other files",
    _STORAGE + "88.": "a structured report",
    _STORAGE + "9.": "a waveform, such as an ECG",
    _STORAGE + "104.": "an encapsulated document, such as a PDF",
    _STORAGE + "481.3": "a radiotherapy structure set",
    _STORAGE + "481.": "a radiotherapy plan or record",
    _STORAGE + "66.1": "a spatial registration",
    _STORAGE + "66.3": "a deformable spatial registration",
    _STORAGE + "66.2": "spatial fiducials",
    _STORAGE + "66.6": "tractography results",
    _STORAGE + "66": "raw data of a device",
    _STORAGE + "67": "a real world value mapping",
    _STORAGE + "68.": "a surface or point cloud",
    _STORAGE + "4.2": "MR spectra",
    _STORAGE + "79.1": "lens or refraction measurements",
    _STORAGE + "78.": "lens or refraction measurements",
    _STORAGE + "200.": "a composite of results, a protocol or an inventory",
    "1.2.840.10008.5.1.4.34.": "a work list entry",
    "1.2.840.10008.5.1.4.38.": "a hanging protocol",
    "1.2.840.10008.5.1.4.39.": "a colour palette",
    "1.2.840.10008.5.1.4.43.": "an implant template",
    "1.2.840.10008.5.1.4.44.": "an implant template",
    "1.2.840.10008.5.1.4.45.": "an implant template",
}


def passed_over(header: Dataset, frames: int | None) -> None:
    """Raise `PassOver` for objects with pixels that are no pictures, and for those that only tell of other files.

    Parameters
    ----------
    frames : how many the header says
    """
    found = _by_class(_PASSED_OVER, header)
    if found is not None:
        if is_presentation_state(header):
            raise PassOver(*found, frames=len(referenced_images(header)) or None)
        can_be_shown = found[0] in INCLUDED.values()
        raise PassOver(*found, frames=(frames or 1) if can_be_shown else None)


def is_presentation_state(header: Dataset) -> bool:
    """Whether an object says how to show images of other files."""
    return _by_class(_PASSED_OVER, header) == _PASSED_OVER[_STORAGE + "11."]


def referenced_images(state: Dataset) -> list[tuple[str, int]]:
    """The images that a presentation state is about: SOP Instance UID and frame, from 0, of each."""
    found = []
    for series in state.get("ReferencedSeriesSequence") or []:
        for image in series.get("ReferencedImageSequence") or []:
            frames = image.get("ReferencedFrameNumber") or 1
            numbers = [frames] if isinstance(frames, int) else list(frames)
            found += [(str(image.get("ReferencedSOPInstanceUID")), max(int(number) - 1, 0)) for number in numbers]
    return found


def no_picture(header: Dataset) -> str:
    """A sentence on an object without pixel data: what it is, or what is missing."""
    if header.get("EncryptedAttributesSequence"):
        return "The picture in the DICOM file is encrypted: decrypt it with the programme that made it."
    what = _by_class(_WITHOUT_PICTURE, header)
    if what is not None:
        return f"The file holds {what}, and no picture."
    name = known_name(header.get("SOPClassUID"))
    if name and "Image" not in name:
        return f"The file holds no picture: it is a DICOM object of the kind {name.removesuffix(' Storage')}."
    return "The DICOM file holds a header without pixel data: the picture was removed, or the file is cut short."


def known_name(uid: object) -> str | None:
    """The name that DICOM gives a UID; None for others, which in a damaged file may be any part of the header."""
    from pydicom.uid import UID_dictionary

    known = UID_dictionary.get(str(uid))
    return known[0] if known else None


def _by_class(table: dict[str, T], header: Dataset) -> T | None:
    """The table's entry for the longest beginning of the object's SOP class, or of the class its modality stands for."""
    meta = getattr(header, "file_meta", None) or {}
    named = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""
    uid = str(named)
    implied = _BY_MODALITY.get(str(header.get("Modality") or "").strip().upper(), "")
    has_picture_class = uid.startswith(_STORAGE) and "Image" in getattr(named, "name", "")
    for candidate in (uid, "" if has_picture_class and "Rows" in header else implied):
        found = [key for key in table if candidate == key or (key.endswith(".") and candidate.startswith(key))]
        if found:
            return table[max(found, key=len)]
    return None
