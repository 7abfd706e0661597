"""How many labels are wrong: by class, with an interval, and the share of each class that should be another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000


def error_rate(wrong: NDArray[np.floating], seed: int = 0) -> tuple[float, float, float]:
    """The expected share of wrong labels and its 95% interval, by probabilities (N,) that each is wrong.

    The interval is that of a bootstrap over images in which each drawn label is wrong with its probability; it holds as far as
    these are calibrated.
    """
    if not len(wrong):
        return 0.0, 0.0, 1.0
    rng = np.random.default_rng([seed, 61])
    drawn = [
        float((rng.random(len(wrong)) < wrong[rng.integers(0, len(wrong), len(wrong))]).mean()) for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.mean(wrong)), float(low), float(high)


def joint_by_label(labels: NDArray[np.integer], out_of_sample: NDArray[np.floating]) -> NDArray[np.float64]:
    """(K, K): of the images with label i the estimated share that are j, by confident learning.

    Northcutt, Jiang and Chuang 2021, arXiv 1911.00068, section 3.1; counted by cleanlab's `estimate_joint`.
    """
    from cleanlab.count import estimate_joint

    k = out_of_sample.shape[1]
    shares = np.eye(k)
    present, members = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return shares
    among = out_of_sample[:, present] + 1e-9
    joint = estimate_joint(members, among / among.sum(axis=1, keepdims=True))
    shares[np.ix_(present, present)] = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-12)
    return shares
