"""The CLIP model's features: statistics of all stages of its image tower, with a closer look."""

from __future__ import annotations

from autoannotate.evaluation.representations import Encode, Problem


def learn(problem: Problem) -> Encode:
    return lambda pictures: problem.encoder.encode_images(pictures, closer=True).features
