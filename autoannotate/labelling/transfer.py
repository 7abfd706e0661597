"""What was found for a sample, for images outside of it: class probabilities as functions of the features.

Array in, array out. They are fitted to probabilities rather than labels (Hinton, Vinyals and Dean 2015, arXiv 1503.02531),
so whatever made those, its result is what other images get.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.features import Axes, Features, compact_axes, standardised_axes, unit
from autoannotate.labelling.label_errors.out_of_sample import AXES, FOLDS, IMAGES_AN_AXIS, MIXTURE_SHRINK, SHRINK
from autoannotate.labelling.neighbours import nearest_among

NEAREST = 10  # images of the sample that an image is compared with
FIRM = 1.0  # how firmly the pool's weights, as logarithms, hold on to equal ones


@dataclass(frozen=True, eq=False)
class Seen:
    """Images as the functions see them. points: (B, d), standardised axes. near: (B, k) rows of the sample, nearest first, and
    closeness: (B, k), their weights, which sum to one."""

    points: NDArray[np.float64]
    near: NDArray[np.int64]
    closeness: NDArray[np.float64]


class Sample:
    """M images that others are compared with.

    Parameters
    ----------
    features : Features
        (M, F), in memory.
    """

    def __init__(self, features: Features) -> None:
        values = np.asarray(features.values)
        self._standardised: Axes = standardised_axes(values)
        self._compact: Axes = compact_axes(values)
        self.points = self._standardised(values)
        self._unit = unit(self._compact(values)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.points)

    def look(self, features: Features, rows: NDArray[np.integer]) -> Iterator[tuple[slice, Seen]]:
        """Other images, block by block: where they stand among `rows`, and what is seen of them."""
        for part, values in features.blocks(rows):
            near, cosine = nearest_among(unit(self._compact(values)).astype(np.float32), self._unit, NEAREST)
            yield part, Seen(self._standardised(values), near, _closeness(cosine))

    def itself(self) -> Seen:
        """The sample, each image without itself among its neighbours."""
        near, cosine = nearest_among(self._unit, self._unit, NEAREST + 1)
        own = near == np.arange(len(near))[:, None]
        own[~own.any(axis=1), -1] = True
        width = near.shape[1] - 1
        return Seen(self.points, near[~own].reshape(-1, width), _closeness(cosine[~own].reshape(-1, width)))


class Transfer:
    """A logarithmic pool of three functions of the features: discriminant analysis on all axes and on few, and the mean of
    the nearest images of the sample. Its weights are those that predict held-out images of the sample best.

    Parameters
    ----------
    sample : Sample
    itself : Seen
        `sample.itself()`.
    target : (M, K) array
        Class probabilities of the sample.
    """

    def __init__(self, sample: Sample, itself: Seen, target: NDArray[np.floating], seed: int = 0) -> None:
        self._target = np.asarray(target, dtype=np.float64)
        self._few = max(1, min(AXES, len(sample) // IMAGES_AN_AXIS))
        dealt = np.random.default_rng([seed, 43]).permutation(len(sample)) % FOLDS
        held_out = np.stack([_mean_of_nearest(itself, self._target)] + [np.empty_like(self._target)] * 2)
        for fold in range(FOLDS):
            inside, outside = dealt != fold, dealt == fold
            for view, predict in enumerate(self._discriminants(sample.points[inside], self._target[inside]), start=1):
                held_out[view, outside] = predict(sample.points[outside])
        self._weights = _pool_weights(held_out, self._target)
        self._final = self._discriminants(sample.points, self._target)

    def __call__(self, seen: Seen) -> NDArray[np.float64]:
        """The probabilities of other images, (B, K)."""
        views = [_mean_of_nearest(seen, self._target), *(predict(seen.points) for predict in self._final)]
        return _pooled(self._weights, np.log(np.clip(np.stack(views), 1e-4, 1.0)))

    def _discriminants(self, points: NDArray[np.float64], target: NDArray[np.float64]) -> Sequence[_Discriminant]:
        return (
            _Discriminant(points, target, SHRINK),
            _Discriminant(points[:, : self._few], target, MIXTURE_SHRINK),
        )


class _Discriminant:
    """Discriminant analysis of images that belong to several classes, to each as probable as it is (M, K)."""

    def __init__(self, points: NDArray[np.float64], member: NDArray[np.float64], shrink: float) -> None:
        d, size = points.shape[1], member.sum(axis=0) + 1e-9
        means = member.T @ points / size[:, None]
        spread = (points.T @ points - (means.T * size) @ means) / size.sum()
        spread = (1.0 - shrink) * spread + (shrink * np.trace(spread) / d + 1e-9) * np.eye(d)
        self._directions = np.linalg.solve(spread, means.T)
        self._offsets = np.log(size / size.sum()) - 0.5 * np.einsum("kd,dk->k", means, self._directions)

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import softmax

        return softmax(points[:, : len(self._directions)] @ self._directions + self._offsets, axis=1)


def _mean_of_nearest(seen: Seen, target: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("bk,bkc->bc", seen.closeness, target[seen.near])


def _closeness(cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.maximum(cosine, 0.0) + 1e-6
    return weights / weights.sum(axis=1, keepdims=True)


def _pool_weights(views: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights, (V,), at which the pool of (V, M, K) has the least cross-entropy to the target."""
    from scipy.optimize import minimize

    logs = np.log(np.clip(views, 1e-4, 1.0))
    usual = np.full(len(views), np.log(1.0 / len(views)))

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        p = _pooled(np.exp(x), logs)
        slope = np.tensordot(logs, p - target, axes=([1, 2], [0, 1])) * np.exp(x) + FIRM * (x - usual)
        entropy = -float((target * np.log(np.maximum(p, 1e-12))).sum())
        return entropy + 0.5 * FIRM * float(((x - usual) ** 2).sum()), slope

    found = minimize(loss, usual, jac=True, method="L-BFGS-B", bounds=[(-6.0, 3.0)] * len(views))
    return np.asarray(np.exp(found.x))


def _pooled(weights: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import softmax

    return np.asarray(softmax(np.tensordot(weights, logs, 1), axis=1))
