"""Classes given by examples: images of each class from elsewhere, learned from beside the answers, with words or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from autoannotate.labelling.features import Features, unit
from autoannotate.labelling.label_errors.correction import Corrected
from autoannotate.labelling.pipeline import Labelled
from autoannotate.labelling.task import UNANSWERED, Task
from autoannotate.labelling.zero_shot.image_kinds import ImageKinds


@dataclass(frozen=True, eq=False)
class Examples:
    """M images of known classes. features: (M, F). embeddings: (M, D), unit rows. labels: (M,) class numbers; of G findings
    (M, G), 1, 0, or -1 where that is not known."""

    features: NDArray[np.floating]
    embeddings: NDArray[np.floating]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def prototype_probabilities(
    embeddings: NDArray[np.floating], examples: Examples, classes: int, logit_scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Class probabilities by the nearest mean of the examples, for classes without words.

    Centred, unit embeddings against the mean of each class (SimpleShot, Wang et al. 2019, arXiv 1911.04623, "CL2N"), as
    `zero_shot.classifier` compares them with those of sentences.

    Parameters
    ----------
    embeddings : (N, D) array
    logit_scale : the encoder's inverse temperature

    Returns
    -------
    (N, K) array of the images, and (M, K) array of the examples, each compared with the means of the others; rows sum to one.
    """
    centre = np.asarray(examples.embeddings, dtype=np.float64).mean(axis=0)
    points, shown = (unit(np.asarray(rows, dtype=np.float64) - centre) for rows in (embeddings, examples.embeddings))
    one_hot = np.eye(classes)[examples.labels]
    sums, counts = one_hot.T @ shown, one_hot.sum(axis=0)
    scale = logit_scale / 10.0  # between images cosines spread about ten times as wide as between images and sentences
    of_images = softmax(scale * points @ unit(sums).T, axis=1)
    own = unit(sums[examples.labels] - shown)  # without the example itself
    scores = shown @ unit(sums).T
    scores[np.arange(len(shown)), examples.labels] = (shown * own).sum(axis=1)
    alone = counts[examples.labels] < 2
    of_examples = np.where(alone[:, None], 1.0 / classes, softmax(scale * scores, axis=1))
    return of_images, of_examples


def joined(
    task: Task,
    examples: Examples,
    zero_shot: NDArray[np.float64],
    image_kinds: ImageKinds | None = None,
    features: Features | None = None,
) -> Task:
    """The task with the examples as answered images behind its own.

    Parameters
    ----------
    zero_shot : (M, K) array, and image_kinds, of the examples
    features : of the images and the examples, where they are stacked already
    """
    kinds = None
    if task.image_kinds is not None and image_kinds is not None:
        both = np.vstack([task.image_kinds.probabilities, image_kinds.probabilities])
        kinds = replace(task.image_kinds, probabilities=both)
    many, k = len(examples), task.zero_shot.shape[1]
    none = np.zeros(many, dtype=bool)
    answers = np.full(len(task), UNANSWERED) if task.answers is None else task.answers
    groups = task.groups
    if groups is not None:
        groups = np.concatenate([groups, groups.max(initial=-1) + 1 + np.arange(many)])
    return replace(
        task, features=stacked(task, examples) if features is None else features,
        zero_shot=np.vstack([task.zero_shot, zero_shot]),
        given=None if task.given is None else np.concatenate([task.given, examples.labels]),
        answers=np.concatenate([answers, examples.labels]),
        excluded=None if task.excluded is None else np.concatenate([task.excluded, none]),
        unsure=None if task.unsure is None else np.concatenate([task.unsure, none]), groups=groups,
        image_names=[*task.names, *(f"example {i + 1}" for i in range(many))],
        student=None if task.student is None else np.vstack([task.student, np.full((many, k), 1.0 / k)]),
        image_kinds=kinds,
    )  # fmt: skip


def stacked(task: Task, examples: Examples) -> Features:
    """The features of the images and of the examples."""
    return Features(np.vstack([task.features.values, examples.features]))


def joined_findings(tasks: Sequence[Task], examples: Examples, zero_shot: Sequence[NDArray[np.float64]]) -> list[Task]:
    """The tasks of G findings, each with the examples of which its finding is known; the others are left out of it.

    Parameters
    ----------
    zero_shot : G arrays, (M, 2), of the examples
    """
    features, made = stacked(tasks[0], examples), []
    for f, task in enumerate(tasks):
        labels = examples.labels[:, f]
        left_out = np.concatenate([task.left_out, labels == UNANSWERED])
        mine = joined(task, replace(examples, labels=labels), zero_shot[f], features=features)
        made.append(replace(mine, excluded=left_out))
    return made


def without_examples(labelled: Labelled, n: int) -> Labelled:
    """What was made of the first n images, those that are no examples."""
    m = int((labelled.rows < n).sum())
    of = labelled.corrected
    queue = replace(
        of.queue, flagged=of.queue.flagged[:m], score=of.queue.score[:m], suggested=of.queue.suggested[:m],
        reasons=of.queue.reasons[:m], out_of_sample=of.queue.out_of_sample[:m],
        none_of_these=of.queue.none_of_these[:m],
    )  # fmt: skip
    noise = of.estimate
    if noise is not None:
        noise = replace(noise, predicted=noise.predicted[:m], clean=noise.clean[:m], posterior=noise.posterior[:m])
    corrected: Corrected = replace(
        of, labels=of.labels[:m], probabilities=of.probabilities[:m], confidence=of.confidence[:m],
        changed=of.changed[:m], queue=queue, doubt=of.doubt[:m], evidence=None, estimate=noise,
        student=replace(of.student, probabilities=of.student.probabilities[:m]),
    )  # fmt: skip
    asked = np.flatnonzero(labelled.queue.rows < n)
    source = labelled.duplicate_of[:n]
    return replace(
        labelled, labels=labelled.labels[:n], probabilities=labelled.probabilities[:n],
        confidence=labelled.confidence[:n], source=labelled.source[:n],
        initial=replace(labelled.initial, probabilities=labelled.initial.probabilities[:m]), corrected=corrected,
        rows=labelled.rows[:m], suspect_score=labelled.suspect_score[:n], suggested=labelled.suggested[:n],
        queue=replace(
            labelled.queue, rows=labelled.queue.rows[asked], reasons=tuple(labelled.queue.reasons[i] for i in asked)
        ),
        none_of_these={row: kind for row, kind in labelled.none_of_these.items() if row < n},
        duplicate_of=np.where(source >= n, np.arange(n), source),  # of an example: its own row
    )  # fmt: skip
