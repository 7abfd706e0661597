"""Labels made wrong, for tests that know the truth."""

from __future__ import annotations

import numpy as np


def thrown(truth: np.ndarray, share: float, k: int, seed: int = 1) -> np.ndarray:
    """Labels in 0 … k-1, (N,), of which this share is another class, whatever the image."""
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(truth))[: round(share * len(truth))]
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, k, len(wrong))) % k
    return labels
