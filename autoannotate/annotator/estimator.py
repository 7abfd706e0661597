"""The classifier inside a labeller: a scikit-learn estimator over image features. Array in, array out."""

# ruff: noqa: N803 (X and C are what scikit-learn calls them)

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from autoannotate.labelling.features import principal_axes, unit

NEAREST = 5
LEAST = 0.01  # probability of a class, below which nothing is learned from it
SAME = 1e-5  # of cosine distance, below which an image is one of the training images


class FeatureClassifier(ClassifierMixin, BaseEstimator):
    """Logistic regression on the principal axes of standardised features, which remembers what it was trained on.

    Parameters
    ----------
    dimensions : int
        Principal axes that are kept, at most.
    C : float
        Inverse strength of the penalty, as in `sklearn.linear_model.LogisticRegression`.
    keep_labels : bool
        An image of the training set keeps its training label. Off by default, as scikit-learn expects.
    novel : float
        Quantile of the training images' own distances beyond which a new image is unlike them.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
    threshold_ : float
        See `novelty`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(80, 12)), np.repeat(["a", "b"], 40)
    >>> X[40:, 0] += 4
    >>> FeatureClassifier().fit(X, y).score(X, y) > 0.95
    True
    """

    def __init__(self, dimensions: int = 128, C: float = 0.05, keep_labels: bool = False, novel: float = 0.99) -> None:
        self.dimensions = dimensions
        self.C = C
        self.keep_labels = keep_labels
        self.novel = novel

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        posterior: ArrayLike | None = None,
    ) -> Self:
        """Learn from features and labels.

        Parameters
        ----------
        X : array of shape (N, F)
        y : array of shape (N,)
        sample_weight : array of shape (N,), optional
            Where some labels count more.
        posterior : array of shape (N, K), optional
            How likely each class is the true one, in the order of the sorted classes of `y`; else the label is.
        """
        features, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"A classifier needs two classes; the labels have one class: {self.classes_[0]!r}.")
        self.mean_ = features.mean(axis=0)
        spread = features.std(axis=0)
        self.scale_ = np.where(spread > 1e-6 * max(spread.max(), 1e-300), spread, 1.0)
        centred = (features - self.mean_) / self.scale_
        self.axes_ = principal_axes(centred, self.dimensions)
        points = centred @ self.axes_
        self.size_ = max(float(np.sqrt(np.mean(points**2))), 1e-12)
        points = points / self.size_
        model = LogisticRegression(C=self.C, max_iter=500)
        weights = np.ones(len(points)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        if posterior is None:
            model.fit(points, codes, sample_weight=None if sample_weight is None else weights)
        else:
            rows, of = np.nonzero(np.asarray(posterior, np.float64) > LEAST)
            model.fit(points[rows], of, sample_weight=(weights[:, None] * np.asarray(posterior))[rows, of])
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        self.points_, self.codes_ = unit(points).astype(np.float32), codes.astype(np.int64)
        distance = self._distances(self.points_, leave_out=True)
        self.threshold_ = float(np.quantile(distance, self.novel)) if len(distance) else 0.0
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities, (N, K)."""
        return self._of_points(self._project(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels, (N,): of the training set's own images its labels, with `keep_labels`."""
        points = self._project(X)
        codes = self._of_points(points).argmax(axis=1)
        if self.keep_labels:
            known = self._known(points)
            codes = np.where(known >= 0, self.codes_[np.maximum(known, 0)], codes)
        return self.classes_[codes]

    def novelty(self, X: ArrayLike) -> NDArray[np.float64]:
        """How far from the training images, (N,): mean cosine distance to the nearest, beside `threshold_`."""
        return self._distances(unit(self._project(X)).astype(np.float32))

    def known_rows(self, X: ArrayLike) -> NDArray[np.int64]:
        """(N,) which training image each one is; -1 where it is none."""
        return self._known(self._project(X))

    def _project(self, X: ArrayLike) -> NDArray[np.float64]:
        check_is_fitted(self)
        features = validate_data(self, X, reset=False, dtype=np.float64)
        return ((features - self.mean_) / self.scale_) @ self.axes_ / self.size_

    def _of_points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import expit, softmax

        scores = points @ self.coef_.T + self.intercept_
        if scores.shape[1] == 1:
            second = expit(scores[:, 0])
            return np.stack([1.0 - second, second], axis=1)
        return softmax(scores, axis=1)

    def _known(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        units = unit(points).astype(np.float32)
        out = np.full(len(units), -1, dtype=np.int64)
        for start in range(0, len(units), 1024):
            cosines = units[start : start + 1024] @ self.points_.T
            best = cosines.argmax(axis=1)
            same = cosines[np.arange(len(best)), best] > 1 - SAME
            out[start : start + 1024] = np.where(same, best, -1)
        return out

    def _distances(self, units: NDArray[np.float32], leave_out: bool = False) -> NDArray[np.float64]:
        out = np.empty(len(units))
        k = max(1, min(NEAREST, len(self.points_) - leave_out))
        for start in range(0, len(units), 1024):
            cosines = units[start : start + 1024] @ self.points_.T
            if leave_out and len(self.points_) > 1:
                rows = np.arange(len(cosines))
                cosines[rows, start + rows] = -np.inf
            nearest = -np.partition(-cosines, k - 1, axis=1)[:, :k]
            out[start : start + 1024] = 1.0 - nearest.mean(axis=1)
        return np.maximum(out, 0.0)
