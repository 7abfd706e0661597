"""What a model could learn instead of the finding, and where labels are worst: shortcuts and underperforming slices.

Array in, array out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.explore.associations import (
    BOOTSTRAPS,
    Effect,
    auroc,
    benjamini_hochberg,
    compare_shares,
    folds_of,
    predictability,
)  # fmt: skip

ACQUISITION = re.compile(
    r"site|hospital|centre|center|scanner|manufacturer|vendor|device|model|machine|station|view|position|projection|plane"
    r"|lateral|side|eye|portable|icu|protocol|sequence|coil|field|kvp|exposure|source|dataset|set|date|year|batch|stain|slide",
    re.I,
)
"""Columns about how an image was made, by their names: what predicts a label through them is a shortcut."""
AS_WELL = 0.02  # of AUROC, by which the images may be better and a column still predicts as well
WORTH = 0.55  # AUROC that the interval of a column must lie above
BINS = 8
MOST = 4000  # images that a slice or shortcut is measured on
FEWEST = 5  # images of a class or level, below which nothing is said of it


@dataclass(frozen=True)
class Shortcut:
    """How well one column predicts one class, beside how well the images do, all out of sample.

    column_auroc, images_auroc : float
    low, high : float
        The 95 % interval of column_auroc (bootstrap over groups).
    difference_low, difference_high : float
        The 95 % interval of images_auroc - column_auroc, by the same draws.
    within_auroc, drop_low, drop_high : float
        AUROC of the images among pairs of the same level of the column, and the 95 % interval of images_auroc - within_auroc:
        what the images owe to the column.
    risk : str
        shortcut: the column says how the image was made, and predicts the class as well as the images do. confounder: as
        well, and it says something else. partial shortcut, partial confounder: it predicts the class, not as well as the
        images, but they are worse where it cannot help. "" where none of these.
    """

    column: str
    level: str
    column_auroc: float
    low: float
    high: float
    images_auroc: float
    difference_low: float
    difference_high: float
    within_auroc: float
    drop_low: float
    drop_high: float
    n: int
    risk: str


def in_words(found: Shortcut) -> str:
    """A sentence."""
    alone = f"{found.column} alone predicts {found.level} with AUROC {found.column_auroc:.2f}"
    if found.risk.startswith("partial"):
        return (
            f"{found.risk.capitalize()}: {alone}; the images with {found.images_auroc:.2f}, but with {found.within_auroc:.2f} "
            f"where {found.column} is the same."
        )
    return f"{found.risk.capitalize()}: {alone}, the images with {found.images_auroc:.2f}."


def shortcuts(
    points: NDArray[np.floating],
    labels: NDArray[np.integer],
    classes: Sequence[str],
    column: str,
    values: NDArray,
    groups: NDArray[np.integer],
    *,
    acquisition: bool | None = None,
    seed: int = 0,
) -> list[Shortcut]:
    """For each class: is it predicted by a covariate as well as by the images?

    Parameters
    ----------
    points : ndarray of shape (N, D)
    labels : ndarray of shape (N,)
        Class numbers, -1 where unknown.
    column, values
        The covariate's name, and its codes (-1 unknown) or numbers (NaN unknown).
    groups : ndarray of shape (N,)
    acquisition : bool, optional
        Whether the column says how an image was made; else by its name, see `ACQUISITION`.

    Notes
    -----
    The covariate predicts by the share of the class among training images of the same level (numbers in eighths), smoothed
    by Laplace's rule; images by ridge regression. Both in the same kind of group-wise folds (DeGrave, Janizek and Lee 2021).
    What the images owe to the column is seen within its levels, where it is the same for all (stratified AUROC, as Zech et
    al. 2018 judged within hospitals).
    """
    acquisition = bool(ACQUISITION.search(column)) if acquisition is None else acquisition
    is_category = np.issubdtype(values.dtype, np.integer)
    known = np.flatnonzero((labels >= 0) & (values >= 0 if is_category else ~np.isnan(values)))
    rng = np.random.default_rng([seed, 9])
    if len(known) > MOST:
        known = np.sort(rng.choice(known, MOST, replace=False))
    if len(known) < 4 * FEWEST:
        return []
    ids = np.unique(groups[known], return_inverse=True)[1]
    if is_category:
        codes = np.unique(values[known], return_inverse=True)[1]
    else:
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, BINS + 1)[1:-1]))
        codes = np.searchsorted(edges, values[known], side="right")
    fold = folds_of(ids, rng)
    rows_of = np.split(np.argsort(ids, kind="stable"), np.cumsum(np.bincount(ids))[:-1])
    draws = [
        np.concatenate([rows_of[g] for g in rng.integers(0, len(rows_of), len(rows_of))]) for _ in range(BOOTSTRAPS)
    ]
    found = []
    counts = np.bincount(labels[known], minlength=len(classes))
    of_two = 0 if counts[0] < counts[-1] / 2 else 1  # of two classes one says it all: the finding is the rare one
    for k, name in enumerate(classes):
        positive = labels[known] == k
        if min(positive.sum(), (~positive).sum()) < FEWEST or (len(classes) == 2 and k != of_two):
            continue
        by_column = _shares(codes, positive, fold)
        by_images = predictability(points[known], positive.astype(np.int64), ids, seed=seed, permutations=0).predicted[
            :, 1
        ]
        boots = np.array(
            [
                (
                    auroc(by_column[d], positive[d]),
                    auroc(by_images[d], positive[d]),
                    within(by_images[d], positive[d], codes[d]),
                )
                for d in draws
            ]
        )
        low, high = np.nanpercentile(boots[:, 0], [2.5, 97.5])
        less, more = np.nanpercentile(boots[:, 1] - boots[:, 0], [2.5, 97.5])
        drops = boots[:, 1] - boots[:, 2]
        drop = np.nanpercentile(drops, [2.5, 97.5]) if np.isfinite(drops).any() else (float("nan"), float("nan"))
        column_auroc, images_auroc = auroc(by_column, positive), auroc(by_images, positive)
        risk = ""
        if low > WORTH:
            kind = "shortcut" if acquisition else "confounder"
            as_well = column_auroc > images_auroc - AS_WELL
            risk = kind if as_well else f"partial {kind}" if drop[0] > 0 else ""
        found.append(
            Shortcut(
                column=column,
                level=name,
                column_auroc=column_auroc,
                low=float(low),
                high=float(high),
                images_auroc=images_auroc,
                difference_low=float(less),
                difference_high=float(more),
                within_auroc=within(by_images, positive, codes),
                drop_low=float(drop[0]),
                drop_high=float(drop[1]),
                n=len(known),
                risk=risk,
            )
        )
    return found


def within(scores: NDArray[np.floating], positive: NDArray[np.bool_], codes: NDArray[np.integer]) -> float:
    """AUROC among pairs of the same level: the mean of the levels' AUROCs, weighted by their pairs; NaN without a pair.

    >>> within(np.array([0.1, 0.9, 0.8, 0.2]), np.array([False, True, True, False]), np.array([0, 0, 1, 1]))
    1.0
    """
    pairs = total = 0.0
    for code in np.unique(codes):
        here = codes == code
        many = int(positive[here].sum()) * int((~positive[here]).sum())
        if many:
            pairs += many
            total += many * auroc(scores[here], positive[here])
    return total / pairs if pairs else float("nan")


def _shares(codes: NDArray[np.integer], positive: NDArray[np.bool_], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) share of positives among the training images of each image's level."""
    out = np.empty(len(codes))
    many = int(codes.max()) + 1
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        prior = positive[train].mean()
        total = np.bincount(codes[train], minlength=many)
        right = np.bincount(codes[train], weights=positive[train], minlength=many)
        out[test] = ((right + 2 * prior) / (total + 2))[codes[test]] - prior  # comparable over folds
    return out


@dataclass(frozen=True)
class Slice:
    """Images of one level of a column, or of one cluster, and how often labels are wrong there against elsewhere."""

    column: str
    level: str
    n: int
    wrong: float
    wrong_elsewhere: float
    effect: Effect
    q: float


def slices(wrong: NDArray[np.bool_], columns: Sequence[tuple[str, NDArray[np.integer], Sequence[str]]]) -> list[Slice]:
    """Where labels are most often wrong, the worst first.

    Parameters
    ----------
    wrong : ndarray of shape (N,)
        Whether the label of an image is suspect, or was corrected.
    columns : sequence of (name, codes, levels)
        Codes (N,), -1 unknown; numbers cut into bins beforehand.

    Returns
    -------
    list of Slice
        Levels with more wrong labels than elsewhere, q by Benjamini and Hochberg over all levels of all columns.
    """
    found: list[tuple[str, str, int, float, float, Effect]] = []
    for name, codes, levels in columns:
        known = codes >= 0
        for code, level in enumerate(levels):
            inside = codes == code
            if inside.sum() < FEWEST or (known & ~inside).sum() < FEWEST:
                continue
            effect = compare_shares(inside[known], wrong[known])
            rest = known & ~inside
            found.append(
                (name, level, int(inside.sum()), float(wrong[inside].mean()), float(wrong[rest].mean()), effect)
            )
    if not found:
        return []
    q = benjamini_hochberg(np.array([row[-1].p for row in found]))
    made = [Slice(*row, q=float(one)) for row, one in zip(found, q, strict=True)]
    return sorted((one for one in made if one.effect.value > 0), key=lambda one: (one.q, -one.effect.value))
