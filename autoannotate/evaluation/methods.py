"""The methods that are measured side by side, by name. Adding one is adding one entry.

>>> [name for name in METHODS if name in ("given", "cleanlab", "ours")]
['given', 'cleanlab', 'ours']

`NAME-student` is a rival's way of training with the network of the product's student, as in `sce-student`; `cnn` is that
network trained our way. `ours+20` has 20 answers, the spot checks of its proposals first; a rival's `+20`, as in
`transclip+20`, has the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from autoannotate._internal.choices import chosen
from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation.baselines import baseline, baselines, cleanlab, trained
from autoannotate.evaluation.baselines.shared import from_probabilities
from autoannotate.evaluation.task import Problem, Solution

if TYPE_CHECKING:
    from autoannotate.labelling.label_errors.student import Trainer
    from autoannotate.labelling.pipeline import Labelled
    from autoannotate.labelling.task import Task

ANSWERS = 20  # of the methods with answers


def solve(name: str, problem: Problem) -> Solution:
    """What the method of that name makes of the problem.

    Raises
    ------
    UsageError
        Where there is none, with the nearest name.
    """
    return METHODS[chosen(name, METHODS, "method")](problem)


def given(problem: Problem) -> Solution:
    """The labels as they came, and no doubt about any."""
    return Solution(problem.given, problem.probabilities)


def clip(problem: Problem) -> Solution:
    """CLIP alone, zero-shot. Where the given labels are not its own it is asked with the product's sentences."""
    if problem.start == "clip":
        return from_probabilities(problem, problem.probabilities)
    if problem.encoder is None:
        raise UsageError("The method clip needs an encoder, and this problem has none.")
    from autoannotate.labelling.zero_shot import classifier
    from autoannotate.labelling.zero_shot.prompts import class_prompts

    texts = [problem.encoder.encode_texts(prompt.texts) for prompt in class_prompts(problem.class_names)]
    images = classifier.distribution_normalised(problem.embeddings)
    classes = classifier.class_embeddings(texts)
    return from_probabilities(problem, classifier.probabilities(images, classes, problem.encoder.logit_scale))


def cnn(problem: Problem) -> Solution:
    """The student alone: cleanlab's suspects out, a network trained on the rest of `train`, and its class for every image.

    Images that it learned from are judged by a network that did not see them (cross-fitting), all others by both.

    Raises
    ------
    InputError
        With the reason where none could be trained.
    """
    from autoannotate.labelling.features import standardised
    from autoannotate.models.student_training import FAST_PASSES, PASSES, train_student

    outside = cleanlab.out_of_sample(problem, standardised(problem.features))
    student = train_student(
        problem.images,
        problem.features,
        problem.given,
        problem.train & ~cleanlab.doubted(problem.given, outside, problem.train),
        baseline=outside,
        kind=problem.student,
        encoder=problem.encoder,
        groups=problem.groups,
        passes=FAST_PASSES if problem.fast else PASSES,
        seed=problem.seed,
    )
    if student.held_out_accuracy is None:
        raise InputError(student.note)
    return from_probabilities(problem, student.probabilities, student.note)


def ours(problem: Problem) -> Solution:
    """The product: zero-shot labels are refined as in a run of `autoannotate label`, and labels from elsewhere are not; then
    both are corrected. `train` makes no difference: a run labels all images that it is given, and has no truth of any."""
    from autoannotate.labelling.pipeline import label

    return _solution(problem, label(task_of(problem), trainer=trainer(problem)))


def ours_with_answers(problem: Problem) -> Solution:
    """The product after `ANSWERS` answers, the spot checks of proposals first, then what the queue asks, as in a review."""
    return _solution(problem, _answered(problem))


def with_the_same_answers(solve_it: Callable[[Problem], Solution]) -> Callable[[Problem], Solution]:
    """A method that starts from labels in which the images that `ours+20` asked about have the clinician's."""

    def solve_with(problem: Problem) -> Solution:
        known = _answered(problem).source == "clinician"
        assert problem.clinician is not None
        ask = problem.clinician(ANSWERS)
        given, probabilities = problem.given.copy(), problem.probabilities.copy()
        for row in np.flatnonzero(known).tolist():
            given[row] = ask(row)
            probabilities[row] = np.eye(probabilities.shape[1])[given[row]]
        found = solve_it(replace(problem, given=given, probabilities=probabilities))
        return replace(found, labels=np.where(known, given, found.labels))

    return solve_with


@lru_cache(maxsize=1)  # rivals get the same answers
def _answered(problem: Problem) -> Labelled:
    """The product's labels after `ANSWERS` answers."""
    from autoannotate.labelling.pipeline import checks_of, label, ranking
    from autoannotate.labelling.queries.spot_checks import asked_next
    from autoannotate.labelling.queries.strategies import DEFAULT

    if problem.clinician is None:
        raise UsageError("This protocol has no clinician who answers: choose a method without +20.")
    ask, answers = problem.clinician(ANSWERS), np.full(len(problem.given), -1)
    task = task_of(problem)
    first = label(task, trainer=trainer(problem))
    student = first.corrected.student
    task = replace(
        task, proposals=first.proposals, student=None if student.held_out_accuracy is None else student.probabilities
    )
    while ask.left:
        checks = checks_of(replace(task, answers=answers), first.proposals)
        groups = asked_next(checks)
        if not groups:
            break
        row = checks[groups[0]].ask[0]
        answers[row] = ask(row)
    found = label(replace(task, answers=answers))
    if ask.left:
        strategy = DEFAULT if found.meaningful else "representative"
        for row in ranking(replace(task, answers=answers), found, strategy)[: ask.left].tolist():
            answers[row] = ask(row)
        found = label(replace(task, answers=answers))
    return found


def task_of(problem: Problem) -> Task:
    """What the product's pipeline is given."""
    from autoannotate.labelling.features import Features
    from autoannotate.labelling.task import Task

    return Task(
        Features(problem.features), problem.probabilities, problem.class_names,
        given=None if problem.start == "clip" else problem.given, trust=problem.trust, meaningful=problem.meaningful,
        groups=problem.groups, image_names=problem.image_names, seed=problem.seed,
    )  # fmt: skip


def _solution(problem: Problem, found: Labelled) -> Solution:
    from autoannotate.labelling.calibration import with_confidence
    from autoannotate.labelling.label_errors.zero_shot_doubt import beside_zero_shot

    made = with_confidence(found.probabilities, found.labels, found.confidence)
    wrong = 1.0 - found.probabilities[np.arange(len(made)), problem.given]
    moved = (
        found.initial.probabilities.argmax(axis=1) != problem.given
    )  # by refinement, before the correction that doubts
    doubt = np.where(moved, wrong, found.corrected.doubt)
    words = None if problem.start == "clip" or problem.encoder is None else clip(problem).probabilities
    if words is not None:  # which an audit has
        doubt = beside_zero_shot(doubt, problem.given, found.corrected.queue.out_of_sample, words)
    return Solution(found.labels, made, doubt, found.corrected.student.note)


def with_student(name: str) -> Callable[[Problem], Solution]:
    """A rival's way of training, with the network of the product's student."""

    def solve_with(problem: Problem) -> Solution:
        from autoannotate.evaluation.baselines.students import cross_fitted

        found: Solution = baseline(name).solve(problem, fit=cross_fitted)
        return found

    return solve_with


def trainer(problem: Problem) -> Trainer | None:
    """What trains the student of a problem; None where none is asked for."""
    from autoannotate.models.student_training import StudentTrainer

    return StudentTrainer.of(problem.images, problem.student, problem.encoder, fast=problem.fast)


METHODS: dict[str, Callable[[Problem], Solution]] = {
    "given": given,
    "clip": clip,
    **{name: baseline(name).solve for name in baselines()},
    **{f"{name}-student": with_student(name) for name in trained()},
    "cnn": cnn,
    "ours": ours,
    f"ours+{ANSWERS}": ours_with_answers,
    **{f"{name}+{ANSWERS}": with_the_same_answers(baseline(name).solve) for name in baselines()},
}
