"""Co-teaching: two networks, each learns from what the other finds easy.

Han et al. 2018, "Co-teaching: Robust training of deep neural networks with extremely noisy labels", arXiv 1804.06872,
algorithm 1: of a batch each network picks the share R(T) = 1 − min(T τ / T_k, τ) with the smallest loss, and the other learns
from these. The paper is told the noise rate τ; here it is the share of the labels that cleanlab doubts. T_k is a tenth of the
epochs, as for CIFAR-10 there (10 of 200, rounded up). The networks are heads on the frozen features (`heads.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoannotate.evaluation.baselines import cleanlab
from autoannotate.evaluation.baselines.heads import EPOCHS, batches, cross_fitted, head, optimizer
from autoannotate.evaluation.baselines.shared import believing
from autoannotate.evaluation.task import Problem, Solution
from autoannotate.labelling.features import standardised

GRADUAL = EPOCHS // 10


def solve(problem: Problem) -> Solution:
    """The class that the two networks predict together."""
    outside = cleanlab.out_of_sample(problem, standardised(problem.features))
    rate = float(cleanlab.doubted(problem.given, outside, problem.train)[problem.train].mean())
    return believing(
        problem, cross_fitted(problem, lambda points, labels, classes: train(points, labels, classes, rate))
    )


def train(points: Tensor, labels: Tensor, classes: int, rate: float) -> Sequence[nn.Module]:
    """Both networks; rate: the share of wrong labels."""
    pair = [head(points.shape[1], classes).train() for _ in range(2)]
    steps = [optimizer(network) for network in pair]
    for epoch in range(EPOCHS):
        kept = 1.0 - min((epoch + 1) * rate / GRADUAL, rate)
        for rows in batches(len(labels)):
            many = max(1, round(kept * len(rows)))
            with torch.no_grad():
                losses = [F.cross_entropy(net(points[rows]), labels[rows], reduction="none") for net in pair]
            easy = [rows[each.argsort()[:many]] for each in losses]
            for network, step, chosen in zip(pair, steps, easy[::-1], strict=True):
                step.zero_grad()
                F.cross_entropy(network(points[chosen]), labels[chosen]).backward()
                step.step()
    return pair
