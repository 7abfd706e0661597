"""How good labels are, and how well doubt finds the wrong ones. Arrays in, numbers out.

Shares are in [0, 1]. A number that the input does not define (the share of wrong labels fixed where none was wrong) is
NaN, never a guess.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 15  # Guo et al. 2017, section 2
BUDGETS = {"1": 0.01, "5": 0.05, "10": 0.10}  # shares of a set that somebody may have time to review
OF_LABELS = ("accuracy", "balanced_accuracy", "macro_f1", "ece", "fixed", "broken")
OF_DOUBT = ("average_precision", "recall_at_errors", *(f"recall_at_{percent}" for percent in BUDGETS))
HIGHER_IS_BETTER = {name: name not in ("ece", "broken") for name in (*OF_LABELS, *OF_DOUBT)}


def of_labels(
    truth: NDArray[np.integer],
    labels: NDArray[np.integer],
    given: NDArray[np.integer] | None = None,
    probabilities: NDArray[np.floating] | None = None,
) -> dict[str, float]:
    """All of `OF_LABELS`.

    Parameters
    ----------
    truth, labels : (N,) int arrays
    given : (N,) int array, optional
        The labels before they were corrected, for `fixed` and `broken`.
    probabilities : (N, K) array, optional
        For `ece`, which is about the labels as they are, be they the argmax or not.

    Raises
    ------
    ValueError
        On lengths that differ or are 0.

    Examples
    --------
    >>> measured = of_labels(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), given=np.array([1, 0, 1, 1]))
    >>> measured["accuracy"], measured["fixed"], round(measured["broken"], 3)
    (0.75, 1.0, 0.333)
    """
    truth, labels = _same_length(truth, labels)
    right = labels == truth
    confidence = None if probabilities is None else np.asarray(probabilities)[np.arange(len(labels)), labels]
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": balanced_accuracy(truth, labels),
        "macro_f1": macro_f1(truth, labels),
        "ece": float("nan") if confidence is None else expected_calibration_error(right, confidence),
        "fixed": float("nan") if given is None else fixed(truth, given, labels),
        "broken": float("nan") if given is None else broken(truth, given, labels),
    }


def of_doubt(wrong: NDArray[np.bool_], doubt: NDArray[np.floating] | None) -> dict[str, float]:
    """All of `OF_DOUBT`: how well doubt ranks the wrong labels first.

    Parameters
    ----------
    wrong : (N,) bool array
    doubt : (N,) array or None
        Higher is more doubtful.

    Returns
    -------
    dict
        NaN throughout without doubts (a method that ranks nothing) and where no label is wrong.

    Examples
    --------
    >>> of_doubt(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))["recall_at_errors"]
    0.5
    """
    wrong = np.asarray(wrong, dtype=bool)
    if doubt is None or not wrong.any():
        return dict.fromkeys(OF_DOUBT, float("nan"))
    budgets = {"errors": int(wrong.sum())} | {name: _budget(share, len(wrong)) for name, share in BUDGETS.items()}
    return {"average_precision": average_precision(wrong, doubt)} | {
        f"recall_at_{name}": recall_at(wrong, doubt, budget) for name, budget in budgets.items()
    }


def balanced_accuracy(truth: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """The mean over the classes of the truth of the share labelled right (recall)."""
    from sklearn.metrics import recall_score

    return float(recall_score(truth, labels, labels=np.unique(truth), average="macro", zero_division=0))


def macro_f1(truth: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """The mean over classes of the harmonic mean of precision and recall; a class in the labels alone counts, as 0."""
    from sklearn.metrics import f1_score

    return float(f1_score(truth, labels, average="macro", zero_division=0))


def expected_calibration_error(right: NDArray[np.bool_], confidence: NDArray[np.floating], bins: int = BINS) -> float:
    """The mean distance between confidence and accuracy over bins of confidence of equal width, weighted by their size.

    Parameters
    ----------
    right : (N,) bool array
    confidence : (N,) array in [0, 1]
        Of the label that `right` is about.
    bins : int
        A bin holds its upper edge, not its lower one.

    References
    ----------
    Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017, arXiv 1706.04599, eq. 3.
    """
    right, confidence = _same_length(right, confidence)
    bin_of = np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, right, bins) - np.bincount(bin_of, confidence, bins)
    return float(np.abs(gap).sum() / len(right))


def fixed(truth: NDArray[np.integer], given: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """The share of the wrong given labels, (N,), that were made right. NaN where none was wrong."""
    return _share(np.asarray(labels) == truth, np.asarray(given) != truth)


def broken(truth: NDArray[np.integer], given: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """The share of the right given labels, (N,), that were made wrong. NaN where none was right."""
    return _share(np.asarray(labels) != truth, np.asarray(given) == truth)


def average_precision(wrong: NDArray[np.bool_], doubt: NDArray[np.floating]) -> float:
    """The area under precision against recall as steps, Σ (R_i − R_{i−1}) P_i over thresholds; NaN where nothing is wrong."""
    from sklearn.metrics import average_precision_score

    wrong, doubt = _same_length(wrong, doubt)
    return float(average_precision_score(wrong, doubt)) if wrong.any() else float("nan")


def recall_at(wrong: NDArray[np.bool_], doubt: NDArray[np.floating], budget: int) -> float:
    """The share of the wrong labels that are among the most doubtful; NaN where nothing is wrong.

    Images of equal doubt are reviewed in a random order, and this is the mean over those orders: who doubts all alike
    finds no more than chance.

    Parameters
    ----------
    wrong : (N,) bool array
    doubt : (N,) array
    budget : int
        How many images are looked at.
    """
    wrong, doubt = _same_length(wrong, doubt)
    if not wrong.any():
        return float("nan")
    if budget >= len(wrong):
        return 1.0
    if budget <= 0:
        return 0.0
    last = np.sort(doubt)[-budget]
    above, tied = doubt > last, doubt == last
    found = wrong[above].sum() + wrong[tied].mean() * (budget - above.sum())
    return float(found / wrong.sum())


def _budget(share: float, n: int) -> int:
    return max(1, round(share * n))


def _share(hit: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(hit[among].mean()) if among.any() else float("nan")


def _same_length(first: NDArray, second: NDArray) -> tuple[NDArray, NDArray]:
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 1 or len(first) == 0:
        raise ValueError(f"one value an image, and at least one image: {first.shape} and {second.shape} don't fit")
    return first, second
