"""What the rivals share that are ways to train a network: a network of one hidden layer on the frozen features, cross-fitted.

Published, they train a whole CNN for hundreds of epochs. Here each trains the same small head on the same features with the
same budget, so that what differs is the way of training; no image's own label has a part in its prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autoannotate.evaluation.task import Problem
from autoannotate.labelling.features import standardised
from autoannotate.labelling.label_errors.out_of_sample import folds

HIDDEN, EPOCHS, BATCH = 128, 50, 64
RATE, DECAY = 1e-3, 1e-3  # of AdamW

Train = Callable[[Tensor, Tensor, int], Sequence[nn.Module]]
"""Trains networks on points (M, d) and noisy labels (M,) of K classes; they are averaged."""


def head(width: int, classes: int) -> nn.Module:
    """A network of one hidden layer."""
    return nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Dropout(0.2), nn.Linear(HIDDEN, classes))


def optimizer(*networks: nn.Module) -> torch.optim.Optimizer:
    """AdamW over all parameters of the networks."""
    return torch.optim.AdamW([p for net in networks for p in net.parameters()], lr=RATE, weight_decay=DECAY)


def batches(count: int) -> Iterator[Tensor]:
    """Rows of one epoch, in a random order."""
    yield from torch.randperm(count).split(BATCH)


def cross_fitted(problem: Problem, train: Train) -> NDArray[np.float64]:
    """Class probabilities, (N, K): of an image of `train` by networks that did not see its label, five folds; of another by
    networks of all of `train`."""
    from autoannotate.models.student_network import fixed_randomness

    points = torch.from_numpy(standardised(problem.features)).float()
    labels, k = torch.from_numpy(np.asarray(problem.given, dtype=np.int64)), len(problem.class_names)
    found = np.zeros((len(labels), k))
    rows = np.flatnonzero(problem.train)
    dealt = [(np.setdiff1d(rows, rows[fold]), rows[fold]) for fold in folds(problem.given[rows], problem.seed)]
    if not problem.train.all():
        dealt.append((rows, np.flatnonzero(~problem.train)))
    for number, (mine, others) in enumerate(dealt):
        with fixed_randomness(problem.seed * 100 + number):
            networks = train(points[mine], labels[mine], k)
        with torch.no_grad():
            said = [net.eval()(points[others]).softmax(dim=1) for net in networks]
        found[others] = torch.stack(said).mean(dim=0).double().numpy()
    return found / found.sum(axis=1, keepdims=True)
