"""Several weak sources of labels, weighed by how well they agree and by what is known. Array in, array out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 100
CLOSE = 1e-6  # change of the posterior at which EM ends
PRIOR = 1.0  # pseudo-counts of each row of a confusion matrix
PRIOR_RIGHT = 2.0  # and of its diagonal: a source is rather right than wrong


@dataclass(frozen=True)
class LabelModel:
    """posterior: (N, K). confusion: (S, K, K), rows true classes, columns what the source says. accuracy: (S,) of each source,
    by the model, over the images that it says something of."""

    posterior: NDArray[np.float64]
    confusion: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def dawid_skene(
    sources: NDArray[np.floating], known: NDArray[np.integer] | None = None, steps: int = STEPS
) -> LabelModel:
    """The true classes of N images, and how reliable each of S sources is.

    Parameters
    ----------
    sources : ndarray of shape (S, N, K)
        Probabilities of each source; NaN where it says nothing. A source that says a label alone gives a row of 0 and 1.
    known : ndarray of shape (N,), optional
        True classes, -1 where unknown; they teach which source to believe.

    References
    ----------
    Dawid and Skene 1979, Applied Statistics 28:20, with probabilities in the place of labels: a source's row counts as that
    many labels of each class. Begun from the mean of the sources.
    """
    sources = np.asarray(sources, dtype=np.float64)
    says = ~np.isnan(sources).any(axis=2)
    votes = np.where(says[:, :, None], sources, 0.0)
    k = sources.shape[2]
    total = votes.sum(axis=0)
    posterior = np.where(
        total.sum(axis=1, keepdims=True) > 0, total / np.maximum(total.sum(axis=1, keepdims=True), 1e-12), 1 / k
    )
    fixed = np.zeros(len(posterior), dtype=bool) if known is None else np.asarray(known) >= 0
    truth = np.eye(k)[np.maximum(known, 0)] if known is not None else posterior
    posterior = np.where(fixed[:, None], truth, posterior)
    confusion = np.empty((len(sources), k, k))
    for _ in range(steps):
        prior = (posterior.sum(axis=0) + PRIOR) / (len(posterior) + k * PRIOR)
        confusion = np.einsum("nk,snj->skj", posterior, votes) + PRIOR + PRIOR_RIGHT * np.eye(k)
        confusion /= confusion.sum(axis=2, keepdims=True)
        logs = np.log(prior) + np.einsum("snj,skj->nk", votes, np.log(confusion))
        logs -= logs.max(axis=1, keepdims=True)
        new = np.exp(logs)
        new /= new.sum(axis=1, keepdims=True)
        new = np.where(fixed[:, None], truth, new)
        change, posterior = np.abs(new - posterior).max(), new
        if change < CLOSE:
            break
    agreed = np.einsum("nk,snk->sn", posterior, votes)
    accuracy = np.where(says, agreed, 0.0).sum(axis=1) / np.maximum(says.sum(axis=1), 1)
    return LabelModel(posterior, confusion, accuracy)
