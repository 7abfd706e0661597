"""The methods that are measured side by side, by name. Adding one is adding one entry.

>>> sorted(METHODS)
['cleanlab', 'clip', 'cnn', 'given', 'knn', 'labelprop', 'ours', 'selftrain', 'transclip', 'zlap']
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation.baselines import baseline, baselines, cleanlab
from autoannotate.evaluation.baselines.shared import believing
from autoannotate.evaluation.task import Problem, Solution

if TYPE_CHECKING:
    from autoannotate.labelling.label_errors.student import Trainer


def solve(name: str, problem: Problem) -> Solution:
    """What the method of that name makes of the problem. Raises UsageError where there is none, with the nearest name."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"There is no method {name!r}: choose from {', '.join(METHODS)}.{hint}")
    return METHODS[name](problem)


def given(problem: Problem) -> Solution:
    """The labels as they came, and no doubt about any."""
    return Solution(problem.given, problem.probabilities)


def clip(problem: Problem) -> Solution:
    """CLIP alone, zero-shot. Where the given labels are not its own it is asked with the product's sentences."""
    if problem.start == "clip":
        return believing(problem, problem.probabilities)
    if problem.encoder is None:
        raise UsageError("The method clip needs an encoder, and this problem has none.")
    from autoannotate.labelling.zero_shot import classifier
    from autoannotate.labelling.zero_shot.prompts import class_prompts

    texts = [problem.encoder.encode_texts(prompt.texts) for prompt in class_prompts(problem.class_names)]
    images = classifier.distribution_normalised(problem.embeddings)
    classes = classifier.class_embeddings(texts)
    return believing(problem, classifier.probabilities(images, classes, problem.encoder.logit_scale))


def cnn(problem: Problem) -> Solution:
    """The student alone: cleanlab's suspects out, a network trained on the rest of `train`, and its class for every image.

    Images that it learned from are judged by a network that did not see them (cross-fitting), all others by both. Raises
    InputError with the reason where none could be trained.
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
    return believing(problem, student.probabilities, student.note)


def ours(problem: Problem) -> Solution:
    """The product: zero-shot labels are refined as in a run of `autoannotate label`, and labels from elsewhere are not; then
    both are corrected. `train` makes no difference: a run labels all images that it is given, and has no truth of any."""
    from autoannotate.labelling.calibration import with_confidence
    from autoannotate.labelling.features import Features
    from autoannotate.labelling.pipeline import label
    from autoannotate.labelling.task import Task

    found = label(
        Task(
            Features(problem.features), problem.probabilities, problem.class_names,
            given=None if problem.start == "clip" else problem.given, trust=problem.trust, meaningful=problem.meaningful,
            groups=problem.groups, image_names=problem.image_names, seed=problem.seed,
        ),
        trainer=trainer(problem),
    )  # fmt: skip
    made = with_confidence(found.probabilities, found.labels, found.confidence)
    wrong = 1.0 - found.probabilities[np.arange(len(made)), problem.given]
    moved = (
        found.initial.probabilities.argmax(axis=1) != problem.given
    )  # by refinement, before the correction that doubts
    doubt = np.where(moved, wrong, found.corrected.doubt)
    return Solution(found.labels, made, doubt, found.corrected.student.note)


def trainer(problem: Problem) -> Trainer | None:
    """What trains the student of a problem; None where none is asked for."""
    from autoannotate.models.student_training import StudentTrainer

    return StudentTrainer.of(problem.images, problem.student, problem.encoder, fast=problem.fast)


METHODS: dict[str, Callable[[Problem], Solution]] = {
    "given": given,
    "clip": clip,
    **{name: baseline(name).solve for name in baselines()},
    "cnn": cnn,
    "ours": ours,
}
