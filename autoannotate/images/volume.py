"""Volumes of research formats as slices: one orientation for all of them, square pixels, one window a volume."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from autoannotate.errors import UnreadableImageError
from autoannotate.images.content import is_fetched
from autoannotate.images.ref import MAX_PIXELS, TOO_LARGE, Grey, Picture, Reader
from autoannotate.images.scaling import stretch, stretched_from, with_square_pixels

MAX_BYTES = 2 * 2**30
MOST_SLICES = 2**16
MANY_FILES = "The header spreads its voxels over many files, which is not supported: join them in one."
_THICK = 1.5  # times the spacing within a slice: then slices are what was scanned


@dataclass(frozen=True)
class Geometry:
    """What a header says of a volume.

    Attributes
    ----------
    shape : tuple of int
        (x, y, z) in canonical orientation: the patient's left to right is x from high to low (RAS+), y from posterior to
        anterior, z from inferior to superior.
    spacing : tuple of float
        Millimetres between voxels, in the same order.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def axis(self) -> int:
        """Along which the slices lie: the one of thick slices; axial (2) where voxels are about as long as wide."""
        if 1 in self.shape:  # a flat picture
            return 2 if self.shape[2] == 1 else self.shape.index(1)
        spacing = [step if math.isfinite(step) and step > 0 else 1.0 for step in self.spacing]
        thickest = int(np.argmax(spacing))
        others = sorted(spacing)[1]
        return thickest if spacing[thickest] >= _THICK * others else 2


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume in canonical orientation: values (x, y, z) or, in colour, (x, y, z, 3), and its window."""

    values: np.ndarray
    geometry: Geometry
    low: float
    high: float
    notes: tuple[str, ...] = ()


def volume_of(values: np.ndarray, affine: np.ndarray, notes: tuple[str, ...] = ()) -> Volume:
    """A volume from its voxels and the matrix that takes them to RAS+ millimetres (4 × 4, as nibabel's `affine`)."""
    import nibabel

    orientation = orientation_of(affine)
    spatial = nibabel.orientations.apply_orientation(values, orientation)
    if np.iscomplexobj(spatial):
        spatial = np.abs(spatial)
    low, high = stretched_from(spatial) if spatial.ndim == 3 else (0.0, 255.0)
    return Volume(spatial, geometry_of(values.shape[:3], affine), low, high, notes)


def geometry_of(shape: tuple[int, ...], affine: np.ndarray) -> Geometry:
    """The canonical geometry of voxels stored as `shape`, (i, j, k)."""
    axes = orientation_of(affine)[:, 0].astype(int)
    steps = np.sqrt((np.asarray(affine)[:3, :3] ** 2).sum(axis=0))
    size, spacing = [1, 1, 1], [1.0, 1.0, 1.0]
    for stored, canonical in enumerate(axes):
        size[canonical], spacing[canonical] = int(shape[stored]), float(steps[stored])
    return Geometry((size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2]))


def orientation_of(affine: np.ndarray) -> np.ndarray:
    """nibabel's orientation, (3, 2): for each stored axis the canonical one and whether it is flipped."""
    import nibabel

    usable = np.isfinite(affine).all()
    found = nibabel.orientations.io_orientation(affine if usable else np.eye(4))
    return found if np.isfinite(found).all() else np.array([[0, 1], [1, 1], [2, 1]], dtype=float)


def voxels_are_gone(header: Path) -> UnreadableImageError:
    """For a header whose voxels are in another file that is not there."""
    if is_fetched(header):
        return UnreadableImageError(
            "The voxels that belong to this header are in another file: unpack the archive, or download both, to read it."
        )
    return UnreadableImageError("The file with the voxels that belongs to this header is not beside it.")


def frames(geometry: Geometry) -> int | None:
    """How many slices; None for a flat picture, and where a damaged header gives it more than anyone scans."""
    count = geometry.shape[geometry.axis]
    return count if 1 < count <= MOST_SLICES else None


def picture(volume: Volume, frame: int | None) -> Picture:
    """A slice as radiologists look at it: the patient's right, or front, on the left; front, or head, at the top."""
    flat, height, width = _slice(volume, frame)
    shown = np.ascontiguousarray(flat.astype(np.uint8)) if flat.ndim == 3 else stretch(flat, volume.low, volume.high)
    return Picture(Image.fromarray(with_square_pixels(shown, height, width)).convert("RGB"), volume.notes)


def grey(volume: Volume, frame: int | None) -> Grey | None:
    """The values of a slice, with the window of the whole volume."""
    flat, height, width = _slice(volume, frame)
    if flat.ndim == 3:
        return None
    side = min(height, width)
    mm = side if math.isfinite(side) and side > 0 else 0.0
    return Grey(with_square_pixels(flat, height, width), volume.low, volume.high, mm=mm)


def _slice(volume: Volume, frame: int | None) -> tuple[np.ndarray, float, float]:
    """The values of a slice, (rows, columns[, 3]), and height and width of a pixel."""
    axis = volume.geometry.axis
    if not 0 <= (frame or 0) < volume.geometry.shape[axis]:
        raise UnreadableImageError("The volume holds fewer slices than it did when the run began.")
    flat = volume.values[(slice(None),) * axis + (frame or 0,)]  # a view, where np.take would copy the whole volume
    across, down = [other for other in range(3) if other != axis]
    flat = flat.swapaxes(0, 1)[::-1]  # rows: the later of the two axes, from front or head on
    flat = flat[:, ::-1]  # columns: the right side, or the front, at the left
    spacing = volume.geometry.spacing
    return flat, spacing[down], spacing[across]


def check_size(shape: tuple[int, ...], itemsize: int) -> None:
    """Raise `UnreadableImageError` for volumes that are empty or take more memory than is right."""
    if any(side <= 0 for side in shape):
        raise UnreadableImageError("The volume is empty: its header gives it no voxels.")
    if math.prod(shape) * itemsize > MAX_BYTES:
        raise UnreadableImageError(
            f"The volume takes over {MAX_BYTES // 2**30} GB of memory: crop it, or make it coarser."
        )
    if math.prod(sorted(shape)[-2:]) > MAX_PIXELS:
        raise UnreadableImageError(TOO_LARGE)


def reader(
    *,
    formats: str,
    suffixes: frozenset[str],
    recognises: Callable[[bytes], bool],
    frames: Callable[[Path], int | None],
    load: Callable[[Path], Volume],
) -> Reader:
    """The reader of a format of volumes, whose frames are its slices; see `Reader`."""
    volume_in = _remembered(load)
    return Reader(
        formats=formats,
        suffixes=suffixes,
        recognises=recognises,
        frames=frames,
        read=lambda file, frame: picture(volume_in(file), frame),
        read_grey=lambda file, frame: grey(volume_in(file), frame),
        slices=lambda file: frames(file) or 1,
    )


def _remembered(load: Callable[[Path], Volume]) -> Callable[[Path], Volume]:
    """The loader of a format, which keeps the last volume: its slices are read one after the other."""

    @lru_cache(maxsize=1)
    def kept(file: Path, modified: int) -> Volume:
        return load(file)

    return lambda file: kept(file, file.stat().st_mtime_ns)
