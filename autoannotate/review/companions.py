"""Which images are compared with one: of the same series, study, patient or group, and the nearest of other classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from autoannotate.answers.store import Answer
from autoannotate.review.picture_files import Files
from autoannotate.review.rows import Row
from autoannotate.review.similar_images import LookAlikes
from autoannotate.runs.run import Run

SHARED = (("series", "the same series"), ("study", "the same study"), ("patient", "the same patient"),
          ("group", "the same group"))  # fmt: skip
"""Columns of labels.csv that say which images belong together, the closest first, and how that is said."""
MOST_OF_A_KIND = 4
MOST_CLASSES = 4


class Compared(Protocol):
    """What companions are found in, see `session.Desk`."""

    annotations: Run
    by_path: dict[str, Row]
    lookalikes: LookAlikes
    files: Files


def companions(desk: Compared, row: Row, mine: Mapping[str, Answer], hidden: bool = False) -> list[dict[str, Any]]:
    """The images to see side by side with one: of the same series, study, patient or group, then the nearest of each other
    class.

    Parameters
    ----------
    hidden : nothing of what the machine thinks may show: then the second kind is left out
    """
    found: dict[str, str] = {}
    table = desk.annotations.table
    for column, words in SHARED:
        if column not in table:
            continue
        ids = dict(zip(table["path"], table[column].astype(str), strict=True))
        here = ids.get(row.path, "")
        same = [path for path, other in ids.items() if here and other == here and path != row.path]
        for path in [path for path in same if path not in found][:MOST_OF_A_KIND]:
            found[path] = words
    if not hidden:
        taken = {row.label}
        for path in desk.lookalikes.ranked(row.path):
            answer, other = mine.get(path), desk.by_path.get(path)
            label = answer.label if answer is not None else None if other is None else other.label
            if label and label not in taken and path not in found:
                found[path] = f"the nearest of {label}"
                taken.add(label)
            if len(taken) > MOST_CLASSES:
                break
    return [
        {"id": desk.by_path[path].id, "path": path, "why": why, **desk.files.look(path).__dict__}
        for path, why in found.items()
        if path in desk.by_path
    ]
