"""Pseudo-labels: zero-shot probabilities refined by the structure of the unlabelled images, and never harmed by it.

Label propagation over the images' k-NN graph with zero-shot scores as seeds (ZLaP, Stojnić et al. 2024, arXiv
2404.04072, eq. 3; Zhou et al. 2004) moves labels to the borders between clusters. Where classes are clusters that
repairs nearly everything; where they are not it ruins labels, so a class is only touched when the refined labels make
it an island of the graph that the zero-shot labels agree with. Errors that stick together look like classes of their own, and
are put right only where the images fall into as many islands as there are classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.features import Features
from autoannotate.labelling.neighbours import conductance, propagate
from autoannotate.labelling.spectral_clustering import SHORE, cut_and_name, falls_into_more

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ISLAND = 0.1  # a class is a cluster when at most this share of its edges leaves it …
CLEANER = 0.4  # … and at most this share of the edges that left the zero-shot class
TOLD = 0.8  # … and zero-shot ranks its images above the others in at least this share of pairs …
STUBBORN = (
    0.25  # … and the images to be relabelled stick together hardly more than chance: errors scatter, classes don't
)
KEPT = 0.75  # a class that is no cluster gives images away only where this share of it stays
FIVE_SIGMA = 5.0  # beyond chance, from which guesses name the images' own clusters
MODERATE = 0.4  # islands overrule zero-shot that agrees with them so well (Cohen's kappa; Landis and Koch 1977) …
SURE = 0.75  # … and gives the labels that then change less than this on average
CERTAIN = 0.95  # times trust: an image that zero-shot is so sure of keeps its label, whatever the others look like
FEWEST = 20  # fewer images have no structure to speak of


def refine(
    features: Features | NDArray[np.floating],
    probabilities: NDArray[np.floating],
    *,
    trust: float = 1.0,
    prior: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Refine zero-shot probabilities by the structure of the images.

    Parameters
    ----------
    features : Features or (N, F) array
    probabilities : (N, K) array
        Zero-shot.
    trust : float
        How much zero-shot is worth, up to 1; 0 where it is close to guesses, which only name clusters that they surely agree
        with, and stay as they are where there are none.
    prior : (K,) array, optional
        Known shares of the classes; without it they follow the clusters, balanced or not.

    Returns
    -------
    (N, K) array
        Rows sum to one.

    Raises
    ------
    ValueError
        On shapes that don't fit, and on trust outside [0, 1].
    """
    features = Features.of(features)
    given = _checked(features, probabilities, trust)
    if len(given) == 0:
        return given
    start = given if prior is None else match_prior(given, np.asarray(prior, dtype=np.float64))
    if trust == 0.0:
        return _name_clusters(features.graph, start)
    if len(given) < FEWEST:
        return unrefined(given, trust, prior)
    graph = features.graph
    followed = _follow_clusters(graph, start)
    odd = certain(start, trust) & (followed.argmax(axis=1) != start.argmax(axis=1))
    followed = np.where(odd[:, None], start, followed)
    return _on_islands(graph, (1.0 - trust) * given + trust * followed)


def certain(probabilities: NDArray[np.floating], trust: float) -> NDArray[np.bool_]:
    """Images, (N,), of whose label zero-shot, (N, K), is surer than any other image could make it."""
    return np.asarray(trust * np.max(probabilities, axis=1, initial=0.0) >= CERTAIN)


def unrefined(
    probabilities: NDArray[np.floating], trust: float, prior: NDArray[np.floating] | None
) -> NDArray[np.float64]:
    """What `refine` gives, (N, K), where the images have no structure that it follows."""
    given = np.asarray(probabilities, dtype=np.float64)
    if prior is None:
        return given
    start = match_prior(given, np.asarray(prior, dtype=np.float64))
    return start if trust == 0.0 else (1.0 - trust) * given + trust * start


def match_prior(probabilities: NDArray[np.floating], prior: NDArray[np.floating]) -> NDArray[np.float64]:
    """Shift each class by a constant so that the shares of the *predicted* classes meet the prior.

    A zero-shot threshold in the wrong place looks like a wrong class; this moves the threshold and keeps the ranking.

    Parameters
    ----------
    probabilities : (N, K) array
    prior : (K,) array
        Shares; they need not sum to one.

    Returns
    -------
    (N, K) array
        Rows sum to one.

    References
    ----------
    Iterative proportional fitting (Sinkhorn) on sharpened probabilities: the balancing of SeLa (Asano et al. 2020, arXiv
    1911.05371, eq. 5) with shares that need not be equal.
    """
    from scipy.special import softmax

    prior = np.maximum(prior, 1e-9) / np.maximum(prior, 1e-9).sum()
    logits = np.log(np.maximum(probabilities, 1e-12))
    offset = np.zeros(len(prior))
    spread = max(float(np.std(logits - logits.mean(axis=1, keepdims=True))), 1e-9)
    for sharpness in (1.0, 4.0, 16.0, 64.0):
        for _ in range(50):
            shares = softmax((logits + offset) * sharpness / spread, axis=1).mean(axis=0)
            offset += (np.log(prior) - np.log(np.maximum(shares, 1e-12))) * spread / sharpness
    return softmax(logits + offset, axis=1)


def _checked(features: Features, probabilities: NDArray[np.floating], trust: float) -> NDArray[np.float64]:
    given = np.array(probabilities, dtype=np.float64)
    if given.ndim != 2 or len(given) != len(features):
        raise ValueError(f"{len(features)} rows of features do not fit probabilities of shape {given.shape}")
    if not 0.0 <= trust <= 1.0:
        raise ValueError(f"trust is between 0 and 1, not {trust}")
    return given


def _follow_clusters(graph: csr_array, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """`start` with the images of classes that turn out to be islands of the graph labelled by their island."""
    k = start.shape[1]
    before = start.argmax(axis=1)
    after = _cut_where_thin(graph, propagate(graph, start))
    shares = np.bincount(after, minlength=k) / len(after)
    fair = match_prior(start, shares).argmax(axis=1)  # zero-shot with its thresholds where the clusters put them

    was, now = conductance(graph, before, k), conductance(graph, after, k)
    agree = np.array([(fair[after == c] == c).mean() if (after == c).any() else 0.0 for c in range(k)])
    stubborn = _stubborn(graph, fair, after, k)
    told = np.array([_told_apart(start, after == c, c) for c in range(k)])
    island = (now <= ISLAND) & (now <= CLEANER * was) & (told >= TOLD) & (stubborn <= STUBBORN + 1.0 - agree)
    if k == 2:
        island[:] = island.all()  # the two classes share one border
    kept = np.array([(after[before == c] == c).mean() if (before == c).any() else 1.0 for c in range(k)])
    follow = island[after] & (island | (kept >= KEPT))[before]

    final = np.where(follow, after, before)
    if conductance(graph, final, k).mean() > was.mean():
        return start
    spread = propagate(graph, np.eye(k)[after])
    return np.where(follow[:, None], spread, start)


def _on_islands(graph: csr_array, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """`start`, but where the images are one island a class, an image that has another label than its island gets the island's,
    with half of its probability spread over all classes: the islands may be two scanners. What zero-shot is sure of stays."""
    k = start.shape[1]
    named = cut_and_name(graph, start.argmax(axis=1))
    if named is None or named.border > SHORE or named.agreement < FIVE_SIGMA or named.kappa < MODERATE:
        return start
    moved = named.labels != start.argmax(axis=1)
    if not moved.any() or start[moved].max(axis=1).mean() >= SURE or falls_into_more(graph, k):
        return start
    return np.where(moved[:, None], 0.5 * np.eye(k)[named.labels] + 0.5 / k, start)


def _name_clusters(graph: csr_array, guesses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The images' own clusters, one a class, where guesses, (N, K), agree with them far beyond chance; else the guesses.

    Many weak guesses about one cluster are together a good one. How often that is right nobody can tell without truth:
    clusters may be scanners, so half of each probability stays spread over all classes.
    """
    k = guesses.shape[1]
    named = cut_and_name(graph, guesses.argmax(axis=1))
    if named is None or named.border > ISLAND or named.agreement < FIVE_SIGMA:
        return guesses
    return 0.5 * np.eye(k)[named.labels] + 0.5 / k


def _told_apart(probabilities: NDArray[np.float64], inside: NDArray[np.bool_], c: int) -> float:
    """How well zero-shot's margin for class c tells the images `inside` from the rest, whatever its threshold: the ROC area."""
    from scipy.stats import rankdata

    m, rest = int(inside.sum()), int((~inside).sum())
    if m == 0 or rest == 0:
        return 0.0
    logits = np.log(np.maximum(probabilities, 1e-12))
    ranks = rankdata(logits[:, c] - np.delete(logits, c, axis=1).max(axis=1))
    return float((ranks[inside].sum() - m * (m + 1) / 2) / (m * rest))


def _stubborn(graph: csr_array, was: NDArray[np.int64], now: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Per class, (K,), of the images about to join it: the share of their neighbours that had the same label as they had."""
    moved = np.flatnonzero(was != now)
    votes = (graph[moved] > 0) @ np.eye(k)[was]
    share = votes[np.arange(len(moved)), was[moved]] / np.maximum(votes.sum(axis=1), 1)
    return np.array(
        [share[now[moved] == c].sum() / ((now[moved] == c).sum() + 3) for c in range(k)]
    )  # few prove little


def _cut_where_thin(graph: csr_array, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Labels, (N,), from propagated scores, each class's threshold moved to where it cuts the graph least.

    The sweep cut of spectral clustering (Andersen, Chung and Lang 2006), along each class's margin.
    """
    logits = np.log(scores)
    k = logits.shape[1]
    for c in range(k):
        others = np.delete(logits, c, axis=1).max(axis=1)
        margin = logits[:, c] - others
        threshold, best = _sweep(graph, margin)
        now = conductance(graph, (margin > 0).astype(int), 2).max()
        if best <= ISLAND and best <= CLEANER * now:
            logits[:, c] -= threshold
    return logits.argmax(axis=1)


def _sweep(graph: csr_array, margin: NDArray[np.float64]) -> tuple[float, float]:
    """The threshold on `margin`, (N,), nearest to 0 among the thinnest cuts {margin > threshold}, and its conductance."""
    n = len(margin)
    fewest = max(5, n // 50)
    order = np.argsort(-margin, kind="stable")
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n)
    edges = graph.tocoo()
    low, high = rank[edges.row], rank[edges.col]
    one_way = low < high
    change = np.zeros(n + 1)  # an edge is cut by every threshold between its two ends
    np.add.at(change, low[one_way], edges.data[one_way])
    np.add.at(change, high[one_way], -edges.data[one_way])
    cut = np.cumsum(change)[: n - 1]
    volume = np.cumsum(np.asarray(graph.sum(axis=1))[order])
    smaller = np.minimum(volume, volume[-1] - volume)[: n - 1]
    phi = np.where(smaller > 0, cut / np.maximum(smaller, 1e-12), 1.0)
    size = np.arange(1, n)
    phi[(size < fewest) | (size > n - fewest) | (np.diff(margin[order]) == 0)] = 1.0
    middle = (margin[order][1:] + margin[order][:-1]) / 2
    thin = np.flatnonzero(phi <= phi.min() + 0.002)
    best = thin[np.abs(middle[thin]).argmin()]
    return float(middle[best]), float(phi[best])
