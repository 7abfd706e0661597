"""Out-of-sample class probabilities: what the other images, and their labels, say about each image.

Two views that never see the label they judge, discriminant analysis and label propagation, and a mixture that knows that
labels may be wrong (`noisy_mixture.py`); `noise_estimate.py` weighs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.label_errors.noise_estimate import FEWEST, HeldOutMixture
from autoannotate.labelling.label_errors.noisy_mixture import discriminant, fit_mixture
from autoannotate.labelling.neighbours import propagate

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FOLDS = 5
SHRINK = 0.5  # of the covariance of discriminant analysis on all axes, half-way to a sphere
MIXTURE_SHRINK = 0.3  # of that of the mixture, on few axes
AXES, IMAGES_AN_AXIS = 16, 8  # principal axes that the mixture sees, and images that each of them needs


@dataclass(frozen=True)
class OutOfSample:
    """What models that never saw an image's label say of it.

    Attributes
    ----------
    views : (V, N, K), calibrated, rows sum to one: discriminant analysis, and label propagation over the graph
    mixture : None where fewer than two classes have labels enough
    seen : (N, K) bool, classes that the models of an image had images of
    """

    views: NDArray[np.float64]
    mixture: HeldOutMixture | None
    seen: NDArray[np.bool_]


def out_of_sample(
    points: NDArray[np.float64],
    labels: NDArray[np.integer],
    classes: int,
    graph: csr_array,
    *,
    groups: NDArray[np.integer] | None = None,
    seed: int = 0,
    track: Track = silent,
) -> OutOfSample:
    """Class probabilities of each image from models that saw the other images' labels only.

    Parameters
    ----------
    points : (N, d) array
        See `features.standardised`.
    labels : (N,) array
        In 0 … K-1; classes may be missing or have one member.
    graph : (N, N) sparse array
        Of the same images, see `neighbours.graph_of`.
    groups : (N,) array, optional
        An image is judged by models that saw no label of its group (one patient's, say).

    Raises
    ------
    ValueError
        Where all images are of one group.
    """
    n, k = len(labels), classes
    if groups is not None and len(np.unique(groups)) < 2:
        raise ValueError("All images are of one group: out-of-sample probabilities need two groups or more.")
    views, seen = np.zeros((2, n, k)), np.zeros((n, k), dtype=bool)
    dealt = [(np.setdiff1d(np.arange(n), fold), fold) for fold in folds(labels, seed, groups)]
    for rest, fold in track(dealt, "cross-validating", None):
        present = np.unique(labels[rest])
        columns = np.ix_(fold, present)
        seen[columns] = True
        if len(present) < 2:
            views[:, fold[:, None], present] = 1.0
            continue
        views[0][columns] = discriminant(points[rest], labels[rest], points[fold], SHRINK)
        seeds = np.zeros((n, k))
        seeds[rest, labels[rest]] = 1.0
        views[1][columns] = propagate(graph, seeds)[columns]
    mixture = held_out_mixture(points, labels, classes, dealt)
    return OutOfSample(np.stack([calibrated(view, labels, seen) for view in views]), mixture, seen)


def held_out_mixture(
    points: NDArray[np.float64],
    labels: NDArray[np.integer],
    classes: int,
    dealt: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> HeldOutMixture | None:
    """The mixture of all labels, and of those of each fold's other images; dealt: rows to learn from, and held-out rows."""
    n = len(labels)
    common = (np.bincount(labels, minlength=classes) >= FEWEST)[labels]
    few = points[:, : min(AXES, n // IMAGES_AN_AXIS)]
    if few.shape[1] < 1 or len(np.unique(labels[common])) < 2:
        return None
    clean, evidence = np.zeros((n, classes)), np.zeros(n)
    for rest, fold in dealt:
        seen = common.copy()
        seen[fold] = False
        learned_from = rest[common[rest]]
        if len(np.unique(labels[learned_from])) < 2:
            return None
        mixture = fit_mixture(few, labels, classes, seen, shrink=MIXTURE_SHRINK)
        clean[fold] = mixture.clean[fold]
        told = np.zeros((len(fold), classes))
        told[:, np.unique(labels[learned_from])] = discriminant(
            few[learned_from], labels[learned_from], few[fold], MIXTURE_SHRINK
        )
        rows = np.arange(len(fold))
        under_noise = (mixture.clean[fold] @ mixture.noise_matrix)[rows, labels[fold]]
        under_overlap = told[rows, labels[fold]]
        evidence[fold] = np.log(np.maximum(under_noise, 1e-6)) - np.log(np.maximum(under_overlap, 1e-6))
    return HeldOutMixture(fit_mixture(few, labels, classes, common, shrink=MIXTURE_SHRINK), clean, evidence)


def folds(
    labels: NDArray[np.integer], seed: int, groups: NDArray[np.integer] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Held-out rows, fold by fold, every class dealt out as evenly as its size allows; no fold is empty.

    Parameters
    ----------
    groups : (N,) ids; a group, of the class that most of its images have, is never divided
    """
    rng = np.random.default_rng([seed, 5])  # not the plain seed: who injects noise with it would put it all in one fold
    ids = np.arange(len(labels)) if groups is None else _in_order_seen(groups)
    size = np.bincount(ids)
    votes = np.zeros((len(size), int(labels.max()) + 1))
    np.add.at(votes, (ids, labels), 1)
    shuffled = rng.permutation(len(size))
    dealt = shuffled[np.lexsort((-size[shuffled], votes.argmax(axis=1)[shuffled]))]
    for fold in range(min(FOLDS, len(size))):
        yield np.flatnonzero(np.isin(ids, dealt[fold::FOLDS]))


def _in_order_seen(groups: NDArray[np.integer]) -> NDArray[np.int64]:
    """The groups numbered by their first image, so that the ids themselves decide nothing."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def calibrated(
    view: NDArray[np.floating], labels: NDArray[np.integer], seen: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Probabilities (N, K) after temperature scaling on the given labels, (N,), within the classes seen, (N, K) bool, by
    default all."""
    return sharpened(view, inverse_temperature(view, labels, seen), seen)


def inverse_temperature(
    view: NDArray[np.floating], labels: NDArray[np.integer], seen: NDArray[np.bool_] | None = None
) -> float:
    """By which log-probabilities are multiplied so that the labels, (N,), are likeliest (Guo et al. 2017, arXiv 1706.04599,
    eq. 9); 1 where nothing can be told."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logs, seen = _logs(view, seen)
    rows = np.flatnonzero(seen[np.arange(len(labels)), labels] & (seen.sum(axis=1) > 1))
    if len(rows) == 0:
        return 1.0

    def loss(sharpness: float) -> float:
        return -float(log_softmax(sharpness * logs[rows], axis=1)[np.arange(len(rows)), labels[rows]].mean())

    return float(minimize_scalar(loss, bounds=(0.05, 20.0), method="bounded").x)


def sharpened(
    view: NDArray[np.floating], sharpness: float, seen: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Probabilities (N, K) to the power `sharpness`, rows summing to one, within the classes seen."""
    from scipy.special import log_softmax

    return np.exp(log_softmax(sharpness * _logs(view, seen)[0], axis=1))


def _logs(view: NDArray[np.floating], seen: NDArray[np.bool_] | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    seen = np.ones(view.shape, dtype=bool) if seen is None else seen
    return np.where(seen, np.log(np.clip(view, 1e-4, None)), -np.inf), seen
