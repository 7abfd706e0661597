"""Correction: labels that may be wrong in, better labels and a queue of doubts out.

Out-of-sample probabilities are weighed against the labels (`noise_estimate.py`), and against what clinicians answered
(`from_answers.py`). A student learns from the labels that this leaves, and its predictions are weighed too; where it moved
labels, it learns once more from the better ones. What is left in doubt becomes the queue. What a clinician answered is
truth: it is learned from, never changed, and never asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.label_errors.from_answers import FEWEST, Generalised, Settings, basis, generalise
from autoannotate.labelling.label_errors.noise_estimate import SETTINGS, NoiseEstimate, bayes, estimate_noise
from autoannotate.labelling.label_errors.student import StudentResult, Trainer, untrained, useless
from autoannotate.labelling.label_errors.student_decision import Decision
from autoannotate.labelling.label_errors.suspects import (
    PredictedProbabilities,
    Suspects,
    find_suspects,
    predict_out_of_sample,
)
from autoannotate.labelling.label_errors.zero_shot_doubt import beside_zero_shot
from autoannotate.labelling.task import Task

ANSWER_WEIGHT = 3.0  # a clinician's answer counts for this many labels when the student learns
MOVED = 0.01  # a student that moved at least this share of the labels learns once more, from the better ones
DISPUTED = 10  # answers to images whose label is not what the others predict, below which they decide nothing


@dataclass(frozen=True)
class Corrected:
    """Corrected labels of N images.

    Attributes
    ----------
    labels : (N,) class numbers
    probabilities : (N, K), rows sum to one; of the true class
    confidence : (N,) in [0, 1], that the label is right
    changed : (N,) bool, the label is another than the one that came in, and no answer
    queue : what is still doubtful, never an answered image
    student : the student's own account
    doubt : (N,) in [0, 1], that the label that came in was wrong
    evidence : the out-of-sample probabilities, and settings: of learning from answers, both to be used again
    from_answers : whether the labels were learned from answers
    estimate : of the labels' noise, behind all of these
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    confidence: NDArray[np.float64]
    changed: NDArray[np.bool_]
    queue: Suspects
    student: StudentResult
    doubt: NDArray[np.float64]
    evidence: PredictedProbabilities | None = None
    settings: Settings | None = None
    from_answers: bool = False
    estimate: NoiseEstimate | None = None


def correct(
    task: Task,
    probabilities: NDArray[np.floating],
    *,
    meaningful: bool = True,
    trainer: Trainer | None = None,
    evidence: PredictedProbabilities | None = None,
    settings: Settings | None = None,
    learn: bool = True,
    noise_proven: bool = False,
    track: Track = silent,
) -> Corrected:
    """Correct the labels `probabilities.argmax(1)` of a task.

    Parameters
    ----------
    task : Task
        N images, none of them excluded.
    probabilities : (N, K) array
        What the labels are taken from: refined zero-shot, or labels that exist, smoothed.
    meaningful : bool
        False where the labels are guesses, which no student should learn: then none changes.
    trainer : Trainer, optional
        Trains a student; without it there is none.
    evidence : PredictedProbabilities, optional
        Out-of-sample probabilities of the same images, where labels that have hardly changed since gave them.
    settings : Settings, optional
        Of learning from answers, as an earlier call found them.
    learn : bool
        Whether labels learn from the answers here; False where they have.
    noise_proven : bool
        A sample of answers bore out changes that the mixture proposed: classes do not just overlap, and the mixture need not
        explain held-out labels as well as overlap does.
    """
    count, k = len(task), task.zero_shot.shape[1]
    truth, answered = task.truth, task.answered
    came = np.asarray(probabilities).argmax(axis=1)
    given = _with_answers(task, probabilities)
    labels = given.argmax(axis=1)
    if count < 2:
        queue = find_suspects(task.features, labels, task.zero_shot, task.class_names, image_names=task.names)
        none = untrained(given, Decision.TOO_FEW, "No student was trained: there is one image.")
        return Corrected(
            labels, given, given.max(axis=1), np.zeros(count, bool), queue, none, queue.score,
            estimate=estimate_noise([given], labels),
        )  # fmt: skip

    if evidence is None:
        evidence = predict_out_of_sample(
            task.features, labels, task.zero_shot, groups=task.groups, seed=task.seed, track=track
        )
    space = basis(task.features, task.seed) if learn and meaningful and answered.sum() >= FEWEST else None

    weighing = replace(SETTINGS, contradicted_if_unlikely=SETTINGS.contradicted) if noise_proven else SETTINGS
    # models learn from applied proposals, but only what was given is evidence of its own
    weighed = came if task.given is None else np.asarray(task.given, dtype=np.int64)

    def estimate(*students: NDArray[np.floating]) -> tuple[NoiseEstimate, Generalised | None]:
        """The posterior of the true classes, learned from the answers where there are enough and they do not refute it."""
        noise = evidence.estimate(*students, settings=weighing)
        if noise.explanation in ("mixture", "clusters") and _refuted(noise, came, truth):
            noise = replace(evidence, mixture=None, clusters=None).estimate(*students)
        if _refuted(noise, came, truth):
            return replace(noise, may_change=False), None
        if space is None:
            return noise, None
        learned = generalise(
            space, weighed, truth, k, predictions=evidence.beside(*students), estimate=noise, settings=settings,
            groups=task.groups,
        )  # fmt: skip
        assert learned is not None  # there are enough answers
        rate = float(1.0 - learned.posterior[np.arange(count), came].mean())
        noise = replace(
            noise, predicted=learned.predicted, clean=learned.predicted, posterior=learned.posterior,
            noise_matrix=learned.noise, error_rate=rate, model_error=learned.error, explanation="answers", may_change=True,
            known=np.ones(k, dtype=bool),
        )  # fmt: skip
        return noise, learned

    def better(noise: NoiseEstimate, learned: Generalised | None) -> NDArray[np.int64]:
        return _better(task, labels, noise, learned is not None) if meaningful else labels

    before = () if task.student is None else (task.student,)
    noise, learned = estimate(*before)
    judged = _without_training(task, trainer, noise, better(noise, learned), meaningful)
    for number in range(trainer.rounds if trainer is not None and judged is None else 0):
        assert trainer is not None
        cleaned = better(noise, learned)
        trained = trainer(
            task.features, cleaned, training_weights(noise, cleaned, task), baseline=noise.predicted, given=came,
            groups=task.features.duplicate_groups if task.groups is None else task.groups, seed=task.seed + 1000 * number,
        )  # fmt: skip
        if trained.held_out_accuracy is None:
            judged = judged or trained
            break
        judged = trained if judged is None else _together(judged, trained)
        noise, learned = estimate(*before, judged.probabilities)
        if (better(noise, learned) != cleaned).mean() < MOVED:
            break
    assert judged is not None  # a trainer has at least one round
    if judged.held_out_accuracy is not None:
        judged = replace(judged, note=f"{judged.note} {_verdict(noise)}", reliable=judged.reliable or noise.may_change)

    concluded = conclude(
        task, probabilities, noise, judged, meaningful=meaningful, from_answers=learned is not None, track=track
    )
    return replace(concluded, evidence=evidence, settings=None if learned is None else learned.settings)


def _without_training(
    task: Task, trainer: Trainer | None, noise: NoiseEstimate, labels: NDArray[np.int64], meaningful: bool
) -> StudentResult | None:
    """Why no student is trained on labels, (N,), as they are by now; None where one is."""
    if trainer is None:
        return untrained(noise.predicted, Decision.NOT_ASKED, "No student was asked for.")
    if not meaningful:
        why = "No student was trained: the labels are close to guesses, which it would learn."
        return untrained(noise.predicted, Decision.GUESSES, why)
    return useless(noise, labels, task.keep)


def conclude(
    task: Task,
    probabilities: NDArray[np.floating],
    noise: NoiseEstimate,
    student: StudentResult,
    *,
    meaningful: bool = True,
    from_answers: bool = False,
    track: Track = silent,
) -> Corrected:
    """The labels and the queue that follow from what is known of the labels' noise.

    Parameters
    ----------
    task : Task
        N images, none of them excluded.
    probabilities : (N, K) array
        What the labels were taken from.
    noise : NoiseEstimate
    student : StudentResult
    meaningful : bool
        False where the labels are guesses: then none changes.
    from_answers : bool
        Whether the estimate was learned from answers.
    """
    given, answered = _with_answers(task, probabilities), task.answered
    came, labels, rows = np.asarray(probabilities).argmax(axis=1), given.argmax(axis=1), np.arange(len(task))
    final = labels if task.keep or not meaningful else _better(task, labels, noise, from_answers)
    sure = noise.posterior[rows, final] if noise.may_change and meaningful else given[rows, final]
    if task.keep:  # a given label that the images contradict is not as sure as the others
        sure = np.minimum(sure, noise.posterior[rows, final])
    queue = find_suspects(
        task.features, final, task.zero_shot, task.class_names, seed=task.seed, track=track, image_names=task.names,
        estimate=noise, student=student.probabilities if student.reliable else None, none_of_these=task.none_of_these,
    )  # fmt: skip
    sure = np.clip(sure, 0.0, 1.0)
    if task.none_of_these is not None:  # a label is right only where a class is
        sure = np.where(queue.none_of_these, np.minimum(sure, 1.0 - task.none_of_these.probability), sure)
    if from_answers:  # no model sees the errors that it made itself; the answers do
        wrong = max(float((1.0 - sure)[~answered].mean()), noise.model_error) if not answered.all() else 0.0
        queue = replace(queue, error_rate=wrong * float((~answered).mean()))
    queue = replace(
        queue,
        flagged=queue.flagged & ~answered,
        none_of_these=queue.none_of_these & ~answered,
        score=np.where(answered, 0.0, queue.score),
        suggested=np.where(answered, final, queue.suggested),
        reasons=tuple("" if seen else why for seen, why in zip(answered, queue.reasons, strict=True)),
    )
    doubt = 1.0 - (noise.clean[rows, came] + noise.posterior[rows, came]) / 2
    if task.given is not None and (task.zero_shot.argmax(axis=1) != task.given).any():  # else it is their own word
        doubt = beside_zero_shot(doubt, came, noise.predicted, task.zero_shot)
    return Corrected(
        labels=final,
        probabilities=np.where(answered[:, None], given, noise.posterior),
        confidence=np.where(answered, 1.0, sure),
        changed=(final != came) & ~answered,
        queue=queue,
        student=student,
        doubt=doubt,
        from_answers=from_answers,
        estimate=noise,
    )


def _with_answers(task: Task, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """The probabilities, (N, K), that of an answer one."""
    truth = np.eye(task.zero_shot.shape[1])[np.maximum(task.truth, 0)]
    return np.where(task.answered[:, None], truth, np.asarray(probabilities, dtype=np.float64))


def _better(task: Task, labels: NDArray[np.int64], noise: NoiseEstimate, from_answers: bool) -> NDArray[np.int64]:
    """The labels, (N,), as the noise estimate corrects them; answers stay."""
    final = noise.posterior.argmax(axis=1) if from_answers else noise.corrected(labels)
    return np.where(task.answered, task.truth, final)


def training_weights(noise: NoiseEstimate, labels: NDArray[np.int64], task: Task) -> NDArray[np.float64]:
    """How much each label counts, (N,), when the student learns: how probable it is, or nothing for a suspect."""
    if noise.may_change:
        weights = noise.posterior[np.arange(len(labels)), labels]
        weights = np.where(weights < 0.3, 0.0, weights)
    else:
        doubts = find_suspects(task.features, labels, task.zero_shot, task.class_names, estimate=noise)
        weights = (~doubts.flagged).astype(np.float64)
    if task.none_of_these is not None:
        weights = np.where(task.none_of_these.flagged, 0.0, weights)
    return np.where(task.answered, ANSWER_WEIGHT, weights)


def _together(first: StudentResult, second: StudentResult) -> StudentResult:
    """The mean of what two students predict."""
    return replace(
        second,
        probabilities=(first.probabilities + second.probabilities) / 2,
        held_out_accuracy=first.held_out_accuracy,
        baseline_accuracy=first.baseline_accuracy,
        reliable=first.reliable,
        note=first.note,
        image_passes=first.image_passes + second.image_passes,
    )


def _refuted(noise: NoiseEstimate, came: NDArray[np.int64], truth: NDArray[np.int64]) -> bool:
    """Whether a clinician's answers mostly took the label's side against what the other images predict, or
    against what a correction would make of the labels.

    Answers to a queue are no random sample, but they are to the images in dispute. Labels that a correction does not touch say
    nothing against it: a spot check asks about those that only a bolder one would change.
    """
    seen = bayes(noise.clean, noise.noise_matrix, came) if noise.may_change else noise.predicted
    other = seen.argmax(axis=1)
    disputed = (truth >= 0) & (other != came) & ((truth == other) | (truth == came))
    return bool(disputed.sum() >= DISPUTED and (truth == other)[disputed].mean() < 0.5)


def _verdict(noise: NoiseEstimate) -> str:
    wrong = (
        f"An estimated {noise.error_rate:.0%} of the labels and {noise.model_error:.0%} of the predictions are wrong"
    )
    return f"{wrong}, so {'predictions change labels' if noise.may_change else 'no label changes'}."
