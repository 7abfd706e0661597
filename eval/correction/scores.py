"""What a variant of the correction is worth over many problems: gains, losses, and the share of what could be reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from problems import NOISES, SIZES, Problem

from autoannotate.evaluation.statistics import bootstrap_interval

LOSING = 0.005
"""A problem loses when its accuracy falls by more than this share (half a point)."""


@dataclass(frozen=True)
class Score:
    """Accuracies and balanced accuracies, as shares, of the labels of one problem; reachable: with the truth known."""

    problem: Problem
    before: float
    after: float
    balanced_before: float
    balanced_after: float
    reachable: float
    changed: int

    @property
    def gain(self) -> float:
        """In accuracy."""
        return self.after - self.before


@dataclass(frozen=True)
class Summary:
    """Over problems: gains in points (hundredths), by noise and by size; losses; see `COLUMNS` for what each is."""

    problems: int
    gain: float
    interval: tuple[float, float]
    balanced: float
    reach: float
    by_noise: dict[str, float]
    by_size: dict[int, float]
    losing: int
    lost: float
    balanced_lost: float
    right: int
    right_changed: int
    right_worst: float


COLUMNS = (
    ("problems", "problems"),
    ("gain", "mean gain in accuracy, points, with its 95% bootstrap interval over problems"),
    ("balanced", "the same in balanced accuracy"),
    ("of reach", "share of the gain of a probe that learned the truth, weighed by the true noise"),
    *((noise, f"mean gain under {noise} noise") for noise in NOISES),
    *((str(size), f"mean gain among {size} images") for size in SIZES),
    ("losing", "problems that lose more than half a point"),
    ("lost", "points lost in them together"),
    ("bal. lost", "points of balanced accuracy lost where that falls by more than half a point"),
    ("right changed", "of the problems with right labels, those with any label changed"),
    ("right worst", "the most that one of these lost, points"),
)


def balanced_accuracy(truth: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """The mean recall over the classes that the truth has."""
    return float(np.mean([(labels[truth == c] == c).mean() for c in np.unique(truth)]))


def score(
    problem: Problem,
    truth: NDArray[np.integer],
    given: NDArray[np.integer],
    labels: NDArray[np.integer],
    reachable: NDArray[np.integer],
) -> Score:
    """Labels (N,) of a problem against its truth (N,), beside those given and those that an oracle reaches."""
    return Score(
        problem,
        float((given == truth).mean()),
        float((labels == truth).mean()),
        balanced_accuracy(truth, given),
        balanced_accuracy(truth, labels),
        max(float((reachable == truth).mean()), float((given == truth).mean())),
        int((labels != given).sum()),
    )


def summarise(scores: Sequence[Score]) -> Summary:
    """The summary of one variant."""
    gain = np.array([each.gain for each in scores])
    balanced = np.array([each.balanced_after - each.balanced_before for each in scores])
    reach = np.array([each.reachable - each.before for each in scores])
    noise = np.array([each.problem.noise for each in scores])
    size = np.array([each.problem.size for each in scores])
    right = noise == "right"

    def mean(of: NDArray[np.bool_]) -> float:
        return 100.0 * float(gain[of].mean()) if of.any() else float("nan")

    return Summary(
        problems=len(scores),
        gain=100.0 * float(gain.mean()),
        interval=tuple(100.0 * end for end in bootstrap_interval(gain) or (gain[0], gain[0])),
        balanced=100.0 * float(balanced.mean()),
        reach=float(gain.sum() / max(reach.sum(), 1e-12)),
        by_noise={name: mean(noise == name) for name in NOISES},
        by_size={many: mean(size == many) for many in SIZES},
        losing=int((gain < -LOSING).sum()),
        lost=100.0 * abs(float(gain[gain < -LOSING].sum())),
        balanced_lost=100.0 * abs(float(balanced[balanced < -LOSING].sum())),
        right=int(right.sum()),
        right_changed=int(sum(each.changed > 0 for each in scores if each.problem.noise == "right")),
        right_worst=100.0 * float(max(0.0, *(-gain[right]))) if right.any() else 0.0,
    )


def table(rows: Iterable[tuple[str, Summary]]) -> str:
    """A Markdown table, one row a variant."""
    lines = ["| variant | " + " | ".join(name for name, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, s in rows:
        low, high = s.interval
        cells = [str(s.problems), f"{s.gain:.2f} [{low:.1f}, {high:.1f}]", f"{s.balanced:.2f}", f"{s.reach:.0%}"]
        cells += [f"{value:.1f}" for value in (*s.by_noise.values(), *s.by_size.values())]
        cells += [str(s.losing), f"{s.lost:.1f}", f"{s.balanced_lost:.1f}", f"{s.right_changed} of {s.right}"]
        lines.append(f"| {name} | " + " | ".join([*cells, f"{s.right_worst:.1f}"]) + " |")
    return "\n".join(lines)


def legend() -> str:
    """What the columns are."""
    return "\n".join(f"- {name}: {meaning}" for name, meaning in COLUMNS)
