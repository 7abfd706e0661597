"""Groups of images without labels: clusters at several levels, typical images, outliers. Array in, array out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autoannotate.explore.maps import extra
from autoannotate.labelling.neighbours import Neighbours, graph_of

RESOLUTIONS = (0.5, 2.0, 8.0)  # of modularity: some 5, 15 and 50 clusters of a few thousand images
SMALLEST = 10  # images a cluster has on average, below which no finer level is made
TYPICAL = 8
OUTLIERS = 0.01


@dataclass(frozen=True)
class Cluster:
    """One cluster.

    level, number : int
        The level it is of, coarse first, and its number in it, the largest first.
    parent : int
        The number of the cluster of the coarser level that holds most of it; -1 at the first.
    rows : ndarray
        Its images.
    typical : ndarray
        At most `TYPICAL` of them: nearest to its centre, none nearly the same as another.
    """

    level: int
    number: int
    parent: int
    rows: NDArray[np.int64]
    typical: NDArray[np.int64]


def cluster_levels(neighbours: Neighbours, seed: int = 0) -> NDArray[np.int64]:
    """Clusters at some levels: (L, N) numbers, the coarsest level first, the largest cluster of a level 0.

    Notes
    -----
    The Leiden algorithm (Traag, Waltman and van Eck 2019, doi 10.1038/s41598-019-41695-z) on the graph of nearest
    neighbours, maximising modularity at each of `RESOLUTIONS`. It agrees better with classes than Ward's tree and HDBSCAN,
    which calls most images noise here: eval/explore/groups.md. Levels with as many clusters as the one before are left out.

    Raises
    ------
    UsageError
        Where the extra `explore` is not installed.
    """
    from scipy.sparse import csr_matrix

    n = len(neighbours.index)
    levels = [np.zeros(n, dtype=np.int64)]
    if neighbours.index.shape[1]:
        leiden, graph = extra("sknetwork.clustering").Leiden, csr_matrix(graph_of(neighbours))
        for resolution in RESOLUTIONS:
            found = np.asarray(leiden(resolution=resolution, random_state=seed).fit_predict(graph), dtype=np.int64)
            if resolution == RESOLUTIONS[0] or n / SMALLEST >= found.max() + 1:
                levels.append(_by_size(found))
    different = [one for before, one in pairwise(levels) if one.max() > before.max()]
    return np.stack(different or levels[:1])


def _by_size(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same clusters, numbered from the largest to the smallest."""
    order = np.argsort(-np.bincount(codes), kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes]


def describe(levels: NDArray[np.int64], points: NDArray[np.floating], same: NDArray[np.integer]) -> list[Cluster]:
    """Every cluster of every level with its typical images.

    Parameters
    ----------
    levels : ndarray of shape (L, N)
    points : ndarray of shape (N, D)
        Unit rows.
    same : ndarray of shape (N,)
        Ids of near-duplicate groups: of each, one is shown.
    """
    found = []
    for level, codes in enumerate(levels):
        for number in range(int(codes.max()) + 1):
            rows = np.flatnonzero(codes == number)
            centre = points[rows].mean(axis=0)
            nearest_first = rows[np.argsort(-(points[rows] @ centre), kind="stable")]
            _, first = np.unique(same[nearest_first], return_index=True)
            parent = int(np.bincount(levels[level - 1][rows]).argmax()) if level else -1
            found.append(Cluster(level, number, parent, rows, nearest_first[np.sort(first)][:TYPICAL]))
    return found


def outlier_scores(neighbours: Neighbours) -> NDArray[np.float64]:
    """How far each image is from its nearest others beside how far those are from theirs: (N,), about 1 inside a crowd.

    The simplified local outlier factor (Schubert, Zimek and Kriegel 2014) with cosine distances.
    """
    if neighbours.index.shape[1] == 0:
        return np.ones(len(neighbours.index))
    distance = np.maximum(1.0 - neighbours.similarity.mean(axis=1), 1e-9)
    return distance / np.maximum(distance[neighbours.index].mean(axis=1), 1e-9)


def outliers(scores: NDArray[np.floating], share: float = OUTLIERS) -> NDArray[np.int64]:
    """The rows that stand out most, the first one first: at most a share of all, at least three, and only scores above 1.5."""
    many = max(3, round(share * len(scores)))
    order = np.argsort(-scores, kind="stable")[:many]
    return order[scores[order] > 1.5]


def purity(rows: NDArray[np.int64], labels: Sequence[str] | NDArray) -> tuple[str, float]:
    """The commonest label of some images, and its share."""
    names, counts = np.unique(np.asarray(labels, dtype=object)[rows].astype(str), return_counts=True)
    return str(names[counts.argmax()]), float(counts.max() / len(rows))


def words_of(
    centres: NDArray[np.floating], embeddings: NDArray[np.floating], texts: NDArray[np.floating], most: int = 3
) -> NDArray[np.int64]:
    """Which texts say best what sets each cluster apart: (C, `most`), the best first.

    Parameters
    ----------
    centres : ndarray of shape (C, D)
        Mean embedding of each cluster.
    embeddings : ndarray of shape (N, D)
        Of all images.
    texts : ndarray of shape (T, D)
        Unit rows.

    Notes
    -----
    A text scores by its cosine with the cluster less half of its cosine with all images, so that a text that fits everything
    alike does not win everywhere (as distribution normalisation, Zhou et al. 2023, halves the mean).
    """
    shifted = centres - embeddings.mean(axis=0) / 2
    return np.argsort(-(shifted @ texts.T), axis=1, kind="stable")[:, :most]
