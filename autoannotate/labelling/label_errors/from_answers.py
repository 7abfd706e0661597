"""What a clinician's answers say about the images that nobody answered.

Answers are few and right, the other labels many and partly wrong, and how wrong is not known, least of all where a weak
model erred in a whole region. So both are learned from together, by a regression in which an answer weighs `ANSWER` and any
other label a weight that is *chosen by the answers*: the one at which each answer is predicted best by everything but
itself.
By the same test it is weighed against other predictions that did not see the labels they judge. Array in, array out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.calibration import sharpness
from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.noise_estimate import NoiseEstimate, bayes, dawid_skene, pool, weighed
from autoannotate.labelling.ridge import Ridge

ANSWER = 20.0  # weight of an answer; of another label it is one of WEIGHTS
WEIGHTS = (1.0, 0.3, 0.1, 0.03, 0.01)
STRENGTHS = (1.0, 4.0, 16.0)  # of the ridge
SHARPNESS = (2.0, 4.0, 8.0, 16.0)  # what the regression's scores are multiplied with before a softmax
LABEL_WORTH = 1.0 / ANSWER  # what predicting another label counts when weights are chosen, beside predicting an answer
FEWEST = 8  # answers, below which nothing is learned
LANDMARKS = 300
USUAL = 0.8  # the share of right labels that the noise matrix leans towards
OF_ESTIMATE = 1.0  # weight that the stack leans towards for the estimate without the answers, and …
BESIDE = 0.3  # … for all other predictions together
LEAN = 3.0  # how strongly: the logarithms of weights have a standard deviation of 1/√LEAN around these
ROUNDS = 3  # of weighing predictions by the noise, and finding the noise by their weights


@dataclass(frozen=True)
class Settings:
    """strength: of the ridge. weight: what a label that nobody answered is worth beside an answer's `ANSWER`."""

    strength: float
    weight: float


@dataclass(frozen=True)
class Generalised:
    """predicted: (N, K), what all the other images say of each image's true class; rows sum to one. posterior: (N, K), the same
    with its own label weighed through the noise; its own answer, where it has one. noise: (K, K), T[true, given].
    settings: of the regression, chosen by the answers. error: the share of the other images about which it is wrong, by how
    often it was about answered ones."""

    predicted: NDArray[np.float64]
    posterior: NDArray[np.float64]
    noise: NDArray[np.float64]
    settings: Settings
    error: float


def basis(features: Features | NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """What the regression sees of N images (N, F): (N, D), of three parts.

    Their standardised principal axes, which let it draw planes; their likeness to `LANDMARKS` of them, which lets it follow
    groups; and a constant. The likeness is exp(−(1 − cos) / 2h), h the median distance to the tenth nearest landmark, by
    Nyström's method (Williams and Seeger 2001).
    """
    features = Features.of(features)
    planes, points = features.standardised, features.compact
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
    *,
    predictions: Sequence[NDArray[np.floating]] | NDArray[np.floating] = (),
    estimate: NoiseEstimate | None = None,
    settings: Settings | None = None,
    groups: NDArray[np.integer] | None = None,
) -> Generalised | None:
    """Learn from N labels, of which some were answered; None while there are fewer than `FEWEST` answers.

    Parameters
    ----------
    basis : (N, D), see `basis`
    labels : (N,), those given before anyone answered
    answers : (N,) class numbers, -1 where there is none
    predictions : (N, K) each, of models that did not see the label or answer of the image they judge, weighed beside the
        regression's
    estimate : what goes for the others until answers say otherwise: without it, eight answers about the hardest images may undo
        what was corrected before; nor are labels trusted more than it trusts them, since what the hardest images teach of the
        predictions is doubt
    settings : of an earlier call with fewer answers, where choosing them anew would take too long
    groups : (N,) ids; each image, answered or not, is predicted without the labels and answers of its whole group (a
        patient's), so that how answers generalise is chosen by images of others
    """
    answered = np.asarray(answers) >= 0
    rows = np.flatnonzero(answered)
    if len(rows) < FEWEST:
        return None
    from scipy.special import softmax

    truth = np.asarray(answers)[rows]
    one_hot = np.eye(classes)
    found: list[tuple[_Fit, Settings]] = []
    for each in [settings] if settings else [Settings(s, w) for s in STRENGTHS for w in WEIGHTS]:
        fit = Ridge(basis, np.where(answered, ANSWER, each.weight), each.strength, groups)
        target = one_hot[labels]
        for _ in range(2):
            target[rows] = one_hot[truth]
            scores = fit.left_out(target - 1.0 / classes)
            fitted = max(
                (_fitted(softmax(scores * s, axis=1), labels, rows, truth) for s in SHARPNESS),
                key=lambda h: h.likelihood,
            )
            target = fitted.posterior.copy()
        found.append((fitted, each))
    fitted, chosen = max(found, key=lambda each: each[0].cross_validated)
    if len(predictions):
        beside = [*predictions, fitted.predicted]
        if estimate is None:
            usual = np.full(len(beside), 1.5 / len(beside))
        else:
            usual = np.r_[np.full(len(beside), BESIDE / len(beside)), OF_ESTIMATE]
            beside.append(estimate.clean)
        fitted = _stacked(beside, np.log(usual), labels, rows, truth)
    predicted, noise, posterior = fitted.predicted, fitted.noise, fitted.posterior.copy()
    if estimate is not None:
        rate = float(1.0 - posterior[~answered, labels[~answered]].mean()) if not answered.all() else 0.0
        predicted, noise, posterior, _ = weighed(
            predicted, labels.astype(np.int64), max(rate, estimate.error_rate), answers
        )
    error = _error_by_answers(posterior, rows, truth)
    posterior[rows] = one_hot[truth]
    return Generalised(predicted, posterior, noise, chosen, error)


def _error_by_answers(posterior: NDArray[np.float64], rows: NDArray[np.integer], truth: NDArray[np.integer]) -> float:
    """The expected share of errors among images that nobody answered, were the posterior, (N, K), as sure as it is right about
    answered ones, these predicted without their answers (Laplace's rule of succession); never less than it expects itself.

    Its own certainty follows from labels that it holds to be wrong by the same predictions, so it does not see their errors.
    """
    from scipy.special import softmax

    others = np.delete(posterior, rows, axis=0)
    if not len(others):
        return 0.0
    right = int((posterior[rows].argmax(axis=1) == truth).sum())
    power = min(1.0, sharpness(posterior[rows], (right + 1) / (len(rows) + 2)))
    return float(1.0 - softmax(power * np.log(np.clip(others, 1e-6, 1.0)), axis=1).max(axis=1).mean())


@dataclass(frozen=True)
class _Fit:
    """likelihood: of labels and answers, its logarithm. cross_validated: the logarithm of what each answer was given by all
    else, bounded, since one surprise should not decide; and that of other labels, of which ANSWER count for one answer:
    answers are not drawn at random, and without this a few of one class would make it everyone's."""

    predicted: NDArray[np.float64]
    posterior: NDArray[np.float64]
    noise: NDArray[np.float64]
    likelihood: float
    cross_validated: float


def _stacked(
    predictions: Sequence[NDArray[np.floating]],
    usual: NDArray[np.float64],
    labels: NDArray[np.integer],
    rows: NDArray[np.integer],
    truth: NDArray[np.integer],
) -> _Fit:
    """The predictions' pool by how well it predicts answers, and other labels through the noise, at `LABEL_WORTH` each."""
    answers, noise = np.full(len(labels), -1), _usual_noise(np.shape(predictions)[2])
    answers[rows] = truth
    for _ in range(ROUNDS):
        pooled = pool(
            predictions, labels, noise_matrix=noise, answers=answers, worth=LABEL_WORTH, usual=usual, lean=LEAN
        )
        fitted = _fitted(pooled.probabilities, labels, rows, truth)
        noise = fitted.noise
    return fitted


def _fitted(
    predicted: NDArray[np.float64], labels: NDArray[np.integer], rows: NDArray[np.integer], truth: NDArray[np.integer]
) -> _Fit:
    """Each image's own label weighed through the noise T[true, given], which EM finds (Dawid and Skene 1979) and answers teach.

    predicted: (N, K), out-of-sample. rows: (A,) answered. truth: (A,) their answers.
    """
    usual, known = _usual_noise(predicted.shape[1]), predicted.copy()
    known[rows] = np.eye(len(usual))[truth]
    noise = dawid_skene(known, labels, usual, 5.0 * usual, 6)
    joint, posterior = predicted * noise[:, labels].T, bayes(predicted, noise, labels)
    likelihood = joint.sum(axis=1)
    likelihood[rows] = joint[rows, truth]
    logs = np.log(np.maximum(likelihood, 1e-9))
    others = np.delete(logs, rows).sum() * LABEL_WORTH
    cross_validated = float(np.log(posterior[rows, truth] + 1e-3).sum() + others)
    return _Fit(predicted, posterior, noise, float(logs.sum()), cross_validated)


def _usual_noise(k: int) -> NDArray[np.float64]:
    """(K, K), the noise that an estimate leans towards."""
    noise = np.full((k, k), (1.0 - USUAL) / max(k - 1, 1))
    np.fill_diagonal(noise, USUAL)
    return noise
