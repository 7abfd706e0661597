"""A sign test that may be looked at after every answer: are proposed labels right more often than the given ones?

Of a group of N images a simple random sample is drawn without replacement, one image after the other. x is 1 where the
proposed label is right, 0 where the given one is, ½ where neither is. Under the hypothesis "the mean of x over the group is at
most μ", the wealth of a gambler who bets a share b of it on each next x, W ← W (1 + b (x / m − 1)) with m the mean of what is
not drawn yet, were the hypothesis just true, is a nonnegative supermartingale. By Ville's inequality (Ville 1939) it ever
reaches 1/α with probability at most α, however often one looks and whenever one stops. This is the betting test of
Waudby-Smith and Ramdas 2024 ("Estimating means of bounded random variables by betting", JRSS B 86, section 5, sampling without
replacement) with μ = ½, the sign test's, and the mean over bets b of the method of mixtures; it is exact for every N.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05  # one-sided
BETS = np.linspace(0.0, 1.0, 41)[1:-1]  # shares of the wealth, a uniform prior over them


def wealth(sample: NDArray[np.floating], size: int, mean: float = 0.5) -> NDArray[np.float64]:
    """The wealth of a gambler against "the mean over the group is at most `mean`".

    Parameters
    ----------
    sample : (n,) array in [0, 1]
        In the order in which it was drawn.
    size : int
        Of the group, at least n.

    Returns
    -------
    (n,) array
        After each draw; infinite once the hypothesis has become impossible.
    """
    stake, drawn, found = np.ones(len(BETS)), 0.0, np.empty(len(sample))
    for i, x in enumerate(np.asarray(sample, dtype=np.float64)):
        left = (mean * size - drawn) / (size - i)
        if left <= 1e-12:
            stake = np.full(len(BETS), np.inf) if x > 1e-12 or left < -1e-12 else stake
        else:
            stake = stake * (1.0 + BETS * (x / min(left, 1.0) - 1.0))
        drawn += float(x)
        found[i] = np.inf if drawn > mean * size + 1e-9 else stake.mean()
    return found


def crossed(sample: NDArray[np.floating], size: int) -> int | None:
    """After how many draws the mean over the group is known to be above ½, with error at most `ALPHA`; None while it is not."""
    above = np.flatnonzero(wealth(sample, size) >= 1.0 / ALPHA)
    return int(above[0]) + 1 if len(above) else None


def lower_bound(sample: NDArray[np.floating], size: int) -> float:
    """A bound below which the mean over the group does not lie, with error at most `ALPHA`, at all times at once."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        refuted = bool((wealth(sample, size, middle) >= 1.0 / ALPHA).any())
        low, high = (middle, high) if refuted else (low, middle)
    return low
