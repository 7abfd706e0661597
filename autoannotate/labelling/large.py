"""Large sets: the models are fitted on a sample that stands for the rest, and applied to all others in blocks.

What is fitted on the sample is the whole pipeline; every other image gets what images like it got. The models never
saw its label, so all that they say of it is out of sample.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.features import BLOCK
from autoannotate.labelling.label_errors.correction import Corrected, conclude, correct
from autoannotate.labelling.label_errors.noise_estimate import bayes
from autoannotate.labelling.label_errors.student import Trainer
from autoannotate.labelling.semi_supervised.initial_labels import InitialLabels, initial_labels
from autoannotate.labelling.semi_supervised.refinement import unrefined
from autoannotate.labelling.stratified_sample import stratified_sample
from autoannotate.labelling.task import Task
from autoannotate.labelling.transfer import Sample, Seen, Transfer

CHANGED = 1e-9  # of a probability, from which refinement changed it


def correct_on_sample(
    task: Task, size: int, *, trainer: Trainer | None = None, track: Track = silent
) -> tuple[InitialLabels, Corrected]:
    """Initial and corrected labels of N images, by models that about `size` of them fit; (N, K) each.

    Parameters
    ----------
    task : Task
        N images, none of them excluded.
    size : int
        Of the sample, see `stratified_sample`; answered images are always in it.
    trainer : Trainer, optional
        Trains a student on the sample.
    """
    labels = task.zero_shot.argmax(axis=1) if task.given is None else task.given
    rows = stratified_sample(
        task.features.compact, labels, size, groups=task.groups, always=task.answered, seed=task.seed
    )
    part = task.take(rows)
    initial = initial_labels(part)
    fitted = correct(
        part, initial.probabilities, meaningful=initial.meaningful, learn=initial.source != "answers", track=track,
        trainer=None if trainer is None else trainer.take(rows),
    )  # fmt: skip
    noise = fitted.estimate
    assert noise is not None  # a sample has two images or more
    sample = Sample(part.features)
    itself = sample.itself()
    first = _Initial(task, part, initial, sample, itself)
    predicted, clean, student = (
        Transfer(sample, itself, target, task.seed)
        for target in (noise.predicted, noise.clean, fitted.student.probabilities)
    )

    rest = np.setdiff1d(np.arange(len(task)), rows)
    starts, outside, cleans, students = (_filled(of, rows, len(task)) for of in (
        initial.probabilities, noise.predicted, noise.clean, fitted.student.probabilities))  # fmt: skip
    blocks = sample.look(task.features, rest)
    for place, seen in track(blocks, "labelling the others", -(-len(rest) // BLOCK)):
        where = rest[place]
        starts[where] = first.of(seen, where)
        outside[where], cleans[where], students[where] = predicted(seen), clean(seen), student(seen)
    start = replace(initial, probabilities=starts)
    posterior = _filled(noise.posterior, rows, len(task))
    posterior[rest] = bayes(cleans[rest], noise.noise_matrix, starts[rest].argmax(axis=1))
    everyone = replace(noise, predicted=outside, clean=cleans, posterior=posterior)
    corrected = conclude(
        task, starts, everyone, replace(fitted.student, probabilities=students), meaningful=initial.meaningful,
        from_answers=fitted.from_answers, track=track,
    )  # fmt: skip
    return start, corrected


class _Initial:
    """Initial labels of images outside of a sample, by those in it."""

    def __init__(self, task: Task, part: Task, initial: InitialLabels, sample: Sample, itself: Seen) -> None:
        self._everyone: NDArray[np.float64] | None = None
        self._moved: NDArray[np.bool_]
        self._learned: Transfer | None = None
        self._probabilities = initial.probabilities
        if initial.source == "given":
            self._everyone, self._moved = initial_labels(task).probabilities, np.zeros(len(part), dtype=bool)
        elif initial.source == "answers":
            self._learned = Transfer(sample, itself, initial.probabilities, task.seed)
        else:
            trust = task.trust if task.meaningful else 0.0
            self._everyone = unrefined(task.zero_shot, trust, task.prior)
            before = unrefined(part.zero_shot, trust, task.prior)
            self._moved = np.abs(initial.probabilities - before).max(axis=1) > CHANGED

    def of(self, seen: Seen, rows: NDArray[np.integer]) -> NDArray[np.float64]:
        """(B, K): zero-shot or given; the mean of the nearest images of the sample where refinement moved most of those."""
        if self._learned is not None:
            return self._learned(seen)
        assert self._everyone is not None
        start = self._everyone[rows]
        follows = (self._moved[seen.near] * seen.closeness).sum(axis=1) > 0.5
        theirs = np.einsum("bk,bkc->bc", seen.closeness, self._probabilities[seen.near])
        return np.where(follows[:, None], theirs, start)


def _filled(values: NDArray[np.floating], rows: NDArray[np.integer], count: int) -> NDArray[np.float64]:
    """(count, K) with the values at their rows."""
    made = np.zeros((count, values.shape[1]))
    made[rows] = values
    return made
