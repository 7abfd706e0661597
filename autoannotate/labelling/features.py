"""Image features on their principal axes, computed once and passed on: what every stage measures distances and fits in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.neighbours import MANY, Neighbours, graph_of, near_duplicate_groups, nearest

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DIMENSIONS = 256  # principal axes that probes are fitted on
NEIGHBOURS, TYPICAL = 10, 20  # nearest images: of the graph, and by which a typical image is told
BLOCK = 4096  # rows that are read and computed at once where there are many


class Rows(Protocol):
    """A table of numbers, (N, F), of which any rows can be read: an array in memory, mapped from a file, or in the cache."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, F)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Features:
    """The features of N images, and what is derived from them, each computed when it is first needed.

    Parameters
    ----------
    values : (N, F) array, or `Rows`
        One descriptor an image, of a frozen encoder. Of more than `MANY` images read block by block, never copied whole.
    """

    values: Any

    @classmethod
    def of(cls, values: Features | NDArray[np.floating]) -> Features:
        """Features as they are, or of an array (N, F)."""
        return values if isinstance(values, Features) else cls(np.asarray(values))

    def blocks(self, rows: NDArray[np.integer] | None = None) -> Iterator[tuple[slice, NDArray[np.floating]]]:
        """Some rows, all by default, `BLOCK` at a time: where they stand among those asked for, and their values."""
        for start in range(0, len(self) if rows is None else len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            yield part, np.asarray(self.values[part if rows is None else rows[part]])

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.integer]) -> Features:
        """The features of some images; all if `rows` names all in order."""
        if len(rows) == len(self) and (rows == np.arange(len(self))).all():
            return self
        return Features(self.values[rows] if len(rows) <= 2 * MANY else _Some(self.values, np.asarray(rows)))

    @cached_property
    def standardised(self) -> NDArray[np.float64]:
        """(N, d), see `standardised`."""
        return standardised(self.values)

    @cached_property
    def compact(self) -> NDArray[np.float64]:
        """(N, d) unit rows, see `compact`; of more than `MANY` images float32, on the axes of `MANY` of them."""
        if len(self) <= MANY:
            return compact(self.values)
        some = np.sort(np.random.default_rng([len(self), 3]).permutation(len(self))[:MANY])
        axes = compact_axes(np.asarray(self.values[some]))
        return np.concatenate([unit(axes(block)).astype(np.float32) for _, block in self.blocks()])

    @cached_property
    def wide_neighbours(self) -> Neighbours:
        """The `TYPICAL` nearest other images of each."""
        return nearest(self.compact, TYPICAL)

    @cached_property
    def neighbours(self) -> Neighbours:
        """The `NEIGHBOURS` nearest other images of each."""
        wide = self.wide_neighbours
        return Neighbours(wide.index[:, :NEIGHBOURS], wide.similarity[:, :NEIGHBOURS])

    @cached_property
    def graph(self) -> csr_array:
        """The k-NN graph, (N, N) sparse."""
        return graph_of(self.neighbours)

    @cached_property
    def duplicate_groups(self) -> NDArray[np.int64]:
        """(N,) ids: near duplicates share one."""
        return near_duplicate_groups(self.neighbours)


@dataclass(frozen=True, eq=False)
class _Some:
    """Some rows of others, read when they are asked for."""

    values: Rows
    rows: NDArray[np.integer]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.values.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, tuple):
            return self.values[self.rows[rows[0]]][(slice(None), *rows[1:])]
        return self.values[self.rows[rows]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.values[self.rows], dtype=dtype)


@dataclass(frozen=True, eq=False)
class Axes:
    """A linear map from features (N, F) to principal axes (N, d): (x − mean) / scale · axes / length.

    Attributes
    ----------
    mean, scale : (F,) arrays
    axes : (F, d) array
    length : float
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64] | None
    axes: NDArray[np.float64]
    length: float = 1.0

    def __call__(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        points = np.asarray(values, dtype=np.float64) - self.mean
        if self.scale is not None:
            points /= self.scale
        return points @ self.axes / self.length


def compact(features: NDArray[np.floating], dimensions: int = 64) -> NDArray[np.float64]:
    """Features centred, on their first principal axes (`principal_axes`) and unit length: (N, d), d at most `dimensions`.

    Centring takes away what all images share, which otherwise drowns cosines; the axes make the search cheap.
    """
    return unit(compact_axes(features, dimensions)(features))


def compact_axes(features: NDArray[np.floating], dimensions: int = 64) -> Axes:
    """The axes of `compact`, to see other images on them."""
    points = np.asarray(features, dtype=np.float64)
    mean = points.mean(axis=0)
    return Axes(mean, None, principal_axes(points - mean, dimensions))


def unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows, (N, F), of length 1, or 0 where they were."""
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def principal_axes(centred: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    """The leading principal axes, exactly, by the smaller Gram matrix.

    Parameters
    ----------
    centred : (N, F) array
        Data of zero mean.
    dimensions : int
        The most axes; there are fewer where the data vary in fewer directions: the others would be rounding noise.

    Returns
    -------
    (F, d) array of orthonormal columns
        The largest component of an axis is positive, so that the axes are the same on every machine.
    """
    from scipy.linalg import eigh

    n, f = centred.shape
    gram = centred.T @ centred if f <= n else centred @ centred.T
    size = len(gram)
    variance, axes = eigh(gram, subset_by_index=[size - max(1, min(dimensions, size)), size - 1])
    kept = variance > 1e-12 * variance[-1]
    kept[-1] = True
    axes = axes[:, kept][:, ::-1]
    if f > n:
        axes = centred.T @ axes
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return axes * np.where(largest < 0, -1.0, 1.0)


def standardised(features: NDArray[np.floating], dimensions: int = DIMENSIONS) -> NDArray[np.float64]:
    """Features (N, F) with every column standardised, on their first principal axes, of unit mean square: (N, d)."""
    return standardised_axes(features, dimensions)(features)


def standardised_axes(features: NDArray[np.floating], dimensions: int = DIMENSIONS) -> Axes:
    """The axes of `standardised`, to see other images on them."""
    points = np.asarray(features, dtype=np.float64)
    mean = points.mean(axis=0)
    points = points - mean
    scale = np.maximum(points.std(axis=0), 1e-6 + 1e-3 * points.std())
    points /= scale
    axes = principal_axes(points, dimensions)
    return Axes(mean, scale, axes, max(float(np.sqrt(np.mean((points @ axes) ** 2))), 1e-12))
