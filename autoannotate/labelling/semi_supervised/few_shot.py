"""Labels from a clinician's answers to a few images: what to start from where zero-shot labels are guesses.

Twenty answers a class say more about fine classes than any sentence. Three classifiers that hold up with so few labels
(discriminant analysis, a logistic probe, label propagation) and zero-shot are pooled, each for what it proved to be worth
on answers that it had not seen (stacking, Wolpert 1992), which makes the pool as sure as it is right. How often it was right
about these answers says less: they are to images that were asked because they are typical, or because they are hard.

With fewer than `JUDGED` answers of some class none can be held out: then the pool keeps equal weights, without discriminant
analysis, which has no spread to go by, and it is not said that the labels mean something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.calibration import sharpness
from autoannotate.labelling.features import Features
from autoannotate.labelling.neighbours import propagate

JUDGED = 3  # answers of a class, below which no answer can be held out to judge what the others teach
FEWEST = 2 * JUDGED  # answers in all, below which nothing is learned: one a class, of six classes or more
FOLDS = 5
FIRM = 0.5  # how firmly the pool of classes holds on to equal weights
TOLD = 0.4  # labels are no longer guesses when agreement beyond chance is surely above this (moderate, Landis and Koch 1977)


@dataclass(frozen=True)
class FewShot:
    """Labels learned from answers.

    Attributes
    ----------
    probabilities : (N, K) array
        Rows sum to one.
    kappa : float or None
        The agreement beyond chance with a clinician that they let expect of the images that nobody answered; None where no
        answer could be held out.
    told : bool
        With 95 % confidence kappa is above `TOLD`: the classes can be told by now, and the labels mean something.
    """

    probabilities: NDArray[np.float64]
    kappa: float | None
    told: bool


def enough(answers: NDArray[np.integer], n_classes: int) -> bool:
    """Whether each class has an answer, and there are `FEWEST` in all: fewer are outweighed by any words.

    Parameters
    ----------
    answers : (N,) int array
        Class numbers, -1 where there is none.
    n_classes : int
    """
    known = answers[answers >= 0]
    return bool(len(known) >= FEWEST and np.bincount(known, minlength=n_classes).min() >= 1)


def learn(
    features: Features | NDArray[np.floating],
    zero_shot: NDArray[np.floating],
    answers: NDArray[np.integer],
    *,
    groups: NDArray[np.integer] | None = None,
    firm: float | None = None,
    seed: int = 0,
) -> FewShot:
    """Class probabilities from the answered images.

    Parameters
    ----------
    features : Features or (N, F) array
    zero_shot : (N, K) array
        Class probabilities.
    answers : (N,) int array
        Class numbers, -1 where there is none; each class has one or more.
    groups : (N,) int array, optional
        Images of one patient or lesion share a number: no answer is predicted from another of its group.
    firm : float, optional
        How firmly the pool holds on to equal weights, `FIRM` by default.
    seed : of the folds

    References
    ----------
    The pool: stacking, Wolpert 1992. The prior of its calibration: Laplace's rule of succession.
    """
    from scipy.special import softmax

    answered = np.flatnonzero(answers >= 0)
    features = Features.of(features)
    points, graph = features.standardised, features.graph
    k = zero_shot.shape[1]
    judged = bool(np.bincount(answers[answered], minlength=k).min() >= JUDGED)

    def predictions(known: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
        """(V, A, K) log probabilities of the images asked about, from the labels of those known."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.linear_model import LogisticRegression

        views: list[NDArray[np.floating]] = []
        analysis = [LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)] if judged else []
        for model in (*analysis, LogisticRegression(C=0.1, max_iter=300)):
            view = np.zeros((len(asked), k))
            view[:, np.unique(answers[known])] = model.fit(points[known], answers[known]).predict_proba(points[asked])
            views.append(view)
        seeds = np.zeros((len(points), k))
        seeds[known, answers[known]] = 1.0 / np.bincount(answers[known], minlength=k)[answers[known]]
        views += [propagate(graph, seeds)[asked], zero_shot[asked]]
        return np.log(np.clip(np.stack(views), 1e-4, 1.0))

    if not judged:
        pooled = predictions(answered, np.arange(len(points))).mean(axis=0)
        return FewShot(softmax(pooled, axis=1), None, False)
    rng = np.random.default_rng([seed, 21])
    shuffled = rng.permutation(answered)
    dealt = shuffled[np.argsort(answers[shuffled], kind="stable")]
    folds = _folds(dealt, answers, groups)
    held_out = np.concatenate([predictions(np.setdiff1d(answered, fold), fold) for fold in folds], axis=1)
    truth = answers[np.concatenate(folds)]
    weights = _weights(held_out, truth, FIRM if firm is None else firm)
    everything = np.tensordot(weights, predictions(answered, np.arange(len(points))), axes=1)
    rest = answers < 0 if (answers < 0).any() else answers >= 0
    many = len(truth)
    # Laplace's rule of succession: ten right of ten are no proof that all are
    power = min(1.0, sharpness(softmax(everything[rest], axis=1), (many + 1) / (many + 2)))
    probabilities = softmax(power * everything, axis=1)
    others = probabilities[rest]
    sure = float(others.max(axis=1).mean())
    by_chance = float(((np.bincount(others.argmax(axis=1), minlength=k) / len(others)) ** 2).sum())
    kappa = 0.0 if by_chance >= 1.0 else (sure - by_chance) / (1.0 - by_chance)  # one class for all: chance does it too
    wobble = np.sqrt(max(sure * (1 - sure), 0.25 / many) / many) / max(1.0 - by_chance, 1e-9)
    return FewShot(probabilities, kappa, bool(kappa - 1.645 * wobble > TOLD))


def _folds(
    dealt: NDArray[np.int64], answers: NDArray[np.integer], groups: NDArray[np.integer] | None
) -> list[NDArray[np.int64]]:
    """Answered rows in `FOLDS` parts, each class dealt out evenly; a group is in one part, where two classes are left without
    any part."""
    turn = np.arange(len(dealt)) % FOLDS
    if groups is not None:
        first: dict[int, int] = {}
        of_group = np.array([first.setdefault(int(groups[row]), int(turn[i])) for i, row in enumerate(dealt)])
        left = [np.unique(answers[dealt[of_group != fold]]) for fold in np.unique(of_group)]
        turn = of_group if all(len(classes) > 1 for classes in left) else turn
    return [np.sort(dealt[turn == fold]) for fold in np.unique(turn)]


def _weights(logs: NDArray[np.float64], truth: NDArray[np.integer], firm: float) -> NDArray[np.float64]:
    """(V,) weights >= 0 of a log-linear pool of predictions (V, A, K) under which the truth (A,) is likeliest, near 1/V."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    start = np.full(len(logs), 1.0 / len(logs))
    rows = np.arange(len(truth))

    def loss(weights: NDArray[np.float64]) -> float:
        fit = log_softmax(np.tensordot(weights, logs, axes=1), axis=1)[rows, truth].mean()
        return float(-fit + firm / len(truth) * ((weights - start) ** 2).sum())

    return np.asarray(minimize(loss, start, bounds=[(0.0, 10.0)] * len(logs), method="L-BFGS-B").x)
