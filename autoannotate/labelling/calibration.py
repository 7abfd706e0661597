"""Probabilities that are as sure as they are right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sharpness(probabilities: NDArray[np.float64], accuracy: float) -> float:
    """The power of probabilities at which they are as sure as they are right.

    Parameters
    ----------
    probabilities : (N, K) array
        Rows sum to one.
    accuracy : float
        The mean certainty that is wanted: how often the most probable class is right.

    Returns
    -------
    float
        The exponent, from e⁻³ to e³.
    """
    from scipy.special import softmax

    logs = np.log(np.clip(probabilities, 1e-6, 1.0))
    low, high = -3.0, 3.0
    for _ in range(30):
        middle = (low + high) / 2
        if softmax(np.exp(middle) * logs, axis=1).max(axis=1).mean() < accuracy:
            low = middle
        else:
            high = middle
    return float(np.exp(low))


def with_confidence(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], confidence: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Probabilities in which the confidence of each label is its probability, and the others share the rest as before.

    Parameters
    ----------
    probabilities : (N, K) array
    labels : (N,) int array
    confidence : (N,) array in [0, 1]

    Returns
    -------
    (N, K) array
        Rows sum to one. Where the others had nothing to share by, they share alike.
    """
    made = np.array(probabilities, dtype=np.float64)
    rows = np.arange(len(labels))
    made[rows, labels] = 0.0
    rest = made.sum(axis=1, keepdims=True)
    made = np.where(rest > 0, made / np.maximum(rest, 1e-300), 1.0 / max(made.shape[1] - 1, 1))
    made *= (1.0 - confidence)[:, None]
    made[rows, labels] = confidence
    return made
