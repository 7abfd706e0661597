"""cleanlab alone: drop the labels that confident learning doubts, fit again, and relabel the dropped ones.

Northcutt, Jiang and Chuang 2021, arXiv 1911.00068, in the steps of `cleanlab.classification.CleanLearning`:
`find_label_issues` ("prune by noise rate") on cross-validated probabilities, then a fit on the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoannotate.evaluation.baselines.shared import cross_validated, fit_predict
from autoannotate.evaluation.task import Problem, Solution
from autoannotate.labelling.features import standardised

STRENGTH = 3e-3  # of the probe: best on average for what cleanlab relabels and what it ranks first


def solve(problem: Problem) -> Solution:
    """Dropped images, and those outside `train`, take the refitted probe's class; doubt is 1 − cleanlab's label quality."""
    from cleanlab.rank import get_label_quality_scores

    points, k = standardised(problem.features), len(problem.class_names)
    outside = out_of_sample(problem, points)
    relabelled = doubted(problem.given, outside, problem.train) | ~problem.train
    refitted = fit_predict(points, problem.given, ~relabelled, k, STRENGTH)
    return Solution(
        labels=np.where(relabelled, refitted.argmax(axis=1), problem.given),
        probabilities=refitted,
        doubt=1.0 - get_label_quality_scores(problem.given, outside, method="self_confidence"),
    )


def out_of_sample(problem: Problem, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probe's cross-validated probabilities, (N, K), of points (N, d)."""
    k = len(problem.class_names)
    return cross_validated(points, problem.given, problem.train, k, STRENGTH, problem.seed)


def doubted(given: NDArray[np.integer], outside: NDArray[np.float64], train: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """cleanlab's label issues, (N,) bool, among the images of `train`, by probabilities (N, K) that never saw their label."""
    from cleanlab.filter import find_label_issues

    dropped = np.zeros(len(given), dtype=bool)
    present, members = np.unique(given[train], return_inverse=True)
    if len(present) < 2:
        return dropped
    among = outside[np.ix_(train, present)] + 1e-9
    dropped[train] = find_label_issues(
        members,
        among / among.sum(axis=1, keepdims=True),
        filter_by="prune_by_noise_rate",
        min_examples_per_class=0,
        n_jobs=1,
    )
    return dropped
