"""Reasons to doubt a label. Each is one small function with a name; `REASONS` holds them all.

A reason looks at the `Evidence` and says how strongly it doubts each image, 0 (not at all) to 1, and how to say that in
plain words. Adding a reason is adding one function here. (In the style of doubtlab, koaning 2021.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.neighbours import Neighbours, near_duplicates
from autoannotate.labelling.zero_shot.image_kinds import NoneOfThese
from autoannotate.labelling.zero_shot.reliability import kappa

NEAREST = 8  # neighbours asked by the reasons


@dataclass(frozen=True)
class Evidence:
    """All that is known about N images with K classes.

    Attributes
    ----------
    labels : (N,)
    zero_shot, out_of_sample : (N, K) probabilities
    student : (N, K) or None
    neighbours : of the images, nearest first
    none_of_these : which images look like none of the classes, or None
    class_names : K
    image_names : N, for sentences
    """

    labels: NDArray[np.int64]
    zero_shot: NDArray[np.float64]
    out_of_sample: NDArray[np.float64]
    neighbours: Neighbours
    class_names: Sequence[str]
    image_names: Sequence[str]
    student: NDArray[np.float64] | None = None
    none_of_these: NoneOfThese | None = None


@dataclass(frozen=True)
class Doubt:
    """How much a reason doubts each image, (N,) in [0, 1], 0 where it does not fire; and the words for image i."""

    strength: NDArray[np.float64]
    words: Callable[[int], str]


@dataclass(frozen=True)
class Reason:
    """A named reason and its weight: the share of the remaining confidence in the label that it takes when it fires in full."""

    name: str
    weight: float
    doubt: Callable[[Evidence], Doubt]


REASONS: dict[str, Reason] = {}


def reason(weight: float) -> Callable[[Callable[[Evidence], Doubt]], Callable[[Evidence], Doubt]]:
    """Register the function under its own name."""

    def register(function: Callable[[Evidence], Doubt]) -> Callable[[Evidence], Doubt]:
        REASONS[function.__name__] = Reason(function.__name__, weight, function)
        return function

    return register


@reason(weight=1.0)
def none_of_these(evidence: Evidence) -> Doubt:
    """It looks like another kind of image than the set is made of, so that no class is right (`zero_shot.image_kinds`)."""
    found = evidence.none_of_these
    if found is None:
        return _never(evidence)
    chance, looks = found.probability, found.looks_like
    return Doubt(
        np.where(found.flagged, chance, 0.0),
        lambda i: f"none of the classes: looks like {looks[i]} ({_percent(chance[i])})",
    )


@reason(weight=0.1)
def other_images_disagree(evidence: Evidence) -> Doubt:
    """A classifier trained on the other images prefers another class (confident learning, Northcutt et al. 2021)."""
    strength, best = _prefers_another(evidence.out_of_sample, evidence.labels)
    chance = evidence.out_of_sample.max(axis=1)
    return Doubt(
        strength,
        lambda i: f"the other images make it {evidence.class_names[best[i]]} ({_percent(chance[i])})",
    )


@reason(weight=0.15)
def neighbours_disagree(evidence: Evidence) -> Doubt:
    """At least three in four of its nearest neighbours have one other label (k-NN, e.g. Zhu et al. 2022, arXiv 2110.06283)."""
    index = evidence.neighbours.index[:, :NEAREST]
    asked = index.shape[1]
    votes = np.eye(len(evidence.class_names))[evidence.labels][index].sum(axis=1)
    rivals = votes.copy()
    rivals[np.arange(len(rivals)), evidence.labels] = 0
    best, count = rivals.argmax(axis=1), rivals.max(axis=1)
    fires = (count >= 0.75 * asked) & (asked >= 3)

    def words(i: int) -> str:
        many = f"all labelled {evidence.class_names[best[i]]}"
        some = f"{int(count[i])} of them labelled {evidence.class_names[best[i]]}"
        return f"looks like its {asked} nearest neighbours, {many if count[i] == asked else some}"

    return Doubt(np.where(fires, count / max(asked, 1), 0.0), words)


@reason(weight=0.05)
def ambiguous(evidence: Evidence) -> Doubt:
    """The two likeliest classes are within fifteen points of each other."""
    order = np.argsort(-evidence.out_of_sample, axis=1, kind="stable")[:, :2]
    if order.shape[1] < 2:
        return _never(evidence)
    chances = np.take_along_axis(evidence.out_of_sample, order, axis=1)
    gap = chances[:, 0] - chances[:, 1]

    def words(i: int) -> str:
        first, second = (evidence.class_names[c] for c in order[i])
        return f"could be {first} or {second}: {_percent(chances[i, 0])} against {_percent(chances[i, 1])}"

    return Doubt(np.where(gap < 0.15, 1.0 - gap / 0.15, 0.0), words)


@reason(weight=0.2)
def outlier(evidence: Evidence) -> Doubt:
    """Far from every other image: its mean distance to its neighbours is beyond Tukey's outer fence, and large.

    The k-NN distance score of Sun et al. 2022, arXiv 2204.06507.
    """
    if evidence.neighbours.index.shape[1] == 0:
        return _never(evidence)
    distance = 1.0 - evidence.neighbours.similarity[:, :NEAREST].mean(axis=1)
    low, high = np.quantile(distance, [0.25, 0.75])
    fence = high + 3.0 * max(high - low, 0.02)
    strength = np.where(distance > fence, np.minimum((distance - fence) / max(fence, 1e-9) + 0.5, 1.0), 0.0)
    return Doubt(strength, lambda i: "fits no class: far from every other image")


@reason(weight=0.25)
def near_duplicate_disagrees(evidence: Evidence) -> Doubt:
    """Another image is nearly the same picture and has another label; the less supported of the two gets more doubt."""
    if evidence.neighbours.index.shape[1] == 0:
        return _never(evidence)
    nearest, same = evidence.neighbours.index[:, 0], near_duplicates(evidence.neighbours)[:, 0]
    unsupported = 1.0 - evidence.out_of_sample[np.arange(len(nearest)), evidence.labels]
    part = unsupported / np.maximum(unsupported + unsupported[nearest], 1e-9)
    fires = same & (evidence.labels[nearest] != evidence.labels)

    def words(i: int) -> str:
        its_label = evidence.class_names[evidence.labels[nearest[i]]]
        return f"nearly the same picture as {evidence.image_names[nearest[i]]}, labelled {its_label}"

    return Doubt(np.where(fires, 0.2 + 0.8 * part, 0.0), words)


@reason(weight=0.2)
def clip_disagrees(evidence: Evidence) -> Doubt:
    """Zero-shot prefers another class.

    Counted for what zero-shot is worth here: its agreement with the other images beyond chance (Cohen's kappa).
    """
    strength, best = _prefers_another(evidence.zero_shot, evidence.labels)
    both = evidence.zero_shot.argmax(axis=1), evidence.out_of_sample.argmax(axis=1)
    worth = max(kappa(*both, len(evidence.class_names)), 0.0)
    chance = evidence.zero_shot.max(axis=1)
    return Doubt(strength * worth, lambda i: f"CLIP says {evidence.class_names[best[i]]} ({_percent(chance[i])})")


@reason(weight=0.3)
def student_disagrees(evidence: Evidence) -> Doubt:
    """The student network, where there is one, prefers another class."""
    if evidence.student is None:
        return _never(evidence)
    student = evidence.student
    strength, best = _prefers_another(student, evidence.labels)
    chance = student.max(axis=1)
    return Doubt(strength, lambda i: f"the student says {evidence.class_names[best[i]]} ({_percent(chance[i])})")


def _prefers_another(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    best = probabilities.argmax(axis=1)
    lead = probabilities.max(axis=1) - probabilities[np.arange(len(labels)), labels]
    return np.where(best != labels, np.clip(lead, 0.0, 1.0), 0.0), best


def _never(evidence: Evidence) -> Doubt:
    return Doubt(np.zeros(len(evidence.labels)), lambda i: "")


def _percent(chance: float) -> str:
    return f"{round(100 * float(chance))}%"
