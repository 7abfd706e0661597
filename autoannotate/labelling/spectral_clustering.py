"""Clusters of images, found without labels and named by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.neighbours import conductance

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SPARE = 4  # eigenvectors sought beyond those needed, so that these converge
SMALL = 10  # an island of fewer images than an even share of them for a class, divided by this, is no cluster
FEWEST = 10  # images a class, below which nothing is a cluster
SHORE = 0.02  # clusters that hardly touch are islands: at most this share of the edges of one leaves it


@dataclass(frozen=True)
class Named:
    """N images cut into one cluster a class.

    Attributes
    ----------
    labels : (N,) int array
        The class of each image's cluster.
    border : float
        The largest share of a cluster's edges that leaves it.
    agreement : float
        How far beyond chance the labels that named the clusters agree with them, in standard deviations.
    kappa : float
        The same as Cohen's kappa.
    """

    labels: NDArray[np.int64]
    border: float
    agreement: float
    kappa: float


def cut_and_name(graph: csr_array, labels: NDArray[np.integer]) -> Named | None:
    """The normalised cut of the graph into as many parts as there are classes in the labels, named so that most labels agree.

    The cut does not see the labels. Small islands, such as a handful of blank images, are no part: they keep their labels and
    count for nothing.

    Parameters
    ----------
    graph : (N, N) sparse array
        Symmetric, see `neighbours.graph_of`.
    labels : (N,) int array

    Returns
    -------
    Named or None
        None where there are too few images, or images without any neighbour.

    References
    ----------
    k-means on leading eigenvectors: Ng, Jordan and Weiss 2001, "On Spectral Clustering".
    """
    from scipy.optimize import linear_sum_assignment

    k = len(np.unique(labels))
    inside = _mainland(graph, k)
    graph, n = graph[inside][:, inside], len(inside)
    present, members = np.unique(np.asarray(labels)[inside], return_inverse=True)
    if k < 2 or len(present) < k or n < FEWEST * k or graph.sum() <= 0.0:
        return None
    part = _cut(graph, k)
    counts = np.zeros((k, k), dtype=np.int64)
    np.add.at(counts, (part, members), 1)
    part_of, class_of = linear_sum_assignment(-counts)
    sizes = np.stack([counts.sum(axis=1)[part_of], counts.sum(axis=0)[class_of]])
    chance = float((sizes[0] * sizes[1]).sum()) / n**2
    beyond = counts[part_of, class_of].sum() / n - chance
    deviation = max(float(np.sqrt(chance * (1.0 - chance) / n)), 1e-12)
    named = np.array(labels, dtype=np.int64)
    named[inside] = present[class_of[np.argsort(part_of)]][part]
    border = float(conductance(graph, part, k).max())
    return Named(named, border, float(beyond / deviation), float(beyond / max(1.0 - chance, 1e-12)))


def falls_into_more(graph: csr_array, k: int) -> bool:
    """Whether the graph, small islands aside, falls into more than k islands: a cut into k has then put some of them together.

    Parameters
    ----------
    graph : (N, N) sparse array
    k : int
        The number of classes.
    """
    from scipy.sparse.csgraph import connected_components

    inside = _mainland(graph, k)
    graph = graph[inside][:, inside]
    if len(inside) <= k + 1 + SPARE or connected_components(graph, directed=False)[0] > k:
        return True
    return bool(conductance(graph, _cut(graph, k + 1), k + 1).max() <= SHORE)


def _mainland(graph: csr_array, k: int) -> NDArray[np.int64]:
    """The images that are on no small island."""
    from scipy.sparse.csgraph import connected_components

    _, island = connected_components(graph, directed=False)
    return np.flatnonzero(np.bincount(island)[island] >= graph.shape[0] / (SMALL * max(k, 1)))


def _cut(graph: csr_array, parts: int) -> NDArray[np.int64]:
    """The number of each image's part, (N,)."""
    from sklearn.cluster import KMeans

    return KMeans(parts, n_init=10, random_state=0).fit_predict(leading_eigenvectors(graph, parts))


def leading_eigenvectors(graph: csr_array, count: int) -> NDArray[np.float64]:
    """Each image on the leading eigenvectors of D^-½ W D^-½. Images of one island of the graph fall on one point.

    Parameters
    ----------
    graph : (N, N) sparse array, W
    count : int
        Eigenvectors, fewer than N.

    Returns
    -------
    (N, count) array of unit rows

    References
    ----------
    Ng, Jordan and Weiss 2001, "On Spectral Clustering".
    """
    import warnings

    from scipy.sparse import diags_array
    from scipy.sparse.linalg import lobpcg

    scale = diags_array(1.0 / np.sqrt(np.maximum(graph.sum(axis=1), 1e-12)))
    start = np.random.default_rng(0).normal(size=(graph.shape[0], count + SPARE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is no gap between eigenvalues, it says that it is not exact
        values, vectors = lobpcg(scale @ graph @ scale, start, largest=True, tol=1e-5, maxiter=200)
    vectors = vectors[:, np.argsort(-values, kind="stable")[:count]]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
