"""Symmetric cross-entropy (SCE): cross-entropy and its reverse, which noisy labels harm less.

Wang et al. 2019, "Symmetric Cross Entropy for Robust Learning with Noisy Labels", arXiv 1908.06112, eq. 7: ℓ = α ℓ_ce + β
ℓ_rce, with ℓ_rce = −Σ_k p(k|x) log q(k|x), eq. 6, q the given label and log 0 = A. α = 0.1, β = 1 and A = −4 as for CIFAR-10
there. The network is a head on the frozen features (`heads.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from autoannotate.evaluation.baselines.heads import EPOCHS, batches, cross_fitted, head, optimizer
from autoannotate.evaluation.baselines.shared import believing
from autoannotate.evaluation.task import Problem, Solution

ALPHA, BETA, LOG_OF_ZERO = 0.1, 1.0, -4.0


def solve(problem: Problem) -> Solution:
    """The class that networks trained on the other images' labels predict."""
    return believing(problem, cross_fitted(problem, train))


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """ℓ of a batch: logits (B, K), labels (B,)."""
    wrong = 1.0 - logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    return ALPHA * F.cross_entropy(logits, labels) - BETA * LOG_OF_ZERO * wrong.mean()


def train(points: Tensor, labels: Tensor, classes: int) -> Sequence[nn.Module]:
    """One network, trained by `loss`."""
    network = head(points.shape[1], classes).train()
    steps = optimizer(network)
    for _ in range(EPOCHS):
        for rows in batches(len(labels)):
            steps.zero_grad()
            loss(network(points[rows]), labels[rows]).backward()
            steps.step()
    return [network]
