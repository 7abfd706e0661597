"""What repeated runs say: means with their intervals, and paired differences between methods.

Runs are paired: run r of every method saw the same images, noise and seed, so methods are compared by their difference in
each run (Demšar 2006, JMLR 7:1, section 3.1, argues for the signed-rank test here rather than the t-test).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 9999
FEW = (
    6  # the fewest runs with which a two-sided signed-rank test can reach 0.05: with n runs its least value is 2 / 2**n
)
SALT = 83  # keeps these draws apart from those of splits and noise


@dataclass(frozen=True)
class Summary:
    """The mean of n runs, their least and greatest, and the 95 % bootstrap interval of the mean (None with one run)."""

    n: int
    mean: float
    min: float
    max: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Paired:
    """One method less another over n common runs.

    Attributes
    ----------
    n : int
    difference : float
        The mean.
    ci95 : (float, float) or None
        Its 95 % bootstrap interval.
    wins, ties, losses : int
        Runs in which the first was better, equal, worse.
    p : float or None
        Of the two-sided Wilcoxon signed-rank test, None with no run.
    note : str
        What so few runs cannot show, or "".
    """

    n: int
    difference: float
    ci95: tuple[float, float] | None
    wins: int
    ties: int
    losses: int
    p: float | None
    note: str


def summarise(values: NDArray[np.floating], seed: int = 0) -> Summary | None:
    """The summary of one number from each of n runs, (n,). NaN (a failed run, no such metric) is left out; None if all are."""
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return None
    return Summary(
        len(values), float(values.mean()), float(values.min()), float(values.max()), bootstrap_interval(values, seed)
    )


def paired(
    first: NDArray[np.floating], second: NDArray[np.floating], seed: int = 0, less_is_better: bool = False
) -> Paired | None:
    """Compare two methods by their numbers in the same runs, run by run.

    Parameters
    ----------
    first, second : (n,) arrays
        Runs where either is NaN are left out.
    seed : of the bootstrap
    less_is_better : bool
        Whether the lower of two numbers wins.

    Returns
    -------
    Paired or None
        None where no run is left.

    Raises
    ------
    ValueError
        On lengths that differ.

    Examples
    --------
    >>> compared = paired(np.array([0.9, 0.8, 0.95]), np.array([0.7, 0.8, 0.9]))
    >>> round(compared.difference, 4), compared.wins, compared.ties, compared.note[:6]
    (0.0833, 2, 1, '3 runs')
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"paired runs come in equal numbers: {first.shape} and {second.shape} don't")
    difference = first - second
    difference = np.round(difference[~np.isnan(difference)], 12)  # 0.9 - 0.8 and 0.8 - 0.7 are tied ranks
    n = len(difference)
    if n == 0:
        return None
    better = -difference if less_is_better else difference
    return Paired(
        n=n,
        difference=float(difference.mean()),
        ci95=bootstrap_interval(difference, seed),
        wins=int((better > 0).sum()),
        ties=int((difference == 0).sum()),
        losses=int((better < 0).sum()),
        p=signed_rank(difference),
        note=_too_few(n),
    )


def bootstrap_interval(values: NDArray[np.floating], seed: int = 0, level: float = 0.95) -> tuple[float, float] | None:
    """The percentile bootstrap interval of a mean, by `scipy.stats.bootstrap`; None for fewer than two values.

    With a handful of runs it is too narrow: see `Paired.note`.

    Parameters
    ----------
    values : (n,) array
    seed : of the resampling
    level : float
        The confidence.

    References
    ----------
    Efron and Tibshirani 1993, chapter 13.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return None
    low, high = bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=np.random.default_rng([seed, SALT]),
    ).confidence_interval
    return float(low), float(high)


def signed_rank(difference: NDArray[np.floating]) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test (1945) of differences (n,), those of 0 left out; 1 if all are 0."""
    from scipy.stats import wilcoxon

    moved = np.asarray(difference, dtype=np.float64)
    moved = moved[moved != 0]
    if len(moved) == 0:
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "sample size too small" is what `Paired.note` says in words
        return float(wilcoxon(moved).pvalue)


def _too_few(n: int) -> str:
    if n == 1:
        return "1 run: no interval and no test; use --runs 30."
    if n < FEW:
        return f"{n} runs: the interval is too narrow and the test cannot reach p < 0.05; use --runs 30."
    return ""
