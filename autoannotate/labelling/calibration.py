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
