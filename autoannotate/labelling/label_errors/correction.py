"""Correction: labels that may be wrong in, better labels and a queue of doubts out.

Opinions that never saw a label are weighed against it (`belief.py`). A student learns from the labels that this leaves, and
is one more opinion; where it moved labels, it learns once more from the better ones. What is left in doubt becomes the
queue. What a clinician answered is truth: it is learned from, never changed, and never asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.label_errors.noise_estimate import Belief, Opinion
from autoannotate.labelling.label_errors.student import StudentResult, train_student
from autoannotate.labelling.label_errors.suspects import Suspects, ask, find_suspects
from autoannotate.labelling.neighbours import Neighbours, compact, near_duplicate_groups, nearest

if TYPE_CHECKING:
    from PIL import Image

UNANSWERED = -1
ANSWER_WEIGHT = 3.0  # a clinician's answer counts for this many labels when the student learns
PASSES = 20000  # images that a student trains on in all; about 10 ms each on two cores
FAST_PASSES = 6000
MOVED = 0.01  # a student that moved at least this share of the labels learns once more, from the better ones
HEARD = 10  # answers that differ from the opinions or from the label, below which they decide nothing


@dataclass(frozen=True)
class Corrected:
    """Corrected labels of N images.

    labels: (N,) class numbers. probabilities: (N, K), rows sum to one; what is believed about the true class.
    confidence: (N,) in [0, 1], that the label is right. by_student: (N,) bool, the label was changed by what was learned from
    the others, the student's opinion among it. queue: what is still doubtful, never an answered image. student: the student's
    own account. doubt: (N,) in [0, 1], that the label that came in was wrong.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    confidence: NDArray[np.float64]
    by_student: NDArray[np.bool_]
    queue: Suspects
    student: StudentResult
    doubt: NDArray[np.float64]


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
    neighbours: Neighbours | None = None,
    encoder: Any = None,
    image_names: Sequence[str] | None = None,
    meaningful: bool = True,
    earlier: Opinion | None = None,
    seed: int = 0,
    device: str = "auto",
    track: Track = silent,
    fast: bool = False,
) -> Corrected:
    """Correct the labels `probabilities.argmax(1)`.

    features: (N, F). probabilities: (N, K), what the labels are taken from: refined zero-shot or smoothed given labels.
    zero_shot: (N, K). class_names: K. answers: (N,) class number a clinician gave, -1 where none did. left_out: (N,) bool,
    images of none of the classes: not learned from, not asked about, their label stays. images: gives image i to the
    student; without it there is none. passes: the student's budget, see `train_student`. groups: (N,) images of one
    patient or lesion share a number. neighbours: of the images, where they are known already. meaningful: False where the
    labels are guesses that no student should learn. earlier: what a student that was taught before said of the same images,
    heard beside the one that is taught now.
    fast: one short student, where time goes before quality.
    """
    count = len(features)
    given = np.asarray(probabilities, dtype=np.float64)
    clip: NDArray[np.float64] = np.asarray(zero_shot, dtype=np.float64)
    truth = np.full(count, UNANSWERED) if answers is None else np.asarray(answers, dtype=np.int64)
    names = [str(i) for i in range(count)] if image_names is None else list(image_names)
    if left_out is not None and left_out.any():
        rows = np.flatnonzero(~np.asarray(left_out, dtype=bool))
        inside = correct(
            np.asarray(features)[rows], given[rows], clip[rows], class_names, answers=truth[rows],
            images=None if images is None else lambda i: images(int(rows[i])), student=student, passes=passes,
            groups=None if groups is None else groups[rows], encoder=encoder, image_names=[names[i] for i in rows],
            meaningful=meaningful, earlier=None if earlier is None else earlier.among(rows), seed=seed, device=device,
            track=track, fast=fast,
        )  # fmt: skip
        return _among(inside, rows, given)

    features = np.asarray(features)
    answered = truth != UNANSWERED
    came = given.argmax(axis=1)
    given = np.where(answered[:, None], np.eye(given.shape[1])[np.maximum(truth, 0)], given)
    labels = given.argmax(axis=1)
    if count < 2:
        queue = find_suspects(features, labels, clip, class_names, image_names=names)
        none = train_student([], features, labels, answered, baseline=given, kind="none")
        return Corrected(labels, given, given.max(axis=1), np.zeros(count, bool), queue, none, queue.score)

    near = nearest(compact(features)) if neighbours is None else neighbours
    asked = ask(features, labels, clip, near, groups=groups, seed=seed, track=track)
    before = () if earlier is None else (earlier,)
    belief = _borne_out(asked.belief(*before), came, truth)
    kind = student if meaningful and images is not None else "none"
    judged: StudentResult | None = None
    for lesson in range(1 if fast or kind == "none" else 2):
        cleaned = belief.better(labels)
        taught = train_student(
            images or [],
            features,
            cleaned,
            _weights(belief, cleaned, answered, features, clip, class_names, near),
            baseline=belief.predicted,
            kind=kind,
            encoder=encoder,
            groups=near_duplicate_groups(near) if groups is None else groups,
            passes=passes or (FAST_PASSES if fast else PASSES),
            seed=seed + 1000 * lesson,
            device=device,
            track=track,
        )
        if taught.held_out_accuracy is None:
            judged = judged or taught
            break
        judged = taught if judged is None else _together(judged, taught)
        belief = _borne_out(asked.belief(*before, judged.opinion), came, truth)
        if (belief.better(labels) != cleaned).mean() < MOVED:
            break
    assert judged is not None  # there is a first lesson
    if not meaningful:
        judged = replace(judged, note="No student was trained: the labels it would learn are close to guesses.")
    elif judged.held_out_accuracy is not None:
        judged = replace(
            judged, note=f"{judged.note} {_verdict(belief)}", reliable=judged.reliable or belief.may_change
        )

    final = np.where(answered, truth, belief.better(labels)) if meaningful else labels
    rows = np.arange(count)
    sure = belief.posterior[rows, final] if belief.may_change and meaningful else given[rows, final]
    queue = find_suspects(
        features, final, clip, class_names, seed=seed, track=track, image_names=names, neighbours=near, belief=belief,
        student=judged.probabilities if judged.reliable else None,
    )  # fmt: skip
    queue = replace(
        queue,
        flagged=queue.flagged & ~answered,
        score=np.where(answered, 0.0, queue.score),
        suggested=np.where(answered, final, queue.suggested),
        reasons=tuple("" if seen else why for seen, why in zip(answered, queue.reasons, strict=True)),
    )
    return Corrected(
        labels=final,
        probabilities=np.where(answered[:, None], given, belief.posterior),
        confidence=np.where(answered, 1.0, np.clip(sure, 0.0, 1.0)),
        by_student=(final != labels) & ~answered,
        queue=queue,
        student=judged,
        doubt=1.0 - (belief.clean[rows, came] + belief.posterior[rows, came]) / 2,
    )


def _weights(
    belief: Belief,
    labels: NDArray[np.int64],
    answered: NDArray[np.bool_],
    features: NDArray[np.floating],
    zero_shot: NDArray[np.float64],
    class_names: Sequence[str],
    near: Neighbours,
) -> NDArray[np.float64]:
    """How much each label counts, (N,), when the student learns: what is believed of it, or nothing for a suspect."""
    if belief.may_change:
        weights = belief.posterior[np.arange(len(labels)), labels]
        weights = np.where(weights < 0.3, 0.0, weights)
    else:
        doubts = find_suspects(features, labels, zero_shot, class_names, neighbours=near, belief=belief)
        weights = (~doubts.flagged).astype(np.float64)
    return np.where(answered, ANSWER_WEIGHT, weights)


def _together(first: StudentResult, second: StudentResult) -> StudentResult:
    """Two lessons' opinions, averaged; the twins are the second's."""
    return replace(
        second,
        probabilities=(first.probabilities + second.probabilities) / 2,
        held_out_accuracy=first.held_out_accuracy,
        baseline_accuracy=first.baseline_accuracy,
        reliable=first.reliable,
        note=first.note,
        image_passes=first.image_passes + second.image_passes,
    )


def _borne_out(belief: Belief, came: NDArray[np.int64], truth: NDArray[np.int64]) -> Belief:
    """The belief, kept from changing labels where a clinician's answers mostly took the label's side against it.

    Answers to a queue are no random sample, but they are to the images in dispute.
    """
    seen = belief.predicted.argmax(axis=1)
    disputed = (truth != UNANSWERED) & (seen != came) & ((truth == seen) | (truth == came))
    if disputed.sum() >= HEARD and (truth == seen)[disputed].mean() < 0.5:
        return replace(belief, sure=2.0)
    return belief


def _verdict(belief: Belief) -> str:
    wrong = (
        f"An estimated {belief.error_rate:.0%} of the labels and {belief.opinion_error:.0%} of the opinions are wrong"
    )
    return f"{wrong}, so {'opinions change labels' if belief.may_change else 'no label changes'}."


def _among(inside: Corrected, rows: NDArray[np.int64], given: NDArray[np.float64]) -> Corrected:
    """The correction of some `rows` set among all images, the others as they came."""

    def spread(values: NDArray[Any], others: Any) -> NDArray[Any]:
        whole = np.array(np.broadcast_to(others, (len(given), *values.shape[1:])), dtype=values.dtype)
        whole[rows] = values
        return whole

    reasons = [""] * len(given)
    for row, why in zip(rows, inside.queue.reasons, strict=True):
        reasons[row] = why
    labels, twins = given.argmax(axis=1), inside.student.twins
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
        student=replace(
            inside.student,
            probabilities=spread(inside.student.probabilities, given),
            twins=replace(twins, first=spread(twins.first, given), second=spread(twins.second, given)),
        ),
        doubt=spread(inside.doubt, 0.0),
    )
