"""Representations that are measured beside each other; one file each, found by its name.

A file has `learn(problem)`, which sees images without labels and gives a function from pictures to vectors; the first
sentence of its docstring is what reports call it. `VOLUMES = True` where the function takes volumes instead of pictures.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.images import ImageRef
    from autoannotate.models.encoder import Encoder

SHARED = ("network",)  # what several of them use
MOST_SLICES = 16  # of a volume, evenly spaced, that methods which learn from pictures see

Encode = Callable[[Sequence[Any]], NDArray[np.floating]]
"""Pictures (or, of a method for volumes, arrays) to vectors, (M, D)."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What a representation may learn from: N images, without their labels.

    Attributes
    ----------
    encoder : the CLIP model of the evaluation
    epochs : how long the trained ones are trained; None: as they like
    """

    refs: Sequence[ImageRef]
    encoder: Encoder
    seed: int = 0
    epochs: int | None = None
    device: str = "auto"

    def __len__(self) -> int:
        return len(self.refs)

    def pictures(self, row: int) -> list[Image.Image]:
        """The picture of an image, or at most `MOST_SLICES` slices of a volume."""
        from autoannotate.images import read_image

        slices = self.refs[row].slices
        steps = np.unique(np.linspace(0, len(slices) - 1, min(MOST_SLICES, len(slices))).round().astype(int))
        return [read_image(slices[step]) for step in steps]

    def pixels(self, size: int, most: int | None = None) -> NDArray[np.uint8]:
        """All pictures, at most `most` drawn by the seed, (P, size, size, 3)."""
        from autoannotate.models.student_network import to_pixels

        found = np.stack([to_pixels(one, size) for row in range(len(self)) for one in self.pictures(row)])
        if most is None or len(found) <= most:
            return found
        return found[np.sort(np.random.default_rng([self.seed, 71]).permutation(len(found))[:most])]

    def volumes(self, side: int) -> NDArray[np.float32]:
        """All volumes as grey cubes (N, side, side, side), 0 to 1."""
        return np.stack([cube(self.pictures(row), side) for row in range(len(self))])


def cube(slices: Sequence[Image.Image], side: int) -> NDArray[np.float32]:
    """Slices as a grey cube (side, side, side), 0 to 1, linear between slices."""
    from scipy.ndimage import zoom

    flat = np.stack([np.asarray(one.convert("L").resize((side, side)), dtype=np.float32) / 255 for one in slices])
    return zoom(flat, (side / len(flat), 1, 1), order=1, grid_mode=True, mode="nearest")


def pooled(encode: Encode, volumes: Sequence[Sequence[Image.Image]]) -> NDArray[np.floating]:
    """One vector an image: of a volume the mean of its slices' (slice pooling), (N, D)."""
    rows = encode([picture for slices in volumes for picture in slices])
    ends = np.cumsum([len(slices) for slices in volumes])
    return np.stack([part.mean(axis=0) for part in np.split(rows, ends[:-1])])


def representations() -> tuple[str, ...]:
    """Their names.

    >>> "pixels" in representations() and "simclr" in representations()
    True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in SHARED))


def representation(name: str) -> ModuleType:
    """The module of a representation."""
    return importlib.import_module(f"{__name__}.{name}")


def described(name: str) -> str:
    """What a representation is, from the first sentence of its docstring."""
    return (representation(name).__doc__ or name).strip().split("\n")[0].rstrip(".")


def of_volumes(name: str) -> bool:
    """Whether it takes volumes alone."""
    return bool(getattr(representation(name), "VOLUMES", False))
