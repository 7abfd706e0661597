"""Whether zero-shot labels mean anything, estimated from the unlabelled images alone.

An encoder that cannot tell the classes apart still gives every image a label. Three signs, none of which needs a truth,
betray it; each is about 0 for noise and 1 for classes that are plain to see:

- agreement: the sentences for a class, taken one at a time, put an image in the same class. Mean Cohen's kappa (1960)
  between the labels by single sentences and the labels by all of them together.
- separation: the class scores fall into groups. The share of their variance that lies between the predicted classes,
  above what one normal distribution with the same mean and covariance gives when it is cut in the same way (the gap
  statistic's idea, Tibshirani et al. 2001, with a Gaussian reference): cutting one cloud in two explains 64 % of its
  variance along the cut, and no more.
- contrast: the scores differ more between images than the words account for. One minus the squared ratio of the spread
  along directions between random sentences to the spread along the directions between the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.zeroshot import class_embeddings

DRAWS = 2000  # of the Gaussian reference


@dataclass(frozen=True)
class Signs:
    """The three signs, each at most 1 and about 0 for noise."""

    agreement: float
    separation: float
    contrast: float


def signs(
    embeddings: NDArray[np.floating],
    texts: Sequence[NDArray[np.floating]],
    random_texts: NDArray[np.floating],
    *,
    seed: int = 0,
) -> Signs:
    """Of N images (N, D), the sentences of each class (P_k, D), and sentences about other things (M, D), all unit rows."""
    classes = class_embeddings(texts)
    scores = (embeddings @ classes.T).astype(np.float64)
    return Signs(
        _agreement(embeddings, texts, scores.argmax(1)),
        _separation(scores, np.random.default_rng(seed)),
        _contrast(embeddings, classes, random_texts),
    )


def _agreement(
    embeddings: NDArray[np.floating], texts: Sequence[NDArray[np.floating]], labels: NDArray[np.int64]
) -> float:
    kappas = []
    for j in range(max(map(len, texts))):
        single = np.stack([sentences[j % len(sentences)] for sentences in texts])
        kappas.append(kappa((embeddings @ single.T).argmax(1), labels, len(texts)))
    return float(np.mean(kappas))


def kappa(first: NDArray[np.int64], second: NDArray[np.int64], n_classes: int) -> float:
    """Cohen's kappa of two labellings (N,); 0 where one of them knows a single class only."""
    agreed = float((first == second).mean())
    shares = [np.bincount(labels, minlength=n_classes) / len(labels) for labels in (first, second)]
    by_chance = float(shares[0] @ shares[1])
    if max(share.max() for share in shares) == 1.0:
        return 0.0
    return (agreed - by_chance) / (1.0 - by_chance)


def _separation(scores: NDArray[np.float64], rng: np.random.Generator) -> float:
    contrasts = scores - scores.mean(axis=1, keepdims=True)
    explained = _between(contrasts, contrasts.argmax(1))
    covariance = np.atleast_2d(np.cov(contrasts.T))
    cloud = rng.multivariate_normal(contrasts.mean(0), covariance, DRAWS, method="eigh")
    reference = _between(cloud, cloud.argmax(1))
    return (explained - reference) / max(1.0 - reference, 1e-9)


def _between(points: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The share of the variance of points (N, K) that lies between the groups."""
    centre = points.mean(0)
    total = float(((points - centre) ** 2).sum())
    groups = [points[labels == k] for k in np.unique(labels)]
    between = sum(len(group) * float(((group.mean(0) - centre) ** 2).sum()) for group in groups)
    return between / total if total > 0 else 0.0


def _contrast(
    embeddings: NDArray[np.floating], classes: NDArray[np.floating], random_texts: NDArray[np.floating]
) -> float:
    def spread(directions: NDArray[np.floating]) -> float:
        unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
        return float(np.mean(np.var(embeddings @ unit.T, axis=0)))

    first, second = np.triu_indices(len(classes), 1)
    half = len(random_texts) // 2
    noise = spread(random_texts[:half] - random_texts[half : 2 * half])
    return 1.0 - noise / max(spread(classes[first] - classes[second]), 1e-12)
