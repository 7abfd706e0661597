"""Whether the images know a covariate: cross-validated prediction, permutation tests, effect sizes, false discovery rates.

Array in, array out. Columns of categories are codes, (N,) int64, -1 where unknown; numbers are (N,) float64, NaN where
unknown. `groups` are (N,) ids: images of one patient share one, and stay on one side of every split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
PERMUTATIONS = 999
STOP_AT = 20  # permutations as good as the data, after which a test ends: Besag and Clifford 1991, h
BOOTSTRAPS = 400
PENALTIES = 10.0 ** np.arange(-3, 4)  # times the mean squared singular value, from which each training fold chooses
Z = 1.959964


@dataclass(frozen=True)
class Predictability:
    """How well a covariate is predicted, out of sample.

    statistic : str
        auroc (mean over categories, each against the rest), or r2 of a number's normal scores, which no outlier or slip of
        units decides.
    value, low, high : float
        The statistic and its 95 % interval (bootstrap over groups).
    p : float
        Of a permutation test; the covariate is permuted between groups.
    predicted : ndarray of shape (N, K) or (N, 1)
        Out-of-fold scores; NaN where the covariate is unknown.
    """

    statistic: str
    value: float
    low: float
    high: float
    p: float
    predicted: NDArray[np.float64]


def auroc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    from scipy.stats import rankdata

    many = int(positive.sum())
    if many in (0, len(positive)):
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - many * (many + 1) / 2) / (many * (len(positive) - many)))


def benjamini_hochberg(p: NDArray[np.floating]) -> NDArray[np.float64]:
    """Benjamini and Hochberg's adjusted p values (q values) of a family of tests; NaN stays NaN and is not counted.

    References
    ----------
    Benjamini and Hochberg 1995, J. R. Stat. Soc. B 57:289, the step-up procedure.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p, dtype=np.float64)
    q = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    raw = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return q


def folds_of(groups: NDArray[np.integer], rng: np.random.Generator, folds: int = FOLDS) -> NDArray[np.int64]:
    """(N,) fold of each image, all of a group in one, folds about equally large."""
    ids, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(ids))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of_group, filled = np.empty(len(ids), dtype=np.int64), np.zeros(min(folds, len(ids)))
    for group in order:
        fold_of_group[group] = filled.argmin()
        filled[filled.argmin()] += sizes[group]
    return fold_of_group[inverse]


class _Ridge:
    """Ridge regression from each training part to its test part, with many targets at once.

    The penalty is chosen in each training part by generalised cross-validation (Golub, Heath and Wahba 1979), through one
    singular value decomposition a fold, so that another target costs two matrix products.
    """

    def __init__(self, points: NDArray[np.floating], fold: NDArray[np.int64]) -> None:
        self._parts = []
        for k in np.unique(fold):
            train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            mean = points[train].mean(axis=0)
            u, s, vt = np.linalg.svd(points[train] - mean, full_matrices=False)
            self._parts.append((train, test, u, s, (points[test] - mean) @ vt.T))

    def predict(self, targets: NDArray[np.float64], width: int) -> NDArray[np.float64]:
        """Out-of-fold predictions of targets (N, T); `width` neighbouring targets share a penalty."""
        out = np.empty_like(targets)
        for train, test, u, s, seen in self._parts:
            mean = targets[train].mean(axis=0)
            centred = targets[train] - mean
            along = u.T @ centred
            total, each = (centred**2).sum(axis=0), along**2
            best_loss = np.full(targets.shape[1] // width, np.inf)
            best = np.zeros(len(best_loss), dtype=int)
            shrinks = []
            for i, penalty in enumerate(PENALTIES * (s**2).mean()):
                shrink = s**2 / (s**2 + penalty)
                left = total - ((1 - (1 - shrink) ** 2) @ each)
                loss = left.reshape(-1, width).sum(axis=1) / max(1 - (shrink.sum() + 1) / len(train), 1e-3) ** 2
                best = np.where(loss < best_loss, i, best)
                best_loss = np.minimum(loss, best_loss)
                shrinks.append(shrink / np.maximum(s, 1e-12))
            scale = np.stack(shrinks)[np.repeat(best, width)].T
            out[test] = mean + seen @ (scale * along)
        return out


def predictability(
    points: NDArray[np.floating],
    values: NDArray,
    groups: NDArray[np.integer],
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> Predictability:
    """Cross-validated association of a representation with one covariate.

    Parameters
    ----------
    points : ndarray of shape (N, D)
        The representation, such as the leading principal components of embeddings.
    values : ndarray of shape (N,)
        Codes of categories (integers, -1 unknown) or numbers (floats, NaN unknown), of two values or more.
    groups : ndarray of shape (N,)
        Images of one group are in one fold; the permutation test permutes groups.
    permutations : int
        At most so many, fewer where the association is plainly none.

    Returns
    -------
    Predictability

    Notes
    -----
    Ridge regression on the number, or on indicators of the categories (a linear discriminant), in `FOLDS` group-wise folds.
    p = (1 + b) / (1 + m), where b of m permutations did as well (Phipson and Smyth 2010); the sampling ends once b is
    `STOP_AT` (Besag and Clifford 1991).
    """
    values = np.asarray(values)
    is_category = np.issubdtype(values.dtype, np.integer)
    known = np.flatnonzero(values >= 0 if is_category else ~np.isnan(values))
    rng = np.random.default_rng([seed, 5])
    ids = np.unique(groups[known], return_inverse=True)[1]
    if is_category:
        levels, codes = np.unique(values[known], return_inverse=True)
        target = np.eye(len(levels))[codes]
    else:
        target = _normal_scores(values[known])[:, None]
    width = target.shape[1]
    ridge = _Ridge(np.asarray(points, dtype=np.float64)[known], folds_of(ids, rng))
    score = _aurocs if is_category else _r2s
    predicted = ridge.predict(target, width)
    value = float(score(predicted, target, width)[0])
    better = done = 0
    while done < permutations and better < STOP_AT:
        many = min(25, permutations - done)
        mixed = [target[_permuted(ids, rng)] for _ in range(many)]
        scores = score(ridge.predict(np.concatenate(mixed, axis=1), width), np.concatenate(mixed, axis=1), width)
        better += int((scores >= value).sum())
        done += many
    low, high = _bootstrap(predicted, target, ids, score, rng)
    everywhere = np.full((len(values), width), np.nan)
    everywhere[known] = predicted
    statistic = "auroc" if is_category else "r2"
    return Predictability(statistic, value, low, high, (1 + better) / (1 + done), everywhere)


def _normal_scores(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks as the quantiles of a normal distribution (van der Waerden 1952)."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return ndtri(rankdata(values) / (len(values) + 1))


def _permuted(groups: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows to take values from: whole groups change places with groups of the same size, or rows where all are alone."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows = np.empty(len(groups), dtype=np.int64)
    for size in np.unique(sizes):
        same = np.flatnonzero(sizes == size)
        source = rng.permutation(same)
        within = np.arange(size)
        rows[order[(starts[same][:, None] + within).ravel()]] = order[(starts[source][:, None] + within).ravel()]
    return rows


def _aurocs(predicted: NDArray[np.float64], target: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean one-against-rest AUROC of each block of `width` targets."""
    from scipy.stats import rankdata

    ranks = rankdata(predicted, axis=0)
    many = target.sum(axis=0)
    others = len(target) - many
    with np.errstate(invalid="ignore", divide="ignore"):
        areas = ((ranks * target).sum(axis=0) - many * (many + 1) / 2) / (many * others)
    return np.nanmean(areas.reshape(-1, width), axis=1)


def _r2s(predicted: NDArray[np.float64], target: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """1 - squared error / variance of each target."""
    spread = ((target - target.mean(axis=0)) ** 2).sum(axis=0)
    return 1.0 - ((target - predicted) ** 2).sum(axis=0) / np.maximum(spread, 1e-300)


def _bootstrap(predicted: NDArray, target: NDArray, groups: NDArray, score: object, rng: np.random.Generator) -> tuple:
    """A 95 % interval over groups drawn with replacement (percentiles)."""
    rows_of = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    found = []
    for _ in range(BOOTSTRAPS):
        rows = np.concatenate([rows_of[g] for g in rng.integers(0, len(rows_of), len(rows_of))])
        found.append(score(predicted[rows], target[rows], target.shape[1])[0])  # type: ignore[operator]
    return tuple(float(x) for x in np.nanpercentile(found, [2.5, 97.5]))


@dataclass(frozen=True)
class Effect:
    """One association: the statistic's name, its value with a 95 % interval, a p value, and how many images it is of."""

    statistic: str
    value: float
    low: float
    high: float
    p: float
    n: int


def compare_shares(inside: NDArray[np.bool_], positive: NDArray[np.bool_]) -> Effect:
    """A category in a cluster against the other images: the difference of shares.

    Newcombe's interval (1998, method 10, from Wilson's) and Fisher's exact test.
    """
    from scipy.stats import fisher_exact

    a, n1 = int((inside & positive).sum()), int(inside.sum())
    b, n2 = int((~inside & positive).sum()), int((~inside).sum())
    if not n1 or not n2:
        return Effect("share_difference", float("nan"), float("nan"), float("nan"), float("nan"), n1 + n2)
    p = float(fisher_exact([[a, n1 - a], [b, n2 - b]])[1])
    (l1, u1), (l2, u2) = _wilson(a, n1), _wilson(b, n2)
    p1, p2 = a / n1, b / n2
    low = p1 - p2 - np.hypot(p1 - l1, u2 - p2)
    high = p1 - p2 + np.hypot(u1 - p1, p2 - l2)
    return Effect("share_difference", p1 - p2, float(low), float(high), p, n1 + n2)


def compare_means(inside: NDArray[np.bool_], values: NDArray[np.floating]) -> Effect:
    """A number in a cluster against the other images: Hedges' g with its normal interval, and the Mann-Whitney U test."""
    from scipy.stats import mannwhitneyu

    known = ~np.isnan(values)
    first, second = values[inside & known], values[~inside & known]
    n1, n2 = len(first), len(second)
    nothing = Effect("hedges_g", float("nan"), float("nan"), float("nan"), float("nan"), n1 + n2)
    if n1 < 2 or n2 < 2:
        return nothing
    pooled = np.sqrt(((n1 - 1) * first.var(ddof=1) + (n2 - 1) * second.var(ddof=1)) / (n1 + n2 - 2))
    if pooled == 0:
        return nothing
    g = float((first.mean() - second.mean()) / pooled * (1 - 3 / (4 * (n1 + n2) - 9)))
    error = float(np.sqrt((n1 + n2) / (n1 * n2) + g**2 / (2 * (n1 + n2))))
    return Effect("hedges_g", g, g - Z * error, g + Z * error, float(mannwhitneyu(first, second).pvalue), n1 + n2)


def along_direction(scores: NDArray[np.floating], values: NDArray) -> Effect:
    """A covariate along a direction of the representation: Spearman's rho of a number, eta of a category.

    Rho has Fisher's interval (with Bonett and Wright's 2000 standard error). Eta is the square root of the share of the
    variance of the ranks that lies between categories, with a percentile bootstrap, and the Kruskal-Wallis test.
    """
    from scipy.stats import kruskal, rankdata, spearmanr

    if np.issubdtype(values.dtype, np.integer):
        known = values >= 0
        ranks, codes = rankdata(scores[known]), np.unique(values[known], return_inverse=True)[1]
        if codes.max(initial=0) < 1:
            return Effect("eta", float("nan"), float("nan"), float("nan"), float("nan"), int(known.sum()))
        rng = np.random.default_rng(0)
        draws = [rng.integers(0, len(ranks), len(ranks)) for _ in range(200)]
        low, high = np.percentile([_eta(ranks[rows], codes[rows]) for rows in draws], [2.5, 97.5])
        p = float(kruskal(*(ranks[codes == k] for k in range(codes.max() + 1))).pvalue)
        return Effect("eta", _eta(ranks, codes), float(low), float(high), p, len(ranks))
    known = ~np.isnan(values)
    n = int(known.sum())
    if n < 5:
        return Effect("rho", float("nan"), float("nan"), float("nan"), float("nan"), n)
    found = spearmanr(scores[known], values[known])
    rho = float(found.statistic)
    error = np.sqrt((1 + rho**2 / 2) / (n - 3))
    centre = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    low, high = np.tanh(centre - Z * error), np.tanh(centre + Z * error)
    return Effect("rho", rho, float(low), float(high), float(found.pvalue), n)


def _eta(ranks: NDArray[np.float64], codes: NDArray[np.integer]) -> float:
    counts = np.bincount(codes)
    sums = np.bincount(codes, weights=ranks)
    between = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum() - ranks.sum() ** 2 / len(ranks))
    total = float(((ranks - ranks.mean()) ** 2).sum())
    return float(np.sqrt(max(between, 0.0) / total)) if total else 0.0


def _wilson(successes: int, n: int) -> tuple[float, float]:
    centre = (successes + Z**2 / 2) / (n + Z**2)
    half = Z / (n + Z**2) * np.sqrt(successes * (n - successes) / n + Z**2 / 4)
    return float(centre - half), float(centre + half)
