"""Label propagation over the k-NN graph, with the given labels as seeds.

Zhou et al. 2004, "Learning with Local and Global Consistency", section 2: F ← αSF + (1−α)Y. Their α = 0.99 lost 10 points
against 0.95 on frozen features where classes are no clusters, and won nothing but 2 on chest against breast.
"""

from __future__ import annotations

import numpy as np

from autoannotate.evaluation.problem import Problem, Solution
from autoannotate.evaluation.rivals.shared import believing
from autoannotate.neighbours import compact, graph_of, nearest, propagate

NEIGHBOURS = 10
ALPHA = 0.95
STEPS = 200  # 0.95**200 is 3e-5


def solve(problem: Problem) -> Solution:
    """The class with the highest score; seeds are the labels of `train`, and the graph joins all images."""
    graph = graph_of(nearest(compact(problem.features), NEIGHBOURS))
    seeds = np.eye(len(problem.class_names))[problem.given] * problem.train[:, None]
    return believing(problem, propagate(graph, seeds, ALPHA, STEPS))
