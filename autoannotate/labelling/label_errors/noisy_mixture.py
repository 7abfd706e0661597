"""Discriminant analysis with labels of which some are wrong: a mixture of Gaussians, one a class, that labels only hint at.

P(x, given) = Σ_t π_t N(x; μ_t, S) T[t, given], by EM: wrong labels lie where the images of another class lie, so the images
themselves say which (Lawrence and Schölkopf 2001, "Estimating a kernel Fisher discriminant in the presence of label noise";
Bouveyron and Girard 2009, "Robust supervised classification with mixture models"). Array in, array out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 40  # of EM at most
PRIOR = 2.0  # images a class with which the noise matrix leans towards the usual noise


@dataclass(frozen=True)
class Mixture:
    """clean: (N, K), P(t | x), without the label. posterior: (N, K), P(t | x, given). noise_matrix: (K, K), T[true, given]."""

    clean: NDArray[np.float64]
    posterior: NDArray[np.float64]
    noise_matrix: NDArray[np.float64]


def fit_mixture(
    points: NDArray[np.float64],
    labels: NDArray[np.integer],
    classes: int,
    seen: NDArray[np.bool_],
    *,
    shrink: float = 0.3,
    usual_noise: float = 0.2,
) -> Mixture:
    """Fit the mixture by EM.

    Parameters
    ----------
    points : (N, d) array
        Principal axes of the features, few enough for N images to say how they vary together.
    labels : (N,) array
        Class numbers, some of them wrong.
    seen : (N,) bool array
        Whose labels are used; the images of the others take part without them.
    shrink : float
        How far the shared covariance is shrunk towards a sphere (Friedman 1989, eq. 18).
    usual_noise : float
        The share of wrong labels that EM starts from, and that the noise matrix leans towards.
    """
    from scipy.special import softmax

    d = points.shape[1]
    given = np.eye(classes)[labels] * seen[:, None]
    usual = np.full((classes, classes), usual_noise / max(classes - 1, 1))
    np.fill_diagonal(usual, 1.0 - usual_noise)
    noise, member = usual, given @ usual.T
    member /= np.maximum(member.sum(axis=1, keepdims=True), 1e-12)
    absent = np.where(given.sum(axis=0) > 0, 0.0, -np.inf)
    for _ in range(ROUNDS):
        size = member.sum(axis=0) + 1e-9
        means = member.T @ points / size[:, None]
        spread = (points * member.sum(axis=1)[:, None]).T @ points - (means.T * size) @ means
        spread /= size.sum()
        spread = (1.0 - shrink) * spread + (shrink * np.trace(spread) / d + 1e-9) * np.eye(d)
        directions = np.linalg.solve(spread, means.T)
        shares = np.log((size + 1.0) / (size.sum() + classes)) + absent
        scores = points @ directions - 0.5 * np.einsum("kd,dk->k", means, directions) + shares
        of_labels = np.where(seen[:, None], np.log(noise[:, labels].T), 0.0)
        before, member = member, softmax(scores + of_labels, axis=1)
        noise = member.T @ given + PRIOR * usual
        noise /= noise.sum(axis=1, keepdims=True)
        if np.abs(member - before).max() < 1e-3:
            break
    return Mixture(softmax(scores, axis=1), member, noise)


def discriminant(
    train: NDArray[np.float64], labels: NDArray[np.integer], test: NDArray[np.float64], shrink: float
) -> NDArray[np.float64]:
    """Linear discriminant analysis with the shared covariance shrunk towards a sphere (Friedman 1989, eq. 18).

    Returns
    -------
    The probabilities, (M, C), of the classes that the labels, (N,), have, for test points (M, d).
    """
    from scipy.special import softmax

    classes, members = np.unique(labels, return_inverse=True)
    counts = np.bincount(members)
    means = np.eye(len(classes))[members].T @ train / counts[:, None]
    within = train - means[members]
    covariance = within.T @ within / len(train)
    sphere = np.trace(covariance) / len(covariance)
    covariance = (1.0 - shrink) * covariance + (shrink * sphere + 1e-9) * np.eye(len(covariance))
    directions = np.linalg.solve(covariance, means.T)
    offsets = np.log(counts / counts.sum()) - 0.5 * np.einsum("kd,dk->k", means, directions)
    return softmax(test @ directions + offsets, axis=1)
