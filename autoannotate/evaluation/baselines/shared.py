"""What several rivals share: the linear probe, and how probabilities answer a problem."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoannotate.evaluation.task import Problem, Solution


def from_probabilities(problem: Problem, probabilities: NDArray[np.float64], note: str = "") -> Solution:
    """The likeliest class of each image, and one minus the probability of the given label as doubt; (N, K)."""
    given = probabilities[np.arange(len(probabilities)), problem.given]
    return Solution(probabilities.argmax(axis=1), probabilities, 1.0 - given, note)


def fit_predict(
    points: NDArray[np.float64], labels: NDArray[np.integer], chosen: NDArray[np.bool_], k: int, strength: float
) -> NDArray[np.float64]:
    """Class probabilities, (N, k), of points (N, d) by logistic regression on the `chosen` ones and their labels, both (N,).

    Parameters
    ----------
    strength : inverse regularisation, on axes of unit mean square. scikit-learn's own, 1, fits the noise.
    """
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels[chosen])
    if len(present) == 0:
        return np.full((len(points), k), 1.0 / k)
    probabilities = np.zeros((len(points), k))
    if len(present) == 1:
        probabilities[:, present] = 1.0
    else:
        model = LogisticRegression(C=strength, max_iter=300).fit(points[chosen], labels[chosen])
        probabilities[:, present] = model.predict_proba(points)
    return probabilities


def cross_validated(
    points: NDArray[np.float64],
    labels: NDArray[np.integer],
    chosen: NDArray[np.bool_],
    k: int,
    strength: float,
    seed: int,
) -> NDArray[np.float64]:
    """As `fit_predict`, but no chosen image's label has a part in its own row: five folds, stratified."""
    from autoannotate.labelling.label_errors.out_of_sample import folds

    probabilities = np.zeros((len(points), k)) if chosen.all() else fit_predict(points, labels, chosen, k, strength)
    rows = np.flatnonzero(chosen)
    for fold in folds(labels[rows], seed):
        others = chosen.copy()
        others[rows[fold]] = False
        probabilities[rows[fold]] = fit_predict(points, labels, others, k, strength)[rows[fold]]
    return probabilities
