"""A sample of a large set that stands for the rest: of every cluster and class its share, groups together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLUSTERS = 40  # of the images, made without labels
FITTED = 20_000  # images that the clusters are made of
LEAST = (
    10  # images of each cluster and of each class that are taken, or all that it has, so that a rare kind is not missed
)


def stratified_sample(
    points: NDArray[np.floating],
    labels: NDArray[np.integer],
    size: int,
    *,
    groups: NDArray[np.integer] | None = None,
    always: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Draw about `size` of N images, from each stratum (a cluster's images of one class) its share (Cochran 1977, ch. 5).

    No stratum is given more than its share: those of few images are often wrong labels, and a sample with too many of them
    would tell of more noise than there is (eval/speed). Only whole clusters and whole classes are topped up.

    Parameters
    ----------
    points : (N, d) array
        Unit rows, see `features.compact`.
    labels : (N,) int array
        Class numbers.
    size : int
        At most N. Groups are taken whole, and rare clusters and classes with more than their share, so a few more may come.
    groups : (N,) int array, optional
        Images of one group (a patient, say) are all taken or none; a group counts for the stratum of its first image.
    always : (N,) bool array, optional
        Images that are taken in any case, such as answered ones.

    Returns
    -------
    (M,) int array
        Row numbers in ascending order.
    """
    n = len(labels)
    rng = np.random.default_rng([seed, 41])
    cluster = _clusters(points, rng, seed)
    stratum = np.unique(cluster * (int(labels.max()) + 1) + labels, return_inverse=True)[1]
    ids = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    first = np.unique(ids, return_index=True)[1]
    members = np.bincount(ids)
    taken = np.zeros(len(first), dtype=bool)
    if always is not None:
        taken[ids[always]] = True
    shuffled = rng.permutation(len(first))

    def take(of_group: NDArray[np.integer], least: NDArray[np.integer]) -> None:
        """So many images of each kind at least, those that are taken already among them."""
        kinds = of_group[shuffled]
        order = shuffled[np.lexsort((~taken[shuffled], kinds))]
        bounds = np.searchsorted(of_group[order], np.arange(len(least) + 1))
        for kind, many in enumerate(least):
            here = order[bounds[kind] : bounds[kind + 1]]
            taken[here[np.cumsum(members[here]) - members[here] < many]] = True

    # shares rounded one after the other, so that what one stratum loses by rounding the next one gets
    until = np.floor(rng.random() + size / n * np.append(0, np.cumsum(np.bincount(stratum))))
    take(stratum[first], np.diff(until).astype(np.int64))
    for kind in (cluster, np.asarray(labels)):
        take(kind[first], np.minimum(np.bincount(kind), LEAST))
    return np.flatnonzero(taken[ids])


def _clusters(points: NDArray[np.floating], rng: np.random.Generator, seed: int) -> NDArray[np.int64]:
    """The number of each point's cluster, (N,)."""
    from sklearn.cluster import MiniBatchKMeans

    some = np.sort(rng.permutation(len(points))[:FITTED])
    model = MiniBatchKMeans(min(CLUSTERS, len(some)), n_init=1, random_state=seed).fit(points[some])
    centres = np.asarray(model.cluster_centers_, dtype=points.dtype)
    nearest = [
        ((centres**2).sum(axis=1) - 2.0 * points[start : start + FITTED] @ centres.T).argmin(axis=1)
        for start in range(0, len(points), FITTED)
    ]
    return np.concatenate(nearest).astype(np.int64)
