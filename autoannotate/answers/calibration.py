"""Is a label that is 90 % sure right nine times in ten? A reliability diagram that admits how little a few answers show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_BINS = 5
FEWEST = 12  # answers a bin


def reliability_diagram(confidences: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    """Counts of right labels by how sure they were.

    Bins hold equal numbers (Nixon et al. 2019, arXiv 1904.01685), and with few answers there are few. Each has its ends, the
    count, the mean confidence, the share that was right and its exact 95 % interval (Clopper and Pearson 1934).
    `expected_error`: Σ n_b |right_b − sure_b| / A (ECE, Guo et al. 2017, eq. 3), which few answers make look worse than it is;
    None without answers.

    Parameters
    ----------
    confidences : (A,) in [0, 1]
    right : (A,) bool

    Examples
    --------
    >>> found = reliability_diagram([0.9] * 12 + [0.5] * 12, [True] * 12 + [False] * 12)
    >>> [(one["n"], one["confidence"], one["right"]) for one in found["bins"]]
    [(12, 0.5, 0.0), (12, 0.9, 1.0)]
    """
    sure, truth = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=bool)
    bins = []
    order = np.argsort(sure, kind="stable")
    for inside in np.array_split(order, min(MOST_BINS, max(1, len(sure) // FEWEST))) if len(sure) else ():
        n, hits = len(inside), int(truth[inside].sum())
        low, high = interval(hits, n)
        bins.append(
            {
                "from": round(float(sure[inside].min()), 6),
                "to": round(float(sure[inside].max()), 6),
                "n": n,
                "confidence": round(float(sure[inside].mean()), 6),
                "right": round(hits / n, 6),
                "low": round(low, 6),
                "high": round(high, 6),
            }
        )
    error = sum(one["n"] * abs(one["right"] - one["confidence"]) for one in bins) / max(len(sure), 1)
    return {
        "answers": len(sure),
        "right": int(truth.sum()),
        "confidence": round(float(sure.mean()), 6) if len(sure) else None,
        "expected_error": round(error, 6) if len(sure) else None,
        "bins": bins,
    }


def interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934).

    >>> [round(end, 3) for end in interval(9, 10)]
    [0.555, 0.997]
    """
    from scipy.stats import beta

    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1.0 - tail, hits + 1, n - hits))
    return low, high
