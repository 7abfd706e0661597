"""DISC: selection and correction of labels by thresholds of each image's own, from two views of it.

Li et al. 2023, "DISC: Learning from Noisy Labels via Dynamic Instance-Specific Selection and Correction", CVPR. Of each image
the momentum of its confidence in a weak and a strong view are its thresholds τ(t) = λ τ(t−1) + (1 − λ) max_k p_k. Given
labels more probable than τ in both views are clean, in one of them hard; the others take the predicted class where the mean
of both views exceeds min(mean of τ + σ, 0.9). The loss is cross-entropy on the clean, generalised cross-entropy (Zhang and
Sabuncu 2018, q = 0.7) on the hard ones, and mixup (Beta(5, 5)) on all that were selected or corrected. λ = 0.95 and σ = 0.5
as in the published code, for a tenth of the epochs cross-entropy alone. With heads on the frozen features, whose views are
noise of a tenth of the features' spread, and of half of it with a fifth of the features left out (`heads.py`); or, as
`disc-student`, with the student's network and images that are changed a little or much (`students.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoannotate.evaluation.baselines.heads import Fit, Training, cross_fitted
from autoannotate.evaluation.baselines.shared import from_probabilities
from autoannotate.evaluation.task import Problem, Solution

MOMENTUM, BEYOND, MOST = 0.95, 0.5, 0.9
Q, MIXED = 0.7, 5.0


def solve(problem: Problem, fit: Fit = cross_fitted) -> Solution:
    """The class that networks trained on the other images' labels predict."""
    return from_probabilities(problem, fit(problem, train))


def train(training: Training, labels: Tensor, classes: int) -> Sequence[nn.Module]:
    """One network, trained by selection and correction."""
    count, warm_up = len(labels), max(1, training.epochs // 10)
    network, steps = training.network()
    thresholds = torch.full((2, count), 1.0 / count, device=labels.device)
    said = torch.zeros(2, count, classes, device=labels.device)
    clean = hard = mixed = torch.zeros(count, dtype=torch.bool, device=labels.device)
    better = labels.clone()
    for epoch in range(training.epochs):
        for rows in training.batches():
            seen = training.views(rows)
            logits = [network(view) for view in seen]
            said[:, rows] = torch.stack([each.detach().softmax(dim=1) for each in logits])
            if epoch < warm_up:
                loss: Tensor | float = sum((F.cross_entropy(each, labels[rows]) for each in logits), 0.0)
            else:
                loss = _loss(network, seen, logits, labels[rows], better[rows], clean[rows], hard[rows], mixed[rows])
            if isinstance(loss, Tensor):
                steps.zero_grad()
                loss.backward()
                steps.step()
        clean, hard, mixed, better = select(said, thresholds, labels)
        thresholds = MOMENTUM * thresholds + (1.0 - MOMENTUM) * said.max(dim=2).values
    return [network]


def select(said: Tensor, thresholds: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which labels are clean, hard, and in the mix, (N,) bool each, and the labels of the mix, (N,).

    Parameters
    ----------
    said : (2, N, K), probabilities of both views
    thresholds : (2, N)
    """
    above = said[:, torch.arange(len(labels), device=labels.device), labels] > thresholds
    clean, selected = above.all(dim=0), above.any(dim=0)
    surest, predicted = said.mean(dim=0).max(dim=1)
    corrected = (surest > (thresholds.mean(dim=0) + BEYOND).clamp(max=MOST)) & ~selected
    return clean, selected & ~clean, selected | corrected, torch.where(corrected, predicted, labels)


def _loss(
    network: nn.Module, seen: Sequence[Tensor], logits: Sequence[Tensor], labels: Tensor, better: Tensor, clean: Tensor,
    hard: Tensor, mixed: Tensor,
) -> Tensor | float:  # fmt: skip
    total: Tensor | float = 0.0
    for view, each in zip(seen, logits, strict=True):
        if clean.any():
            total = total + clean.float().mean() * F.cross_entropy(each[clean], labels[clean])
        if hard.any():
            chance = each[hard].softmax(dim=1).gather(1, labels[hard][:, None]).clamp(min=1e-6)
            total = total + hard.float().mean() * ((1.0 - chance**Q) / Q).mean()
        if mixed.any():
            share = float(torch.distributions.Beta(MIXED, MIXED).sample())
            share, order = max(share, 1.0 - share), torch.randperm(int(mixed.sum()))
            points, targets = view[mixed], better[mixed]
            both = network(share * points + (1.0 - share) * points[order])
            total = (
                total + share * F.cross_entropy(both, targets) + (1.0 - share) * F.cross_entropy(both, targets[order])
            )
    return total
