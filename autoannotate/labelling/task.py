"""What the pipeline is given: everything known about a set of images before they are labelled, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.duplicates import Spread, spread_answers
from autoannotate.labelling.features import Features
from autoannotate.labelling.proposals import Proposals
from autoannotate.labelling.zero_shot.image_kinds import ImageKinds, NoneOfThese, none_of_these

UNANSWERED = -1
SMOOTHING = 0.1  # of labels that come from elsewhere, spread over all classes


@dataclass(frozen=True, eq=False)
class Task:
    """N images, K classes, and what is known of them.

    Parameters
    ----------
    features : Features
        (N, F), of the frozen encoder.
    zero_shot : (N, K) array
        Zero-shot class probabilities; rows sum to one.
    class_names : sequence of K names
    given : (N,) int array, optional
        Labels that exist already; without them the labels are zero-shot's.
    trust : float
        How far zero-shot is trusted, see `zero_shot.reliability`; 0 where its labels are close to guesses.
    meaningful : bool
        False where zero-shot labels are close to guesses.
    answers : (N,) int array, optional
        Classes that clinicians gave, -1 where nobody did. They are truth.
    excluded : (N,) bool array, optional
        Images of none of the classes, or not usable: not learned from, not asked about, their label stays.
    unsure : (N,) bool array, optional
        Images that a clinician looked at and could not tell.
    prior : (K,) array, optional
        How common each class is, where that is known.
    groups : (N,) int array, optional
        Images of one patient or lesion share a number; without it near duplicates do.
    image_names : sequence of N names, optional
    student : (N, K) array, optional
        Out-of-sample probabilities of a student that was trained before.
    image_kinds : ImageKinds, optional
        What kind of image each looks like; without it none is of no class.
    proposals : Proposals, optional
        What the labels before the first answer left to spot checks, see `label_errors.propose`.
    accept_proposals : bool
        Apply them unseen.
    keep : bool
        Given labels are doubted, and never changed: an audit.
    firm : float, optional
        How firmly the pool of few-shot models holds on to equal weights; the default is `few_shot.FIRM`.
    seed : int
    """

    features: Features
    zero_shot: NDArray[np.float64]
    class_names: Sequence[str]
    given: NDArray[np.int64] | None = None
    trust: float = 1.0
    meaningful: bool = True
    answers: NDArray[np.int64] | None = None
    excluded: NDArray[np.bool_] | None = None
    unsure: NDArray[np.bool_] | None = None
    prior: NDArray[np.float64] | None = None
    groups: NDArray[np.int64] | None = None
    image_names: Sequence[str] | None = None
    student: NDArray[np.floating] | None = None
    image_kinds: ImageKinds | None = None
    proposals: Proposals | None = None
    accept_proposals: bool = False
    keep: bool = False
    firm: float | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.zero_shot)

    @cached_property
    def spread(self) -> Spread:
        """Answers, and the near duplicates that take them over."""
        answers = np.full(len(self), UNANSWERED) if self.answers is None else self.answers
        if (answers < 0).all():  # then neighbours need not be found
            return Spread(answers, np.full(len(self), -1))
        return spread_answers(answers, self.features.duplicate_groups, self.excluded, self.unsure)

    @property
    def truth(self) -> NDArray[np.int64]:
        """(N,) classes by answers, -1 where nobody answered the image or one that is nearly the same."""
        return self.spread.truth

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(N,) bool, a class is known by an answer."""
        return self.truth >= 0

    @cached_property
    def none_of_these(self) -> NoneOfThese | None:
        """Which images look like none of the classes."""
        if self.image_kinds is None:
            return None
        return none_of_these(self.image_kinds, self.given, self.features.wide_neighbours)

    @cached_property
    def left_out(self) -> NDArray[np.bool_]:
        """(N,) bool, `excluded`."""
        return np.zeros(len(self), dtype=bool) if self.excluded is None else self.excluded

    def take(self, rows: NDArray[np.int64]) -> Task:
        """The task for some of its images, (M,) row numbers, as if there were no others."""
        if len(rows) == len(self):
            return self

        def part(values: Any) -> Any:
            return None if values is None else np.asarray(values)[rows]

        taken = replace(
            self, features=self.features.take(rows), zero_shot=self.zero_shot[rows], given=part(self.given),
            answers=self.truth[rows], excluded=part(self.excluded), unsure=part(self.unsure), groups=part(self.groups),
            image_names=[self.names[i] for i in rows], student=None if self.student is None else self.student[rows],
            image_kinds=None if self.image_kinds is None else self.image_kinds.take(rows),
        )  # fmt: skip
        taken.__dict__["spread"] = Spread(
            self.truth[rows], np.full(len(rows), -1)
        )  # near duplicates are settled already
        return taken

    @cached_property
    def names(self) -> list[str]:
        """A name for each image."""
        if self.image_names is None:
            return [f"image {i + 1}" for i in range(len(self))]
        return list(self.image_names)
