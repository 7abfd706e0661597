"""Noisy labels, corrected: how many end right.

Noise of a known rate in true labels, or a second reader's labels in their place, and each method's correction.
The words and the encoder's zero-shot labels take no part, so that correction is measured apart from them.

`accuracy`, `balanced accuracy` (the mean over classes of the share that is right) and `macro F1` are of the labels as they end;
`fixed` is the share of wrong labels that end right, `broken` the share of right labels that end wrong; the calibration error
(ECE) is how far confidence lies from the share that is right. The other metrics are about who finds the wrong labels first:
`average precision` of the ranking by doubt, and `recall at …`, the share of wrong labels among as many of the most doubtful as
there are wrong ones (`errors`), or among so much of the set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autoannotate.errors import UsageError
from autoannotate.evaluation import metrics
from autoannotate.evaluation.baselines import usual as usual_rivals
from autoannotate.evaluation.noise_injection import read_noise
from autoannotate.evaluation.study import Outcome
from autoannotate.evaluation.task import Clinician, Problem

if TYPE_CHECKING:
    from autoannotate.evaluation.labelled_set import LabelledSet
    from autoannotate.evaluation.study import Options, Study

BASELINE = "given"
DEFAULT = ("given", "clip", *usual_rivals(), "ours")
HEADLINE = ("accuracy", "balanced_accuracy", "macro_f1")
OPTIONS = frozenset({"count", "noise", "pixels", "model", "student", "fast"})
CURVE = None
GIVEN = "given"  # --noise given: the set's own second reader
LEAST = 10  # images of a class, below which neighbours and cross-validation have nothing to say
SMOOTHING = 0.1  # how much of each given label's probability is shared among all classes


def methods() -> tuple[str, ...]:
    from autoannotate.evaluation.methods import METHODS

    return tuple(METHODS)


def check(data: LabelledSet, options: Options) -> None:
    data.require(LEAST, "the protocol noise")
    if options.noise != GIVEN:
        rate, many = read_noise(options.noise).rate, sum(min(options.count, n) for n in data.counts().values())
        if rate > 0 and round(rate * many) == 0:
            raise UsageError(
                f"--noise {options.noise} makes none of the {many} labels of a run wrong: its rate is at least {1 / many:.2g}."
            )
    elif data.given is None:
        raise UsageError(
            "--noise given needs a labels.csv with a column `given` beside `label`: what another reader said. This set "
            "has none: use symmetric:0.2, class:0.2 or instance:0.2."
        )


def run_once(study: Study, seed: int, method: str) -> Outcome:
    """One method's correction of one sample's noisy labels: all metrics over the sample."""
    from autoannotate.evaluation.methods import solve

    problem, truth = study.once("problem", seed, lambda: make_problem(study, seed))
    solution = solve(method, problem)
    found = metrics.of_labels(truth, solution.labels, problem.given, solution.probabilities)
    return Outcome(found | metrics.of_doubt(problem.given != truth, solution.doubt), note=solution.note)


def smoothed(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels, (N,), as probabilities, (N, K)."""
    return (1 - SMOOTHING) * np.eye(classes)[labels] + SMOOTHING / classes


def make_problem(study: Study, seed: int) -> tuple[Problem, np.ndarray]:
    """A sample with noisy labels, and its truth, (N,)."""
    rows = study.sample(seed)
    truth, features = study.data.labels[rows], study.features[rows]
    if study.options.noise == GIVEN:
        assert study.data.given is not None
        given = study.data.given[rows]
    else:
        given = read_noise(study.options.noise).inject(truth, features, seed)
    problem = Problem(
        features=features,
        embeddings=study.embeddings[rows],
        probabilities=smoothed(given, len(study.data.class_names)),
        given=given,
        class_names=study.data.class_names,
        texts=None,
        train=np.ones(len(rows), dtype=bool),
        images=study.images(rows),
        groups=None if study.data.groups is None else study.data.groups[rows],
        image_names=[study.data.refs[row].path for row in rows],
        encoder=study.annotator.encoder,
        seed=seed,
        fast=study.options.fast,
        student=study.options.student,
        clinician=lambda many: Clinician(truth, many),
    )
    return problem, truth
