"""What a student predicts, and whether it may be used: cross-fitted class probabilities beside a baseline's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from scipy.special import softmax

from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.noise_estimate import NoiseEstimate
from autoannotate.labelling.label_errors.out_of_sample import inverse_temperature, sharpened
from autoannotate.labelling.label_errors.student_decision import Decision

NOT_WORSE = 0.01  # a student is used where it agrees with the labels at most this much less often than the probe
CONFIDENCE = 1.645  # standard errors, 95 % on one side
OPEN = 0.01  # share of the labels that the other images contradict, below which a student could change next to nothing


@dataclass(frozen=True)
class StudentResult:
    """What the student thinks.

    probabilities : (N, K) rows sum to 1, calibrated; from students that did not see the image's label.
    reliable : it may be listened to: as a start, that its held-out agreement with the given labels is, with 95 %
        confidence, not below the baseline's.
    held_out_accuracy, baseline_accuracy : agreement with the given labels on the same images, seen by neither in
        training nor for early stopping, averaged over images; None when no student was trained.
    note : one plain sentence for the summary.
    image_passes : images trained on, times epochs.
    sharpness : by which log-probabilities were multiplied to calibrate them.
    networks : what predicts for other images, where it was asked for.
    decision : whether it was trained, or why not.
    """

    probabilities: np.ndarray
    reliable: bool
    held_out_accuracy: float | None
    baseline_accuracy: float | None
    note: str
    image_passes: int = 0
    sharpness: float = 1.0
    networks: Any = None
    decision: Decision = Decision.TRAINED


class Trainer(Protocol):
    """Trains a student on cleaned labels, see `autoannotate.models.student_training.StudentTrainer`."""

    @property
    def rounds(self) -> int:
        """How often it is trained at most, each time on better labels."""

    def take(self, rows: np.ndarray) -> Self:
        """The trainer of some of the images, by their rows."""

    def __call__(
        self,
        features: Features,
        labels: np.ndarray,
        weights: np.ndarray,
        *,
        baseline: np.ndarray,
        groups: np.ndarray,
        given: np.ndarray,
        seed: int,
    ) -> StudentResult: ...


def judge(
    logits: np.ndarray,
    did_not_see: np.ndarray,
    labels: np.ndarray,
    counted: np.ndarray,
    baseline: np.ndarray,
    *,
    image_passes: int = 0,
) -> StudentResult:
    """Average the students' predictions, calibrate them, and compare them with the baseline.

    logits (N, M, K) of M students; did_not_see (N, M) bool: which students did not see the image; labels (N,);
    counted (N,) >= 0: how many images each stands for in the comparison, 0 where it chose when to stop;
    baseline (N, K).

    The comparison counts doubtful images too: they were picked *because* the baseline disagrees with their label,
    so without them the baseline would look better than it is.
    """
    predicted = softmax(logits.astype(np.float64), axis=-1)
    share = did_not_see / did_not_see.sum(axis=1, keepdims=True)
    mean_of_students = np.einsum("nm,nmk->nk", share, predicted)
    sharpness = inverse_temperature(mean_of_students, labels)
    probabilities = sharpened(mean_of_students, sharpness)
    student_right = probabilities.argmax(axis=1) == labels
    baseline_right = baseline.argmax(axis=1) == labels
    mean, spread = difference(student_right, baseline_right, counted)
    each = student_right.astype(np.float64) - baseline_right
    reliable = mean - CONFIDENCE * spread > -NOT_WORSE and mean_over_classes(each, labels, counted) > -NOT_WORSE
    held_out = float(np.average(student_right, weights=counted))
    before = float(np.average(baseline_right, weights=counted))
    note = (
        f"On images it had not seen the student agrees with {held_out:.1%} of the labels, the probe with {before:.1%}."
    )
    return StudentResult(probabilities, reliable, held_out, before, note, image_passes, sharpness)


def surely_worse(student_right: np.ndarray, baseline_right: np.ndarray, counted: np.ndarray) -> bool:
    """Whether a student agrees with labels, (M,) bool, surely less often than the baseline, with 95 % confidence."""
    mean, spread = difference(student_right, baseline_right, counted)
    return mean + CONFIDENCE * spread < -NOT_WORSE


def difference(student_right: np.ndarray, baseline_right: np.ndarray, counted: np.ndarray) -> tuple[float, float]:
    """By how much more of the images (M,) the student is right, and the standard error; counted (M,): see `judge`."""
    each = student_right.astype(np.float64) - baseline_right
    mean = float(np.average(each, weights=counted))
    return mean, math.sqrt(float((counted**2 * (each - mean) ** 2).sum())) / float(counted.sum())


def untrained(baseline: np.ndarray, decision: Decision, note: str) -> StudentResult:
    """The account of a student that was not trained, and why."""
    return StudentResult(baseline.copy(), False, None, None, note, decision=decision)


def useless(noise: NoiseEstimate, labels: np.ndarray, keep: bool = False) -> StudentResult | None:
    """The account of a student that could not help with labels, (N,), as they are by now; None where one could.

    A student's predictions join the pool of `estimate_noise`, which says which labels are wrong, and not whether any are. So it
    can change labels only where the noise estimate lets them change, and few more than those that the other images contradict.

    Parameters
    ----------
    keep : labels are doubted and never changed, an audit, to whose ranking a student adds where classes overlap too
    """
    open_ = float((noise.predicted.argmax(axis=1) != labels).mean())
    if open_ < OPEN:
        return untrained(
            noise.predicted,
            Decision.NOTHING_LEFT,
            f"No student was trained: the other images predict all but {open_:.1%} of the labels"
            f"{' as corrected' if noise.may_change else ''}, so it could correct next to nothing.",
        )
    if not noise.may_change and not keep:
        return untrained(
            noise.predicted,
            Decision.OVERLAP,
            f"No student was trained: the other images contradict {open_:.1%} of the labels, but nothing says that these are "
            "wrong rather than that the classes overlap, so no label may change whatever it would say.",
        )
    return None


def stopped(
    baseline: np.ndarray, student_right: np.ndarray, baseline_right: np.ndarray, counted: np.ndarray, image_passes: int
) -> StudentResult:
    """The account of a student that was given up half-way, see `surely_worse`."""
    held_out, before = (float(np.average(right, weights=counted)) for right in (student_right, baseline_right))
    note = (
        f"The student was given up half-way: it predicted {held_out:.1%} of the labels that it had not seen, the probe "
        f"{before:.1%}."
    )
    return StudentResult(baseline.copy(), False, None, None, note, image_passes, decision=Decision.STOPPED)


def mean_over_classes(values: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean of values, (N,), in each class, averaged over classes."""
    of_each = [
        np.average(values[labels == label], weights=weights[labels == label])
        for label in np.unique(labels[weights > 0])
    ]
    return float(np.mean(of_each))
