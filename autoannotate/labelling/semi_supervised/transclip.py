"""TransCLIP's zero-shot objective: transductive EM with a leash to the probabilities that it starts from.

Zanella, Gérin and Ben Ayed 2024, "Boosting Vision-Language Models with Transduction", arXiv 2406.01837, section 3. A Gaussian
mixture with one component a class and a shared diagonal covariance, a Laplacian that holds near images together, and the KL
divergence to the starting probabilities, minimised by block majorise-minimise steps: the assignments by decoupled
fixed-point steps, then the means and the covariance in closed form. Settings are those of the paper and its published code:
λ = 1, three neighbours, ten outer and five inner steps, eight sure images a class for the first means, unit features as the
encoder gives them, and the likelihood divided by 50.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.features import unit
from autoannotate.labelling.neighbours import Neighbours, nearest

STEPS, INNER = 10, 5
NEIGHBOURS = 3
SURE = 8
DAMPED = 50.0
THINNEST = 1e-8  # no variance is smaller


def transclip(
    features: NDArray[np.floating], start: NDArray[np.float64], neighbours: Neighbours | None = None
) -> NDArray[np.float64]:
    """Class probabilities, (N, K), that follow how the images lie.

    Parameters
    ----------
    features : (N, F) array
        Of any length; rows are made unit rows.
    start : (N, K) array
        Zero-shot probabilities, or labels smoothed; rows sum to one.
    neighbours : Neighbours, optional
        At least `NEIGHBOURS` of each image, where they are known already.
    """
    from scipy.sparse import csr_array
    from scipy.special import softmax

    points = unit(features)
    n, d = points.shape
    near = nearest(points, NEIGHBOURS) if neighbours is None else neighbours
    index, similarity = near.index[:, :NEIGHBOURS], near.similarity[:, :NEIGHBOURS]
    affinity = csr_array(
        (np.maximum(similarity, 0.0).ravel(), (np.repeat(np.arange(n), index.shape[1]), index.ravel())), shape=(n, n)
    )
    pull = (affinity + affinity.T) / (2 * NEIGHBOURS)
    prior = np.log(np.maximum(start, 1e-12))

    z = start
    means = _sure_means(points, z)
    variance = np.full(d, 1.0 / d)
    for step in range(STEPS + 1):
        scaled = points / np.sqrt(variance)
        centres = means / np.sqrt(variance)
        likelihood = scaled @ centres.T - 0.5 * (centres**2).sum(axis=1)  # the rest is the same for all classes
        for _ in range(INNER):
            z = softmax(prior + likelihood / DAMPED + pull @ z, axis=1)
        if step < STEPS:
            means = unit(z.T @ points / np.maximum(z.sum(axis=0), 1e-12)[:, None])
            variance = np.maximum(_variance(points, means, z), THINNEST)
    return z


def _sure_means(points: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit means, (K, d), of the surest images of each class, and of those as sure as the last of them."""
    last = np.sort(z, axis=0)[-min(SURE, len(z))]
    return unit((z * (z >= last)).T @ points)


def _variance(points: NDArray[np.float64], means: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shared diagonal covariance, (d,): the mean of z_ik (x_i − μ_k)² over images and classes."""
    return (points**2).mean(axis=0) + (-2.0 * (z.T @ points) * means + z.sum(axis=0)[:, None] * means**2).sum(
        axis=0
    ) / len(points)
