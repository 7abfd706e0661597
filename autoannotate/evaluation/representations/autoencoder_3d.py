"""A small three-dimensional autoencoder's code of the volumes themselves: the 3-D baseline.

That of `autoencoder`, with three-dimensional convolutions, on cubes of 32 voxels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoannotate.evaluation.representations import Encode, Problem, cube
from autoannotate.evaluation.representations.autoencoder import codes, train

VOLUMES = True
SIDE = 32


def learn(problem: Problem) -> Encode:
    network = train(problem.volumes(SIDE), 3, problem)

    def encode(volumes: Sequence[Any]) -> NDArray[np.float32]:
        return codes(network, np.stack([cube(slices, SIDE) for slices in volumes]))

    return encode
