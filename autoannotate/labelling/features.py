"""Image features on their principal axes, computed once and passed on: what every stage measures distances and fits in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.neighbours import Neighbours, graph_of, near_duplicate_groups, nearest

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DIMENSIONS = 256  # principal axes that probes are fitted on
NEIGHBOURS, TYPICAL = 10, 20  # nearest images: of the graph, and by which a typical image is told


@dataclass(frozen=True, eq=False)
class Features:
    """The features of N images, and what is derived from them, each computed when it is first needed.

    Parameters
    ----------
    values : (N, F) array
        One descriptor an image, of a frozen encoder.
    """

    values: NDArray[np.floating]

    @classmethod
    def of(cls, values: Features | NDArray[np.floating]) -> Features:
        """Features as they are, or of an array (N, F)."""
        return values if isinstance(values, Features) else cls(np.asarray(values))

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.integer]) -> Features:
        """The features of some images; all if `rows` names all in order."""
        return self if len(rows) == len(self) and (rows == np.arange(len(self))).all() else Features(self.values[rows])

    @cached_property
    def standardised(self) -> NDArray[np.float64]:
        """(N, d), see `standardised`."""
        return standardised(self.values)

    @cached_property
    def compact(self) -> NDArray[np.float64]:
        """(N, d) unit rows, see `compact`."""
        return compact(self.values)

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


def compact(features: NDArray[np.floating], dimensions: int = 64) -> NDArray[np.float64]:
    """Features centred, on their first principal axes and of unit length.

    Centring takes away what all images share, which otherwise drowns cosines; the axes make the search cheap.

    Parameters
    ----------
    features : (N, F) array
    dimensions : int
        The most axes.

    Returns
    -------
    (N, d) array of unit rows
    """
    centred = np.asarray(features, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    scores = centred @ principal_axes(centred, dimensions)
    return scores / np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-12)


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
    """Features with every column standardised, on their first principal axes.

    Parameters
    ----------
    features : (N, F) array
    dimensions : int
        The most axes.

    Returns
    -------
    (N, d) array
        Of unit mean square.
    """
    points = np.asarray(features, dtype=np.float64)
    points = points - points.mean(axis=0)
    points = points / np.maximum(points.std(axis=0), 1e-6 + 1e-3 * points.std())
    points = points @ principal_axes(points, dimensions)
    return points / max(float(np.sqrt(np.mean(points**2))), 1e-12)
