"""NRRD volumes and pictures, through pynrrd."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from autoannotate.errors import UnreadableImageError
from autoannotate.images import volume
from autoannotate.images.ref import PassOver

_HEADER = 64 * 1024  # bytes at most
_COLOURS = ("RGB-color", "3-color", "RGBA-color", "4-color")
_TO_RAS = {
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
}  # fmt: skip


def _header(file: Path) -> dict[str, Any]:
    import nrrd

    with file.open("rb") as stream:
        if re.search(rb"\ndata ?file: *(LIST|\S*%)", stream.read(_HEADER).partition(b"\n\n")[0]):
            raise UnreadableImageError(volume.MANY_FILES)
        stream.seek(0)
        return nrrd.read_header(stream)


def _shape(header: dict[str, Any]) -> tuple[tuple[int, ...], int | None, int | None]:
    """The sizes of the spatial axes, the axis of colours, and the axis of further volumes, which is the last."""
    sizes = [int(size) for size in header["sizes"]]
    kinds = [str(kind) for kind in header.get("kinds", [])]
    colour = next((axis for axis, kind in enumerate(kinds[: len(sizes)]) if kind in _COLOURS), None)
    if colour is None and len(sizes) == 3 and sizes[0] in (3, 4) and min(sizes[1:]) > 4 and not kinds:
        colour = 0
    rest = [axis for axis in range(len(sizes)) if axis != colour]
    more = None
    if len(rest) > 3:
        lists = [axis for axis in rest if axis < len(kinds) and kinds[axis] not in ("domain", "space")]
        more = lists[0] if lists else rest[-1]
        rest = [axis for axis in rest if axis != more][:3]
    spatial = (*(sizes[axis] for axis in rest), 1, 1, 1)[:3]
    return spatial, colour, more


def _affine(header: dict[str, Any]) -> np.ndarray:
    affine = np.diag([1.0, -1.0, -1.0, 1.0]) if header.get("dimension") == 2 else np.eye(4)
    directions = header.get("space directions")
    if directions is not None:
        rows = np.array([row for row in np.atleast_2d(directions) if np.isfinite(row).all()], dtype=float)[:3]
        if rows.shape == (3, 3):
            affine[:3, :3] = rows.T
            signs = _TO_RAS.get(str(header.get("space", "")).lower(), (1, 1, 1))
            affine[:3] *= np.array(signs)[:, None]
    elif header.get("spacings") is not None:
        steps = [step for step in np.asarray(header["spacings"], dtype=float) if np.isfinite(step) and step > 0][:3]
        for axis, step in enumerate(steps):
            affine[axis, axis] *= step
    return affine


def _frames(file: Path) -> int | None:
    header = _header(file)
    if any(str(key).startswith("Segment0") for key in header):
        raise PassOver("NRRD segmentations", "they are masks that belong to images, no pictures")
    return volume.frames(volume.geometry_of(_shape(header)[0], _affine(header)))


def _load(file: Path) -> volume.Volume:
    import nrrd

    header = _header(file)
    voxels = file.parent / str(header.get("data file", header.get("datafile", file.name)))
    if not voxels.resolve().is_relative_to(file.parent.resolve()) and not file.is_symlink():
        raise UnreadableImageError("The header names voxels in a file outside of its folder, which is not read.")
    spatial, colour, more = _shape(header)
    volume.check_size(tuple(int(size) for size in header["sizes"]), 4)
    try:
        values, header = nrrd.read(str(file))
    except FileNotFoundError:
        raise volume.voxels_are_gone(file) from None
    notes: tuple[str, ...] = ()
    if more is not None:
        notes = (f"The first of {values.shape[more]:,} volumes in the file is shown.",)
        values = np.take(values, 0, axis=more)
        colour = None if colour is None else colour - (colour > more)
    if colour is not None:
        values = np.moveaxis(values, colour, -1)[..., :3]
        values = values.reshape(*spatial, 3)
    else:
        values = values.reshape(spatial)
    return volume.volume_of(values, _affine(header), notes)


READER = volume.reader(
    formats="NRRD",
    suffixes=frozenset({".nrrd", ".nhdr"}),
    recognises=lambda head: head.startswith(b"NRRD000"),
    frames=_frames,
    load=_load,
)
