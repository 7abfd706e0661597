"""Co-teaching: two networks, each learns from what the other finds easy.

Han et al. 2018, "Co-teaching: Robust training of deep neural networks with extremely noisy labels", arXiv 1804.06872,
algorithm 1: of a batch each network picks the share R(T) = 1 − min(T τ / T_k, τ) with the smallest loss, and the other learns
from these. The paper is told the noise rate τ; here it is the share of the labels that cleanlab doubts. T_k is a tenth of the
epochs, as for CIFAR-10 there (10 of 200, rounded up). With heads on the frozen features (`heads.py`), or, as
`coteaching-student`, with the student's network (`students.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autoannotate.evaluation.baselines import cleanlab
from autoannotate.evaluation.baselines.heads import Fit, Training, cross_fitted
from autoannotate.evaluation.baselines.shared import from_probabilities
from autoannotate.evaluation.task import Problem, Solution
from autoannotate.labelling.features import standardised


def solve(problem: Problem, fit: Fit = cross_fitted) -> Solution:
    """The class that the two networks predict together."""
    outside = cleanlab.out_of_sample(problem, standardised(problem.features))
    rate = float(cleanlab.doubted(problem.given, outside, problem.train)[problem.train].mean())
    return from_probabilities(
        problem, fit(problem, lambda training, labels, classes: train(training, labels, classes, rate))
    )


def train(training: Training, labels: Tensor, classes: int, rate: float) -> Sequence[nn.Module]:
    """Both networks; rate: the share of wrong labels."""
    pair = [training.network() for _ in range(2)]
    gradual = max(1, training.epochs // 10)
    for epoch in range(training.epochs):
        kept = 1.0 - min((epoch + 1) * rate / gradual, rate)
        for rows in training.batches():
            many, seen = max(1, round(kept * len(rows))), training.inputs(rows)
            logits = [network(seen) for network, _ in pair]
            losses = [F.cross_entropy(each, labels[rows], reduction="none") for each in logits]
            easy = [each.detach().argsort()[:many] for each in losses]
            for each, (_, steps), chosen in zip(losses, pair, easy[::-1], strict=True):
                steps.zero_grad()
                each[chosen].mean().backward()
                steps.step()
    return [network for network, _ in pair]
