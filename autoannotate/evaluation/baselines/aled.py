"""ALED: a Gaussian for each class in random projections, fitted robustly; a label moves where another is likelier.

Chaudhry, Rotenberg, Caffo, Jones and Sair 2026, "Adaptive Label Error Detection", arXiv 2601.10084; the authors' package is
`statlab`, which knows two classes and a torch model. Written anew for K classes on the frozen features: for each pair of
classes, features are projected on the direction between the class means and a random one; the minimum covariance determinant
(Rousseeuw 1984) fits a Gaussian to each class; likelihoods are averaged over ten projections. A label changes where the
posterior of another class is more than twice that of its own, by the pair in which this ratio is greatest. With two classes
and the same random numbers the posteriors are those of `statlab` 0.0.4, which needs pandas below 3, to within 3e-8.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from autoannotate.evaluation.task import Problem, Solution
from autoannotate.labelling.features import standardised

PROJECTIONS, COMPONENTS, RATIO = 10, 2, 2.0
FEWEST = 6  # labels of a class, without which the determinant is not defined for two components


def solve(problem: Problem) -> Solution:
    """Labels after the moves; doubt is the posterior of the likeliest other class in its pair. Images outside `train` take the
    class that wins most pairs."""
    points, k, n = standardised(problem.features), len(problem.class_names), len(problem.given)
    rng = np.random.default_rng([problem.seed, 71])
    given, train = problem.given, problem.train
    size = np.bincount(given[train], minlength=k)
    best, other = np.full(n, -np.inf), given.copy()
    wins = np.zeros((n, k))
    for a, b in combinations(range(k), 2):
        if min(size[a], size[b]) < FEWEST:
            continue
        odds = pair_odds(points, train & (given == a), train & (given == b), rng)
        np.add.at(wins, (np.arange(n), np.where(odds > 0, b, a)), 1.0)
        for mine, rival, against in ((a, b, odds), (b, a, -odds)):
            more = (given == mine) & (against > best)
            best[more], other[more] = against[more], rival
    labels = np.where(train, np.where(best > np.log(RATIO), other, given), wins.argmax(axis=1))
    doubt = 1.0 / (1.0 + np.exp(-np.clip(best, -50.0, 50.0)))
    probabilities = np.zeros((n, k))
    probabilities[np.arange(n), given] += 1.0 - doubt
    probabilities[np.arange(n), other] += doubt
    return Solution(labels, probabilities, doubt)


def pair_odds(
    points: NDArray[np.float64], first: NDArray[np.bool_], second: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Log-odds, (N,), of the second class against the first, by points (N, d) and which rows have either label, (N,) bool."""
    import warnings

    from sklearn.covariance import MinCovDet

    between = points[first].mean(axis=0) - points[second].mean(axis=0)
    between /= max(float(np.linalg.norm(between)), 1e-12)
    likelihoods = np.zeros((2, len(points)))
    for _ in range(PROJECTIONS):
        directions = np.column_stack([between, rng.normal(size=(points.shape[1], COMPONENTS - 1))])
        projected = points @ directions
        for side, members in enumerate((first, second)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a determinant that grew while subsets were refined
                fitted = MinCovDet(random_state=0).fit(projected[members])
            scale = 2.0 * np.pi * np.sqrt(max(float(np.linalg.det(fitted.covariance_)), 1e-300))
            likelihoods[side] += np.exp(-0.5 * fitted.mahalanobis(projected)) / scale
    prior = np.log(second.sum() / first.sum())
    return np.log(likelihoods[1] + 1e-300) - np.log(likelihoods[0] + 1e-300) + prior
