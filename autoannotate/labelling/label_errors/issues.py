"""Issues of labels that exist: one row an image and issue, worst first. Each kind is one function; `ISSUES` holds them all.

The kinds are those of cleanlab's Datalab (label, near duplicate, outlier) and CleanVision (quality), and what a set of medical
images has beside them: copies with different labels, images of another kind, patients on both sides of a split, classes whose
labels cannot be told apart. A score is how sure the issue is, times how much it matters (`SEVERITY`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.label_errors.reasons import REASONS, Evidence
from autoannotate.labelling.neighbours import Neighbours, near_duplicates
from autoannotate.labelling.zero_shot.image_kinds import NoneOfThese

SEVERITY = {
    "contradiction": 1.0, "label": 1.0, "none-of-these": 0.9, "outlier": 0.5, "class": 0.5, "group": 0.45, "quality": 0.4,
    "duplicate": 0.3,
}  # fmt: skip
"""How much a sure issue of a kind matters."""
DUPLICATE = (
    1 / 3
)  # thumbnails of near duplicates differ at most this share of what the most similar images usually differ by
MUTUAL = 2  # and each is among this many nearest others of the other
USUAL = 0.25  # what this share of the images has is what such images are like, and no issue of each
CONFUSED = 0.1  # share of a class's labels that belong to one other class
FEW = 8  # images of a class, below which nothing is said of it


@dataclass(frozen=True)
class Issue:
    """Something wrong with one image, or, where row is None, with a class or the whole set.

    Attributes
    ----------
    label, suggested : class numbers, None where there is none
    score : 0 to 1, higher is worse
    detail : one plain sentence
    other : the image that it is nearly the same picture as, of contradictions and duplicates
    """

    row: int | None
    kind: str
    score: float
    detail: str
    label: int | None = None
    suggested: int | None = None
    other: int | None = None


@dataclass(frozen=True, eq=False)
class Audited:
    """What is known of N labelled images with K classes.

    Attributes
    ----------
    labels, suggested : (N,) class numbers
    doubt : (N,) in 0 to 1, that the label is wrong
    flagged : (N,) bool
    out_of_sample : (N, K)
    neighbours : of the images
    thumbnails : (N, P) grey
    quality : by the name of a quality, (N,) scores in 0 to 1, low is bad, and the score below which it is an issue, see
        `quality_scores`
    none_of_these : which images look like none of the classes
    joint : (K, K) the share of images with label i that are j
    groups : (N,) ids
    split : (N,) names of the parts
    sites : by the column's name, (N,) what it says of each image
    """

    labels: NDArray[np.int64]
    class_names: Sequence[str]
    image_names: Sequence[str]
    doubt: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    suggested: NDArray[np.int64]
    out_of_sample: NDArray[np.float64]
    neighbours: Neighbours
    reasons: Sequence[str] = ()
    thumbnails: NDArray[np.generic] | None = None
    quality: Mapping[str, tuple[NDArray[np.float64], float]] = field(default_factory=dict)
    none_of_these: NoneOfThese | None = None
    joint: NDArray[np.float64] | None = None
    groups: NDArray[np.integer] | None = None
    split: NDArray[np.str_] | None = None
    sites: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)


ISSUES: dict[str, Callable[[Audited], Iterator[Issue]]] = {}


def issue(kind: str) -> Callable[[Callable[[Audited], Iterator[Issue]]], Callable[[Audited], Iterator[Issue]]]:
    """Register the function as what finds issues of a kind."""

    def register(function: Callable[[Audited], Iterator[Issue]]) -> Callable[[Audited], Iterator[Issue]]:
        ISSUES[kind] = function
        return function

    return register


def find_issues(audited: Audited) -> list[Issue]:
    """All issues, the worst first; of equal scores in the order of the images."""
    found = [each for find in ISSUES.values() for each in find(audited)]
    return sorted(found, key=lambda each: (-each.score, -1 if each.row is None else each.row, each.kind))


def same_pictures(audited: Audited) -> NDArray[np.float64]:
    """How surely an image's nearest others are the same picture, (N, k) in 0 to 1; 0 where they are not.

    Near duplicates by their features (`neighbours.near_duplicates`); or mutual nearest neighbours whose thumbnails correlate
    so well that they differ at most a third of what images usually differ by from their nearest.
    """
    index, similarity = audited.neighbours.index, audited.neighbours.similarity
    if index.shape[1] == 0:
        return np.zeros(index.shape)
    by_features = near_duplicates(audited.neighbours)
    usual = max(float(np.median(1.0 - similarity[:, 0])), 1e-9)
    sure = np.where(by_features, 1.0 - 0.5 * np.clip((1.0 - similarity) / usual, 0.0, 1.0), 0.0)
    if audited.thumbnails is None:
        return sure
    pictures = np.asarray(audited.thumbnails, dtype=np.float32)
    pictures = pictures - pictures.mean(axis=1, keepdims=True)
    pictures /= np.maximum(np.linalg.norm(pictures, axis=1, keepdims=True), 1e-9)
    apart = np.stack([1.0 - np.einsum("nd,nd->n", pictures, pictures[column]) for column in index.T], axis=1)
    close = index[:, :MUTUAL]
    mutual = (close[close] == np.arange(len(index))[:, None, None]).any(axis=2)
    ratio = apart[:, :MUTUAL] / max(float(np.median(apart[:, 0])), 1e-9)
    by_pixels = np.where(mutual & (ratio <= DUPLICATE), 1.0 - 0.5 * ratio / DUPLICATE, 0.0)
    sure[:, :MUTUAL] = np.maximum(sure[:, :MUTUAL], by_pixels)
    return sure


@issue("label")
def wrong_label(audited: Audited) -> Iterator[Issue]:
    """A label that the images contradict: as many as were flagged, and all that are rather wrong than right."""
    predicted = audited.out_of_sample.argmax(axis=1)
    suggested = np.where(audited.suggested == audited.labels, predicted, audited.suggested)
    for i in np.flatnonzero(audited.flagged | (audited.doubt >= 0.5)).tolist():
        better = audited.class_names[int(suggested[i])]
        told = audited.reasons[i] if len(audited.reasons) else ""
        same = suggested[i] == audited.labels[i]
        hardly = "hardly supported by the other images and zero-shot"
        detail = told or (hardly if same else f"rather {better}, by the other images")
        yield Issue(int(i), "label", float(audited.doubt[i]), detail, int(audited.labels[i]), int(suggested[i]))


@issue("contradiction")
def contradiction(audited: Audited) -> Iterator[Issue]:
    """Two near duplicates with different labels; the less supported of the two first."""
    for i, j, sure in _pairs(audited, same_label=False):
        label, other = int(audited.labels[i]), int(audited.labels[j])
        mine, its = (audited.out_of_sample[row, audited.labels[row]] for row in (i, j))
        detail = f"nearly the same picture as {audited.image_names[j]}, labelled {audited.class_names[other]}"
        suggested = other if (mine, -i) < (its, -j) else label
        score = SEVERITY["contradiction"] * (0.85 + 0.14 * sure + (0.01 if suggested == other else 0.0))
        yield Issue(i, "contradiction", score, detail, label, suggested, other=j)


@issue("duplicate")
def duplicate(audited: Audited) -> Iterator[Issue]:
    """Two near duplicates with the same label, worse where they are on both sides of a split."""
    for i, j, sure in _pairs(audited, same_label=True):
        leaks = audited.split is not None and audited.split[i] != audited.split[j]
        where = f", which is in {audited.split[j]}" if leaks and audited.split is not None else ""
        score = (SEVERITY["group"] if leaks else SEVERITY["duplicate"]) * sure
        detail = f"nearly the same picture as {audited.image_names[j]}{where}"
        yield Issue(i, "duplicate", score, detail, int(audited.labels[i]), other=j)


def _pairs(audited: Audited, same_label: bool) -> Iterator[tuple[int, int, float]]:
    """Of each image the surest near duplicate that has, or has not, its label."""
    sure = same_pictures(audited)
    alike = audited.labels[audited.neighbours.index] == audited.labels[:, None]
    wanted = np.where(alike == same_label, sure, 0.0)
    back: dict[tuple[int, int], float] = {}
    for i in np.flatnonzero(wanted.any(axis=1)).tolist():
        best = int(wanted[i].argmax())
        back[int(i), int(audited.neighbours.index[i, best])] = float(wanted[i, best])
    for (i, j), value in list(back.items()):  # nearest is not mutual: the other of a pair has its row too
        if not any((j, other) in back for other in audited.neighbours.index[j].tolist()) and (j, i) not in back:
            back[j, i] = value
    for (i, j), value in sorted(back.items()):
        yield i, j, value


@issue("outlier")
def outlier(audited: Audited) -> Iterator[Issue]:
    """Far from every other image, by the distance to its nearest neighbours (Sun et al. 2022, arXiv 2204.06507)."""
    evidence = Evidence(
        audited.labels, audited.out_of_sample, audited.out_of_sample, audited.neighbours, audited.class_names,
        audited.image_names,
    )  # fmt: skip
    doubt = REASONS["outlier"].doubt(evidence)
    for i in np.flatnonzero(doubt.strength > 0):
        score = SEVERITY["outlier"] * float(doubt.strength[i])
        yield Issue(int(i), "outlier", score, "far from every other image", int(audited.labels[i]))


@issue("none-of-these")
def none_of_these(audited: Audited) -> Iterator[Issue]:
    """An image that looks like another kind than those that the set is made of (`zero_shot.image_kinds`)."""
    found = audited.none_of_these
    if found is None:
        return
    for i in np.flatnonzero(found.flagged).tolist():
        chance = float(found.probability[i])
        detail = f"looks like {found.looks_like[i]} ({chance:.0%}), which no class is"
        yield Issue(i, "none-of-these", SEVERITY["none-of-these"] * chance, detail, int(audited.labels[i]))


@issue("quality")
def quality(audited: Audited) -> Iterator[Issue]:
    """Dark, bright, blurred, of low information, of odd size or aspect, by CleanVision's measures and thresholds.

    What a quarter of the images has is how such images look, and is said once.
    """
    for name, (scores, threshold) in audited.quality.items():
        bad = scores < threshold
        if bad.mean() > USUAL:
            detail = f"{int(bad.sum())} of {len(bad)} images are {name} by CleanVision's measure: taken as usual here"
            yield Issue(None, "quality", 0.01, detail)
            continue
        for i in np.flatnonzero(bad):
            worse = 0.5 + 0.5 * float(1.0 - scores[i] / max(threshold, 1e-9))
            yield Issue(int(i), "quality", SEVERITY["quality"] * worse, name, int(audited.labels[i]))


@issue("group")
def leaks(audited: Audited) -> Iterator[Issue]:
    """A group (patient, study, lesion) on both sides of a split; a class that one site alone has."""
    if audited.groups is not None and audited.split is not None:
        for group in np.unique(audited.groups):
            rows = np.flatnonzero(audited.groups == group)
            parts = audited.split[rows]
            for i in rows if len(np.unique(parts)) > 1 else ():
                others = rows[parts != audited.split[i]]
                detail = f"in {audited.split[i]}; {len(others)} of its group in {_listed(audited.split[others])}"
                yield Issue(int(i), "group", SEVERITY["group"], detail, int(audited.labels[i]))
    for column, site in audited.sites.items():
        if len(np.unique(site)) < 2:
            continue
        for k, name in enumerate(audited.class_names):
            of_class = audited.labels == k
            if of_class.sum() >= FEW and len(np.unique(site[of_class])) == 1:
                only = site[of_class][0]
                detail = (
                    f"all {int(of_class.sum())} images of {name} have {column} {only}: a model may learn that instead"
                )
                yield Issue(None, "group", SEVERITY["group"], detail, k)


@issue("class")
def classes(audited: Audited) -> Iterator[Issue]:
    """Two classes whose labels cannot be told apart; a class of which a tenth or more of the labels should be another."""
    labels, k = audited.labels, len(audited.class_names)
    for a in range(k):
        for b in range(a + 1, k):
            rows = np.flatnonzero((labels == a) | (labels == b))
            if min((labels == a).sum(), (labels == b).sum()) < FEW:
                continue
            lean = audited.out_of_sample[rows, a] - audited.out_of_sample[rows, b]
            area, spread = roc_area(lean[labels[rows] == a], lean[labels[rows] == b])
            if area - 1.96 * spread <= 0.5 or area < 0.6:
                detail = (
                    f"{audited.class_names[a]} and {audited.class_names[b]} cannot be told apart by their labels: "
                    f"AUROC {area:.2f}, 95% interval {area - 1.96 * spread:.2f} to {min(area + 1.96 * spread, 1):.2f}"
                )
                yield Issue(None, "class", SEVERITY["class"] * 2 * min(1.0 - area, 0.5), detail, a, b)
    if audited.joint is None:
        return
    for a, b in zip(*np.nonzero(audited.joint >= CONFUSED), strict=True):
        if a != b and (labels == a).sum() >= FEW:
            share = float(audited.joint[a, b])
            detail = f"an estimated {share:.0%} of {audited.class_names[a]} should be {audited.class_names[b]}"
            yield Issue(None, "class", SEVERITY["class"] * min(2 * share, 1.0), detail, int(a), int(b))


def quality_scores(
    bright: NDArray[np.float64], dim: NDArray[np.float64], entropy: NDArray[np.float64], edges: NDArray[np.float64],
    spread: NDArray[np.float64], width: NDArray[np.float64], height: NDArray[np.float64],
) -> dict[str, tuple[NDArray[np.float64], float]]:  # fmt: skip
    """CleanVision's scores of N images, low is bad, each with the threshold below which it is an issue.

    Parameters are (N,) each, as in `autoannotate.images.quality.Appearance`; formulas and constants are CleanVision 0.3.7's.
    """
    grey = 1.0 - np.exp(-0.01 * spread)
    blur = np.minimum(1.0 - np.exp(-0.01 * edges) + np.where(grey <= 0.18, 0.0, grey), 1.0)
    size = np.sqrt(width * height)
    low, high = np.percentile(size, [25, 75]) if len(size) else (0.0, 0.0)
    bottom, top = low - 3.0 * (high - low), high + 3.0 * (high - low)
    middle = (bottom + top) / 2
    odd = 1.0 - np.clip(np.abs(size - middle) / max(top - bottom if top > bottom else middle, 1e-9), 0.0, 1.0)
    return {
        "dark": (bright, 0.32),
        "bright": (1.0 - dim, 0.05),
        "blurred": (blur, 0.29),
        "of low information": (np.minimum(0.1 * entropy, 1.0), 0.3),
        "of odd aspect": (np.minimum(width / height, height / width), 0.35),
        "of odd size": (odd, 0.5 if top > bottom else 1.0),
    }


def roc_area(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    """The area under the ROC curve and its standard error (Hanley and McNeil 1982)."""
    from scipy.stats import rankdata

    m, n = len(ours), len(theirs)
    area = float((rankdata(np.concatenate([ours, theirs]))[:m].sum() - m * (m + 1) / 2) / (m * n))
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (m - 1) * (one - area**2) + (n - 1) * (two - area**2)) / (m * n)
    return area, float(np.sqrt(max(variance, 0.0)))


def _listed(names: NDArray[np.str_]) -> str:
    return " and ".join(str(name) for name in np.unique(names))
