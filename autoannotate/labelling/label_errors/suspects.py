"""Suspects: which labels to doubt, how much, why, and what they should rather be.

The estimate of the true classes (`noise_estimate.py`) says how much each label is doubted and what it should be; confident
learning (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068; the cleanlab library) decides which are flagged; other
reasons (`reasons.py`) add doubt beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.noise_estimate import (
    SETTINGS,
    HeldOutMixture,
    NoiseEstimate,
    Settings,
    estimate_noise,
)
from autoannotate.labelling.label_errors.out_of_sample import out_of_sample
from autoannotate.labelling.label_errors.reasons import REASONS, Doubt, Evidence
from autoannotate.labelling.spectral_clustering import Named, cut_and_name
from autoannotate.labelling.zero_shot.image_kinds import NoneOfThese

SPOKEN = 0.1  # a reason is named in the queue when it doubts at least this much
MARGIN = 0.02  # share of the set that may be flagged beyond the estimated share of wrong labels
TOLD = 0.35  # a class can be told by looking when at least this share of its labels is predicted from the others
FEWEST = 10  # with fewer images confident learning has nothing to count


@dataclass(frozen=True)
class Suspects:
    """What is doubtful about N labels.

    Attributes
    ----------
    flagged : (N,) bool, worth a clinician's look
    score : (N,) in [0, 1], higher is more doubtful
    suggested : (N,) the class that the evidence favours, the given one unless the evidence is strong
    reasons : N sentences, "" where there is none
    out_of_sample : (N, K), what models that did not see a label say of it
    error_rate : the estimated share of wrong labels
    none_of_these : (N,) bool, those of the flagged that look like none of the classes
    """

    flagged: NDArray[np.bool_]
    score: NDArray[np.float64]
    suggested: NDArray[np.int64]
    reasons: tuple[str, ...]
    out_of_sample: NDArray[np.float64]
    error_rate: float
    none_of_these: NDArray[np.bool_]


def find_suspects(
    features: Features | NDArray[np.floating],
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    class_names: Sequence[str],
    *,
    seed: int = 0,
    track: Track = silent,
    image_names: Sequence[str] | None = None,
    student: NDArray[np.floating] | None = None,
    estimate: NoiseEstimate | None = None,
    groups: NDArray[np.integer] | None = None,
    none_of_these: NoneOfThese | None = None,
) -> Suspects:
    """Doubt N labels.

    The order of the images does not matter.

    score = 1 − (1 − d) Π_r (1 − w_r s_r), a noisy-or: 1 − d is how probable the label is, the mean of P(label is true | the
    other images) and of P(label is true | the image and the label given), s_r in [0, 1] how strongly reason r fires and w_r its
    weight. It grows with every reason. Flagged: cleanlab's off-diagonal counts of the confident joint, among the classes that
    can be told by looking and hardly more than the estimated number of errors; and near duplicates that contradict each other,
    and images of none of the classes. Suggested: `NoiseEstimate.corrected`. error_rate: by the estimate, if it may change
    labels; else the confident joint's, or where classes overlap the noise seen where prediction is easy, if less.

    Parameters
    ----------
    features : (N, F)
    labels : (N,) in 0 … K-1
    probabilities : (N, K), zero-shot
    class_names : K
    image_names : N, to name near duplicates by
    student : (N, K), what a network predicts, if there is one
    estimate : about their true classes, where it is known already
    groups : (N,) ids, see `predict_out_of_sample`
    none_of_these : which images look like none of the classes

    Raises
    ------
    ValueError
        On shapes that don't fit.
    """
    features = Features.of(features)
    n, k = len(labels), len(class_names)
    given: NDArray[np.int64] = np.asarray(labels).astype(np.int64)
    zero_shot: NDArray[np.float64] = np.asarray(probabilities, dtype=np.float64)
    if len(features) != n or zero_shot.shape != (n, k) or (n and not 0 <= given.min() <= given.max() < k):
        raise ValueError(
            f"{features.values.shape} features, {n} labels, {zero_shot.shape} probabilities, {k} classes don't fit"
        )
    names = [f"image {i + 1}" for i in range(n)] if image_names is None else list(image_names)
    if n < 2:
        nothing = np.zeros(n, dtype=bool)
        return Suspects(nothing, np.zeros(n), given, ("",) * n, zero_shot.copy(), 0.0, nothing)
    if estimate is None:
        predicted = predict_out_of_sample(features, given, zero_shot, groups=groups, seed=seed, track=track)
        estimate = predicted.estimate()
    outside, rows = estimate.predicted, np.arange(n)
    evidence = Evidence(
        labels=given,
        zero_shot=zero_shot,
        out_of_sample=outside,
        neighbours=features.neighbours,
        class_names=class_names,
        image_names=names,
        student=None if student is None else np.asarray(student, dtype=np.float64),
        none_of_these=none_of_these,
    )
    doubts = {name: each.doubt(evidence) for name, each in REASONS.items()}
    flagged, error_rate = _confident_learning(given, outside)
    if estimate.may_change:
        error_rate = float(1.0 - estimate.posterior[rows, given].mean())
    else:
        error_rate = min(error_rate, _noise_among_the_easy(given, outside))
        flagged &= _told(given, outside)[given]
    flagged = _likeliest(flagged, outside[rows, given], (error_rate + MARGIN) * n)
    of_no_class = doubts["none_of_these"].strength > 0.0
    flagged |= (doubts["near_duplicate_disagrees"].strength >= 0.5) | of_no_class
    error_rate = min(error_rate + float(of_no_class.mean()), 1.0)  # of these no label is right
    return Suspects(
        flagged=flagged,
        score=_score((estimate.clean[rows, given] + estimate.posterior[rows, given]) / 2, doubts),
        suggested=estimate.corrected(given),
        reasons=_sentences(doubts, n),
        out_of_sample=outside,
        error_rate=error_rate,
        none_of_these=of_no_class,
    )


@dataclass(frozen=True)
class PredictedProbabilities:
    """Out-of-sample probabilities of N labels, and what else `noise_estimate` weighs.

    Attributes
    ----------
    views : (V, N, K), rows sum to one
    labels : (N,)
    mixture, clusters : see `estimate_noise`
    """

    views: NDArray[np.float64]
    labels: NDArray[np.int64]
    mixture: HeldOutMixture | None = None
    clusters: Named | None = None

    def beside(self, *students: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        """The probabilities of the true classes by each model, (N, K): the views, the held-out mixture, and students."""
        return [*self.views, *([] if self.mixture is None else [self.mixture.clean]), *students]

    def estimate(self, *students: NDArray[np.floating], settings: Settings = SETTINGS) -> NoiseEstimate:
        """The noise of the labels; students: (N, K) each, out-of-sample probabilities of networks."""
        return estimate_noise(
            self.views, self.labels, clusters=self.clusters, mixture=self.mixture, students=students, settings=settings
        )


def predict_out_of_sample(
    features: Features | NDArray[np.floating],
    labels: NDArray[np.int64],
    zero_shot: NDArray[np.float64],
    *,
    groups: NDArray[np.integer] | None = None,
    seed: int = 0,
    track: Track = silent,
) -> PredictedProbabilities:
    """Probabilities of N labels by models that did not see them; zero-shot's, (N, K), of a class with no other image.

    Parameters
    ----------
    groups : (N,) ids; images of one group (a patient, a study) are judged by models that saw none of it
    """
    features = Features.of(features)
    # by content, so that folds don't depend on file names; as far as the cache keeps it (half precision)
    order = np.lexsort((labels, *np.asarray(features.values[:, :8], dtype=np.float16).T))
    back = np.argsort(order)
    graph, points = features.graph[order][:, order], features.standardised[order]
    found = out_of_sample(
        points, labels[order], zero_shot.shape[1], graph,
        groups=None if groups is None else np.asarray(groups)[order], seed=seed, track=track,
    )  # fmt: skip
    unseen = np.where(found.seen[back], 0.0, zero_shot)
    views = found.views[:, back] * (1.0 - unseen.sum(axis=1, keepdims=True)) + unseen
    views /= views.sum(axis=2, keepdims=True)
    mixture, clusters = found.mixture, cut_and_name(graph, labels[order])
    if mixture is not None:
        fitted = mixture.fitted
        fitted = replace(fitted, clean=fitted.clean[back], posterior=fitted.posterior[back])
        mixture = HeldOutMixture(fitted, mixture.clean[back], mixture.evidence[back])
    if clusters is not None:
        clusters = replace(clusters, labels=clusters.labels[back])
    return PredictedProbabilities(views, labels, mixture, clusters)


def _confident_learning(labels: NDArray[np.int64], outside: NDArray[np.float64]) -> tuple[NDArray[np.bool_], float]:
    """cleanlab's flags, (N,) bool, and the share of labels off the diagonal of the calibrated confident joint."""
    from cleanlab.count import estimate_joint
    from cleanlab.filter import find_label_issues

    present, members = np.unique(labels, return_inverse=True)
    if len(present) < 2 or len(labels) < FEWEST:
        return np.zeros(len(labels), dtype=bool), 0.0
    among = outside[:, present] + 1e-9
    among /= among.sum(axis=1, keepdims=True)
    flags = find_label_issues(members, among, filter_by="prune_by_noise_rate", min_examples_per_class=0, n_jobs=1)
    joint = estimate_joint(members, among)
    return np.asarray(flags, dtype=bool), float(np.clip(1.0 - np.trace(joint), 0.0, 1.0))


def _likeliest(flagged: NDArray[np.bool_], self_confidence: NDArray[np.float64], most: float) -> NDArray[np.bool_]:
    """The flagged images, at most `most` of them: those whose label is least supported."""
    rows = np.flatnonzero(flagged)
    kept = rows[np.argsort(self_confidence[rows], kind="stable")][: int(np.ceil(most))]
    return np.isin(np.arange(len(flagged)), kept)


def _score(self_confidence: NDArray[np.float64], doubts: dict[str, Doubt]) -> NDArray[np.float64]:
    sure = self_confidence.copy()
    for name, doubt in doubts.items():
        sure *= 1.0 - REASONS[name].weight * doubt.strength
    return np.clip(1.0 - sure, 0.0, 1.0)


def _told(labels: NDArray[np.int64], outside: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which classes, (K,), can be told by looking: the other images predict their labels clearly more often than chance."""
    k = outside.shape[1]
    predicted = outside.argmax(axis=1)
    share = np.bincount(predicted, minlength=k) / len(labels)
    hits = np.bincount(labels[predicted == labels], minlength=k)
    return hits / np.maximum(np.bincount(labels, minlength=k), 1) >= np.maximum(TOLD, share + 0.2)


def _noise_among_the_easy(labels: NDArray[np.int64], outside: NDArray[np.float64]) -> float:
    """The share of labels that contradict the surest tenth of the predictions for each class.

    There the features are hardly to blame, so this is the noise that hits labels whatever the image: the anchor points
    of Patrini et al. 2017, section 3.2. Without it, classes that look alike would be taken for noise.
    """
    predicted = outside.argmax(axis=1)
    wrong = asked = 0
    for c in np.unique(predicted):
        of_class = np.flatnonzero(predicted == c)
        surest = of_class[np.argsort(-outside[of_class, c], kind="stable")][: max(5, len(of_class) // 10)]
        wrong += int((labels[surest] != c).sum())
        asked += len(surest)
    return wrong / max(asked, 1)


def _sentences(doubts: dict[str, Doubt], n: int) -> tuple[str, ...]:
    """What is said of each of n images, "" where no reason doubts it enough."""
    said = [""] * n
    for i in np.flatnonzero(np.any([doubt.strength >= SPOKEN for doubt in doubts.values()], axis=0)).tolist():
        fired = [name for name, doubt in doubts.items() if doubt.strength[i] >= SPOKEN]
        fired.sort(key=lambda name: -REASONS[name].weight * float(doubts[name].strength[i]))
        said[i] = "; ".join(doubts[name].words(i) for name in fired)
    return tuple(said)
