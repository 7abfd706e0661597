"""Principal components of small grey pictures: what no network has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoannotate.evaluation.representations import Encode, Problem
from autoannotate.labelling.features import principal_axes

SIDE, COMPONENTS = 24, 64  # pixels of a picture's side; components that are kept


def learn(problem: Problem) -> Encode:
    def small(pictures: Sequence[Any]) -> NDArray[np.float64]:
        return np.stack(
            [np.asarray(one.convert("L").resize((SIDE, SIDE)), dtype=np.float64).ravel() for one in pictures]
        )

    known = small([picture for row in range(len(problem)) for picture in problem.pictures(row)])
    mean = known.mean(axis=0)
    axes = principal_axes(known - mean, COMPONENTS)
    return lambda pictures: (small(pictures) - mean) @ axes
