"""Faults of boxes by what a detector finds that never saw them: badly placed, of a wrong class, on nothing, and not boxed.

The boxes and the detections of a picture are paired so that they overlap most together (the assignment problem, Kuhn 1955). A
pair that overlaps far less than pairs of its class usually do, by the modified z-score of Iglewicz and Hoaglin (1993), is badly
placed; how good the detector is at all so decides what counts as far. cleanlab's scores for object detection (Tkachenko,
Thyagarajan and Mueller 2023, arXiv 2309.00832) ask the same of single boxes: badly located, swapped, overlooked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.label_errors.box_faults import FEWEST, Boxes, Fault, overlap
from autoannotate.labelling.label_errors.box_repairs import Repair

HIT = 0.5  # overlap with a box, from which a detection found it (Pascal VOC)
PAIR = 0.1  # overlap, below which a box and a detection are not of one thing
FAR = 3.5  # modified z-score, as Iglewicz and Hoaglin have it
LARGER = 1.3  # times the area, from which a box is too large or too small, and not shifted
PRECISE, FEW = (
    0.8,
    5,
)  # share of detections that find a box, of at least so many, from which one that finds none is said
RELIABLE = 0.7  # share of a class's boxes that is found, below which a box that is not found says nothing


@dataclass(frozen=True, eq=False)
class Detections:
    """What was detected in a picture. corners: (D, 4) in its pixels. labels: (D,). scores: (D,) in [0, 1], highest first."""

    corners: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Paired:
    """B boxes beside what was detected: (B,) the overlap with the detection that it is paired with, 0 without one; its corners,
    (B, 4), label and score. alone: detections that no box is paired with, as (picture, corners, label, score)."""

    overlap: NDArray[np.float64]
    corners: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    alone: list[tuple[int, NDArray[np.float64], int, float]]


def sure_from(boxes: Boxes, detections: Sequence[Detections]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The scores from which detections of a class are counted, (K,): where they agree most (F1) with the boxes that exist; and
    from which one speaks against all boxes, (K,): where `PRECISE` of them find a box, never where none do."""
    k = len(boxes.class_names)
    scores: list[list[float]] = [[] for _ in range(k)]
    hits: list[list[bool]] = [[] for _ in range(k)]
    for picture, found in enumerate(detections):
        rows = np.flatnonzero((boxes.pictures == picture) & ~boxes.degenerate)
        for c in range(k):
            mine, there = found.labels == c, rows[boxes.labels[rows] == c]
            near = overlap(found.corners[mine], boxes.corners[there])
            taken: set[int] = set()
            for score, row in zip(found.scores[mine].tolist(), near, strict=True):
                best = int(row.argmax()) if len(row) else -1
                hit = best >= 0 and row[best] >= HIT and best not in taken
                taken |= {best} if hit else set()
                scores[c].append(score)
                hits[c].append(hit)
    counted, firm = np.ones(k), np.full(k, np.inf)
    for c in range(k):
        if any(hits[c]):
            order = np.argsort(-np.array(scores[c]), kind="stable")
            many = np.arange(1, len(order) + 1)
            right = np.cumsum(np.array(hits[c])[order])
            sorted_ = np.array(scores[c])[order]
            counted[c] = sorted_[int((2 * right / (many + int((boxes.labels == c).sum()))).argmax())]
            precise = np.flatnonzero((right >= PRECISE * many) & (many >= FEW))
            firm[c] = max(counted[c], sorted_[precise[-1]]) if len(precise) else np.inf
    return counted, firm


def paired(boxes: Boxes, detections: Sequence[Detections], sure: NDArray[np.float64]) -> Paired:
    """Boxes and detections, from a score `sure` (K,) on, of one thing."""
    from scipy.optimize import linear_sum_assignment

    b = len(boxes.labels)
    made = Paired(np.zeros(b), np.zeros((b, 4)), np.full(b, -1), np.zeros(b), [])
    for picture, found in enumerate(detections):
        rows = np.flatnonzero((boxes.pictures == picture) & ~boxes.degenerate)
        counted = np.flatnonzero(found.scores >= sure[found.labels]) if len(found.labels) else np.zeros(0, dtype=int)
        near = overlap(boxes.corners[rows], found.corners[counted])
        agree = boxes.labels[rows][:, None] == found.labels[counted][None]
        pairs = [*zip(*linear_sum_assignment(near + 0.1 * agree * (near > 0), maximize=True), strict=True)]
        used = set()
        for i, j in pairs:
            if near[i, j] < PAIR:
                continue
            used.add(int(j))
            row, one = rows[i], counted[j]
            made.overlap[row], made.corners[row] = near[i, j], found.corners[one]
            made.labels[row], made.scores[row] = found.labels[one], found.scores[one]
        for j, one in enumerate(counted.tolist()):
            if j not in used and (not len(rows) or near[:, j].max() < HIT):
                made.alone.append((picture, found.corners[one], int(found.labels[one]), float(found.scores[one])))
    return made


def detection_faults(boxes: Boxes, detections: Sequence[Detections]) -> tuple[list[Fault], list[Repair]]:
    """What is wrong with the boxes by detections of detectors that did not see them, and what they should rather be.

    Parameters
    ----------
    detections : one of each picture, N

    Returns
    -------
    faults : worst first; those that nobody boxed have the box None
    repairs : moved, relabelled and added boxes; boxes that were not found stay
    """
    sure, firm = sure_from(boxes, detections)
    found = paired(boxes, detections, sure)
    anything = paired(boxes, detections, sure / 2).overlap > 0
    faults: list[Fault] = []
    repairs: list[Repair] = []
    names, area = boxes.class_names, boxes.area
    for k, name in enumerate(names):
        rows = np.flatnonzero((boxes.labels == k) & ~boxes.degenerate)
        here = rows[found.overlap[rows] > 0]
        if len(rows) < FEWEST or not len(here):
            continue
        values = found.overlap[here]
        usual = float(np.median(values))
        away = 0.6745 * (values - usual) / max(float(np.median(np.abs(values - usual))), 0.03)
        for row, z in zip(here.tolist(), away.tolist(), strict=True):
            share, score = float(found.overlap[row]), float(found.scores[row])
            if found.labels[row] != k and share >= HIT:
                other = int(found.labels[row])
                detail = f"a detector that never saw it finds a {names[other]} here ({score:.2f})"
                faults.append(Fault(row, "wrong class", 0.5 + 0.5 * score, detail, suggested=other))
                repairs.append(Repair(row, int(boxes.pictures[row]), "relabelled", boxes.corners[row], other, detail))
            elif z < -FAR:
                sides = found.corners[row, 2:] - found.corners[row, :2]
                times = float(area[row] / max(float(np.prod(sides)), 1e-9))
                kind = "too large" if times > LARGER else "too small" if times < 1 / LARGER else "shifted"
                detail = (
                    f"a detector that never saw it puts the {name} elsewhere (overlap {share:.0%}, {usual:.0%} is usual; the "
                    f"box is {times:.1f} times as large)"
                )
                faults.append(Fault(row, kind, 0.4 + 0.6 * (1.0 - FAR / max(-z, FAR)), detail))
                repairs.append(Repair(row, int(boxes.pictures[row]), "moved", found.corners[row], k, detail))
        if len(here) >= RELIABLE * len(rows):
            for row in rows[~anything[rows]].tolist():
                detail = f"a detector that never saw it finds nothing here, and {len(here) / len(rows):.0%} of the {name} boxes"
                faults.append(Fault(row, "on nothing", 0.3, detail))
    for picture, corners, label, score in found.alone:
        if score < firm[label]:
            continue
        detail = f"a detector finds a {names[label]} that nobody boxed ({score:.2f})"
        faults.append(
            Fault(None, "not boxed", 0.3 + 0.6 * score, detail, picture=picture, corners=corners, suggested=label)
        )
        repairs.append(Repair(None, picture, "added", corners, label, detail))
    return sorted(faults, key=lambda each: -each.score), repairs


def together(first: Sequence[Fault], second: Sequence[Fault]) -> list[Fault]:
    """The faults of both, each kind of a box once, worst first."""
    made: dict[tuple[int | None, str, int], Fault] = {}
    for n, each in enumerate([*first, *second]):
        key = (each.box, each.kind, n if each.box is None else 0)
        if key not in made or made[key].score < each.score:
            made[key] = each
    return sorted(made.values(), key=lambda each: (-each.score, -1 if each.box is None else each.box, each.kind))


def one_each(first: Sequence[Repair], second: Sequence[Repair]) -> list[Repair]:
    """The repairs of both: of a box that has one of the first, the second counts only where the box is merely cut."""
    kept = {each.box: each for each in first}
    added = [each for each in second if each.box is None]
    for each in second:
        if each.box is not None and (each.box not in kept or kept[each.box].change == "cut"):
            corners = kept[each.box].corners if each.box in kept and each.change == "relabelled" else each.corners
            kept[each.box] = replace(each, corners=corners)
    return [*(kept[box] for box in sorted(box for box in kept if box is not None)), *added]
