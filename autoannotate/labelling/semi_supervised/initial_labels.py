"""What labels start from: zero-shot labels and the structure of the images, labels that exist, or a few answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.semi_supervised import few_shot
from autoannotate.labelling.semi_supervised.refinement import refine
from autoannotate.labelling.task import SMOOTHING, Task

MOVED = 0.2  # share of guesses put right by groups that samples bore out, from which the labels are no guesses any more


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
        What they are: given, refinement, proposals or answers.
    kappa : float or None
        Where they were learned from answers to images whose zero-shot labels are guesses, the agreement beyond chance with a
        clinician that is expected of the others.
    """

    probabilities: NDArray[np.float64]
    meaningful: bool
    source: str
    kappa: float | None = None


def initial_labels(
    task: Task,
    proposed: NDArray[np.integer] | None = None,
    borne_out: NDArray[np.bool_] | None = None,
    leaning: NDArray[np.floating] | None = None,
    sampled: NDArray[np.bool_] | None = None,
) -> InitialLabels:
    """Labels that exist; else refined zero-shot; or few-shot labels, where zero-shot guesses and there are enough answers.

    Parameters
    ----------
    proposed : (N,) array, optional
        Class numbers that take the place of labels, see `queries.spot_checks`; -1 where none does.
    borne_out : (N,) bool array, optional
        Where a sample of answers says that they are right more often. Guesses of which at least `MOVED` were put right so are
        guesses no more.
    leaning : (N, K) array, optional
        Zero-shot probabilities in which proposals that wait weigh what the answers so far say of them: for few-shot labels.
    sampled : (N,) bool array, optional
        Samples of groups of proposals. Answers to these alone do not begin few-shot labels: they tell of images that zero-shot
        all gave one class.
    """
    k = task.zero_shot.shape[1]
    taken = np.zeros(len(task), dtype=bool) if proposed is None else np.asarray(proposed) >= 0
    accepted = smoothed(np.where(taken, proposed, 0) if proposed is not None else np.zeros(len(task), dtype=int), k)
    if task.given is not None:
        return InitialLabels(np.where(taken[:, None], accepted, smoothed(task.given, k)), True, "given")
    start = np.where(taken[:, None], accepted, task.zero_shot)
    if task.meaningful:
        refined = refine(task.features, start, trust=task.trust, prior=task.prior)
        return InitialLabels(refined, True, "refinement")
    if borne_out is not None and borne_out.mean() >= MOVED:
        return InitialLabels(start, True, "proposals")
    beside = task.truth if sampled is None else np.where(sampled, -1, task.truth)
    if few_shot.enough(beside, k):
        known = start if leaning is None else np.where(taken[:, None], start, leaning)
        few = few_shot.learn(task.features, known, task.truth, groups=task.groups, firm=task.firm, seed=task.seed)
        return InitialLabels(few.probabilities, few.told, "answers", few.kappa)
    return InitialLabels(refine(task.features, start, trust=0.0, prior=task.prior), False, "refinement")


def smoothed(labels: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Labels, (N,), as probabilities, (N, k)."""
    return (1 - SMOOTHING) * np.eye(k)[labels] + SMOOTHING / k
