"""The pipeline: the stages that turn zero-shot probabilities, labels that exist and answers into labels, in their order.

`Annotator.label`, `Annotator.update`, `Annotator.audit` and every protocol of an evaluation call `label`. An update is a
labelling with answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.label_errors.correction import Corrected, correct
from autoannotate.labelling.label_errors.propose import propose
from autoannotate.labelling.label_errors.student import Trainer
from autoannotate.labelling.large import correct_on_sample
from autoannotate.labelling.proposals import Proposals
from autoannotate.labelling.queries import spot_checks
from autoannotate.labelling.queries.queue import Queue, choose, flagged, spot_checks_first
from autoannotate.labelling.queries.spot_checks import Check
from autoannotate.labelling.queries.strategies import order, pool_of
from autoannotate.labelling.semi_supervised.initial_labels import InitialLabels, initial_labels, smoothed
from autoannotate.labelling.semi_supervised.refinement import certain
from autoannotate.labelling.task import Task


@dataclass(frozen=True, eq=False)
class Labelled:
    """What the pipeline makes of N images.

    Attributes
    ----------
    labels : (N,) int array
        Class numbers. Of an excluded image, the zero-shot or given one.
    probabilities : (N, K) array
        Of the true class; rows sum to one.
    confidence : (N,) array in [0, 1]
        That the label is right.
    source : (N,) array of str
        What gave the label its value: clip, given, refinement, correction, proposal, student, answers, duplicate or clinician.
    initial : InitialLabels
    corrected : Corrected
        Of the images that are not excluded, (M,) of them, in order: `rows`.
    queue : Queue
        What a clinician should look at, the first one first; row numbers of all N.
    suspect_score : (N,) array in [0, 1]
    suggested : (N,) int array
    duplicate_of : (N,) int array
        The answered image of which an image took the answer over, as nearly the same picture; -1 elsewhere.
    copies : int
        Images that are nearly the same picture as an earlier one.
    none_of_these : dict
        What images of none of the classes look like, by row.
    proposals : Proposals or None
        Labels that a bolder correction would change, made where nothing was answered yet; then the task's.
    checks : tuple of Check
        What became of each of their groups.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    confidence: NDArray[np.float64]
    source: NDArray[np.object_]
    initial: InitialLabels
    corrected: Corrected
    rows: NDArray[np.int64]
    queue: Queue
    suspect_score: NDArray[np.float64]
    suggested: NDArray[np.int64]
    duplicate_of: NDArray[np.int64]
    copies: int
    none_of_these: dict[int, str]
    proposals: Proposals | None = None
    checks: tuple[Check, ...] = ()

    @property
    def waiting(self) -> NDArray[np.int64]:
        """(N,) class numbers that are proposed, and not decided yet; -1 elsewhere."""
        if self.proposals is None:
            return np.full(len(self.labels), -1)
        open_ = np.array([one.state in (spot_checks.WAITING, spot_checks.OPEN) for one in self.checks] + [False])
        here = open_[self.proposals.group] & (self.proposals.proposed != self.labels) & (self.source != "clinician")
        return np.where(here, self.proposals.proposed, -1)

    @property
    def meaningful(self) -> bool:
        """Whether the labels are more than guesses."""
        return self.initial.meaningful


def label(
    task: Task,
    *,
    trainer: Trainer | None = None,
    strategy: str | None = None,
    previous: Labelled | None = None,
    fit_on: int | None = None,
    proposing: bool = True,
    track: Track = silent,
) -> Labelled:
    """Label the images of a task.

    Parameters
    ----------
    trainer : Trainer, optional
        Trains a student; without it there is none.
    strategy : str, optional
        By which images are asked next, a name in `queries.strategies.STRATEGIES`. Without one and without answers the queue is
        what the correction doubts; with answers it is chosen by the default strategy.
    previous : Labelled, optional
        Of the same images and fewer answers: its out-of-sample probabilities are used again, where time goes before quality.
    fit_on : int, optional
        Of more images than this, models are fitted on a sample of this size and applied to the others, see `large`.
    proposing : bool
        Whether to propose what a bolder correction would change, where nothing was answered yet, see `label_errors.propose`.
    """
    rows = np.flatnonzero(~task.left_out)
    inside = task.take(rows)
    answered = task.answered.any() or task.left_out.any() or (task.unsure is not None and task.unsure.any())
    checks = checks_of(task, task.proposals)
    taken, borne_out = _applied(task, checks)
    mine = None if trainer is None else trainer.take(rows)
    if fit_on is not None and len(rows) > fit_on:
        initial, corrected = correct_on_sample(_started(inside, taken[rows]), fit_on, trainer=mine, track=track)
    else:
        leaning = None if task.proposals is None else spot_checks.weighed(task.proposals, checks, task.zero_shot)[rows]
        sampled = np.isin(rows, np.concatenate([rows[:0], *(one.sample for one in checks)]))
        initial = initial_labels(inside, taken[rows], borne_out[rows], leaning, sampled)
        reuse = (
            previous is not None
            and previous.initial.source == initial.source
            and len(previous.rows) == len(rows)
            and [one.state for one in previous.checks] == [one.state for one in checks]
        )
        corrected = correct(
            inside, initial.probabilities, meaningful=initial.meaningful, learn=initial.source != "answers", track=track,
            noise_proven=spot_checks.borne_out(checks, "mixture"), trainer=mine,
            evidence=previous.corrected.evidence if reuse and previous is not None else None,
            settings=previous.corrected.settings if reuse and previous is not None else None,
        )  # fmt: skip
        if task.given is not None:
            corrected = _with_proposals(inside, corrected, taken[rows])
        elif initial.source == "refinement" and initial.meaningful:
            corrected = _certain_kept(inside, initial, corrected)
    if initial.source == "answers":  # no model sees the errors that it made itself; how sure it is tells more
        expected = float(np.where(inside.answered, 0.0, 1.0 - corrected.confidence).mean())
        corrected = replace(corrected, queue=replace(corrected.queue, error_rate=expected))

    if initial.source == "proposals":  # the sample says how many of the labels that it bore out are wrong
        expected = spot_checks.expected_errors(checks) / max(len(rows), 1)
        corrected = replace(
            corrected, queue=replace(corrected.queue, error_rate=max(corrected.queue.error_rate, expected))
        )

    default = task.zero_shot.argmax(axis=1) if task.given is None else task.given
    labels, suggested = default.copy(), default.copy()
    confidence, score = np.zeros(len(task)), np.zeros(len(task))
    probabilities = np.array(task.zero_shot, dtype=np.float64)
    labels[rows], suggested[rows] = corrected.labels, corrected.queue.suggested
    confidence[rows], score[rows], probabilities[rows] = (
        corrected.confidence, corrected.queue.score, corrected.probabilities
    )  # fmt: skip
    if not answered and initial.meaningful and strategy is None:
        queue = flagged(corrected)
    else:
        queue = choose(
            inside.features, corrected, task.class_names, answered=inside.answered, unsure=inside.unsure,
            groups=inside.features.duplicate_groups, meaningful=initial.meaningful, strategy=strategy, seed=task.seed,
            view=_view(inside, initial),
        )  # fmt: skip
    queue, proposals = replace(queue, rows=rows[queue.rows]), task.proposals
    if proposals is None and proposing and not answered:
        proposals = propose(inside, corrected)
        checks = checks_of(task, proposals)
        if task.accept_proposals and proposals.groups:
            student = corrected.student.probabilities if corrected.student.reliable else task.student
            return label(
                replace(task, proposals=proposals, student=student), strategy=strategy, fit_on=fit_on, track=track
            )
    if proposals is not None:
        checks = spot_checks.worth_asking(proposals, checks, labels, task.answered | task.left_out)
        queue = spot_checks_first(queue, checks, task.class_names)
        asked = np.concatenate([rows[:0], *(one.ask for one in checks)])
        suggested[asked] = proposals.proposed[asked]
    return Labelled(
        labels=labels, probabilities=probabilities, confidence=confidence,
        source=_sources(task, inside, rows, initial, corrected, taken), initial=initial, corrected=corrected, rows=rows,
        queue=queue, suspect_score=score, suggested=suggested,
        duplicate_of=task.spread.duplicate_of, none_of_these=_none_of_these(inside, rows, corrected),
        copies=len(task) - len(np.unique(task.features.duplicate_groups)), proposals=proposals, checks=checks,
    )  # fmt: skip


def checks_of(task: Task, proposals: Proposals | None) -> tuple[Check, ...]:
    """What the answers of the task say of the groups of proposals."""
    if proposals is None or not proposals.groups:
        return ()
    looked_at = task.answered | task.left_out
    looked_at = looked_at if task.unsure is None else looked_at | task.unsure
    drawn = spot_checks.drawing_order(task.names, task.seed)
    return spot_checks.check(proposals, task.truth, looked_at, drawn, accept=task.accept_proposals)


def _applied(task: Task, checks: Sequence[Check]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(N,) labels of applied groups of proposals, -1 elsewhere; and (N,) bool, where a sample of answers bears them out."""
    if task.proposals is None:
        return np.full(len(task), -1), np.zeros(len(task), dtype=bool)
    states = [one.state == spot_checks.APPLIED for one in checks]
    return spot_checks.applied(task.proposals, checks), np.array([*states, False])[task.proposals.group]


def _with_proposals(inside: Task, corrected: Corrected, taken: NDArray[np.int64]) -> Corrected:
    """The labels of applied proposals over those that the correction found."""
    here = (taken >= 0) & ~inside.answered & (taken != corrected.labels)
    rows = np.arange(len(taken))
    labels = np.where(here, taken, corrected.labels)
    return replace(
        corrected,
        labels=labels,
        changed=corrected.changed | here,
        confidence=np.where(here, corrected.probabilities[rows, labels], corrected.confidence),
    )


def _certain_kept(inside: Task, initial: InitialLabels, corrected: Corrected) -> Corrected:
    """Zero-shot labels that are certain in the place of those that the correction found for these images."""
    said = inside.zero_shot.argmax(axis=1)
    kept = certain(inside.zero_shot, inside.trust) & (initial.probabilities.argmax(axis=1) == said)
    kept &= (corrected.labels != said) & ~inside.answered
    return replace(
        corrected,
        labels=np.where(kept, said, corrected.labels),
        changed=corrected.changed & ~kept,
        probabilities=np.where(kept[:, None], inside.zero_shot, corrected.probabilities),
        confidence=np.where(kept, inside.zero_shot.max(axis=1, initial=0.0), corrected.confidence),
    )


def _started(task: Task, taken: NDArray[np.int64]) -> Task:
    """The task with applied proposals in the place of what its labels are taken from."""
    here, k = taken >= 0, task.zero_shot.shape[1]
    if not here.any():
        return task
    if task.given is not None:
        return replace(task, given=np.where(here, taken, task.given))
    return replace(task, zero_shot=np.where(here[:, None], smoothed(np.maximum(taken, 0), k), task.zero_shot))


def _none_of_these(inside: Task, rows: NDArray[np.int64], corrected: Corrected) -> dict[int, str]:
    """What images of none of the classes look like, by row of all."""
    found = inside.none_of_these
    flagged = np.flatnonzero(corrected.queue.none_of_these)
    return {} if found is None else {int(rows[i]): found.looks_like[i] for i in flagged}


def _view(task: Task, initial: InitialLabels) -> NDArray[np.float64] | None:
    """Zero-shot's side of the question what to ask, (N, K). Labels that exist have none: the posterior weighs them already, and
    beside it each label that was put right would look as uncertain as one can be."""
    return initial.probabilities if task.given is None else None


def ranking(task: Task, labelled: Labelled, strategy: str) -> NDArray[np.int64]:
    """All images without an answer, in the order in which the strategy asks; then near duplicates, whose answer is known."""
    inside, rows = task.take(labelled.rows), labelled.rows
    pool = pool_of(
        inside.features,
        labelled.corrected,
        answered=inside.answered,
        view=_view(inside, labelled.initial),
        seed=task.seed,
    )
    asked = rows[order(strategy, pool)]
    first = np.concatenate([rows[:0], *(labelled.checks[g].ask for g in spot_checks.asked_next(labelled.checks))])
    asked = np.concatenate([first, asked[~np.isin(asked, first)]])
    open_ = rows[~inside.answered]
    waiting = np.flatnonzero(labelled.duplicate_of >= 0)
    return np.concatenate([asked, np.setdiff1d(open_, asked), waiting])


def _sources(
    task: Task,
    inside: Task,
    rows: NDArray[np.int64],
    initial: InitialLabels,
    corrected: Corrected,
    taken: NDArray[np.int64],
) -> NDArray[np.object_]:
    """What gave each label its value, (N,)."""
    source = np.full(len(task), "clip" if task.given is None else "given", dtype=object)
    first = inside.zero_shot.argmax(axis=1) if inside.given is None else inside.given
    start = initial.probabilities.argmax(axis=1)
    of_rows = source[rows]
    if initial.source == "answers":
        of_rows[:] = "answers"
    else:
        of_rows[(corrected.labels == start) & (start != first)] = "refinement"
    student = corrected.student.held_out_accuracy is not None or inside.student is not None
    changed = corrected.changed & (corrected.labels != first)
    of_rows[changed] = "answers" if corrected.from_answers else "student" if student else "correction"
    of_rows[(taken[rows] >= 0) & (corrected.labels == taken[rows])] = "proposal"
    source[rows] = of_rows
    source[task.spread.duplicate_of >= 0] = "duplicate"
    if task.answers is not None:
        source[task.answers >= 0] = "clinician"
    return source
