"""Out-of-sample class probabilities: what the other images, and their labels, say about each image.

No view of the data wins everywhere (regularised probes where classes overlap, the graph where they are clusters), so
four views that never see the label they judge are calibrated and averaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.neighbours import Neighbours, conductance, principal_axes, propagate, separation
from autoannotate.progress import Track, silent

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FOLDS = 5
DIMENSIONS = 256
STRENGTHS = (
    1e-3,
    1e-2,
)  # inverse regularisation of the logistic probes: much noise wants the first, many classes the second
CLUSTERED = (0.5, 0.8)  # between these separations of the graph its vote grows from one view among four to all of it


@dataclass(frozen=True)
class OutOfSample:
    """probabilities: (N, K), rows sum to one. clustered: the classes are clusters, and so they are mostly the graph's."""

    probabilities: NDArray[np.float64]
    clustered: bool


def out_of_sample(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    fallback: NDArray[np.floating],
    neighbours: Neighbours,
    graph: csr_array,
    *,
    seed: int = 0,
    track: Track = silent,
) -> OutOfSample:
    """Class probabilities of each image from models that saw the other images' labels only.

    features: (N, F). labels: (N,) in 0 … K-1, where classes may be missing or have one member. fallback: (N, K)
    probabilities for classes that a fold knows no image of. neighbours, graph: of the same images.
    """
    n, k = np.shape(fallback)
    points = standardised(features)
    votes = {name: np.zeros((n, k)) for name in (*map(str, STRENGTHS), "discriminant", "graph")}
    seen = np.zeros((n, k), dtype=bool)
    for fold in track(list(folds(labels, seed)), "cross-validating", None):
        rest = np.setdiff1d(np.arange(n), fold)
        present = np.unique(labels[rest])
        seen[np.ix_(fold, present)] = True
        columns = np.ix_(fold, present)
        if len(present) < 2:
            for view in votes.values():
                view[columns] = 1.0
            continue
        for strength in STRENGTHS:
            votes[str(strength)][columns] = _logistic(points[rest], labels[rest], points[fold], strength)
        votes["discriminant"][columns] = _discriminant(points[rest], labels[rest], points[fold])
        seeds = np.zeros((n, k))
        seeds[rest, labels[rest]] = 1.0
        votes["graph"][columns] = propagate(graph, seeds)[columns]
    votes["nearest"] = _nearest(neighbours, labels, k) * seen

    alone = _how_clustered(graph, labels, votes["graph"].argmax(axis=1), k)
    calibrated = {name: _calibrated(view, labels, seen) for name, view in votes.items()}
    together = np.mean(list(calibrated.values()), axis=0)
    mixed = (1.0 - alone) * together + alone * calibrated["graph"]
    unseen = np.where(seen, 0.0, fallback)  # a class with no other member: zero-shot is all there is to ask
    mixed = mixed * (1.0 - unseen.sum(axis=1, keepdims=True)) + unseen
    return OutOfSample(mixed / mixed.sum(axis=1, keepdims=True), clustered=alone >= 0.5)


def _how_clustered(graph: csr_array, labels: NDArray[np.integer], spread: NDArray[np.integer], k: int) -> float:
    """How far to follow the graph alone, 0 to 1: its labels cut it much more cleanly than the given ones, and it disagrees
    with those more often than images lie on the borders of its clusters, where it may itself be wrong."""
    if len(np.unique(labels)) < 2:
        return 0.0
    border = conductance(graph, spread, k).mean()
    if (spread != labels).mean() <= 2.0 * border:
        return 0.0
    low, high = CLUSTERED
    return float(np.clip((separation(graph, labels, spread, k) - low) / (high - low), 0.0, 1.0))


def folds(labels: NDArray[np.integer], seed: int) -> Iterator[NDArray[np.int64]]:
    """Held-out rows, fold by fold, every class dealt out as evenly as its size allows; no fold is empty."""
    rng = np.random.default_rng([seed, 5])  # not the plain seed: who injects noise with it would put it all in one fold
    shuffled = rng.permutation(len(labels))
    dealt = shuffled[np.argsort(labels[shuffled], kind="stable")]
    for fold in range(min(FOLDS, len(labels))):
        yield np.sort(dealt[fold::FOLDS])


def standardised(features: NDArray[np.floating], dimensions: int = DIMENSIONS) -> NDArray[np.float64]:
    """Features (N, F) with every column standardised, on their first principal axes, of unit mean square: (N, d)."""
    points = np.asarray(features, dtype=np.float64)
    points = points - points.mean(axis=0)
    points = points / np.maximum(points.std(axis=0), 1e-6 + 1e-3 * points.std())
    points = points @ principal_axes(points, dimensions)
    return points / max(float(np.sqrt(np.mean(points**2))), 1e-12)


def sharpened(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of the *true* class, (N, K), from those of the given one, and the noise, T[true, given] (K, K).

    Model: P(given | x) = Σ_t T[t, given] softmax(γ log p(x))_t, the forward correction of Patrini et al. 2017 (arXiv
    1609.03683, eq. 6); T by EM under a Dirichlet prior, γ from a short list, both by likelihood of the given labels.
    """
    from scipy.special import softmax

    k = probabilities.shape[1]
    given = np.eye(k)[labels]
    logs = np.log(np.clip(probabilities, 1e-4, 1.0))
    best = (-np.inf, np.asarray(probabilities, dtype=np.float64), np.eye(k))
    for gamma in (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0):
        clean = softmax(gamma * logs, axis=1)
        noise = np.full((k, k), 0.1 / max(k - 1, 1)) + (0.9 - 0.1 / max(k - 1, 1)) * np.eye(k)
        for _ in range(30):
            posterior = clean * noise[:, labels].T
            posterior /= posterior.sum(axis=1, keepdims=True)
            noise = posterior.T @ given + 0.5 / k + 2.0 * np.eye(k)
            noise /= noise.sum(axis=1, keepdims=True)
        likelihood = float(np.log((clean * noise[:, labels].T).sum(axis=1)).sum())
        if likelihood > best[0] + 1e-6:
            best = (likelihood, clean, noise)
    return best[1], best[2]


def _logistic(
    train: NDArray[np.float64], labels: NDArray[np.integer], test: NDArray[np.float64], strength: float
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(train, labels).predict_proba(test)


def _discriminant(
    train: NDArray[np.float64], labels: NDArray[np.integer], test: NDArray[np.float64], shrink: float = 0.5
) -> NDArray[np.float64]:
    """Linear discriminant analysis with the shared covariance shrunk half-way to a sphere (Friedman 1989, eq. 18)."""
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


def _nearest(neighbours: Neighbours, labels: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """The vote of the nearest others, with half a vote a class (the Jeffreys prior)."""
    votes = np.eye(k)[labels][neighbours.index].sum(axis=1) + 0.5
    return votes / votes.sum(axis=1, keepdims=True)


def _calibrated(view: NDArray[np.float64], labels: NDArray[np.integer], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Temperature scaling (Guo et al. 2017, arXiv 1706.04599, eq. 9) on the given labels, within the classes seen."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logs = np.where(seen, np.log(np.clip(view, 1e-4, None)), -np.inf)
    rows = np.flatnonzero(seen[np.arange(len(labels)), labels] & (seen.sum(axis=1) > 1))
    if len(rows) == 0:
        return np.exp(log_softmax(logs, axis=1))

    def loss(sharpness: float) -> float:
        return -float(log_softmax(sharpness * logs[rows], axis=1)[np.arange(len(rows)), labels[rows]].mean())

    sharpness = minimize_scalar(loss, bounds=(0.05, 20.0), method="bounded").x
    return np.exp(log_softmax(sharpness * logs, axis=1))
