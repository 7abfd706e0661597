"""A table as CheXpert and MIMIC-CXR have them: path and a column a finding, 1, 0, -1 (a reader was unsure) or blank.

For runs of findings. `autoannotate apply` and `audit --labels` read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoannotate.errors import UsageError
from autoannotate.runs.tables import to_csv

if TYPE_CHECKING:
    from pathlib import Path

    from autoannotate.exports import Order
    from autoannotate.runs.run import What

SUFFIX = "-chexpert.csv"


def next_step(path: Path, what: What, link: str) -> str:
    """What to do with the table."""
    return f"Correct the cells; then: autoannotate apply DIR {path}" if what == "suspects" else ""


def write(order: Order) -> None:
    """Write one row an image.

    Raises
    ------
    UsageError
        For a run with one class an image.
    """
    run = order.annotations
    if run.findings is None:
        raise UsageError("The format chexpert is for runs with several findings an image: choose csv.")
    found = run.findings.set_index(["path", "finding"])
    values, sources = found["value"].to_dict(), found["source"].to_dict()
    table = run.rows(order.what)[["path"]].copy()
    for name in run.classes:
        cells = []
        for path in table["path"]:
            value = values[path, name]
            open_ = value == -1 and sources[path, name] != "clinician"
            cells.append("" if open_ else int(value))
        table[name] = cells
    order.path.write_bytes(to_csv(table))
