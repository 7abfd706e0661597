"""Softcopy presentation states (PS3.3 A.33): the images that they refer to, as they say to show them.

What is followed: rescaling, the VOI LUT or window, inversion, rotation and flip. Annotations, shutters and displayed areas are
not drawn, so that nothing covers the image.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoannotate.errors import UnreadableImageError
from autoannotate.images.content import is_fetched
from autoannotate.images.dicom_objects import referenced_images

if TYPE_CHECKING:
    from pydicom import Dataset

MOST_FILES = 2000  # that are looked through for an image
_OF_WINDOWS = ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence")
_OF_RESCALING = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")
_ELSEWHERE = "The image that the presentation state is about is in another file: unpack the archive to see it."
_NOT_BESIDE = "The image that the presentation state is about is neither in its folder nor in one beside it."


def image_of(file: Path, state: Dataset, number: int) -> tuple[Path, int]:
    """The file that a state's reference of this number, from 0, is about, and the frame of it.

    Raises
    ------
    UnreadableImageError
        Where it is not in the folder of the state, nor in one beside it.
    """
    references = referenced_images(state)
    if not 0 <= number < len(references):
        raise UnreadableImageError("The presentation state refers to fewer images than it did when the run began.")
    uid, frame = references[number]
    for folder, below in ((file.parent, "*"), (file.parent.parent, "*/*")):
        found = _instances(folder, below, folder.stat().st_mtime_ns).get(uid)
        if found is not None and found != file:
            return found, frame
    raise UnreadableImageError(_ELSEWHERE if is_fetched(file) else _NOT_BESIDE)


@lru_cache(maxsize=4)
def _instances(folder: Path, below: str, modified: int) -> dict[str, Path]:
    """The DICOM files of a folder by their SOP Instance UID, of the first `MOST_FILES` files."""
    from pydicom import dcmread

    found = {}
    for _, file in zip(range(MOST_FILES), sorted(folder.glob(below)), strict=False):
        try:
            header = dcmread(file, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
            found[str(header.SOPInstanceUID)] = file
        except Exception:
            continue
    return found


def as_the_state_says(header: Dataset, state: Dataset) -> Dataset:
    """The header of an image with the grey scale pipeline of a state in the place of its own (PS3.3 C.11.6, C.11.8)."""
    uid = str(header.get("SOPInstanceUID"))
    if any(name in state for name in _OF_RESCALING):
        _replace(header, state, _OF_RESCALING)
    windows = [item for item in state.get("SoftcopyVOILUTSequence") or [] if _is_about(item, uid)]
    _replace(header, windows[0] if windows else None, _OF_WINDOWS)
    if str(header.get("PhotometricInterpretation")).startswith("MONOCHROME") and "PresentationLUTShape" in state:
        header.PhotometricInterpretation = "MONOCHROME1" if state.PresentationLUTShape == "INVERSE" else "MONOCHROME2"
    return header


def turned(shown: np.ndarray, state: Dataset) -> np.ndarray:
    """A picture, (rows, columns[, 3]), rotated clockwise and then flipped as a state asks (PS3.3 C.10.6)."""
    shown = np.rot90(shown, -(int(state.get("ImageRotation") or 0) // 90))
    return np.ascontiguousarray(shown[:, ::-1] if state.get("ImageHorizontalFlip") == "Y" else shown)


def notes_on(state: Dataset) -> list[str]:
    """What a state asks for and is not shown."""
    asked = {
        "annotations": "GraphicAnnotationSequence", "shutters": "ShutterShape", "a presentation LUT": "PresentationLUTSequence",
    }  # fmt: skip
    found = [words for words, name in asked.items() if state.get(name)]
    return [f"The presentation state has {' and '.join(found)}, which are not shown."] if found else []


def _is_about(item: Dataset, uid: str) -> bool:
    images = item.get("ReferencedImageSequence") or []
    return not images or any(str(image.get("ReferencedSOPInstanceUID")) == uid for image in images)


def _replace(header: Dataset, source: Dataset | None, names: tuple[str, ...]) -> None:
    for name in names:
        if name in header:
            del header[name]
        if source is not None and name in source:
            header[name] = source[name]
