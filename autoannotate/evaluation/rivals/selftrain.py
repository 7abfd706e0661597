"""Plain self-training: what the probe is sure of becomes the label, and it learns again.

Yarowsky 1995; Lee 2013 ("Pseudo-Label"). There is no unlabelled image here but wrong labels, so a sure prediction takes the
place of the given label, and the label stays elsewhere, as in the progressive correction of Zhang et al. 2021 (arXiv
2103.07756). Predictions are cross-validated, since a probe is always sure of what it was taught.
"""

from __future__ import annotations

import numpy as np

from autoannotate.evaluation.problem import Problem, Solution
from autoannotate.evaluation.rivals.shared import cross_validated
from autoannotate.probe import standardised

ROUNDS = 5
SURE = 0.75  # as in scikit-learn's SelfTrainingClassifier


def solve(problem: Problem) -> Solution:
    """Labels after the last round, and its probe's probabilities; images outside `train` take its class. Doubt: the first's."""
    points, k = standardised(problem.features), len(problem.class_names)
    everyone, labels = np.arange(len(points)), problem.given
    found = first = cross_validated(points, labels, problem.train, k, problem.seed)
    for _ in range(ROUNDS):
        labels = np.where(found.max(axis=1) >= SURE, found.argmax(axis=1), labels)
        found = cross_validated(points, labels, problem.train, k, problem.seed)
    return Solution(
        labels=np.where(problem.train, labels, found.argmax(axis=1)),
        probabilities=found,
        doubt=1.0 - first[everyone, problem.given],
    )
