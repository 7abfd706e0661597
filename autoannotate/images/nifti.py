"""NIfTI and Analyze 7.5 volumes, through nibabel."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autoannotate.errors import UnreadableImageError
from autoannotate.images import volume
from autoannotate.images.ref import PassOver

_MAGIC = (b"n+1\0", b"ni1\0")
_MAGIC_2 = (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")
_LABEL = 1002  # NIFTI_INTENT_LABEL


def _recognises(head: bytes) -> bool:
    """The magic word of NIfTI 1 or 2, or the length of an Analyze header at its start and a number of dimensions in it."""
    if head[344:348] in _MAGIC or head[4:12] in _MAGIC_2:
        return True
    order: Literal["little", "big"] = "little" if head[:4] == b"\x5c\1\0\0" else "big"
    return int.from_bytes(head[:4], order) == 348 and 1 <= int.from_bytes(head[40:42], order) <= 7


def _frames(file: Path) -> int | None:
    image = _opened(file)
    if type(image).__name__ == "Cifti2Image":
        raise PassOver("CIFTI files", "they are tables of brain surfaces, no pictures")
    if int(image.header.get("intent_code", 0)) == _LABEL:
        raise PassOver("NIfTI label maps", "they are masks that belong to images, no pictures")
    return frames_in(image)


def frames_in(image: Any) -> int | None:
    """How many slices an image of nibabel has; None for a flat picture."""
    return volume.frames(volume.geometry_of(_spatial(image.shape), image.affine))


def _opened(file: Path) -> Any:
    import nibabel

    name = file.name.lower()
    if name.endswith((".img", ".img.gz")):
        raise PassOver("voxels of .hdr volumes", "they are read with their .hdr files")
    with file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    if name.endswith((".nii.gz", ".hdr.gz") if packed else (".nii", ".hdr")):  # nibabel goes by the name
        return nibabel.load(file)
    with gzip.open(file) if packed else file.open("rb") as stream:
        data = stream.read(volume.MAX_BYTES)
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):  # a name that nibabel does not know
        try:
            return kind.from_bytes(data)
        except Exception:
            continue
    raise UnreadableImageError("The file begins like a NIfTI volume, but it is damaged.")


def _spatial(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1, 1)[:3]


def load(file: Path, opened: Callable[[Path], Any]) -> volume.Volume:
    """The first volume of a file that nibabel opens so.

    Raises
    ------
    UnreadableImageError
        Where its voxels are in another file that is gone, and where it is too large.
    """
    try:
        return _volume(opened(file))
    except FileNotFoundError:
        if file.is_file():
            raise volume.voxels_are_gone(file) from None
        raise


def _volume(image: Any) -> volume.Volume:
    spatial, notes = _spatial(image.shape), tuple[str, ...]()
    volume.check_size(spatial, max(4, image.get_data_dtype().itemsize))
    data = image.dataobj
    extra = image.shape[3:]
    if extra and np.prod(extra) > 1:
        notes = (f"The first of {np.prod(extra):,} volumes in the file is shown.",)
    values = np.asarray(data[(slice(None),) * min(3, len(image.shape)) + (0,) * len(extra)]).reshape(spatial)
    if values.dtype.fields is not None:  # RGB24
        values = np.stack([values[name] for name in ("R", "G", "B")], axis=-1)
    elif values.dtype.kind == "f":
        values = values.astype(np.float32)
    return volume.volume_of(values, image.affine, notes)


READER = volume.reader(
    formats="NIfTI and Analyze",
    suffixes=frozenset({".nii", ".nii.gz"}),
    recognises=_recognises,
    frames=_frames,
    load=lambda file: load(file, _opened),
)
