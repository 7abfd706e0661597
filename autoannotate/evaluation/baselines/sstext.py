"""SS-Text: class prototypes of few labelled images, held to the class's text, in closed form.

Silva-Rodríguez et al. 2025, "Realistic Adaptation of Medical Vision-Language Models", arXiv 2506.17500: the weights of class
c are w_c = t_c + (1 / (N λ_c τ)) Σ_i y_ic x_i with unit image embeddings x_i, the text's embedding t_c and λ_c = 1 / n_c,
made unit length; probabilities are a softmax of cosines over the encoder's temperature τ. Made for few answers; the labels
given count as such here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from autoannotate.evaluation.baselines.shared import from_probabilities
from autoannotate.evaluation.task import Problem, Solution
from autoannotate.labelling.features import unit


def solve(problem: Problem) -> Solution:
    """The nearest prototype, by the answers alone where a clinician gave some (`sstext+20`), else by all labels given.

    Where words take no part there is no text to hold to: then prototypes are class means.
    """
    answered = problem.probabilities.max(axis=1) >= 1.0
    answers = np.where(answered if answered.any() else problem.train, problem.given, -1)
    classes = len(problem.class_names)
    return from_probabilities(problem, sstext(problem.embeddings, answers, problem.texts, problem.logit_scale, classes))


def sstext(
    embeddings: NDArray[np.floating],
    answers: NDArray[np.integer],
    texts: NDArray[np.floating] | None,
    scale: float,
    classes: int,
) -> NDArray[np.float64]:
    """Class probabilities, (N, K).

    Parameters
    ----------
    embeddings : (N, D)
    answers : (N,) class numbers, -1 where there is none
    texts : (K, D), or None
    scale : 1/τ
    """
    images = unit(embeddings)
    known = answers >= 0
    members = np.eye(classes)[np.maximum(answers, 0)] * known[:, None]
    count = members.sum(axis=0)
    weights = (count / max(known.sum(), 1))[:, None] * scale * (members.T @ images)
    if texts is not None:
        weights = weights + unit(texts)
    return softmax(np.where(np.abs(weights).sum(axis=1) > 0, scale * images @ unit(weights).T, -np.inf), axis=1)
