"""How many labels are wrong: by class, with an interval, and the share of each class that should be another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.calibration import sharpness
from autoannotate.labelling.label_errors.noise_estimate import NoiseEstimate

DRAWS = 1000

Share = tuple[float | None, float, float]
"""A share of wrong labels with its 95% interval; None where only bounds are known."""


@dataclass(frozen=True, eq=False)
class GivenErrors:
    """What is known of the errors of N given labels.

    Attributes
    ----------
    told : whether an explanation of the noise was accepted, or answers teach it. Else models contradict a label where it is
        wrong and where classes overlap, and the images do not say which
    posterior : (N, K), of the true class
    wrong : (N,), the probability that each label is wrong
    certain : (N,), the same by answers and by near duplicates with different labels alone
    contradicted : (N,) bool, the class that models find which did not see the label is another
    """

    told: bool
    posterior: NDArray[np.float64]
    wrong: NDArray[np.float64]
    certain: NDArray[np.float64]
    contradicted: NDArray[np.bool_]

    def share(self, rows: NDArray, seed: int = 0) -> Share:
        """How many of the labels of these images are wrong.

        Where nothing tells, the bounds are what is certain, and the share that is contradicted: were errors independent of the
        models' own, fewer than half and even, no more could be wrong: d = e + r (1 − e K/(K−1)) ≥ r, see `weighed`.
        """
        if self.told or not len(self.wrong[rows]):
            return error_rate(self.wrong[rows], seed)
        low = float(self.certain[rows].mean())
        return None, low, float(np.maximum(self.certain, self.contradicted)[rows].mean())


def given_errors(
    noise: NoiseEstimate, labels: NDArray[np.integer], truth: NDArray[np.integer], copies: Sequence[int] = ()
) -> GivenErrors:
    """What the noise estimate, answers and copies say of the errors of N given labels.

    Parameters
    ----------
    truth : (N,) class numbers, -1 where nobody answered
    copies : images that are nearly the same picture as one with another label: one of both is wrong

    Notes
    -----
    Where answers taught the estimate, the posterior is as sure as answered images, predicted without their answers, say
    (`NoiseEstimate.model_error`), since its own certainty does not see the errors that it made.
    """
    from scipy.special import softmax

    rows, answered = np.arange(len(labels)), truth >= 0
    posterior = noise.posterior
    if noise.explanation == "answers" and not answered.all():
        power = min(1.0, sharpness(posterior[~answered], 1.0 - noise.model_error))
        posterior = softmax(power * np.log(np.clip(posterior, 1e-6, 1.0)), axis=1)
    certain = np.zeros(len(labels))
    certain[list(copies)] = 0.5
    certain[answered] = (truth != labels)[answered]
    wrong = np.where(answered, certain, np.maximum(1.0 - posterior[rows, labels], certain))
    contradicted = (noise.predicted.argmax(axis=1) != labels) & ~answered
    return GivenErrors(bool(noise.explanation) and noise.may_change, posterior, wrong, certain, contradicted)


def together(errors: Sequence[GivenErrors], seed: int = 0) -> Share:
    """How many of all labels are wrong, of several sets of them; told where all are."""
    wrong, certain, contradicted = (
        np.concatenate([getattr(each, name) for each in errors]) for name in ("wrong", "certain", "contradicted")
    )
    told = all(each.told for each in errors)
    return GivenErrors(told, np.empty((0, 0)), wrong, certain, contradicted).share(np.arange(len(wrong)), seed)


def error_rate(wrong: NDArray[np.floating], seed: int = 0) -> tuple[float, float, float]:
    """The expected share of wrong labels and its 95% interval, by probabilities (N,) that each is wrong.

    The interval is that of a bootstrap over images in which each drawn label is wrong with its probability; it holds as far as
    these are calibrated.
    """
    if not len(wrong):
        return 0.0, 0.0, 1.0
    rng = np.random.default_rng([seed, 61])
    drawn = [
        float((rng.random(len(wrong)) < wrong[rng.integers(0, len(wrong), len(wrong))]).mean()) for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    share = float(np.mean(wrong))
    return share, min(float(low), share), max(float(high), share)


def joint_by_label(labels: NDArray[np.integer], out_of_sample: NDArray[np.floating]) -> NDArray[np.float64]:
    """(K, K): of the images with label i the estimated share that are j, by confident learning.

    Northcutt, Jiang and Chuang 2021, arXiv 1911.00068, section 3.1; counted by cleanlab's `estimate_joint`.
    """
    from cleanlab.count import estimate_joint

    k = out_of_sample.shape[1]
    shares = np.eye(k)
    present, members = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return shares
    among = out_of_sample[:, present] + 1e-9
    joint = estimate_joint(members, among / among.sum(axis=1, keepdims=True))
    shares[np.ix_(present, present)] = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-12)
    return shares
