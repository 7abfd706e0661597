"""Repairs of boxes on disk: proposals.csv, what a person said of each in decisions.csv, and boxes-repaired.csv made of both.

proposals.csv is written once, by the audit. decisions.csv grows by a line a decision, so that none is ever lost; of several
about one proposal the last counts. boxes-repaired.csv holds every proposal that nobody dropped.
"""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate._internal.files import OF_A_RUN, plain_errors, write_files
from autoannotate.errors import InputError
from autoannotate.runs import tables
from autoannotate.runs.delimited import read_delimited
from autoannotate.runs.tables import could_fire, to_csv

if TYPE_CHECKING:
    import pandas as pd

CORNERS = ("x_min", "y_min", "x_max", "y_max")
NEW_CORNERS = tuple(f"new_{name}" for name in CORNERS)
COLUMNS = ("proposal", "box", "path", "label", "change", "suggested_label", *CORNERS, *NEW_CORNERS, "overlap", "detail")
ABOUT, BOXES, PROPOSALS, DECISIONS, REPAIRED = (
    "boxes.json", "boxes.csv", "proposals.csv", "decisions.csv", "boxes-repaired.csv"
)  # fmt: skip
TAKE, DROP, OPEN = "take", "drop", "open"
_DECIDED = ("proposal", "decision", "reader", "answered_at")
_writing = threading.Lock()


def is_box_audit(folder: Path) -> bool:
    """Whether the folder holds an audit of boxes."""
    return (folder / ABOUT).is_file()


def about(folder: Path) -> dict[str, Any]:
    """What boxes.json says of the audit.

    Raises
    ------
    InputError
        Where it is none.
    """
    try:
        told = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{folder} holds no audit of boxes that can be read.") from None
    if not isinstance(told, dict):
        raise InputError(f"{folder / ABOUT} is damaged.")
    return told


def read_boxes_table(folder: Path) -> pd.DataFrame:
    """boxes.csv: the boxes as they were read."""
    return tables.read(folder / BOXES, ("path", *CORNERS, "label"))


def read_proposals(folder: Path) -> pd.DataFrame:
    """proposals.csv, the columns `COLUMNS`; `box` is a row of boxes.csv, -1 where a box is added.

    Raises
    ------
    InputError
        Where the audit made none.
    """
    if not (folder / PROPOSALS).exists():
        raise InputError(
            f"{folder} holds an audit of boxes without repairs: run it again with --repair to have some to take or drop."
        )
    return tables.read(folder / PROPOSALS, COLUMNS)


def read_decisions(folder: Path) -> dict[int, str]:
    """The last decision of each proposal, take or drop; what was taken back is left out."""
    found: dict[int, str] = {}
    file = folder / DECISIONS
    if not file.exists():
        return found
    table = read_delimited(file, ours=True)
    where = [table.column([name]) for name in _DECIDED[:2]]
    for _, row in table.rows:
        proposal, decision = ("" if i is None or i >= len(row) else row[i] for i in where)
        if proposal.isdigit() and decision in (TAKE, DROP, OPEN):
            found[int(proposal)] = decision
    return {number: said for number, said in found.items() if said != OPEN}


def decide(folder: Path, proposal: int, decision: str, reader: str) -> dict[int, str]:
    """Keep what a person said of a proposal, and write boxes-repaired.csv anew. Returns all decisions.

    Parameters
    ----------
    decision : take, drop, or open, which takes an earlier one back

    Raises
    ------
    InputError
        Where there is no such proposal or decision.
    """
    proposals = read_proposals(folder)
    if proposal not in set(proposals["proposal"]):
        raise InputError(f"There is no proposal {proposal}.")
    if decision not in (TAKE, DROP, OPEN):
        raise InputError(f"A proposal is taken or dropped, not {decision!r}.")
    if could_fire(reader):
        raise InputError(f"{reader[:20]!r} cannot be a name.")
    with _writing, plain_errors(folder / DECISIONS, OF_A_RUN):
        new = not (folder / DECISIONS).exists()
        line = io.StringIO()
        rows = [_DECIDED] if new else []
        now = datetime.now(UTC).isoformat(timespec="seconds")
        csv.writer(line, lineterminator="\n").writerows([*rows, (proposal, decision, reader, now)])
        with (folder / DECISIONS).open("a", encoding="utf-8", newline="") as stream:
            stream.write(line.getvalue())
            stream.flush()
            os.fsync(stream.fileno())
        decisions = read_decisions(folder)
        made = repaired_boxes(read_boxes_table(folder), proposals, decisions)
        write_files({folder / REPAIRED: to_csv(made)}, OF_A_RUN)
    return decisions


def repaired_boxes(boxes: pd.DataFrame, proposals: pd.DataFrame, decisions: Mapping[int, str]) -> pd.DataFrame:
    """The boxes that are left, with what was done to each (`change`), by how much (`overlap` with the box as it was), and
    whether a person took it (`decision`: take, or open while nobody decided)."""
    import pandas as pd

    made = boxes.assign(change="", overlap=1.0, decision="")
    gone: list[int] = []
    added: list[dict[str, Any]] = []
    for row in proposals.to_dict("records"):
        said = decisions.get(int(row["proposal"]), OPEN)
        if said == DROP:
            continue
        new = dict(zip(CORNERS, (float(row[name]) for name in NEW_CORNERS), strict=True))
        told = {
            "label": row["suggested_label"], **new, "change": row["change"], "overlap": row["overlap"], "decision": said
        }  # fmt: skip
        box = int(row["box"])
        if row["change"] == "dropped":
            gone.append(box)
        elif box < 0:
            added.append({"path": row["path"], **told})
        else:
            for name, value in told.items():
                made.loc[box, name] = value
    made = made.drop(index=gone)
    if added:
        made = pd.concat([made, pd.DataFrame(added)])
    return made.reset_index(drop=True)[["path", *CORNERS, "label", "change", "overlap", "decision"]]
