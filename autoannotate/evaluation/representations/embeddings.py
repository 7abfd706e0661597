"""The CLIP model's embeddings, in the space of its texts."""

from __future__ import annotations

from autoannotate.evaluation.representations import Encode, Problem


def learn(problem: Problem) -> Encode:
    return lambda pictures: problem.encoder.encode_images(pictures).embeddings
