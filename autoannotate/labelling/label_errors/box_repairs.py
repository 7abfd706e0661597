"""What boxes should rather be: changes that are proposed, one a box, and the boxes that are left where they are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.label_errors.box_faults import SLIVER, Boxes, Fault

DROPPED = "dropped"


@dataclass(frozen=True, eq=False)
class Repair:
    """A change that is proposed.

    Attributes
    ----------
    box : int or None
        Its row; None where a box is added.
    picture : int
    change : str
        cut, turned, moved, relabelled, dropped or added.
    corners : (4,) array
        Where the box should be; where it is, if it is dropped.
    label : int
        The class that it should have.
    detail : str
        Why, in words.
    """

    box: int | None
    picture: int
    change: str
    corners: NDArray[np.float64]
    label: int
    detail: str


def sure_repairs(boxes: Boxes, faults: Sequence[Fault]) -> list[Repair]:
    """What can be put right without seeing more: boxes cut at the border of the picture, corners put in order; and those left
    out that enclose nothing, lie outside or are drawn twice. None but the last can lower the overlap with a true box, and a
    box of less than a pixel stays, since the thing may be as small."""
    low = np.minimum(boxes.corners[:, :2], boxes.corners[:, 2:])
    high = np.maximum(boxes.corners[:, :2], boxes.corners[:, 2:])
    found: dict[int, Repair] = {}

    def propose(i: int, change: str, corners: NDArray[np.float64], detail: str) -> None:
        found[i] = Repair(i, int(boxes.pictures[i]), change, corners, int(boxes.labels[i]), detail)

    for i in np.flatnonzero(boxes.degenerate).tolist():
        if np.isfinite(boxes.corners[i]).all() and (high[i] - low[i] > SLIVER).all():
            propose(i, "turned", np.concatenate([low[i], high[i]]), "its corners are in the wrong order")
        elif not (np.isfinite(boxes.corners[i]).all() and (high[i] > low[i]).all()):
            propose(i, DROPPED, boxes.corners[i], "it encloses nothing")
    for each in faults:
        if each.kind != "outside" or each.box is None:
            continue
        if boxes.outside[each.box] > 1 - 1e-9:
            propose(each.box, DROPPED, boxes.corners[each.box], each.detail)
        else:
            limits = np.tile(boxes.sizes[boxes.pictures[each.box]], 2)
            propose(each.box, "cut", np.clip(boxes.corners[each.box], 0.0, limits), each.detail)
    for each in faults:
        gone = each.other is not None and each.other in found and found[each.other].change == DROPPED
        if each.kind == "doubled" and each.box is not None and not gone:
            propose(each.box, DROPPED, boxes.corners[each.box], each.detail)
    return [found[i] for i in sorted(found)]
