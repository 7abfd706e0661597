"""What to ask a clinician next. Each strategy is one small function with a name; `STRATEGIES` holds them all.

A strategy looks at the `Pool` and ranks the images that nobody answered; array in, array out. Of images that are nearly
the same picture only one is asked, and stands for its group. Adding a strategy is adding one function here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import UsageError
from autoannotate.labelling.features import Features
from autoannotate.labelling.neighbours import Neighbours

if TYPE_CHECKING:
    from autoannotate.labelling.label_errors.correction import Corrected

DEFAULT = "mixture"
CLUSTERS = 500  # the most that `representative` makes at once, as in the paper


@dataclass(frozen=True)
class Pool:
    """What is known about N images with K classes when the next question is chosen.

    Attributes
    ----------
    points : (N, d) array of unit rows
        `Features.compact`.
    neighbours : Neighbours
        Of the points.
    labels : (N,) int array
        Class numbers as they are now.
    views : (V, N, K) array
        Out-of-sample probabilities of the true class; rows sum to one.
    doubt : (N,) array in [0, 1]
        The suspects' score.
    answered : (N,) bool array
        Nothing to ask any more.
    groups : (N,) int array
        Images that are nearly the same picture share a number.
    """

    points: NDArray[np.float64]
    neighbours: Neighbours
    labels: NDArray[np.int64]
    views: NDArray[np.float64]
    doubt: NDArray[np.float64]
    answered: NDArray[np.bool_]
    groups: NDArray[np.int64]
    seed: int = 0

    @property
    def mean(self) -> NDArray[np.float64]:
        """(N, K): the mean of the views."""
        return self.views.mean(axis=0)


Strategy = Callable[[Pool, int], NDArray[np.int64]]
STRATEGIES: dict[str, Strategy] = {}


def strategy(function: Strategy) -> Strategy:
    """Register the function, which takes a pool and how many to ask and ranks rows of the pool, under its own name."""
    STRATEGIES[function.__name__] = function
    return function


def find_strategy(name: str) -> Strategy:
    """The strategy of this name.

    Raises
    ------
    UsageError
        With the names there are.
    """
    if name not in STRATEGIES:
        raise UsageError(f"There is no strategy {name!r}: choose one of {', '.join(sorted(STRATEGIES))}.")
    return STRATEGIES[name]


def pool_of(
    features: Features | NDArray[np.floating],
    corrected: Corrected,
    *,
    answered: NDArray[np.bool_],
    groups: NDArray[np.integer] | None = None,
    view: NDArray[np.floating] | None = None,
    seed: int = 0,
) -> Pool:
    """The pool after a correction.

    Parameters
    ----------
    features : (N, F)
    answered : (N,) bool
    groups : (N,), found in the features if not given
    view : (N, K), more probabilities
    """
    features = Features.of(features)
    views = [corrected.probabilities]
    if view is not None:
        views.append(np.asarray(view, dtype=np.float64))
    if corrected.student.reliable:
        views.append(corrected.student.probabilities)
    return Pool(
        points=features.compact,
        neighbours=features.wide_neighbours,
        labels=corrected.labels,
        views=np.stack(views),
        doubt=corrected.queue.score,
        answered=np.asarray(answered, dtype=bool),
        groups=features.duplicate_groups if groups is None else np.asarray(groups, dtype=np.int64),
        seed=seed,
    )


def order(name: str, pool: Pool, size: int | None = None) -> NDArray[np.int64]:
    """The rows to ask next, the first one first: at most `size`, none answered, none two of one group.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    chosen = find_strategy(name)
    askable = len(_askable(pool))
    return chosen(pool, askable if size is None else max(0, min(size, askable)))


@strategy
def doubtful(pool: Pool, size: int) -> NDArray[np.int64]:
    """The labels most in doubt first: what cleanlab and the other reasons make of them (`suspects.py`)."""
    return _best(pool, pool.doubt, size)


@strategy
def informative(pool: Pool, size: int) -> NDArray[np.int64]:
    """The images whose answer would teach the most: those between two classes, or on which the views disagree.

    1 − (p₁ − p₂), margin sampling (Scheffer, Decomain and Wrobel 2001), plus the mutual information between class and
    view, H(mean p) − mean H(p), over log K (BALD, Houlsby et al. 2011, arXiv 1112.5745, eq. 2).
    """
    return _best(pool, _uncertainty(pool), size)


@strategy
def representative(pool: Pool, size: int) -> NDArray[np.int64]:
    """A diverse batch: the most typical image of each cluster that has no answer yet, the largest cluster first.

    TypiClust (Hacohen, Dekel and Weinshall 2022, arXiv 2202.02794, algorithm 1), on the encoder's features: best where
    labels are guesses, since it asks nothing of them. The typicality of an image is one over the mean distance to its
    nearest neighbours.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    rows = _askable(pool)
    if size == 0:
        return rows[:0]
    typical = _typicality(pool)
    known = np.flatnonzero(pool.answered)
    many = int(min(len(known) + size, CLUSTERS, len(pool.points)))
    engine = KMeans if len(pool.points) <= 5000 else MiniBatchKMeans
    cluster = engine(many, n_init=1, random_state=pool.seed).fit(pool.points).labels_

    members = np.bincount(cluster, minlength=many)
    asked = np.bincount(cluster[known], minlength=many)
    by_cluster = rows[np.argsort(cluster[rows], kind="stable")]
    waiting = np.split(by_cluster, np.cumsum(np.bincount(cluster[rows], minlength=many))[:-1])
    waiting = [inside[np.argsort(-typical[inside], kind="stable")] for inside in waiting]
    chosen: list[int] = []
    taken = np.zeros(many, dtype=np.int64)
    open_ = [(int(asked[c]), -int(members[c]), c) for c in range(many) if len(waiting[c])]
    heapify(open_)
    while len(chosen) < size:  # the cluster with the fewest answers, and of those the largest
        answers, large, c = heappop(open_)
        chosen.append(int(waiting[c][taken[c]]))
        taken[c] += 1
        if taken[c] < len(waiting[c]):
            heappush(open_, (answers + 1, large, c))
    return np.array(chosen, dtype=np.int64)


@strategy
def mixture(pool: Pool, size: int) -> NDArray[np.int64]:
    """Informative and representative at once: uncertain images with many like them, so that one answer tells of all of these.

    Information density (Settles and Craven 2008, section 3.3): uncertainty as in `informative`, times typicality.
    """
    return _best(pool, _uncertainty(pool) * _typicality(pool), size)


def _uncertainty(pool: Pool) -> NDArray[np.float64]:
    mean = pool.mean
    first, second = np.sort(mean, axis=1)[:, :-3:-1].T if mean.shape[1] > 1 else (mean[:, 0], 0.0 * mean[:, 0])
    disagreement = (_entropy(mean) - _entropy(pool.views).mean(axis=0)) / np.log(max(mean.shape[1], 2))
    return 1.0 - (first - second) + disagreement


def _typicality(pool: Pool) -> NDArray[np.float64]:
    """One over the mean distance to the nearest neighbours, (N,)."""
    if pool.neighbours.index.shape[1] == 0:
        return np.ones(len(pool.points))
    distance = np.sqrt(np.maximum(2.0 - 2.0 * pool.neighbours.similarity, 0.0)).mean(axis=1)
    return 1.0 / np.maximum(distance, 1e-6)


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=-1)


def _askable(pool: Pool) -> NDArray[np.int64]:
    """One row of each group that is not answered: the most doubtful, the first where equal.

    A near duplicate that took over an answer counts as answered. Where it took none over, since its copy is of no class or
    the answers contradict each other, it is asked.
    """
    rows = np.flatnonzero(~pool.answered)
    rows = rows[np.argsort(-pool.doubt[rows], kind="stable")]
    _, first = np.unique(pool.groups[rows], return_index=True)
    return np.sort(rows[first])


def _best(pool: Pool, score: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    rows = _askable(pool)
    return rows[np.lexsort((-pool.doubt[rows], -score[rows]))[:size]]
