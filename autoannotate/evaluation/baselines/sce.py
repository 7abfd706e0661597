"""Symmetric cross-entropy (SCE): cross-entropy and its reverse, which noisy labels harm less.

Wang et al. 2019, "Symmetric Cross Entropy for Robust Learning with Noisy Labels", arXiv 1908.06112, eq. 7: ℓ = α ℓ_ce + β
ℓ_rce, with ℓ_rce = −Σ_k p(k|x) log q(k|x), eq. 6, q the given label and log 0 = A. α = 0.1, β = 1 and A = −4 as for CIFAR-10
there.
With heads on the frozen features (`heads.py`), or, as `sce-student`, with the student's network (`students.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autoannotate.evaluation.baselines.heads import Fit, Training, cross_fitted
from autoannotate.evaluation.baselines.shared import from_probabilities
from autoannotate.evaluation.task import Problem, Solution

ALPHA, BETA, LOG_OF_ZERO = 0.1, 1.0, -4.0


def solve(problem: Problem, fit: Fit = cross_fitted) -> Solution:
    """The class that networks trained on the other images' labels predict."""
    return from_probabilities(problem, fit(problem, train))


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """ℓ of a batch: logits (B, K), labels (B,)."""
    wrong = 1.0 - logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    return ALPHA * F.cross_entropy(logits, labels) - BETA * LOG_OF_ZERO * wrong.mean()


def train(training: Training, labels: Tensor, classes: int) -> Sequence[nn.Module]:
    """One network, trained by `loss`."""
    network, steps = training.network()
    for _ in range(training.epochs):
        for rows in training.batches():
            steps.zero_grad()
            loss(network(training.inputs(rows)), labels[rows]).backward()
            steps.step()
    return [network]
