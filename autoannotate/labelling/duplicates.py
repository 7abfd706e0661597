"""Answers about near duplicates: the one rule by which an answer counts for images that are nearly the same picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spread:
    """Answers with those that near duplicates took over.

    Attributes
    ----------
    truth : (N,) int array
        Class numbers, -1 where nothing is known.
    duplicate_of : (N,) int array
        The row of the answered image whose answer was taken over, -1 where none was.
    """

    truth: NDArray[np.int64]
    duplicate_of: NDArray[np.int64]


def spread_answers(
    answers: NDArray[np.integer],
    groups: NDArray[np.integer],
    excluded: NDArray[np.bool_] | None = None,
    unsure: NDArray[np.bool_] | None = None,
) -> Spread:
    """Give answers to every near duplicate that has none of its own.

    A group whose answers contradict each other, or of which an image was found to be of no class, settles nothing: then the
    picture does not decide.

    Parameters
    ----------
    answers : (N,) int array
        Class numbers, -1 where there is none.
    groups : (N,) int array
        Near duplicates share a number.
    excluded, unsure : (N,) bool arrays, optional
        Images that a clinician found to be of no class, and those that nobody could tell: they take no answer over.
    """
    given: NDArray[np.int64] = np.asarray(answers, dtype=np.int64)
    nobody = np.zeros(len(given), dtype=bool)
    excluded, unsure = (nobody if each is None else np.asarray(each, dtype=bool) for each in (excluded, unsure))
    first: dict[int, int] = {}
    contradicted = set(groups[excluded].tolist())
    for row in np.flatnonzero(given >= 0).tolist():
        group = int(groups[row])
        if given[first.setdefault(group, row)] != given[row]:
            contradicted.add(group)
    truth, duplicate_of = given.copy(), np.full(len(given), -1)
    for row in np.flatnonzero((given < 0) & ~excluded & ~unsure).tolist():
        group = int(groups[row])
        if group in first and group not in contradicted:
            duplicate_of[row] = first[group]
            truth[row] = given[first[group]]
    return Spread(truth, duplicate_of)
