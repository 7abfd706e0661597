"""Zero-shot labelling: from image embeddings and class names to class probabilities, and what these are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.zero_shot import classifier
from autoannotate.labelling.zero_shot.classifier import BLOCK
from autoannotate.labelling.zero_shot.image_kinds import ImageKinds, image_kinds
from autoannotate.labelling.zero_shot.prompts import ClassPrompts, class_prompts, finding_prompts, modality_prompts
from autoannotate.labelling.zero_shot.reliability import Reliability, Signs, estimate_reliability, unnamed
from autoannotate.labelling.zero_shot.vocabulary import Sentences

BY_EXAMPLE = "The classes were given by examples alone: how well they are told apart, answers will say."
MORE_EXAMPLES = "Twenty examples or answers of each class make the labels of the others better."
UNRELATED = (  # what no class of a medical set is: how far the words alone spread the scores
    "a bicycle", "a guitar", "a mountain lake", "a kitchen table", "a newspaper", "a railway station", "orange juice",
    "a blue car", "a wooden chair", "a football match", "a bird in a tree", "a city at night", "a sailing boat",
    "garden flowers", "an old book", "a winter coat", "bread and cheese", "a computer screen", "a mathematics lesson",
    "a birthday party", "desert sand", "a glass of water", "a horse race", "a music concert", "a stone bridge",
    "a wedding dress", "a telephone call", "a forest path", "an airplane wing", "a clock tower", "a coffee mug", "a cat",
)  # fmt: skip

EncodeTexts = Callable[[Sequence[str]], NDArray[np.float32]]
"""Gives unit embeddings (P, D) of P texts."""


@dataclass(frozen=True)
class ZeroShot:
    """What CLIP says of N images.

    Attributes
    ----------
    kinds : str or list of str
        The kind of image that was stated, or those that were found, the commonest first.
    prompts : list of K `ClassPrompts`
        The sentences for each class.
    probabilities : (N, K) array
    reliability : Reliability
        How much the probabilities are worth.
    image_kinds : ImageKinds, optional
        What kind of image each looks like, and which of these the classes are of.
    combined : (N, K) array, optional
        What zero-shot and other sources say together.
    """

    kinds: str | list[str]
    prompts: list[ClassPrompts]
    probabilities: NDArray[np.float64]
    reliability: Reliability
    image_kinds: ImageKinds | None = None
    combined: NDArray[np.float64] | None = None


def zero_shot(
    embeddings: NDArray[np.floating],
    class_names: Sequence[str],
    encode_texts: EncodeTexts,
    logit_scale: float,
    *,
    prompts: Path | Sentences | None = None,
    modality: str | None = None,
    seed: int = 0,
) -> ZeroShot:
    """Class probabilities of N images, and how far they can be trusted.

    Parameters
    ----------
    embeddings : (N, D) array of unit rows
    class_names : K names
    encode_texts : the model's text tower
    logit_scale : the model's, see `classifier.probabilities`
    prompts : a YAML file of the user's own words, or sentences by class
    modality : what all images are; else it is found out
    """
    looks = image_kinds(embeddings, modality_prompts(prompts), encode_texts, logit_scale)
    kinds = modality or looks.common(seed)
    asked = class_prompts(class_names, file=prompts, modality=kinds)
    texts = [encode_texts(prompt.texts) for prompt in asked]
    probabilities = _probabilities(embeddings, texts, logit_scale)
    normalised = _normalised(embeddings, seed)
    reliability = estimate_reliability(normalised, texts, encode_texts(UNRELATED), seed=seed)
    if names := [prompt.name for prompt in asked if not prompt.says_something]:
        reliability = unnamed(reliability, names)
    return ZeroShot(kinds, asked, probabilities, reliability, looks.of_classes(asked))


def zero_shot_findings(
    embeddings: NDArray[np.floating],
    findings: Sequence[str],
    encode_texts: EncodeTexts,
    logit_scale: float,
    *,
    prompts: Path | Sentences | None = None,
    modality: str | None = None,
    seed: int = 0,
) -> list[ZeroShot]:
    """For each of F findings, the probabilities (N, 2) that it is absent and present, and how far they can be trusted.

    They are a softmax over a negative and a positive prompt, as in CheXzero (Tiu et al. 2022, Nature Biomedical Engineering 6).

    The parameters are those of `zero_shot`.
    """
    looks = image_kinds(embeddings, modality_prompts(prompts), encode_texts, logit_scale)
    kinds = modality or looks.common(seed)
    normalised, unrelated = _normalised(embeddings, seed), encode_texts(UNRELATED)
    found = []
    sides = finding_prompts(findings, file=prompts, modality=kinds)
    looks = looks.of_classes([side for asked in sides for side in (asked.absent, asked.present)])
    for asked in sides:
        texts = [encode_texts(side.texts) for side in (asked.absent, asked.present)]
        probabilities = _probabilities(embeddings, texts, logit_scale)
        reliability = estimate_reliability(normalised, texts, unrelated, seed=seed)
        found.append(ZeroShot(kinds, [asked.absent, asked.present], probabilities, reliability, looks))
    return found


def _probabilities(
    embeddings: NDArray[np.floating], texts: Sequence[NDArray[np.floating]], logit_scale: float
) -> NDArray[np.float64]:
    """(N, K) of all images, block by block."""
    centre, classes = classifier.half_mean(embeddings), classifier.class_embeddings(texts)
    return np.concatenate(
        [classifier.probabilities(block - centre, classes, logit_scale) for block in classifier.unit_blocks(embeddings)]
    )


def _normalised(embeddings: NDArray[np.floating], seed: int) -> NDArray[np.floating]:
    """The images less half their mean; of many images some."""
    count = len(embeddings)
    some = embeddings if count <= BLOCK else embeddings[np.sort(np.random.default_rng(seed).permutation(count)[:BLOCK])]
    return next(classifier.unit_blocks(some)) - classifier.half_mean(embeddings)


def by_example(class_names: Sequence[str], probabilities: NDArray[np.float64]) -> ZeroShot:
    """Classes without words: what examples say of N images, (N, K), in the place of sentences."""
    nothing = Reliability(0.0, False, BY_EXAMPLE, MORE_EXAMPLES, Signs(0.0, 0.0, 0.0))
    return ZeroShot([], [ClassPrompts(name, ()) for name in class_names], probabilities, nothing)
