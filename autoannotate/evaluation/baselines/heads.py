"""What the rivals share that are ways to train a network: what is trained, and on what, apart from how.

Published, they train a whole CNN for hundreds of epochs. Each is written once, and trains either of two: here a network of one
hidden layer on the frozen features; in `students.py` the student's own network on the pixels, as `NAME-student`. Every way of
training has the same network and the same budget, and no image's own label has a part in its prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from autoannotate.evaluation.task import Problem
from autoannotate.labelling.features import standardised
from autoannotate.labelling.label_errors.out_of_sample import folds

HIDDEN, EPOCHS, BATCH = 128, 50, 64
RATE, DECAY = 1e-3, 1e-3  # of AdamW
WEAK, STRONG, LEFT_OUT = 0.1, 0.5, 0.2  # of the views: noise in units of the features' spread, and features left out


class Training(Protocol):
    """What is trained for how long, and what it sees of M images."""

    @property
    def epochs(self) -> int: ...

    def network(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """A new network, ready to be trained, and its optimiser."""

    def batches(self) -> Iterator[Tensor]:
        """Rows of one epoch, in a random order."""

    def inputs(self, rows: Tensor) -> Tensor:
        """What a network is trained on of these images."""

    def views(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A weak and a strong view of these images."""


Train = Callable[[Training, Tensor, int], Sequence[nn.Module]]
"""Trains networks by noisy labels (M,) of K classes; they are averaged."""

Fit = Callable[[Problem, Train], NDArray[np.float64]]
"""Class probabilities, (N, K), by networks that did not see the image's label."""


class Heads:
    """A network of one hidden layer on points (M, d), whose views are noise."""

    epochs = EPOCHS

    def __init__(self, points: Tensor, classes: int) -> None:
        self.points, self.classes = points, classes
        self.spread = points.std(dim=0, correction=0)

    def network(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        width = self.points.shape[1]
        made = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.ReLU(), nn.Dropout(0.2), nn.Linear(HIDDEN, self.classes)
        ).train()
        return made, torch.optim.AdamW(made.parameters(), lr=RATE, weight_decay=DECAY)

    def batches(self) -> Iterator[Tensor]:
        yield from torch.randperm(len(self.points)).split(BATCH)

    def inputs(self, rows: Tensor) -> Tensor:
        return self.points[rows]

    def views(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        points = self.points[rows]
        weak = points + WEAK * self.spread * torch.randn_like(points)
        strong = points + STRONG * self.spread * torch.randn_like(points)
        return weak, F.dropout(strong, LEFT_OUT)


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
            networks = train(Heads(points[mine], k), labels[mine], k)
        with torch.no_grad():
            said = [net.eval()(points[others]).softmax(dim=1) for net in networks]
        found[others] = torch.stack(said).mean(dim=0).double().numpy()
    return found / found.sum(axis=1, keepdims=True)
