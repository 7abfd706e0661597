"""The same promise where whole groups (patients, studies, lesions) are drawn and reviewed: a cluster sample. Arrays in and out.

G groups of any size; a simple random sample of g of them is drawn without replacement, and all their images are reviewed. N
images lie in a fixed order, the most confident first. Call a group wrong at j where any of its images among the first j is.
Go through the groups in the order of their first wrong image, and note of each whether it was drawn: since the draw did not
look at the labels, these notes are draws without replacement from an urn with g balls "found" and G − g balls "missed".
That is the urn of `error_bounds`, with groups for images, so its staircase u holds: with K_j drawn groups found wrong at j,

    P(at most u(K_j) groups that were not drawn are wrong at j, for all j) ≥ confidence.                              (1)

It is Clopper and Pearson's bound (1934) on groups, for every threshold at once. Each group that was missed has at most all of
its unreviewed images among the first j wrong, n_gj of them, so that on the same event at most

    the sum of the u(K_j) largest n_gj                                                                                 (2)

images among the first j are wrong and unreviewed. Nothing is assumed of sizes, or of how alike the images of a group are;
where groups are large and few of their images wrong, (2) is wide, and a sample of single images promises more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoannotate.answers.certification.error_bounds import Bounds


def most_groups(sizes: Sequence[int] | NDArray[np.integer], most: int) -> int:
    """How many groups may be missed so that even the largest of them hold no more than `most` images.

    >>> most_groups([1, 5, 2, 2, 9], 10), most_groups([30, 1], 10)
    (1, 0)
    """
    largest = np.sort(np.asarray(sizes, dtype=np.int64))[::-1]
    return int(np.searchsorted(np.cumsum(largest), most, side="right"))


def missed_at_most(
    wrong: NDArray[np.bool_], unreviewed: NDArray[np.bool_], groups: NDArray[np.integer], bounds: Bounds
) -> NDArray[np.int64]:
    """Bound (2) for each number of most confident images, (N,).

    Parameters
    ----------
    wrong : (N,) bool array, in order of confidence
        What the sample found wrong.
    unreviewed : (N,) bool array
    groups : (N,) int array
        Ids; the groups that were drawn have no unreviewed image.
    bounds : Bounds
        Of groups.

    >>> from autoannotate.answers.certification.error_bounds import Bounds
    >>> bounds = Bounds(3, 1, 0.5, np.array([1]), 0.5)
    >>> wrong, unreviewed = np.zeros(5, dtype=bool), np.array([True, False, True, True, True])
    >>> missed_at_most(wrong, unreviewed, np.array([0, 1, 0, 2, 2]), bounds).tolist()
    [1, 1, 2, 2, 2]
    """
    _, ids = np.unique(groups, return_inverse=True)
    found_wrong = np.zeros(len(ids), dtype=bool)
    rows = np.flatnonzero(wrong)
    if len(rows):
        found_wrong[rows[np.unique(ids[rows], return_index=True)[1]]] = True  # the first wrong image of each group
    allowed = bounds.at(np.cumsum(found_wrong))
    counts = np.zeros(ids.max(initial=-1) + 1, dtype=np.int64)
    largest = int(np.bincount(ids[unreviewed], minlength=1).max(initial=0))
    having = np.zeros(largest + 1, dtype=np.int64)  # how many groups have so many unreviewed images so far
    sizes = np.arange(largest, 0, -1)
    made = np.zeros(len(ids), dtype=np.int64)
    for j, group in enumerate(ids.tolist()):
        if unreviewed[j]:
            having[counts[group]] -= 1
            counts[group] += 1
            having[counts[group]] += 1
        taken = np.minimum(np.cumsum(having[:0:-1]), allowed[j])  # of the groups with the most
        made[j] = int((np.diff(taken, prepend=0) * sizes).sum())
    return made


def largest_set_of_groups(
    wrong: NDArray[np.bool_],
    known: NDArray[np.bool_],
    left_out: NDArray[np.bool_],
    groups: NDArray[np.integer],
    bounds: Bounds,
    max_error: float,
    extra: int = 0,
) -> tuple[int, int]:
    """As `error_bounds.largest_set`, where whole groups were drawn. groups: (N,) ids. bounds: of groups.

    >>> from autoannotate.answers.certification.error_bounds import simultaneous_bounds
    >>> groups = np.repeat(np.arange(500), 2)
    >>> wrong, known, left_out = np.zeros((3, 1000), dtype=bool)
    >>> known[:300] = True  # the first 150 groups, all right
    >>> largest_set_of_groups(wrong, known, left_out, groups, simultaneous_bounds(500, 150, 0.95, 10), 0.02)
    (1000, 16)
    """
    open_ = ~known & ~left_out
    size = np.cumsum(open_) + extra + int(known.sum())
    missed = missed_at_most(wrong, open_, groups, bounds)
    fits = np.flatnonzero(missed <= max_error * size + 1e-9)
    return (int(fits[-1]) + 1, int(missed[fits[-1]])) if len(fits) else (0, 0)
