"""Soft rules: how much likelier one finding makes another, learned by counting; used only where that helps out of sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.rules import Rule, Rules

FEWEST = 30  # images on which both findings are known, below which nothing is learned
EDGE = 1e-3
SPREAD = 1.0  # standard deviation of the weight's prior, in log odds
FOLDS = 5


@dataclass(frozen=True)
class Learned:
    """What a soft rule is worth.

    Attributes
    ----------
    lift : how many times as often as by chance the findings are seen together
    seen : known images
    weight : what the log odds of the finding gain where the others are there, beyond what the images say
    used : whether that makes held-out values likelier, by more than the standard error of the gain
    """

    rule: str
    lift: float | None
    seen: int
    weight: float = 0.0
    used: bool = False

    @property
    def words(self) -> str:
        """As the report says it.

        >>> Learned("a suggests b", 3.1, 80, 0.4, True).words
        'a suggests b: seen together 3.1 times as often as by chance, on 80 images; used'
        """
        if self.lift is None:
            return f"{self.rule}: known of {self.seen} images, too few to learn from"
        end = "used" if self.used else "not used, since it does not help out of sample"
        return f"{self.rule}: seen together {self.lift:.1f} times as often as by chance, on {self.seen} images; {end}"


def learn(rules: Rules, values: NDArray[np.integer], predicted: NDArray[np.floating], seed: int = 0) -> list[Learned]:
    """What each soft rule is worth.

    Parameters
    ----------
    values : (N, F) int array
        What is known: 1, 0, or -1. Trusted answers, or given labels that are not in doubt.
    predicted : (N, F) array
        Out-of-sample probabilities from the images.
    """
    return [_learn(rule, values, predicted, seed) for rule in rules.soft]


def _learn(rule: Rule, values: NDArray[np.integer], predicted: NDArray[np.floating], seed: int) -> Learned:
    assert rule.suggests is not None
    given, then = list(rule.suggests[0]), rule.suggests[1]
    rows = np.flatnonzero((values[:, [*given, then]] >= 0).all(axis=1))
    there = _together(values[rows][:, given] == 1, rule.every).astype(float)
    truth = (values[rows, then] == 1).astype(float)
    if len(rows) < FEWEST or not 0 < there.mean() < 1 or not 0 < truth.mean() < 1:
        return Learned(rule.text, None, len(rows))
    lift = float((there * truth).mean() / (there.mean() * truth.mean()))
    odds = _odds(predicted[rows, then])
    fold = np.random.default_rng([seed, 31]).permutation(len(rows)) % FOLDS
    gain = np.zeros(len(rows))
    for k in range(FOLDS):
        rest, held = fold != k, fold == k
        weight = _weight(odds[rest], there[rest], truth[rest])
        gain[held] = _loss(odds[held], truth[held]) - _loss(odds[held] + weight * there[held], truth[held])
    helps = bool(gain.mean() > gain.std() / np.sqrt(len(gain)))
    return Learned(rule.text, lift, len(rows), _weight(odds, there, truth) if helps else 0.0, helps)


def use(
    rules: Rules, learned: list[Learned], probability: NDArray[np.floating], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The probabilities, (N, F), with what soft rules that help add to those not known, (N, F) bool."""
    made = np.array(probability, dtype=np.float64)
    for rule, each in zip(rules.soft, learned, strict=True):
        if each.used and rule.suggests is not None:
            given, then = list(rule.suggests[0]), rule.suggests[1]
            part = probability[:, given]
            there = part.prod(axis=1) if rule.every else 1.0 - (1.0 - part).prod(axis=1)
            moved = 1.0 / (1.0 + np.exp(-(_odds(made[:, then]) + each.weight * there)))
            made[:, then] = np.where(known[:, then], made[:, then], moved)
    return made


def _together(there: NDArray[np.bool_], every: bool) -> NDArray[np.bool_]:
    return np.asarray(there.all(axis=1) if every else there.any(axis=1))


def _odds(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    sure = np.clip(np.asarray(probability, dtype=np.float64), EDGE, 1.0 - EDGE)
    return np.asarray(np.log(sure) - np.log1p(-sure))


def _loss(odds: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """The negative log likelihood of each value."""
    return np.asarray(np.logaddexp(0.0, odds) - truth * odds)


def _weight(odds: NDArray[np.float64], there: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """The likeliest weight under a normal prior: logistic regression on one feature, with the images' log odds as an offset."""
    from scipy.optimize import minimize_scalar

    def loss(weight: float) -> float:
        return float(_loss(odds + weight * there, truth).sum() + 0.5 * (weight / SPREAD) ** 2)

    return float(minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded").x)
