"""Suspects: which labels to doubt, how much, why, and what they should rather be.

Confident learning (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068; the cleanlab library) on out-of-sample
probabilities decides which labels are flagged; other reasons (`reasons.py`) add doubt beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.neighbours import compact, graph_of, nearest
from autoannotate.probe import out_of_sample, sharpened
from autoannotate.progress import Track, silent
from autoannotate.reasons import REASONS, Doubt, Evidence

SPOKEN = 0.1  # a reason is named in the queue when it doubts at least this much
FEWEST = 10  # with fewer images confident learning has nothing to count


@dataclass(frozen=True)
class Suspects:
    """What is doubtful about N labels.

    flagged: (N,) bool, worth a clinician's look. score: (N,) in [0, 1], higher is more doubtful. suggested: (N,) the class that
    the evidence favours, the given one unless the evidence is strong. reasons: N sentences, "" where there is none.
    out_of_sample: (N, K). error_rate: the estimated share of wrong labels.
    """

    flagged: NDArray[np.bool_]
    score: NDArray[np.float64]
    suggested: NDArray[np.int64]
    reasons: tuple[str, ...]
    out_of_sample: NDArray[np.float64]
    error_rate: float


def find_suspects(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    class_names: Sequence[str],
    *,
    seed: int = 0,
    track: Track = silent,
    image_names: Sequence[str] | None = None,
    student: NDArray[np.floating] | None = None,
) -> Suspects:
    """Doubt N labels.

    features: (N, F). labels: (N,) in 0 … K-1. probabilities: (N, K), zero-shot. class_names: K. image_names: N, to name near
    duplicates by. student: (N, K), a network's opinion, if there is one. The order of the images does not matter.

    score = 1 − (1 − d) Π_r (1 − w_r s_r), a noisy-or: d = 1 − P(given label | the other images) is cleanlab's
    self-confidence turned round, s_r in [0, 1] how strongly reason r fires and w_r its weight. It grows with every
    reason. Flagged: cleanlab's off-diagonal counts of the confident joint, and near duplicates that contradict each
    other. Suggested: argmax_t P(t | the other images) T[t, given], Bayes' rule with the estimated noise T[true, given].
    Raises ValueError on shapes that don't fit.
    """
    features, labels = np.asarray(features), np.asarray(labels, dtype=np.int64)
    n, k = len(labels), len(class_names)
    zero_shot = np.asarray(probabilities, dtype=np.float64)
    if len(features) != n or zero_shot.shape != (n, k) or (n and not 0 <= labels.min() <= labels.max() < k):
        raise ValueError(
            f"{features.shape} features, {n} labels, {zero_shot.shape} probabilities, {k} classes don't fit"
        )
    names = [f"image {i + 1}" for i in range(n)] if image_names is None else list(image_names)
    if n < 2:
        return Suspects(np.zeros(n, bool), np.zeros(n), labels.copy(), ("",) * n, zero_shot.copy(), 0.0)

    order = np.lexsort((labels, *features[:, :8].T))  # by content, so that folds don't depend on file names
    back = np.argsort(order)
    features, labels, zero_shot = features[order], labels[order], zero_shot[order]
    neighbours = nearest(compact(features))
    outside = out_of_sample(features, labels, zero_shot, neighbours, graph_of(neighbours), seed=seed, track=track)
    evidence = Evidence(
        labels=labels,
        zero_shot=zero_shot,
        out_of_sample=outside,
        neighbours=neighbours,
        class_names=class_names,
        image_names=[names[i] for i in order],
        student=None if student is None else np.asarray(student, dtype=np.float64)[order],
    )
    doubts = {name: each.doubt(evidence) for name, each in REASONS.items()}
    flagged, error_rate = _confident_learning(labels, outside)
    flagged |= doubts["near_duplicate_disagrees"].strength >= 0.4
    return Suspects(
        flagged=flagged[back],
        score=_score(outside[np.arange(n), labels], doubts)[back],
        suggested=_suggested(labels, outside)[back],
        reasons=tuple(_sentence(i, doubts) for i in back),
        out_of_sample=outside[back],
        error_rate=error_rate,
    )


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


def _score(self_confidence: NDArray[np.float64], doubts: dict[str, Doubt]) -> NDArray[np.float64]:
    sure = self_confidence.copy()
    for name, doubt in doubts.items():
        sure *= 1.0 - REASONS[name].weight * doubt.strength
    return np.clip(1.0 - sure, 0.0, 1.0)


def _suggested(labels: NDArray[np.int64], outside: NDArray[np.float64]) -> NDArray[np.int64]:
    if len(labels) < FEWEST or len(np.unique(labels)) < 2:
        return labels.copy()
    clean, noise = sharpened(outside, labels)
    evidence = clean * noise[:, labels].T
    best = evidence.argmax(axis=1)
    rows = np.arange(len(labels))
    return np.where(evidence[rows, best] > evidence[rows, labels], best, labels)


def _sentence(i: int, doubts: dict[str, Doubt]) -> str:
    fired = [name for name, doubt in doubts.items() if doubt.strength[i] >= SPOKEN]
    fired.sort(key=lambda name: -REASONS[name].weight * float(doubts[name].strength[i]))
    return "; ".join(doubts[name].words(i) for name in fired)
