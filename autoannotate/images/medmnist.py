"""MedMNIST's .npz files (Yang et al. 2023, MedMNIST v2): arrays of images or volumes, one for each split."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from autoannotate.errors import UnreadableImageError
from autoannotate.images.raster import values_to_8_bit
from autoannotate.images.ref import MAX_PIXELS, TOO_LARGE, Picture, Reader

_SPLITS = ("train", "val", "test")
_MOST_TIMES = 1032  # that deflate makes anything smaller
_BLOCK_BYTES = 256 * 2**20
_KINDS = {
    "c": "complex numbers",
    "S": "text",
    "U": "text",
    "M": "dates",
    "m": "durations",
    "V": "records",
    "O": "objects",
}


@dataclass(frozen=True)
class _Split:
    """One array of images in the archive."""

    member: str
    shape: tuple[int, ...]
    dtype: np.dtype
    data_offset: int

    @property
    def is_volumes(self) -> bool:
        """Whether each image is a stack of slices, as in the 3-D sets: count × slices × height × width."""
        return len(self.shape) == 4 and self.shape[3] not in (3, 4)

    @property
    def slices(self) -> int:
        """Of each image."""
        return self.shape[1] if self.is_volumes else 1

    @property
    def frames(self) -> int:
        """Slices, or flat images, in all."""
        return self.shape[0] * self.slices

    @property
    def image_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def images_per_block(self) -> int:
        return max(1, _BLOCK_BYTES // max(1, self.image_bytes))


def _frames(file: Path) -> int | None:
    return sum(split.frames for split in _splits(file, file.stat().st_mtime_ns)) or None


def _slices(file: Path) -> int:
    """How many slices each volume has; 1 in files of flat images."""
    return max((split.slices for split in _splits(file, file.stat().st_mtime_ns)), default=1)


def _read(file: Path, frame: int | None) -> Picture:
    modified = file.stat().st_mtime_ns
    try:
        splits = _splits(file, modified)
    except zipfile.BadZipFile:
        raise UnreadableImageError("The .npz file is damaged or cut short: it is no archive of arrays.") from None
    if not splits or frame is None:
        raise UnreadableImageError(
            "The .npz file holds no images as MedMNIST stores them (train_images, val_images, test_images)."
        )
    for split in splits:
        if frame < split.frames:
            number, slice_ = divmod(frame, split.slices)
            block, row = divmod(number, split.images_per_block)
            pixels = _block(file, modified, split, block)[row]
            pixels = pixels[slice_] if split.is_volumes else pixels
            return Picture(Image.fromarray(values_to_8_bit(pixels)).convert("RGB"))
        frame -= split.frames
    raise UnreadableImageError("The .npz file holds fewer images than it did when the run began.")


@lru_cache(maxsize=8)
def _splits(file: Path, modified: int) -> tuple[_Split, ...]:
    """The image arrays of the file in the order train, val, test, from their headers."""
    splits = []
    with zipfile.ZipFile(file) as archive:
        present = set(archive.namelist())
        for member in (f"{name}_images.npy" for name in _SPLITS):
            if member not in present:
                continue
            with archive.open(member) as stream:
                version = npy.read_magic(stream)
                read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, fortran_order, dtype = read_header(stream)
                if dtype.hasobject or fortran_order:
                    raise UnreadableImageError(
                        "The arrays of the .npz file hold Python objects, or columns before rows: save them with "
                        "numpy.ascontiguousarray as numbers."
                    )
                if len(shape) not in (3, 4):
                    raise UnreadableImageError(
                        "The arrays of the .npz file are not stacks of images (count × height × width, with or without × 3 "
                        "colours) or volumes (count × slices × height × width)."
                    )
                if dtype.kind not in "biuf":
                    raise UnreadableImageError(
                        f"The arrays of the .npz file hold no pixel values but {_KINDS[dtype.kind]}."
                    )
                if shape[-1] * shape[-2] * (shape[1] if len(shape) == 4 else 1) > MAX_PIXELS:
                    raise UnreadableImageError(TOO_LARGE)
                split = _Split(member, shape, dtype, stream.tell())
                found = archive.getinfo(member)
                stored = min(found.file_size, _MOST_TIMES * found.compress_size + 1024)
                if split.data_offset + shape[0] * split.image_bytes > stored:
                    raise UnreadableImageError("The .npz file is cut short: it holds fewer images than it says.")
                splits.append(split)
    return tuple(splits)


@lru_cache(maxsize=1)
def _block(file: Path, modified: int, split: _Split, block: int) -> np.ndarray:
    """Neighbouring images of a split, (n, height, width[, 3]).

    A block is the whole split in all but the largest MedMNIST files, where reading everything at once could
    take 16 GB; runs go through the images in order, so that one block at a time is enough.
    """
    first = block * split.images_per_block
    count = min(split.images_per_block, split.shape[0] - first)
    with zipfile.ZipFile(file) as archive, archive.open(split.member) as stream:
        stream.seek(split.data_offset + first * split.image_bytes)
        data = stream.read(count * split.image_bytes)
    return np.frombuffer(data, dtype=split.dtype).reshape(count, *split.shape[1:])


READER = Reader(
    formats="MedMNIST .npz",
    suffixes=frozenset({".npz"}),
    recognises=lambda head: False,
    frames=_frames,
    read=_read,
    slices=_slices,
)
