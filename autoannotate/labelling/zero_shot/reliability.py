"""Whether zero-shot labels mean anything, estimated from the unlabelled images alone.

An encoder that cannot tell the classes apart still gives every image a label. Three signs that need no truth speak of it;
each is about 0 for noise and 1 for classes that are plain to see:

- agreement: the sentences for a class, taken one at a time, put an image in the same class. Mean Cohen's kappa (1960)
  between the labels by single sentences and the labels by all of them together.
- separation: the class scores fall into groups. The share of their variance that lies between the predicted classes,
  above the 95 % quantile of what as many draws from one normal distribution with the same mean and covariance give when
  they are cut in the same way (the gap statistic's idea, Tibshirani et al. 2001, with a Gaussian reference): cutting one
  cloud in the middle explains 64 % of its variance along the cut, and no more.
- contrast: the scores differ more between images than the words account for. One minus the squared ratio of the spread
  along directions between random sentences to the spread along the directions between the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.wording import counted, listed
from autoannotate.labelling.zero_shot.classifier import class_embeddings

CLOUDS = 40  # draws of the Gaussian reference, each of as many points as there are images …
AT_MOST = 2000  # … or so many
SEPARATE = 0.3  # a separation that real classes reach
GOOD, POOR = 0.85, 0.7  # from how much trust on labels are called trustworthy, below how much they are called guesses
FEW = 100  # images: of fewer, the signs say too little to call the labels trustworthy
VERDICTS = (
    "These classes look the same to this encoder, so its labels are close to guesses.",
    "CLIP tells these classes apart only in part: check more than usual.",
    "CLIP's labels look trustworthy on these classes.",
)
UNKNOWN = "{n} is too few to say whether CLIP tells these classes apart, so take the labels for guesses."
TOO_FEW = "CLIP seems to tell these classes apart, but {n} images are too few to be sure."
ADVICE = (
    "Answer about 20 images of each class, which the others then learn from, or try another encoder, such as --model "
    "biomedclip.",
    "Look through the queue of suspects before using these labels, or try another encoder, such as --model biomedclip.",
    "",
)
UNNAMED = "The names {names} say nothing about a picture, so which of the images each class means is a guess."
NAME_THEM = (
    "Name the classes in words, or give sentences for them with --prompts; or answer about 20 images of each class, which "
    "the others then learn from."
)
LOOK_AT_ALL = "Look at each of them: it takes a few minutes."


@dataclass(frozen=True)
class Signs:
    """The three signs, each at most 1 and about 0 for noise; what they are says this module's docstring."""

    agreement: float
    separation: float
    contrast: float


@dataclass(frozen=True)
class Reliability:
    """How far zero-shot labels can be trusted.

    Attributes
    ----------
    trust : float
        In [0, 1].
    meaningful : bool
        False where the labels are close to guesses.
    verdict, advice : str
        The same in words, and what to do about it.
    evidence : Signs
    """

    trust: float
    meaningful: bool
    verdict: str
    advice: str
    evidence: Signs


def estimate_reliability(
    embeddings: NDArray[np.floating],
    texts: Sequence[NDArray[np.floating]],
    random_texts: NDArray[np.floating],
    *,
    seed: int = 0,
) -> Reliability:
    """Whether the zero-shot labels of N images mean anything.

    Trust is agreement times separation, as far as real classes separate; contrast is told beside them, and was high for
    classes at chance too.

    Parameters
    ----------
    embeddings : (N, D) array of unit rows
    texts : sequence of K arrays (P_k, D) of unit rows
        The sentences of each class.
    random_texts : (M, D) array of unit rows
        Sentences about things that are none of the classes.
    seed : of the draws of the Gaussian reference
    """
    found = signs(embeddings, texts, random_texts, seed=seed)
    trust = float(np.clip(found.separation / SEPARATE, 0, 1) * np.clip(found.agreement, 0, 1))
    if len(embeddings) < 3:
        return Reliability(0.0, False, UNKNOWN.format(n=counted(len(embeddings), "image")), LOOK_AT_ALL, found)
    level = 2 if trust >= GOOD else 1 if trust >= POOR else 0
    if level == 2 and len(embeddings) < FEW:
        return Reliability(round(trust, 4), True, TOO_FEW.format(n=len(embeddings)), LOOK_AT_ALL, found)
    return Reliability(round(trust, 4), level > 0, VERDICTS[level], ADVICE[level], found)


def unnamed(found: Reliability, names: Sequence[str]) -> Reliability:
    """The reliability where some class names say nothing to a text encoder: the labels are guesses whatever the signs."""
    return replace(found, trust=0.0, meaningful=False, verdict=UNNAMED.format(names=listed(names)), advice=NAME_THEM)


def signs(
    embeddings: NDArray[np.floating],
    texts: Sequence[NDArray[np.floating]],
    random_texts: NDArray[np.floating],
    *,
    seed: int = 0,
) -> Signs:
    """The three signs; for the parameters see `estimate_reliability`."""
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


def kappa(first: NDArray[np.integer], second: NDArray[np.integer], n_classes: int) -> float:
    """Cohen's kappa of two labellings (N,); 0 where one of them knows a single class only."""
    agreed = float((first == second).mean())
    shares = [np.bincount(labels, minlength=n_classes) / len(labels) for labels in (first, second)]
    by_chance = float(shares[0] @ shares[1])
    if max(share.max() for share in shares) == 1.0:
        return 0.0
    return (agreed - by_chance) / (1.0 - by_chance)


def _separation(scores: NDArray[np.float64], rng: np.random.Generator) -> float:
    if len(scores) < 2:
        return 0.0
    contrasts = scores - scores.mean(axis=1, keepdims=True)
    if len(contrasts) > AT_MOST:
        contrasts = contrasts[rng.choice(len(contrasts), AT_MOST, replace=False)]
    mean, covariance = contrasts.mean(0), np.cov(contrasts.T)
    clouds = rng.multivariate_normal(mean, covariance, (CLOUDS, len(contrasts)), method="eigh")
    reference = float(np.quantile([_between(cloud, cloud.argmax(1)) for cloud in clouds], 0.95))
    return (_between(contrasts, contrasts.argmax(1)) - reference) / max(1.0 - reference, 1e-9)


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
