"""k-NN vote: an image takes the label that most of its nearest neighbours have.

Wilson's editing (1972) that relabels; in deep features Bahri et al. 2020 (arXiv 2004.12289) and Zhu et al. 2022 (arXiv
2110.06283), whose k = 10 and whose vote for the image's own label are taken.
"""

from __future__ import annotations

import numpy as np

from autoannotate.evaluation.task import Problem, Solution
from autoannotate.labelling.features import compact

NEIGHBOURS = 10
TIE = 1e-6  # the given label decides a tie


def solve(problem: Problem) -> Solution:
    """The vote of the ten nearest images of `train`, and of the image itself if it is one; doubt is the others' vote alone."""
    from sklearn.neighbors import NearestNeighbors

    points, rows = compact(problem.features), np.flatnonzero(problem.train)
    k = min(NEIGHBOURS, len(rows) - 1)
    found = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(points[rows]).kneighbors(points)[1]
    near = rows[found]
    counts = near != np.arange(len(points))[:, None]
    counts[counts.all(axis=1), k] = False  # not itself among the nearest: the one too many is the last
    given = np.eye(len(problem.class_names))[problem.given]
    others = (given[near] * counts[:, :, None]).sum(axis=1)
    votes = others + given * np.where(problem.train, 1.0 + TIE, 0.0)[:, None]
    everyone = np.arange(len(points))
    return Solution(
        labels=votes.argmax(axis=1),
        probabilities=votes / votes.sum(axis=1, keepdims=True),
        doubt=1.0 - others[everyone, problem.given] / max(k, 1),
    )
