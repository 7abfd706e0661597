"""Kinds of image, by zero-shot: which of them a set is made of, and which images are of another kind than its classes.

The classes that were asked for stand against every other kind of image that the prompts know, as labels that no image of the
set should have (Jiang et al. 2024, "Negative Label Guided OOD Detection with Pretrained Vision-Language Models", arXiv
2403.20078, eq. 5). A kind counts by its modality: encoders confuse body parts, and hardly ever an X-ray with an ultrasound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.neighbours import Neighbours
from autoannotate.labelling.zero_shot import classifier
from autoannotate.labelling.zero_shot.prompts import ClassPrompts

IMAGES_FOR_KIND = 400  # looked at to find out what kind of images a set holds
SHARE_OF_A_KIND = 0.1  # a kind of image counts when it is this common
USUAL = 1 / 3  # a modality that so many of the images have is one of the set's, whatever the classes are called
OWN = 0.05  # an image of no class has at most this probability of all modalities of the set together
FAR = 5.0  # and lies this many times as far beyond the median log-odds as the tenth percentile lies below it
NEAREST = 5  # images of the set by which one lies among them, or does not


@dataclass(frozen=True, eq=False)
class ImageKinds:
    """What kinds of image N images look like.

    Attributes
    ----------
    probabilities : (N, M) array
        Of each kind; rows sum to one.
    names, modalities : tuple of M str
    asked : frozenset of str
        Modalities that the classes are images of, by their words.
    anything : bool
        Whether a class takes whatever fits no other one ("other").
    """

    probabilities: NDArray[np.floating]
    names: tuple[str, ...]
    modalities: tuple[str, ...]
    asked: frozenset[str] = frozenset()
    anything: bool = False

    def __len__(self) -> int:
        return len(self.probabilities)

    def take(self, rows: NDArray[np.integer]) -> ImageKinds:
        """The kinds of some images, (M,) row numbers."""
        return replace(self, probabilities=self.probabilities[rows])

    def of_classes(self, prompts: Sequence[ClassPrompts]) -> ImageKinds:
        """The same, for the classes that these prompts are of."""
        asked = frozenset(prompt.modality for prompt in prompts if prompt.modality)
        return replace(self, asked=asked, anything=any(prompt.sense.startswith("other (") for prompt in prompts))

    def common(self, seed: int = 0) -> list[str]:
        """Kinds that at least `SHARE_OF_A_KIND` of the images are of, the commonest first, by `IMAGES_FOR_KIND` of them."""
        some = np.random.default_rng(seed).permutation(len(self))[:IMAGES_FOR_KIND]
        shares = np.bincount(self.probabilities[some].argmax(axis=1), minlength=len(self.names)) / len(some)
        return [self.names[k] for k in np.argsort(-shares, kind="stable") if shares[k] >= SHARE_OF_A_KIND]

    def of_the_set(self, given: NDArray[np.integer] | None = None) -> NDArray[np.bool_]:
        """(M,) bool, kinds that the set is made of.

        Of a modality that a class names, or that the most images or `USUAL` of them have, or the most of a class by the
        labels that exist, `given` (N,).
        """
        known = np.unique(self.modalities)
        grouped = np.stack([self.probabilities[:, np.array(self.modalities) == m].sum(axis=1) for m in known], axis=1)
        best = grouped.argmax(axis=1)
        share = np.bincount(best, minlength=len(known)) / max(len(best), 1)
        own = (share >= USUAL) | np.isin(known, list(self.asked))
        own[share.argmax()] = True
        for k in () if given is None else np.unique(given):
            own[np.bincount(best[given == k]).argmax()] = True
        return np.isin(self.modalities, known[own])


@dataclass(frozen=True, eq=False)
class NoneOfThese:
    """Which of N images are of none of the classes.

    Attributes
    ----------
    flagged : (N,) bool array
    probability : (N,) array
        Of all kinds that the set is not made of, together.
    looks_like : tuple of N str
        The likeliest of these; only the modality, where none of its kinds stands out.
    """

    flagged: NDArray[np.bool_]
    probability: NDArray[np.float64]
    looks_like: tuple[str, ...]


def none_of_these(
    kinds: ImageKinds, given: NDArray[np.integer] | None = None, neighbours: Neighbours | None = None
) -> NoneOfThese:
    """Find the images that look like another kind than all that the set is made of.

    Parameters
    ----------
    kinds : ImageKinds
        Of N images.
    given : (N,) int array, optional
        Labels that exist, see `ImageKinds.of_the_set`.
    neighbours : Neighbours, optional
        The nearest other images of each, by features that words have no part in.

    Notes
    -----
    With o the log-odds of all other modalities against those of the set, an image is flagged where o exceeds the odds of
    `OWN`, and m + `FAR` (m − q), with the median m and the tenth percentile q of o in the set itself: images that words
    describe poorly raise both. The lower half of o is that of images of the set, as long as most images are. Words alone
    take the odd image of the set for another kind; one that has the set's images as near as most of these have each other is
    not flagged.
    """
    nobody = np.zeros(len(kinds), dtype=bool)
    own = kinds.of_the_set(given) if len(kinds) else np.ones(len(kinds.names), dtype=bool)
    if kinds.anything or own.all():
        return NoneOfThese(nobody, np.zeros(len(kinds)), ("",) * len(kinds))
    modalities, chances = np.array(kinds.modalities), kinds.probabilities
    outside = chances[:, ~own].sum(axis=1)
    odds = np.log(np.maximum(outside, 1e-12)) - np.log(np.maximum(chances[:, own].sum(axis=1), 1e-12))
    low, middle = np.quantile(odds, [0.1, 0.5])
    flagged = odds > max(np.log((1.0 - OWN) / OWN), middle + FAR * (middle - low))
    if neighbours is not None:
        flagged &= ~among(neighbours, ~flagged)
    names = [""] * len(kinds)
    for i in np.flatnonzero(flagged).tolist():
        best = int(np.where(own, -1.0, chances[i]).argmax())
        alike = (modalities == modalities[best]) & ~own
        names[i] = kinds.names[best] if 2 * chances[i, best] > chances[i, alike].sum() else str(modalities[best])
    return NoneOfThese(flagged, outside, tuple(names))


def among(neighbours: Neighbours, own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) bool, images that lie as near to those of the set, `own` (N,), as most of these do.

    By the mean cosine to the `NEAREST` of them; who has fewer of them among their neighbours is not near.
    """
    if neighbours.index.shape[1] < NEAREST or not own.any():
        return np.zeros(len(own), dtype=bool)
    of_the_set = own[neighbours.index]
    place = np.cumsum(of_the_set, axis=1)
    near = np.where(of_the_set & (place <= NEAREST), neighbours.similarity, 0.0).sum(axis=1) / NEAREST
    near[place[:, -1] < NEAREST] = -np.inf
    return near >= np.median(near[own])


def image_kinds(
    embeddings: NDArray[np.floating],
    kinds: Sequence[ClassPrompts],
    encode_texts: Callable[[Sequence[str]], NDArray[np.float32]],
    logit_scale: float,
) -> ImageKinds:
    """What kinds of image N images, (N, D) unit embeddings, look like; kinds: see `prompts.modality_prompts`."""
    all_at_once = encode_texts([text for kind in kinds for text in kind.texts])
    texts = classifier.class_embeddings(np.split(all_at_once, np.cumsum([len(kind.texts) for kind in kinds])[:-1]))
    blocks = (classifier.probabilities(block, texts, logit_scale) for block in classifier.unit_blocks(embeddings))
    chances = np.concatenate([block.astype(np.float32) for block in blocks])
    return ImageKinds(chances, tuple(kind.name for kind in kinds), tuple(kind.sense for kind in kinds))
