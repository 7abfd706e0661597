"""Faults of boxes that need no detector: outside the picture, degenerate, doubled, on nothing, and of a size that no other box
of their class has. Each kind is one function; `FAULTS` holds them all.

Outliers are told by the modified z-score of Iglewicz and Hoaglin (1993, "How to Detect and Handle Outliers", section 3.3), on a
log scale: 0.6745 (x - median) / MAD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLIVER = 1.0  # pixels; a side that is no longer shows nothing
SAME = 0.85  # intersection over union of two boxes that are meant for one thing
OUTLIER = 4.5  # modified z-score; 3.5 is usual for one feature, and two are looked at
TIMES = 1.5  # larger, smaller, longer or flatter than is usual, below which a size is not odd
FEWEST = 15  # boxes of a class, below which no size is odd
FLAT = 1.0  # grey levels of 255: the spread of a box on nothing
OUT = 0.02  # share of a box that lies outside, from which it is said


@dataclass(frozen=True, eq=False)
class Fault:
    """Something wrong with a box.

    Attributes
    ----------
    box : int or None
        None where something is not boxed; then picture and corners, (4,), say where.
    score : float
        0 to 1, higher is worse.
    other : int or None
        The box that it is one with, where it is doubled.
    suggested : int or None
        The class that it should have.
    """

    box: int | None
    kind: str
    score: float
    detail: str
    other: int | None = None
    picture: int | None = None
    corners: NDArray[np.float64] | None = None
    suggested: int | None = None


@dataclass(frozen=True, eq=False)
class Boxes:
    """B boxes in N pictures.

    Attributes
    ----------
    corners : (B, 4) x_min, y_min, x_max, y_max in pixels
    labels : (B,) class numbers
    pictures : (B,) picture numbers
    sizes : (N, 2) width and height
    spread : (B,) standard deviation of the grey inside, 0 to 255, NaN where the box has no inside
    """

    corners: NDArray[np.float64]
    labels: NDArray[np.int64]
    pictures: NDArray[np.int64]
    sizes: NDArray[np.float64]
    spread: NDArray[np.float64]
    class_names: Sequence[str]

    @property
    def area(self) -> NDArray[np.float64]:
        """(B,) areas in square pixels; 0 of boxes that are turned round."""
        sides = np.maximum(self.corners[:, 2:] - self.corners[:, :2], 0.0)
        return np.asarray(sides[:, 0] * sides[:, 1])

    @property
    def degenerate(self) -> NDArray[np.bool_]:
        """(B,) bool, a side that is no longer than a pixel, turned round, or no number."""
        sides = self.corners[:, 2:] - self.corners[:, :2]
        return np.asarray(~(sides > SLIVER).all(axis=1))

    @property
    def outside(self) -> NDArray[np.float64]:
        """(B,) share of the area that lies outside the picture."""
        whole = self.sizes[self.pictures]
        low = np.clip(self.corners[:, :2], 0.0, whole)
        high = np.clip(self.corners[:, 2:], 0.0, whole)
        inside = np.prod(np.maximum(high - low, 0.0), axis=1)
        return np.where(self.area > 0, 1.0 - inside / np.maximum(self.area, 1e-9), 0.0)


FAULTS: dict[str, Callable[[Boxes], Iterator[Fault]]] = {}


def fault(kind: str) -> Callable[[Callable[[Boxes], Iterator[Fault]]], Callable[[Boxes], Iterator[Fault]]]:
    """Register the function as what finds faults of a kind."""

    def register(function: Callable[[Boxes], Iterator[Fault]]) -> Callable[[Boxes], Iterator[Fault]]:
        FAULTS[kind] = function
        return function

    return register


def find_faults(boxes: Boxes) -> list[Fault]:
    """All faults, the worst first."""
    found = [each for find in FAULTS.values() for each in find(boxes)]
    return sorted(found, key=lambda each: (-each.score, -1 if each.box is None else each.box, each.kind))


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union, (A, B), of boxes (A, 4) and (B, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0.0), axis=2)
    area = [np.prod(np.maximum(each[:, 2:] - each[:, :2], 0.0), axis=1) for each in (first, second)]
    return np.asarray(both / np.maximum(area[0][:, None] + area[1][None] - both, 1e-9))


@fault("degenerate")
def degenerate(boxes: Boxes) -> Iterator[Fault]:
    """A box without an inside."""
    for i in np.flatnonzero(boxes.degenerate).tolist():
        width, height = boxes.corners[i, 2:] - boxes.corners[i, :2]
        yield Fault(i, "degenerate", 1.0, f"{width:g} by {height:g} pixels: it encloses nothing")


@fault("outside")
def outside(boxes: Boxes) -> Iterator[Fault]:
    """A box that is partly or wholly outside its picture."""
    share = boxes.outside
    for i in np.flatnonzero(~boxes.degenerate & (share >= OUT)).tolist():
        width, height = boxes.sizes[boxes.pictures[i]]
        what = "all of it" if share[i] > 1 - 1e-9 else f"{share[i]:.0%} of it"
        detail = f"{what} lies outside the picture of {width:g} by {height:g} pixels"
        yield Fault(i, "outside", 0.5 + 0.5 * float(share[i]), detail)


@fault("doubled")
def doubled(boxes: Boxes) -> Iterator[Fault]:
    """Two boxes of one picture that are nearly the same; of two with one class the later is too many."""
    for picture in np.unique(boxes.pictures):
        rows = np.flatnonzero((boxes.pictures == picture) & ~boxes.degenerate)
        same = np.triu(overlap(boxes.corners[rows], boxes.corners[rows]), 1)
        for a, b in zip(*np.nonzero(same >= SAME), strict=True):
            first, second = int(rows[a]), int(rows[b])
            names = boxes.class_names[boxes.labels[first]], boxes.class_names[boxes.labels[second]]
            share = float(same[a, b])
            if names[0] == names[1]:
                yield Fault(
                    second, "doubled", share, f"there is another {names[0]} box here (overlap {share:.0%})", first
                )
            else:
                detail = f"one box says {names[1]} and another {names[0]} (overlap {share:.0%})"
                yield Fault(second, "contradiction", share, detail, first)


@fault("on nothing")
def on_nothing(boxes: Boxes) -> Iterator[Fault]:
    """A box on an even area: hardly any spread of grey, or far less than other boxes of its class have."""
    usable = ~boxes.degenerate & np.isfinite(boxes.spread)
    z = np.zeros(len(boxes.labels))
    for k in range(len(boxes.class_names)):
        rows = np.flatnonzero(usable & (boxes.labels == k))
        z[rows] = _modified_z(np.log(np.maximum(boxes.spread[rows], 0.1)))
    for i in np.flatnonzero(usable & ((boxes.spread < FLAT) | (z < -OUTLIER))).tolist():
        detail = f"hardly anything in it (spread {boxes.spread[i]:.1f} of 255 grey levels)"
        yield Fault(i, "on nothing", 0.9 if boxes.spread[i] < FLAT else 0.7, detail)


@fault("size")
def odd_size(boxes: Boxes) -> Iterator[Fault]:
    """A box much larger, smaller, longer or flatter than others of its class, as a share of its picture."""
    usable = ~boxes.degenerate & (boxes.outside < 1.0)
    sides = np.maximum(boxes.corners[:, 2:] - boxes.corners[:, :2], 1e-9)
    share = boxes.area / np.prod(boxes.sizes[boxes.pictures], axis=1)
    for k, name in enumerate(boxes.class_names):
        rows = np.flatnonzero(usable & (boxes.labels == k))
        area, aspect = np.log(np.maximum(share[rows], 1e-12)), np.log(sides[rows, 0] / sides[rows, 1])
        usual = float(np.exp(np.median(area))) if len(rows) else 0.0
        size, shape = _modified_z(area), _modified_z(aspect)
        away = aspect - np.median(aspect) if len(rows) else aspect
        for row, z, turned, longer in zip(rows.tolist(), size, shape, away, strict=True):
            score = 1.0 - OUTLIER / max(abs(z), abs(turned), OUTLIER)
            if abs(z) > OUTLIER and max(share[row] / usual, usual / max(share[row], 1e-12)) > TIMES:
                times = share[row] / usual
                much = f"{times:.1f} times as large as" if times > 1 else f"{1 / times:.1f} times smaller than"
                yield Fault(
                    row, "too large" if z > 0 else "too small", 0.4 + 0.5 * score, f"{much} the usual {name} box"
                )
            elif abs(turned) > OUTLIER and abs(longer) > np.log(TIMES):
                detail = f"{sides[row, 0]:g} by {sides[row, 1]:g} pixels: no other {name} box has such a shape"
                yield Fault(row, "odd shape", 0.3 + 0.5 * score, detail)


def _modified_z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Iglewicz and Hoaglin's score of each value; 0 of few."""
    if len(values) < FEWEST:
        return np.zeros(len(values))
    away = values - np.median(values)
    spread = float(np.median(np.abs(away)))
    return np.asarray(0.6745 * away / max(spread, 1e-3 + 0.05 * float(np.std(values))))
