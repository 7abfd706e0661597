"""What a clinician's answers say about the images that nobody answered.

Answers are few and right, the other labels many and partly wrong, and how wrong is not known, least of all where a weak
model erred in a whole region. So both are learned from together, by a regression in which an answer weighs `ANSWER` and any
other label a weight that is *chosen by the answers*: the one at which each answer is best foretold by everything but itself.
Array in, array out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.neighbours import compact
from autoannotate.probe import standardised

ANSWER = 20.0  # weight of an answer; of another label it is one of WEIGHTS
WEIGHTS = (1.0, 0.3, 0.1, 0.03, 0.01)
STRENGTHS = (1.0, 4.0, 16.0)  # of the ridge
SHARPNESS = (2.0, 4.0, 8.0, 16.0)  # what the regression's scores are multiplied with before a softmax
HEARSAY = 1.0 / ANSWER  # what foretelling another label counts when weights are chosen, beside foretelling an answer
FEWEST = 8  # answers, below which nothing is learned
LANDMARKS = 300
USUAL = 0.8  # the share of right labels that the noise matrix leans towards, as in student.explain


@dataclass(frozen=True)
class Generalised:
    """belief: (N, K), what all the other images say of each image's true class; rows sum to one. posterior: (N, K), the same
    with its own label heard through the noise; its own answer, where it has one. noise: (K, K), T[true, given].
    weight: what a label that nobody answered was worth beside an answer's `ANSWER`."""

    belief: NDArray[np.float64]
    posterior: NDArray[np.float64]
    noise: NDArray[np.float64]
    weight: float


def basis(features: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """What the regression sees of N images (N, F): (N, D), of three parts.

    Their standardised principal axes, which let it draw planes; their likeness to `LANDMARKS` of them, which lets it follow
    groups; and a constant. The likeness is exp(−(1 − cos) / 2h), h the median distance to the tenth nearest landmark, by
    Nyström's method (Williams and Seeger 2001).
    """
    planes, points = standardised(features), compact(features)
    marks = points[np.sort(np.random.default_rng([seed, 31]).permutation(len(points))[:LANDMARKS])]
    apart = 1.0 - marks @ marks.T
    width = max(float(np.median(np.sort(apart, axis=1)[:, min(10, len(marks) - 1)])), 1e-6)
    values, vectors = np.linalg.eigh(np.exp(-apart / (2.0 * width)))
    kept = values > 1e-6 * values[-1]
    groups = np.exp(-(1.0 - points @ marks.T) / (2.0 * width)) @ (vectors[:, kept] / np.sqrt(values[kept]))
    parts = [part * np.sqrt(0.5 * len(part) / np.maximum((part**2).sum(), 1e-12)) for part in (planes, groups)]
    return np.hstack([*parts, np.full((len(points), 1), 0.3)])


def generalise(
    basis: NDArray[np.float64],
    labels: NDArray[np.integer],
    answers: NDArray[np.integer],
    classes: int,
) -> Generalised | None:
    """Learn from N labels, of which some were answered; None while there are fewer than `FEWEST` answers.

    basis: (N, D), see `basis`. labels: (N,), those given before anyone answered. answers: (N,) class numbers, -1 where there is
    none.
    """
    answered = np.asarray(answers) >= 0
    rows = np.flatnonzero(answered)
    if len(rows) < FEWEST:
        return None
    truth = np.asarray(answers)[rows]
    one_hot = np.eye(classes)
    found: list[tuple[_Heard, float]] = []
    for strength in STRENGTHS:
        for weight in WEIGHTS:
            fit = Ridge(basis, np.where(answered, ANSWER, weight), strength)
            target = one_hot[labels]
            for _ in range(2):
                target[rows] = one_hot[truth]
                scores = fit.left_out(target - 1.0 / classes)
                heard = max((_heard(scores * s, labels, rows, truth) for s in SHARPNESS), key=lambda h: h.likelihood)
                target = heard.posterior.copy()
            found.append((heard, weight))
    heard, weight = max(found, key=lambda each: each[0].foretold)
    posterior = heard.posterior.copy()
    posterior[rows] = one_hot[truth]
    return Generalised(heard.belief, posterior, heard.noise, weight)


def spread_answers(answers: NDArray[np.integer], groups: NDArray[np.integer]) -> NDArray[np.int64]:
    """Answers, (N,) with -1 where there is none, given to every image of the same group (N,) that has none of its own.

    A group whose answers contradict each other settles nothing: then the picture does not decide.
    """
    answers = np.asarray(answers, dtype=np.int64)
    rows = np.flatnonzero(answers >= 0)
    said: dict[int, int] = {}
    for group, answer in zip(groups[rows].tolist(), answers[rows].tolist(), strict=True):
        said[group] = answer if said.get(group, answer) == answer else -1
    from_group = np.array([said.get(group, -1) for group in groups.tolist()], dtype=np.int64)
    return np.where(answers >= 0, answers, from_group)


class Ridge:
    """Weighted ridge regression of many targets on one basis (N, D), each row predicted without its own target.

    Closed form: f₋ᵢ = (fᵢ − hᵢ yᵢ) / (1 − hᵢ), hᵢ = wᵢ φᵢᵀ (ΦᵀWΦ + sI)⁻¹ φᵢ (Allen 1974, "The relationship between variable
    selection and data augmentation and a method for prediction").
    """

    def __init__(self, basis: NDArray[np.float64], weights: NDArray[np.float64], strength: float) -> None:
        weighted = basis * weights[:, None]
        gram = weighted.T @ basis
        gram[np.diag_indices_from(gram)] += strength
        self.basis, self.weighted = basis, weighted
        self.inner = np.linalg.solve(gram, weighted.T)
        self.own = np.minimum(np.einsum("nd,dn->n", basis, self.inner), 0.999)[:, None]

    def left_out(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores, (N, K), by targets (N, K)."""
        return (self.basis @ (self.inner @ targets) - self.own * targets) / (1.0 - self.own)


@dataclass(frozen=True)
class _Heard:
    """likelihood: of labels and answers, its logarithm. foretold: the logarithm of what each answer was given by all else,
    bounded, since one surprise should not decide; and that of other labels, of which ANSWER count for one answer: answers are
    not drawn at random, and without this a few of one class would make it everyone's."""

    belief: NDArray[np.float64]
    posterior: NDArray[np.float64]
    noise: NDArray[np.float64]
    likelihood: float
    foretold: float


def _heard(
    logits: NDArray[np.float64], labels: NDArray[np.integer], rows: NDArray[np.integer], truth: NDArray[np.integer]
) -> _Heard:
    """Each image's own label heard through the noise T[true, given], which EM finds (Dawid and Skene 1979) and answers teach.

    logits: (N, K), out-of-sample. rows: (A,) answered. truth: (A,) their answers.
    """
    from scipy.special import softmax

    k = logits.shape[1]
    belief = softmax(logits, axis=1)
    usual = np.full((k, k), (1.0 - USUAL) / max(k - 1, 1))
    np.fill_diagonal(usual, USUAL)
    given, right = np.eye(k)[labels], np.eye(k)[truth]
    noise = usual
    for _ in range(6):
        joint = belief * noise[:, labels].T
        posterior = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-12)
        known = posterior.copy()
        known[rows] = right
        noise = known.T @ given + 5.0 * usual
        noise /= noise.sum(axis=1, keepdims=True)
    likelihood = joint.sum(axis=1)
    likelihood[rows] = joint[rows, truth]
    logs = np.log(np.maximum(likelihood, 1e-9))
    others = np.delete(logs, rows).sum() * HEARSAY
    foretold = float(np.log(posterior[rows, truth] + 1e-3).sum() + others)
    return _Heard(belief, posterior, noise, float(logs.sum()), foretold)
