"""Proposed labels: changes that wait for a clinician's answers about a sample of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOBODY = -1
FEWEST = 16  # images in a group, fewer of which are asked about one by one; …
SHARE = 0.02  # … and at least this share of all images


def fewest(count: int) -> int:
    """How many images a group of proposals has at least, of `count` in all."""
    return max(FEWEST, int(np.ceil(SHARE * count)))


@dataclass(frozen=True)
class Group:
    """Images whose labels would change together.

    Attributes
    ----------
    given, proposed : int or None
        Class numbers; None where pairs of classes with few images were put together.
    support : tuple of str
        The sources that propose it, names in `SOURCES`.
    size : int
    estimated_right : float
        The number of proposed labels that are estimated to be right.
    """

    given: int | None
    proposed: int | None
    support: tuple[str, ...]
    size: int
    estimated_right: float


@dataclass(frozen=True, eq=False)
class Proposals:
    """What a bolder correction of N labels would change.

    Attributes
    ----------
    labels : (N,) int array
        The labels that would change.
    proposed : (N,) int array
        The label that is proposed, -1 where none is.
    group : (N,) int array
        A place in `groups`, -1 where nothing is proposed.
    groups : tuple of Group
        Those of which the largest share is estimated to be right first.
    """

    labels: NDArray[np.int64]
    proposed: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: tuple[Group, ...]
