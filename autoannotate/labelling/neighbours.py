"""The k-NN graph of a set of images, and what can be read from it: spread labels, and how cleanly labels cut it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DUPLICATE = 0.25  # near duplicates are at most this share of the usual distance to the nearest image apart


@dataclass(frozen=True)
class Neighbours:
    """The nearest other images of each image, nearest first.

    index: (N, k) row numbers. similarity: (N, k) cosines of the compact features, in [-1, 1].
    """

    index: NDArray[np.int64]
    similarity: NDArray[np.float64]


def nearest(points: NDArray[np.float64], k: int = 10, block: int = 1024) -> Neighbours:
    """The exact k nearest others of each unit row of (N, d) by cosine, in blocks; k is at most N - 1."""
    n = len(points)
    k = max(0, min(k, n - 1))
    index = np.empty((n, k), dtype=np.int64)
    similarity = np.empty((n, k))
    for start in range(0, n if k else 0, block):
        cosines = points[start : start + block] @ points.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(cosines, best, 1), axis=1, kind="stable"), 1)
        index[start : start + block] = best
        similarity[start : start + block] = np.take_along_axis(cosines, best, 1)
    return Neighbours(index, np.clip(similarity, -1.0, 1.0))


def near_duplicates(neighbours: Neighbours) -> NDArray[np.bool_]:
    """Which of its nearest other images are nearly the same picture as an image, (N, k) bool.

    Nearly the same: at most a quarter as far as images usually are from their nearest, and close to 1 as a cosine.
    """
    distance = 1.0 - neighbours.similarity
    if distance.shape[1] == 0:
        return np.zeros(distance.shape, dtype=bool)
    return distance <= min(DUPLICATE * float(np.median(distance[:, 0])), 0.05) + 1e-9


def near_duplicate_groups(neighbours: Neighbours) -> NDArray[np.int64]:
    """(N,) ids: images linked by being nearly the same picture share one."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n = len(neighbours.index)
    rows, columns = np.nonzero(near_duplicates(neighbours))
    links = csr_array((np.ones(len(rows)), (rows, neighbours.index[rows, columns])), shape=(n, n))
    return connected_components(links, directed=False)[1].astype(np.int64)


def graph_of(neighbours: Neighbours) -> csr_array:
    """The graph, (N, N) sparse and symmetric: an edge, weighted by its positive cosine, where either end is near the other."""
    from scipy.sparse import csr_array

    n, k = neighbours.index.shape
    rows = np.repeat(np.arange(n), k)
    weights = np.maximum(neighbours.similarity.ravel(), 0.0)
    directed = csr_array((weights, (rows, neighbours.index.ravel())), shape=(n, n))
    return csr_array(directed.maximum(directed.T))


def propagate(
    graph: csr_array, seeds: NDArray[np.floating], alpha: float = 0.9, steps: int = 50
) -> NDArray[np.float64]:
    """Spread (N, K) seed scores over the graph: F ← αSF + (1−α)Y with S = D^-½ W D^-½, rows made to sum to one.

    Label propagation as in Zhou et al. 2004, "Learning with Local and Global Consistency", section 2. Rows that no
    seed reaches are uniform.
    """
    from scipy.sparse import diags_array

    scale = diags_array(1.0 / np.sqrt(np.maximum(graph.sum(axis=1), 1e-12)))
    smooth = alpha * (scale @ graph @ scale)
    start = (1.0 - alpha) * np.asarray(seeds, dtype=np.float64)
    spread = np.asarray(seeds, dtype=np.float64)
    for _ in range(steps):
        spread = smooth @ spread + start
    spread = spread + 1e-9
    return spread / spread.sum(axis=1, keepdims=True)


def conductance(graph: csr_array, labels: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    """Per class, (K,), the share of edge weight that leaves it: 0 an island, 1 no cluster at all (or empty, or everything).

    φ(S) = cut(S, rest) / min(vol S, vol rest), e.g. Shi and Malik 2000.
    """
    members = np.eye(n_classes)[labels]
    between = members.T @ (graph @ members)
    volume = between.sum(axis=1)
    smaller = np.minimum(volume, volume.sum() - volume)
    leaving = volume - np.diag(between)
    return np.where(smaller > 0, np.minimum(leaving / np.maximum(smaller, 1e-12), 1.0), 1.0)
