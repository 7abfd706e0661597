"""What rivals train as `NAME-student`: the network of the product's student, on the same pixels, with the same budget.

Two networks, each on one half of the images, judge the other half, as the product's student is trained. A network's head is
fitted to the noisy labels first, then all of it is trained with the student's rates, batches and changes of the images, for as
many epochs as the student has at most. An epoch of two networks or of several views takes as many times longer. What is the
product's own is left out: cleaned labels, weights, and stopping early.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from autoannotate.errors import UsageError
from autoannotate.evaluation.baselines.heads import Train
from autoannotate.evaluation.task import Problem
from autoannotate.labelling.features import Features
from autoannotate.models import student_network
from autoannotate.models.student_network import Backbone, Classifier, Recipe, Symmetries
from autoannotate.models.student_training import FAST_PASSES, FOLDS, PASSES, two_halves

ERASED = 0.5  # side of the square that a strong view lacks, as a share of the image's (DeVries and Taylor 2017, Cutout)
ASKED = 160  # images by which mirroring is allowed or not, as for the product's student


class Students:
    """The student's network on pixels (M, S, S, 3), whose views are changed images: as for the student, or twice with a square
    left out.

    Attributes
    ----------
    passes : the student's budget, see `models.student_training.train_student`
    """

    def __init__(
        self, backbone: Backbone, pixels: NDArray[np.uint8], labels: Tensor, classes: int, symmetries: Symmetries, passes: int
    ) -> None:  # fmt: skip
        self.backbone, self.pixels, self.labels, self.classes = backbone, pixels, labels, classes
        self.symmetries, self.recipe = symmetries, Recipe(epochs=1)
        most = passes / max(FOLDS * len(pixels) * backbone.cost, 1.0)
        self.epochs = int(np.clip(round(most), 1, backbone.max_epochs))

    def network(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        made = _Network(Classifier(self.backbone, self.classes).to(self.labels.device), self.recipe.dropout)
        if self.backbone.pretrained:
            features = student_network.predict(made.model.features, self.pixels, self.labels.device)
            weights = torch.ones(len(features), device=self.labels.device)
            seen = torch.from_numpy(features).to(self.labels.device)
            student_network.fit_head(made.model, seen, self.labels, weights, self.recipe)
        steps = math.ceil(len(self.pixels) / self.recipe.batch_size) * self.epochs
        optimiser, schedule = student_network.optimiser(self.backbone, made.model, self.recipe, steps)
        optimiser.register_step_post_hook(lambda *_: schedule.step())
        return made.train(), optimiser

    def batches(self) -> Iterator[Tensor]:
        for rows in torch.randperm(len(self.pixels)).split(self.recipe.batch_size):
            if len(rows) > 1:  # batch norm has nothing to say of one
                yield rows

    def inputs(self, rows: Tensor) -> Tensor:
        batch = student_network.to_tensor(self.pixels[rows.numpy()], self.labels.device)
        return student_network.augment(batch, self.symmetries)

    def views(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        weak = self.inputs(rows)
        strong = student_network.augment(self.inputs(rows), self.symmetries)
        side = self.backbone.size
        for image in strong:
            top, left = (int(torch.randint(side - side // 2 + 1, ())) for _ in range(2))
            image[:, top : top + int(ERASED * side), left : left + int(ERASED * side)] = 0.0
        return weak, strong


class _Network(nn.Module):
    """A student's network whose batch norm is trained where the student's is; with dropout before the head."""

    def __init__(self, model: Classifier, dropout: float) -> None:
        super().__init__()
        self.model, self.dropout = model, dropout

    def train(self, mode: bool = True) -> _Network:
        super().train(mode)
        self.model.train(mode and self.model.live_norm)
        self.model.stem.eval()
        return self

    def forward(self, batch: Tensor) -> Tensor:
        return self.model.head(F.dropout(self.model.features(batch), self.dropout, self.training))


def cross_fitted(problem: Problem, train: Train) -> NDArray[np.float64]:
    """Class probabilities, (N, K): of an image of `train` by the networks of the other half; of another by those of both.

    Raises
    ------
    UsageError
        Where the problem has no student.
    """
    from autoannotate.models.encoder import choose_device
    from autoannotate.models.student_checkpoint import load_backbone

    if problem.student == "none":
        raise UsageError("This method trains the student's network: name one with --student, as in --student embedded.")
    labels, k = np.asarray(problem.given, dtype=np.int64), len(problem.class_names)
    backbone, device = load_backbone(problem.student, problem.encoder, problem.seed), choose_device("auto")
    pixels = np.stack([student_network.to_pixels(problem.images(i), backbone.size) for i in range(len(labels))])
    groups = Features(problem.features).duplicate_groups if problem.groups is None else problem.groups
    rows, rng = np.flatnonzero(problem.train), np.random.default_rng(problem.seed)
    half = two_halves(labels[rows], groups[rows], rng)
    asked = rng.permutation(rows)[:ASKED]
    symmetries = student_network.find_symmetries(
        backbone, pixels[asked], labels[asked], seed=problem.seed, device=device
    )
    found = np.zeros((len(labels), k))
    for fold in range(FOLDS):
        mine = rows[half == fold]
        others = np.setdiff1d(np.arange(len(labels)), mine)
        with student_network.fixed_randomness(problem.seed * 100 + fold):
            training = Students(
                backbone, pixels[mine], torch.from_numpy(labels[mine]).to(device), k, symmetries,
                FAST_PASSES if problem.fast else PASSES,
            )  # fmt: skip
            networks = train(training, training.labels, k)
        for network in networks:
            logits = torch.from_numpy(student_network.predict(network.eval(), pixels[others], device))
            found[others] += logits.softmax(dim=1).double().numpy()
    return found / found.sum(axis=1, keepdims=True)
