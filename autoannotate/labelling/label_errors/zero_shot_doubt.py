"""Zero-shot as a second opinion about given labels: it never saw one, so it repeats none of their errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.label_errors.issues import roc_area


def beside_zero_shot(
    doubt: NDArray[np.float64],
    labels: NDArray[np.int64],
    predicted: NDArray[np.float64],
    zero_shot: NDArray[np.floating],
) -> NDArray[np.float64]:
    """The doubts in the order that zero-shot has a part in; their values stay, each at its rank.

    Labels that are more likely wrong than right stay before all others. Among either, both predictions are ranked: zero-shot's
    probability of the label among those of all images for this class, so that where it puts its threshold does not matter.
    Its rank counts w², w the part of the pool's area under the ROC curve above a half (of given labels, one class against the
    rest) that zero-shot reaches too. How that was chosen: `eval/audit/second_opinion.md`.

    Parameters
    ----------
    doubt : (N,) array in [0, 1]
        That the label is wrong.
    labels : (N,) array
        The given labels.
    predicted, zero_shot : (N, K) arrays
        Of models that learned from the other labels, and of one that learned from none.
    """
    from scipy.stats import rankdata

    reached = _beyond_chance(zero_shot, labels) / max(_beyond_chance(predicted, labels), 1e-3)
    weight = float(np.clip(reached, 0.0, 1.0)) ** 2
    of_label = rankdata(zero_shot, axis=0)[np.arange(len(labels)), labels]
    both = rankdata(doubt) - weight * rankdata(of_label)
    order = np.lexsort((doubt, both, doubt > 0.5))
    ranked = np.empty_like(doubt)
    ranked[order] = np.sort(doubt)
    return ranked


def _beyond_chance(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The mean over classes of the area under the ROC curve, less a half."""
    here = [c for c in np.unique(labels).tolist() if (labels != c).any()]
    areas = [roc_area(probabilities[labels == c, c], probabilities[labels != c, c])[0] for c in here]
    return float(np.mean(areas)) - 0.5 if areas else 0.0
