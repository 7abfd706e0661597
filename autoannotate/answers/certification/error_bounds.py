"""How many errors a random sample missed among the most confident labels, for every threshold at once. Arrays in and out.

N labels lie in a fixed order, the most confident first. A simple random sample of n is reviewed, without replacement. Of the
first j labels k_j reviewed ones were found wrong, and d_j wrong ones were missed because nobody reviewed them. Wanted: bounds
u(0) ≤ u(1) ≤ … such that, whatever the labels are,

    P(d_j ≤ u(k_j) for all j) ≥ confidence.                                                                           (1)

Go through the wrong labels in their order, and note of each whether it was sampled. The sample was drawn without looking at
the labels, so these notes are draws without replacement from an urn with n balls "found" and N − n balls "missed". That holds
wherever the wrong labels lie and however many there are. After all wrong labels among the first j, the walk
(found, missed) stands at (k_j, d_j). So (1) fails at some j only if the walk ever stands above the staircase u, and the chance
of that is a number that `crossing` computes exactly: every path to (w, d) has the same probability,

    n(n−1)…(n−w+1) · (N−n)(N−n−1)…(N−n−d+1) / (N(N−1)…(N−w−d+1)),                                                     (2)

and the paths that stay under the staircase are counted column by column with a cumulative sum.

With one step alone this is Clopper and Pearson's one-sided bound (1934) for a finite population; the staircase takes each step
at the same level, the highest at which all together keep (1). Since (1) holds for all thresholds together, the largest set may
be chosen after the answers are known: that is the family-wise control that learn-then-test asks for (Angelopoulos, Bates,
Candès, Jordan and Lei 2021, arXiv 2110.01052, Theorem 1), without having to test thresholds in a fixed order and stop at the
first that fails. The number missed before so many were found is how Janson and Su (2016, EJS 10:960) bound false discoveries;
bounds for all sets of a path at once are those of Katsevich and Ramdas (2020, AoS 48:3465).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST_STEPS = 500  # of the staircase: with more errors found than that, nothing is promised
MOST_CELLS = 20_000_000
HALVINGS = 25


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds that hold together for every threshold, with at least this confidence over the draw of the sample.

    Attributes
    ----------
    images : N
    sample : n
    missed : (C,) int64, not decreasing; entry k is the greatest number of errors missed where k were found
    risk : the exact chance that any bound fails where every label is wrong, which is the worst case; it is at most 1 −
        confidence
    """

    images: int
    sample: int
    confidence: float
    missed: NDArray[np.int64]
    risk: float

    def at(self, found: NDArray[np.integer]) -> NDArray[np.int64]:
        """The bound for each number of errors found, any shape; N − n, which is certain, where more were found than C − 1."""
        found = np.asarray(found)
        if len(self.missed) == 0:
            return np.full(found.shape, self.images - self.sample)
        known = self.missed[np.minimum(found, len(self.missed) - 1)]
        return np.where(found < len(self.missed), known, self.images - self.sample)


def simultaneous_bounds(images: int, sample: int, confidence: float, most: int, most_steps: int = MOST_STEPS) -> Bounds:
    """The staircase of (1) for a sample of `sample` out of `images`, with no step above `most` missed errors.

    Parameters
    ----------
    most : what could still be of use, the share of wrong labels to promise times the size of the largest set
    most_steps : of the staircase. Both shape it and must be chosen before the answers are known.

    Raises
    ------
    ValueError
        Outside 0 ≤ sample ≤ images, 0.5 ≤ confidence < 1.

    Examples
    --------
    >>> simultaneous_bounds(1000, 200, 0.95, 20).missed.tolist()
    [13]
    >>> simultaneous_bounds(1000, 300, 0.95, 20).missed.tolist()
    [10, 14, 18]
    """
    if not 0 <= sample <= images:
        raise ValueError(f"a sample of {sample} cannot be drawn from {images} images")
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence must lie between 0.5 and 1, not at {confidence}")
    risk = 1 - confidence
    nothing = np.zeros(0, dtype=np.int64)
    if sample == 0 or most >= images - sample:  # nothing is known, or nothing needs to be
        return Bounds(images, sample, confidence, nothing, 0.0)
    tails = _tails(images, sample, most, most_steps)

    def chance(level: float, steps: int | None = None) -> float:
        return crossing(images, sample, _staircase(tails, level, steps))

    steps = len(_staircase(tails, _highest(lambda level: chance(level) <= risk, risk)))
    level = _highest(lambda level: chance(level, steps) <= risk, risk)
    missed = _staircase(tails, level, steps)
    return Bounds(images, sample, confidence, missed, crossing(images, sample, missed))


def crossing(images: int, sample: int, missed: NDArray[np.integer]) -> float:
    """The chance that a walk from an urn ever has more errors missed than `missed[found]`, where all labels are wrong.

    With fewer wrong labels the walk is shorter and the chance smaller.

    Parameters
    ----------
    missed : (C,), not decreasing; with C errors found or more the walk is free

    Examples
    --------
    >>> round(crossing(10, 5, np.array([1])), 6)  # the first two wrong labels are both missed: 5/10 · 4/9
    0.222222
    """
    from scipy.special import gammaln

    total, scale = 0.0, 0.0
    paths = np.ones(1)
    for found, bound in enumerate(np.asarray(missed, dtype=np.int64)):
        # paths[d]: those that reach (found, d) and never stood above the staircase, divided by exp(scale)
        grown = np.zeros(bound + 1)
        grown[: len(paths)] = paths if found else 1.0
        paths = np.cumsum(grown) if found else np.ones(bound + 1)
        scale += np.log(paths[-1])
        paths = paths / paths[-1]
        over = bound + 1
        if found > sample or over > images - sample:
            continue
        of_one = (
            gammaln(sample + 1)
            - gammaln(sample - found + 1)
            + gammaln(images - sample + 1)
            - gammaln(images - sample - over + 1)
            - gammaln(images + 1)
            + gammaln(images - found - over + 1)
        )
        total += float(np.exp(scale + of_one))
    return total


@lru_cache(maxsize=64)
def sample_size(images: int, confidence: float, most: int, errors: int) -> int:
    """The least sample with which all `images` can be promised to hold at most `most` errors though `errors` were found.

    >>> [sample_size(2000, 0.95, 40, errors) for errors in range(4)]
    [140, 235, 311, 373]
    """

    def enough(sample: int) -> bool:
        if most >= images - sample:
            return True
        return len(simultaneous_bounds(images, sample, confidence, most, errors + 1).missed) > errors

    low, high = 0, max(images - most, 1)  # not enough, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return min(high, images)


def largest_set(
    wrong: NDArray[np.bool_],
    known: NDArray[np.bool_],
    left_out: NDArray[np.bool_],
    bounds: Bounds,
    max_error: float,
    extra: int = 0,
) -> tuple[int, int]:
    """How many of the most confident labels may be kept so that at most `max_error` of all that is kept is wrong.

    Parameters
    ----------
    wrong : (N,), in order of confidence, what the sample found wrong
    known : (N,), a clinician gave the class: kept wherever it stands, and right
    left_out : (N,), never kept: answered, but with no class
    extra : how many right labels there are besides these N

    Returns
    -------
    The number of most confident labels to keep, and how many of what is kept can be wrong at most.

    Examples
    --------
    >>> bounds = simultaneous_bounds(1000, 300, 0.95, 20)
    >>> wrong, known, left_out = np.zeros((3, 1000), dtype=bool)
    >>> known[:300] = True  # the sample, all right
    >>> largest_set(wrong, known, left_out, bounds, 0.02)
    (1000, 10)
    """
    unreviewed = np.cumsum(~known & ~left_out)
    size = unreviewed + extra + int(known.sum())
    missed = np.minimum(bounds.at(np.cumsum(wrong)), unreviewed)
    fits = np.flatnonzero(missed <= max_error * size + 1e-9)
    return (int(fits[-1]) + 1, int(missed[fits[-1]])) if len(fits) else (0, 0)


def _tails(images: int, sample: int, most: int, most_steps: int) -> NDArray[np.float64]:
    """(C, most + 1): the chance that more than u errors are missed before error k + 1 is found, in row k and column u.

    The negative hypergeometric distribution, by (2) times the number of paths. C rows are all that can have a bound of
    `most` at even odds, up to most_steps.
    """
    from scipy.special import gammaln

    rows = int(min(sample, most * (sample + 1) / (images - sample) + 2, most_steps, max(MOST_CELLS // (most + 1), 1)))
    k, u = np.arange(rows)[:, None], np.arange(most + 1)[None, :]
    missed = images - sample
    log_exactly = (
        gammaln(k + u + 1) - gammaln(k + 1) - gammaln(u + 1)
        + gammaln(sample + 1) - gammaln(sample - k)
        + gammaln(missed + 1) - gammaln(missed - u + 1)
        - gammaln(images + 1) + gammaln(images - k - u)
    )  # fmt: skip
    return 1.0 - np.cumsum(np.exp(log_exactly), axis=1)


def _staircase(tails: NDArray[np.float64], level: float, steps: int | None = None) -> NDArray[np.int64]:
    """The bounds that hold one by one with chance 1 − level, the first `steps` of those that `tails` reaches to."""
    low_enough = tails <= level
    missed = np.where(low_enough.any(axis=1), low_enough.argmax(axis=1), tails.shape[1])
    reached = int(np.searchsorted(missed, tails.shape[1]))
    return missed[: reached if steps is None else min(steps, reached)].astype(np.int64)


def _highest(fits: Callable[[float], bool], most: float) -> float:
    """The highest level up to `most` that fits, by halving; 0 fits."""
    low, high = 0.0, most
    if fits(high):
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
