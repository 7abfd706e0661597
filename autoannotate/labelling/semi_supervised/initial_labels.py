"""What labels start from: zero-shot labels and the structure of the images, labels that exist, or a few answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.semi_supervised import few_shot
from autoannotate.labelling.semi_supervised.refinement import refine
from autoannotate.labelling.task import SMOOTHING, Task


@dataclass(frozen=True)
class InitialLabels:
    """What labels start from.

    Attributes
    ----------
    probabilities : (N, K) array
        What the labels are taken from.
    meaningful : bool
        Whether they are more than guesses.
    source : str
        What they are: given, refinement or answers.
    kappa : float or None
        Where they were learned from answers to images whose zero-shot labels are guesses, the agreement beyond chance with a
        clinician that is expected of the others.
    """

    probabilities: NDArray[np.float64]
    meaningful: bool
    source: str
    kappa: float | None = None


def initial_labels(task: Task) -> InitialLabels:
    """Labels that exist; else refined zero-shot; or few-shot labels, where zero-shot guesses and there are enough answers."""
    k = task.zero_shot.shape[1]
    if task.given is not None:
        return InitialLabels((1 - SMOOTHING) * np.eye(k)[task.given] + SMOOTHING / k, True, "given")
    if task.meaningful:
        refined = refine(task.features, task.zero_shot, trust=task.trust, prior=task.prior)
        return InitialLabels(refined, True, "refinement")
    if few_shot.enough(task.truth, k):
        few = few_shot.learn(task.features, task.zero_shot, task.truth, seed=task.seed)
        return InitialLabels(few.probabilities, few.told, "answers", few.kappa)
    return InitialLabels(refine(task.features, task.zero_shot, trust=0.0, prior=task.prior), False, "refinement")
