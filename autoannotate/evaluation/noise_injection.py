"""Noise models: right labels made wrong, in exactly `round(rate * N)` places, so that correction is measured apart.

Each takes labels (N,), features (N, F), a rate and a random generator, and gives noisy labels (N,). The generator must not
be the one that drew the sample or the split: one seed for both puts all the noise on one side. Wrong labels are classes that
the set has. Adding a noise model is adding one function here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import UsageError

NoiseModel = Callable[[NDArray[np.int64], NDArray[np.floating], float, np.random.Generator], NDArray[np.int64]]
NOISES: dict[str, NoiseModel] = {}
SALT = 71  # keeps these draws apart from those of splits and bootstraps
SHOWN = 20  # images of each class that the weak model of `instance` learns from …
DIRECTIONS = 10  # … and how many random directions of the features it sees


def noise_model(name: str) -> Callable[[NoiseModel], NoiseModel]:
    """Register the function under that name."""

    def register(function: NoiseModel) -> NoiseModel:
        NOISES[name] = function
        return function

    return register


@dataclass(frozen=True)
class Noise:
    """A noise model and its rate, as in `--noise symmetric:0.2`."""

    name: str
    rate: float

    def __str__(self) -> str:
        return f"{self.name}:{self.rate:g}"

    def inject(self, labels: NDArray[np.integer], features: NDArray[np.floating], seed: int) -> NDArray[np.int64]:
        """Noisy labels, (N,), of which exactly round(rate * N) are wrong, from labels (N,) and features (N, F)."""
        return NOISES[self.name](
            np.asarray(labels, dtype=np.int64), features, self.rate, np.random.default_rng([seed, SALT])
        )


def read_noise(text: str) -> Noise:
    """`symmetric:0.2` → Noise("symmetric", 0.2).

    Raises
    ------
    UsageError
        With what there is.

    Examples
    --------
    >>> read_noise("instance:0.3")
    Noise(name='instance', rate=0.3)
    """
    name, _, rate = text.partition(":")
    if name not in NOISES:
        raise UsageError(f"There is no noise {name!r}: choose one of {', '.join(NOISES)}, as in symmetric:0.2.")
    try:
        share = float(rate)
    except ValueError:
        share = float("nan")
    if not 0.0 <= share < 1.0:
        raise UsageError(f"{text!r} needs a rate, at least 0 and below 1, as in {name}:0.2.")
    return Noise(name, share)


@noise_model("symmetric")
def symmetric(
    labels: NDArray[np.int64], features: NDArray[np.floating], rate: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Every image is as likely to be mislabelled, as any other class (Angluin and Laird 1988; "uniform noise")."""
    classes, code = _classes(labels, rate)
    rows = rng.choice(len(labels), _count(labels, rate), replace=False)
    shift = rng.integers(1, len(classes), len(rows)) if len(rows) else np.zeros(0, dtype=np.int64)
    noisy = code.copy()
    noisy[rows] = (noisy[rows] + shift) % len(classes)
    return classes[noisy]


@noise_model("class")
def of_class(
    labels: NDArray[np.int64], features: NDArray[np.floating], rate: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """An image is mislabelled as the class that looks most like its own, and some classes are mislabelled more than others.

    The pair flip of Han et al. 2018 (arXiv 1804.06872, section 4), with the class of the nearest mean in the place of the
    next number. Rates run evenly over the classes in a random order, the highest min(1.5 rate, (rate + 0.5) / 2), so that
    right labels stay in the majority of every class while the rate is below a half: for two classes at 0.2 these are the
    0.3 and 0.1 of Natarajan et al. 2013 (section 5).
    """
    from autoannotate.labelling.features import standardised

    classes, code = _classes(labels, rate)
    size = np.bincount(code)
    noisy = code.copy()
    total = _count(labels, rate)
    if total == 0:
        return classes[noisy]
    points = standardised(features)
    means = np.eye(len(classes))[code].T @ points / size[:, None]
    distance = ((means[:, None] - means[None]) ** 2).sum(axis=2)
    nearest = (distance + np.diag(np.full(len(classes), np.inf))).argmin(axis=1)

    spread = max(min(0.5 * rate, (0.5 - rate) / 2), 0.0)
    rates = rate + spread * np.linspace(-1.0, 1.0, len(classes))[rng.permutation(len(classes))]
    for c, many in enumerate(_dealt(rates * size, total, size)):
        noisy[rng.choice(np.flatnonzero(code == c), many, replace=False)] = nearest[c]
    return classes[noisy]


@noise_model("instance")
def instance(
    labels: NDArray[np.int64], features: NDArray[np.floating], rate: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Labels as a weak model would get them wrong: an image is mislabelled as the wrong class that the model likes best.

    The weak model is a logistic regression that sees the features through `DIRECTIONS` random directions only, as a reader
    who looks at one aspect of an image, and has learned from `SHOWN` images of each class; both are drawn anew each time.
    Images are drawn without replacement with odds in proportion to the square of the probability that it gives their
    likeliest wrong class, so that errors gather in a region of the images without filling it.
    After Chen et al. 2021 (AAAI, arXiv 2012.05458, Algorithm 1: those with the highest such probability are mislabelled,
    as that class) with the random projections and the randomness of part-dependent noise (Xia et al. 2020, arXiv
    2006.07836, Algorithm 2); in the polynomial-margin noise of Zhang et al. 2021 (ICLR, arXiv 2103.07756) too, chance grows
    with the model's doubt.
    """
    classes, code = _classes(labels, rate)
    noisy = code.copy()
    total = _count(labels, rate)
    if total == 0:
        return classes[noisy]
    likes = _weak_model(code, features, rng)
    likes[np.arange(len(code)), code] = 0.0
    liking = likes.max(axis=1)
    key = 2.0 * np.log(np.maximum(liking, 1e-12)) + rng.gumbel(
        size=len(code)
    )  # Gumbel top-k: draws without replacement
    rows = np.argsort(-key, kind="stable")[:total]
    noisy[rows] = likes[rows].argmax(axis=1)
    return classes[noisy]


def _weak_model(
    code: NDArray[np.int64], features: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Class probabilities, (N, K), by a model that has seen little; every other class has some."""
    from sklearn.linear_model import LogisticRegression

    from autoannotate.labelling.features import standardised

    points = standardised(features)
    seen = points @ rng.normal(size=(points.shape[1], DIRECTIONS))
    seen = (seen - seen.mean(axis=0)) / np.maximum(seen.std(axis=0), 1e-12)
    shown = np.concatenate([rng.permutation(np.flatnonzero(code == c))[:SHOWN] for c in range(code.max() + 1)])
    model = LogisticRegression(max_iter=300).fit(seen[shown], code[shown])
    return np.maximum(model.predict_proba(seen), 1e-9)


def _count(labels: NDArray[np.int64], rate: float) -> int:
    return round(rate * len(labels))


def _classes(labels: NDArray[np.int64], rate: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The classes there are, and each label's place among them. Raises ValueError where a label has nowhere to go."""
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"a rate of noise is between 0 and 1, not {rate}")
    classes, code = np.unique(labels, return_inverse=True)
    if len(classes) < 2 and _count(labels, rate) > 0:
        raise ValueError("noise needs labels of at least two classes")
    return classes, code


def _dealt(wanted: NDArray[np.float64], total: int, most: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole numbers near `wanted`, (K,), that sum to `total`, none above `most`: the largest remainders are rounded up."""
    dealt = np.minimum(np.floor(wanted).astype(np.int64), most)
    while (left := total - dealt.sum()) != 0:
        gap = np.where((dealt < most) if left > 0 else (dealt > 0), np.sign(left) * (wanted - dealt), -np.inf)
        dealt[gap.argmax()] += np.sign(left)
    return dealt
