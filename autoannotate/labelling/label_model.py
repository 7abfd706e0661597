"""Several weak sources of labels, weighed by how well they agree and by what is known. Array in, array out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 100
CLOSE = 1e-6  # change of the posterior at which EM ends
PRIOR = 1.0  # pseudo-counts of each row of a confusion matrix
PRIOR_RIGHT = 2.0  # and of its diagonal: a source is rather right than wrong
LEVELS = 3  # of how sure a source is, by thirds of its own images
SAME_SHARE = 0.95  # of images on which a source must say what another says to be its copy
SAME_LOG = 0.1  # difference of the logarithms of probabilities, within which they are the same
PRIOR_LEVELS = 10.0  # pseudo-counts of the levels' shares, alike where it is right and where it is wrong


@dataclass(frozen=True)
class LabelModel:
    """posterior: (N, K). confusion: (S, K, K), rows true classes, columns what the source says. accuracy: (S,) of each source,
    by the model, over the images that it says something of: how often its most probable class is the true one; of one source
    alone, over those whose class is known, NaN where none is. same: (S,) the
    first of the sources that each is a copy of, itself where it is none; copies count as one source."""

    posterior: NDArray[np.float64]
    confusion: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    same: NDArray[np.int64]


def dawid_skene(
    sources: NDArray[np.floating], known: NDArray[np.integer] | None = None, steps: int = STEPS
) -> LabelModel:
    """The true classes of N images, and how reliable each of S sources is.

    Parameters
    ----------
    sources : ndarray of shape (S, N, K)
        Probabilities of each source; NaN, or all classes alike, where it says nothing. A source that says a label alone gives a
        row of 0 and 1.
    known : ndarray of shape (N,), optional
        True classes, -1 where unknown; they teach which source to believe.

    Notes
    -----
    A source says its most probable class, and how sure it is of it, as one of three levels, thirds of its own images. What it
    says has Dawid and Skene's likelihood, and the level one of its own for where the source is right and one for where it is
    wrong, so that a source need not be calibrated. Begun from the vote of the sources. Probabilities as fractions of a vote, as
    an earlier version counted them, let EM end where all classes are alike if sources are not sure: eval/label/sources.md.
    Sources are taken to err independently. Copies (`copies`) are counted once; sources that share errors but not numbers are
    not found, and count for more than they should. Known classes count as any image does: more weight for them (EM-lambda,
    Nigam et al. 2000) corrects shared errors, and costs much where the least sure images are answered: eval/label/sources.md.
    One source alone is what it says, but for the known classes: EM would drift wherever it likes.

    References
    ----------
    Dawid and Skene 1979, Applied Statistics 28:20. Nigam et al. 2000, Machine Learning 39:103, section 5.3.1.
    """
    sources = np.asarray(sources, dtype=np.float64)
    same = copies(sources)
    if (firsts := np.unique(same)).size < len(same):
        once = dawid_skene(np.stack([_mean(sources[same == first]) for first in firsts]), known, steps)
        of = np.searchsorted(firsts, same)
        return LabelModel(once.posterior, once.confusion[of], once.accuracy[of], same)
    given = np.nan_to_num(sources)
    says = ~np.isnan(sources).any(axis=2) & (np.ptp(given, axis=2) > 0)
    _, n, k = sources.shape
    votes = np.eye(k)[given.argmax(axis=2)] * says[:, :, None]
    level = np.stack([_levels(sure[here], here) for sure, here in zip(given.max(axis=2), says, strict=True)])
    total = votes.sum(axis=0)
    many = total.sum(axis=1, keepdims=True)
    posterior = np.where(many > 0, total / np.maximum(many, 1), 1 / k)
    fixed = np.zeros(n, dtype=bool) if known is None else np.asarray(known) >= 0
    truth = np.eye(k)[np.maximum(known, 0)] if known is not None else posterior
    posterior = np.where(fixed[:, None], truth, posterior)
    if len(sources) == 1:
        alone = np.where(says[0][:, None], given[0] / np.maximum(given[0].sum(axis=1, keepdims=True), 1e-12), 1 / k)
        heard = fixed & says[0]
        accuracy = float((votes[0] * truth)[heard].sum() / heard.sum()) if heard.any() else np.nan
        return LabelModel(np.where(fixed[:, None], truth, alone), np.eye(k)[None], np.full(1, accuracy), same)
    for _ in range(steps):
        prior = (posterior.sum(axis=0) + PRIOR) / (n + k * PRIOR)
        confusion = np.einsum("nk,snj->skj", posterior, votes) + PRIOR + PRIOR_RIGHT * np.eye(k)
        confusion /= confusion.sum(axis=2, keepdims=True)
        right = np.einsum("nk,snk->sn", posterior, votes)
        surer = _log_shares(right, level) - _log_shares(says - right, level)
        odds = np.einsum("sn,snl->sn", says, level * surer[:, None, :])
        logs = np.log(prior) + np.einsum("snj,skj->nk", votes, np.log(confusion)) + np.einsum("snk,sn->nk", votes, odds)
        logs -= logs.max(axis=1, keepdims=True)
        new = np.exp(logs)
        new /= new.sum(axis=1, keepdims=True)
        new = np.where(fixed[:, None], truth, new)
        change, posterior = np.abs(new - posterior).max(), new
        if change < CLOSE:
            break
    agreed = np.einsum("nk,snk->sn", posterior, votes).sum(axis=1)
    return LabelModel(posterior, confusion, agreed / np.maximum(says.sum(axis=1), 1), same)


def copies(sources: NDArray[np.floating]) -> NDArray[np.int64]:
    """The first source (S,) that says what each says: the same probabilities, but for a tenth, on nearly all images.

    Looked at are the images that either speaks of. Sources of few different rows (labels, rules) must be the same on all of
    them: two good readers agree nearly always.

    >>> rows = np.random.default_rng(0).dirichlet([1, 1, 1], 200)
    >>> copies(np.stack([rows, rows[::-1], rows * 0.999 + 0.001 / 3])).tolist()
    [0, 1, 0]
    """
    k = np.shape(sources)[2]
    given = np.nan_to_num(np.asarray(sources, dtype=np.float64))
    says = ~np.isnan(sources).any(axis=2) & (np.ptp(given, axis=2) > 0)
    logs = np.log(given + 0.01)
    coarse = [len(np.unique(rows.round(2), axis=0)) <= 10 * k for rows in given]
    same = np.arange(len(given))
    for b in range(1, len(given)):
        for a in range(b):
            either = says[a] | says[b]
            alike = says[a] & says[b] & (np.abs(logs[a] - logs[b]).max(axis=1) <= SAME_LOG)
            needed = either.sum() * (1.0 if coarse[a] or coarse[b] else SAME_SHARE)
            if same[a] == a and either.any() and alike.sum() >= needed:
                same[b] = a
                break
    return same


def _mean(sources: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K) the mean of copies (S, N, K) where they say something, NaN where none does."""
    says: NDArray[np.bool_] = np.asarray(~np.isnan(sources).any(axis=2))[:, :, None]
    total, many = np.where(says, sources, 0.0).sum(axis=0), says.sum(axis=0)
    return np.where(many > 0, total / np.maximum(many, 1), np.nan)


def _levels(sure: NDArray[np.float64], here: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, LEVELS) indicators of how sure a source is, zeros where it says nothing; sure: of the images that it speaks of."""
    found = np.zeros((len(here), LEVELS))
    edges = np.unique(np.quantile(sure, np.arange(1, LEVELS) / LEVELS)) if len(sure) else sure
    found[here] = np.eye(LEVELS)[np.searchsorted(edges, sure, side="right")]
    return found


def _log_shares(weight: NDArray[np.floating], level: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, LEVELS) logarithms of each level's share among images with weights (S, N), drawn to its share among all."""
    overall = level.sum(axis=1) + 1e-9
    overall /= overall.sum(axis=1, keepdims=True)
    counts = np.einsum("sn,snl->sl", weight, level) + PRIOR_LEVELS * overall
    return np.log(counts / counts.sum(axis=1, keepdims=True))
