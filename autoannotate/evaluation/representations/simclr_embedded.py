"""SimCLR on the images themselves, from the embedded encoder's image tower."""

from __future__ import annotations

from autoannotate.evaluation.representations import Encode, Problem
from autoannotate.evaluation.representations import simclr as from_scratch

EPOCHS = 5  # short: minutes on two cores


def learn(problem: Problem) -> Encode:
    return from_scratch.learn(problem, "embedded", EPOCHS)
