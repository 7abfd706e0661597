"""What a student of several findings predicts, and of which findings it may be used: cross-fitted, beside a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.issues import roc_area
from autoannotate.labelling.label_errors.out_of_sample import inverse_temperature, sharpened
from autoannotate.labelling.label_errors.student import CONFIDENCE, NOT_WORSE

FEWEST = 10  # known values of either kind, below which it is not judged how well a finding is told


@dataclass(frozen=True, eq=False)
class StudentOfFindings:
    """What the student says of N images and L findings.

    Attributes
    ----------
    probability : (N, L) array
        That a finding is present, from networks that did not see the image's values; calibrated.
    reliable : (L,) bool array
        Its area under the ROC curve is, with 95% confidence, not below the baseline's by more than `NOT_WORSE`.
    area, baseline_area : (L,) arrays
        For values that neither saw; NaN where too few are known.
    image_passes : int
        Images trained on, times epochs.
    """

    probability: NDArray[np.float64]
    reliable: NDArray[np.bool_]
    area: NDArray[np.float64]
    baseline_area: NDArray[np.float64]
    image_passes: int = 0

    def of(self, f: int) -> NDArray[np.float64]:
        """(N, 2), absent and present, of one finding."""
        return np.stack([1.0 - self.probability[:, f], self.probability[:, f]], axis=1)

    @property
    def evidence(self) -> NDArray[np.float64]:
        """(N, 2 L), absent and present of each finding, rows sum to one; even odds of those of which it is not used."""
        both = np.stack([1.0 - self.probability, self.probability], axis=2)
        return np.where(self.reliable[:, None], both, 0.5).reshape(len(both), -1) / len(self.reliable)

    @property
    def note(self) -> str:
        """A plain sentence for the summary."""
        told = ~np.isnan(self.area)
        if not told.any():
            return "A student was trained, and of no finding enough values are known to judge it: it is not used."
        ours, theirs = self.area[told].mean(), self.baseline_area[told].mean()
        return (
            f"On images it had not seen one student of all findings has a mean AUROC of {ours:.1%} for the values, the probe "
            f"{theirs:.1%}; it is used for {int(self.reliable.sum())} of {len(self.reliable)} findings."
        )


class FindingsTrainer(Protocol):
    """Trains a student of findings, see `autoannotate.models.findings_student.FindingsStudentTrainer`."""

    def __call__(
        self,
        features: Features,
        values: NDArray[np.integer],
        weights: NDArray[np.floating],
        *,
        baseline: NDArray[np.floating],
        groups: NDArray[np.integer] | None,
        seed: int,
    ) -> StudentOfFindings | None: ...


def judge_findings(
    logits: NDArray[Any],
    did_not_see: NDArray[np.bool_],
    values: NDArray[np.integer],
    counted: NDArray[np.bool_],
    baseline: NDArray[np.floating],
    *,
    image_passes: int = 0,
) -> StudentOfFindings:
    """Average the networks' predictions, calibrate them, and compare them with the baseline, finding by finding.

    Parameters
    ----------
    logits : (N, M, L) array, of M networks
    did_not_see : (N, M) bool array, which networks did not see the image
    values : (N, L) int array
    counted : (N, L) bool array, known values that did not choose when to stop
    baseline : (N, L) array, out-of-sample probabilities
    """
    share = did_not_see / did_not_see.sum(axis=1, keepdims=True)
    probability = np.einsum("nm,nml->nl", share, expit(logits.astype(np.float64)))
    found = values.shape[1]
    area, before, reliable = np.full(found, np.nan), np.full(found, np.nan), np.zeros(found, dtype=bool)
    for f in range(found):
        rows = np.flatnonzero(counted[:, f])
        of = values[rows, f]
        if min((of == 1).sum(), (of == 0).sum()) < FEWEST:
            continue
        both = np.stack([1.0 - probability[:, f], probability[:, f]], axis=1)
        probability[:, f] = sharpened(both, inverse_temperature(both[rows], of))[:, 1]
        area[f], before[f], spread = compared_areas(probability[rows, f], np.asarray(baseline)[rows, f], of)
        reliable[f] = area[f] - before[f] - CONFIDENCE * spread > -NOT_WORSE
    return StudentOfFindings(probability, reliable, area, before, image_passes)


def compared_areas(
    score: NDArray[np.floating], other: NDArray[np.floating], values: NDArray[np.integer]
) -> tuple[float, float, float]:
    """The areas under the ROC curves of two scores for the same values, (N,), and the standard error of their difference.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson 1988, the paired test.
    """
    present, absent = values == 1, values == 0
    m, n = int(present.sum()), int(absent.sum())
    above, below = [], []
    for each in (score, other):
        rank = rankdata(each)
        above.append((rank[present] - rankdata(each[present])) / n)
        below.append(1.0 - (rank[absent] - rankdata(each[absent])) / m)
    spread = np.sqrt(np.var(above[0] - above[1], ddof=1) / m + np.var(below[0] - below[1], ddof=1) / n)
    return float(above[0].mean()), float(above[1].mean()), float(spread)


def mean_area(score: NDArray[np.floating], values: NDArray[np.integer], known: NDArray[np.bool_]) -> float:
    """The mean area under the ROC curve over findings, (N, L), that are known present and absent; 0 without any."""
    areas = []
    for score_of, of, there in zip(score.T, values.T, known.T, strict=True):
        ours, theirs = score_of[there & (of == 1)], score_of[there & (of == 0)]
        if len(ours) and len(theirs):
            areas.append(roc_area(ours, theirs)[0])
    return float(np.mean(areas)) if areas else 0.0
