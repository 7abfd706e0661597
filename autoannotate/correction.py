"""Correction: labels that may be wrong in, better labels and a queue of doubts out.

Suspects are found, a student learns from the rest and overrules where it is surely better, and what is left in doubt
becomes the queue. What a clinician answered is truth: it is learned from, never changed, and never asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoannotate.progress import Track, silent
from autoannotate.student import StudentResult, overrule, train_student
from autoannotate.suspects import Suspects, find_suspects

if TYPE_CHECKING:
    from PIL import Image

UNANSWERED = -1
ANSWER_WEIGHT = 3.0  # a clinician's answer counts for this many labels when the student learns


@dataclass(frozen=True)
class Corrected:
    """Corrected labels of N images.

    labels: (N,) class numbers. probabilities: (N, K), rows sum to one; what is believed about the true class.
    confidence: (N,) in [0, 1], that the label is right. by_student: (N,) bool, the student changed the label.
    queue: what is still doubtful, never an answered image. student: the student's own account.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    confidence: NDArray[np.float64]
    by_student: NDArray[np.bool_]
    queue: Suspects
    student: StudentResult


def correct(
    features: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    zero_shot: NDArray[np.floating],
    class_names: Sequence[str],
    *,
    answers: NDArray[np.integer] | None = None,
    left_out: NDArray[np.bool_] | None = None,
    images: Callable[[int], Image.Image] | None = None,
    student: str = "embedded",
    passes: int | None = None,
    groups: NDArray[np.integer] | None = None,
    encoder: Any = None,
    image_names: Sequence[str] | None = None,
    meaningful: bool = True,
    seed: int = 0,
    device: str = "auto",
    track: Track = silent,
) -> Corrected:
    """Correct the labels `probabilities.argmax(1)`.

    features: (N, F). probabilities: (N, K), what the labels are taken from: refined zero-shot or smoothed given labels.
    zero_shot: (N, K). class_names: K. answers: (N,) class number a clinician gave, -1 where none did. left_out: (N,) bool,
    images of none of the classes: not learned from, not asked about, their label stays. images: gives image i to the
    student; without it there is none. passes: the student's budget, see `train_student`. groups: (N,) images of one
    patient or lesion share a number. meaningful: False where the labels are guesses that no student should learn.
    """
    count = len(features)
    given = np.asarray(probabilities, dtype=np.float64)
    zero_shot = np.asarray(zero_shot, dtype=np.float64)
    truth = np.full(count, UNANSWERED) if answers is None else np.asarray(answers, dtype=np.int64)
    names = [str(i) for i in range(count)] if image_names is None else list(image_names)
    if left_out is not None and left_out.any():
        rows = np.flatnonzero(~np.asarray(left_out, dtype=bool))
        inside = correct(
            np.asarray(features)[rows], given[rows], zero_shot[rows], class_names, answers=truth[rows],
            images=None if images is None else lambda i: images(int(rows[i])), student=student, passes=passes,
            groups=None if groups is None else groups[rows], encoder=encoder, image_names=[names[i] for i in rows],
            meaningful=meaningful, seed=seed, device=device, track=track,
        )  # fmt: skip
        return _among(inside, rows, given)

    answered = truth != UNANSWERED
    given = np.where(answered[:, None], np.eye(given.shape[1])[np.maximum(truth, 0)], given)
    labels = given.argmax(axis=1)
    doubts = find_suspects(features, labels, zero_shot, class_names, seed=seed, track=track, image_names=names)
    suspect = doubts.flagged & ~answered
    judged = train_student(
        images or [],
        features,
        labels,
        np.where(answered, ANSWER_WEIGHT, ~suspect),
        baseline=doubts.out_of_sample,
        kind=student if meaningful and images is not None else "none",
        encoder=encoder,
        groups=groups,
        seed=seed,
        device=device,
        track=track,
        **({} if passes is None else {"passes": passes}),
    )
    if not meaningful:
        judged = replace(judged, note="No student was trained: the labels it would learn are close to guesses.")
    final, confidence, changed = overrule(labels, given, judged, suspect, doubts.out_of_sample)
    final = np.where(answered, truth, final)
    confidence = np.where(answered, 1.0, confidence)
    queue = find_suspects(
        features, final, zero_shot, class_names, seed=seed, track=track, image_names=names,
        student=judged.probabilities if judged.reliable else None,
    )  # fmt: skip
    queue = replace(
        queue,
        flagged=queue.flagged & ~answered,
        score=np.where(answered, 0.0, queue.score),
        suggested=np.where(answered, final, queue.suggested),
        reasons=tuple("" if seen else why for seen, why in zip(answered, queue.reasons, strict=True)),
    )
    belief = np.where(answered[:, None], given, queue.out_of_sample)
    return Corrected(final, belief, confidence, changed & ~answered, queue, judged)


def _among(inside: Corrected, rows: NDArray[np.int64], given: NDArray[np.float64]) -> Corrected:
    """The correction of some `rows` set among all images, the others as they came."""

    def spread(values: NDArray[Any], others: Any) -> NDArray[Any]:
        whole = np.array(np.broadcast_to(others, (len(given), *values.shape[1:])), dtype=values.dtype)
        whole[rows] = values
        return whole

    reasons = [""] * len(given)
    for row, why in zip(rows, inside.queue.reasons, strict=True):
        reasons[row] = why
    labels = given.argmax(axis=1)
    return Corrected(
        labels=spread(inside.labels, labels),
        probabilities=spread(inside.probabilities, given),
        confidence=spread(inside.confidence, 0.0),
        by_student=spread(inside.by_student, False),
        queue=Suspects(
            flagged=spread(inside.queue.flagged, False),
            score=spread(inside.queue.score, 0.0),
            suggested=spread(inside.queue.suggested, labels),
            reasons=tuple(reasons),
            out_of_sample=spread(inside.queue.out_of_sample, given),
            error_rate=inside.queue.error_rate,
        ),
        student=replace(inside.student, probabilities=spread(inside.student.probabilities, given)),
    )
