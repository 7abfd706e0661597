"""The student of several findings: one network with a head a finding and a masked loss, so that findings share what they see.

Two networks are cross-fitted as in `student_training`: each image is judged by the one that never saw its values. A finding of
an image that is unknown or doubted has no part in the loss (a mask), its other findings have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.findings_student import StudentOfFindings, judge_findings, mean_area
from autoannotate.models.student_training import (
    FOLDS,
    MIN_CLEAN_PER_CLASS,
    MIN_IMAGES,
    Pictures,
    StudentTrainer,
    two_halves,
)

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from autoannotate.models.training_checkpoints import Checkpoints

HELD_OUT = 150  # images at most, by which the best epoch is chosen


@dataclass(frozen=True, eq=False)
class FindingsStudentTrainer:
    """How one student of several findings is trained, for the pipeline to call when it has cleaned values.

    Parameters
    ----------
    trainer : what is trained, on which images and for how long
    """

    trainer: StudentTrainer

    def __call__(
        self,
        features: Features,
        values: NDArray[np.integer],
        weights: NDArray[np.floating],
        *,
        baseline: NDArray[np.floating],
        groups: NDArray[np.integer] | None,
        seed: int,
    ) -> StudentOfFindings | None:
        """Train on L findings of N images, and judge the N images: see `train_findings_student`."""
        how = self.trainer
        return train_findings_student(
            how.images, features, values, weights, baseline=baseline, kind=how.kind, encoder=how.encoder, groups=groups,
            passes=how.passes, seed=seed, device=how.device, track=how.track, checkpoints=how.checkpoints,
        )  # fmt: skip


def train_findings_student(
    images: Callable[[int], Image.Image] | Sequence[Image.Image],
    features: Features | NDArray[np.floating],
    values: NDArray[np.integer],
    weights: NDArray[np.floating],
    *,
    baseline: NDArray[np.floating],
    kind: str = "embedded",
    encoder: Any = None,
    groups: NDArray[np.integer] | None = None,
    passes: int = 20000,
    max_training_images: int = 2000,
    seed: int = 0,
    device: str = "auto",
    track: Track = silent,
    checkpoints: Checkpoints | None = None,
) -> StudentOfFindings | None:
    """Train the student on findings whose values are not in doubt, and let it judge every image.

    Parameters
    ----------
    images : gives image i as a PIL image
    features : (N, F) descriptors, which say which images are nearly the same picture if `groups` does not
    values : (N, L) int array, 1 present, 0 absent, of L findings
    weights : (N, L) array, >= 0; 0 masks a value that is unknown or in doubt
    baseline : (N, L) out-of-sample probabilities of presence, which the student has to beat
    kind, encoder, groups, passes, max_training_images, seed, device, checkpoints : as for `student_training.train_student`

    Returns
    -------
    StudentOfFindings, or None where no finding has enough images with it and without it
    """
    from autoannotate.models import student_network
    from autoannotate.models.encoder import choose_device
    from autoannotate.models.student_checkpoint import load_backbone

    values, weights = np.asarray(values, dtype=np.int64), np.array(weights, dtype=np.float64)
    count = len(values)
    for f, column in enumerate(values.T):  # a finding of which too little is known is left to others
        known = np.bincount(column[weights[:, f] > 0], minlength=2)
        if known.min() < MIN_CLEAN_PER_CLASS:
            weights[:, f] = 0.0
    usable = np.flatnonzero(weights.any(axis=1))
    if count < MIN_IMAGES or len(usable) < MIN_IMAGES:
        return None
    groups = Features.of(features).duplicate_groups if groups is None else groups
    groups = np.unique(groups, return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    backbone, where = load_backbone(kind, encoder, seed), choose_device(device)
    sets = np.unique(np.where(weights > 0, values, 0), axis=0, return_inverse=True)[1].ravel()  # of findings
    fold = two_halves(sets, groups, rng)
    most = int(min(max_training_images, max(passes / backbone.cost, MIN_IMAGES))) // FOLDS
    samples = [np.sort(rng.permutation(usable[fold[usable] == k])[:most]) for k in range(FOLDS)]
    if min(len(sample) for sample in samples) < MIN_IMAGES // FOLDS:
        return None
    pictures, training = Pictures(images, backbone.size), np.concatenate(samples)
    for i in track(training.tolist(), "student: reading", total=len(training)):
        pictures.keep(i)
    epochs = int(np.clip(round(passes / (len(training) * backbone.cost)), 1, backbone.max_epochs))
    asked = np.sort(rng.permutation(training)[:160])
    symmetries = student_network.find_symmetries(backbone, pictures[asked], sets[asked], seed=seed, device=where)
    steps = iter(track(range(FOLDS * epochs), "student: training", total=FOLDS * epochs))
    students, stopped_by, passed, recipe = [], [], 0, student_network.Recipe(epochs=epochs)
    for k, (mine, others) in enumerate(zip(samples, samples[::-1], strict=True)):
        held_out = np.sort(rng.permutation(others)[: min(HELD_OUT, len(others) // 3)])
        walk, learned = islice(steps, epochs), (pictures[mine], values[mine], weights[mine])
        at_the_end = pictures[held_out], values[held_out], weights[held_out]
        checkpoint = None
        if checkpoints is not None:
            began = backbone.stem, backbone.body, *learned, *at_the_end, recipe, symmetries, seed + k, where.type
            checkpoint = checkpoints.of("findings", *began)
        students.append(
            student_network.fit(
                backbone, *learned, values.shape[1], recipe, symmetries, score=_score(*at_the_end), walk=walk, seed=seed + k,
                device=where, checkpoint=checkpoint, loss=masked_loss,
            )
        )  # fmt: skip
        passed += (epochs - sum(1 for _ in walk)) * len(mine)
        stopped_by.append(held_out)
    next(steps, None)  # lets the bar close
    logits = np.zeros((count, FOLDS, values.shape[1]), dtype=np.float32)
    together = student_network.jointly(students)
    watched = iter(track(range(count), "student: judging", total=count))
    while chunk := list(islice(watched, 4 * student_network.PREDICT_BATCH)):
        logits[chunk] = student_network.predict(together, pictures[np.array(chunk)], where)
        pictures.drop(chunk)
    did_not_see = np.stack([~np.isin(groups, groups[sample]) for sample in samples], axis=1)
    counted = weights > 0
    counted[np.concatenate(stopped_by)] = False
    return judge_findings(logits, did_not_see, values, counted, np.asarray(baseline), image_passes=passed)


def masked_loss(logits: torch.Tensor, values: torch.Tensor, weights: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Binary cross-entropy of each finding, a weighted mean over those that are known; values smoothed as in `robust_loss`.

    Parameters
    ----------
    logits, values, weights : (B, L) tensors; a weight of 0 masks a value
    """
    from torch.nn import functional

    target = values.to(logits.dtype) * (1.0 - smoothing) + smoothing / 2.0
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (weights * each).sum() / weights.sum().clamp_min(1e-6)


def _score(
    pixels: NDArray[np.uint8], values: NDArray[np.int64], weights: NDArray[np.float64]
) -> Callable[[Any], float]:
    """By what the best epoch is chosen: the mean AUROC of the findings on values that were not trained on."""
    from autoannotate.models import student_network

    def score(model: student_network.Classifier) -> float:
        return mean_area(student_network.predict(model, pixels, model.device), values, weights > 0)

    return score
