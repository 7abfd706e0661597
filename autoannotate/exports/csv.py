"""A table for spreadsheets: the columns of labels.csv or suspects.csv; no cell can fire as a formula.

The suspects have two empty columns more, `answer` and `note`, for a clinician to fill in and `autoannotate apply` to
read. A row whose answer is left empty stays in the queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoannotate.runs.tables import csv_parts

if TYPE_CHECKING:
    from pathlib import Path

    from autoannotate.exports import Order
    from autoannotate.runs.run import What

SUFFIX = ".csv"
TO_FILL_IN = ("answer", "note")


def next_step(path: Path, what: What, link: str) -> str:
    """What to do with the queue."""
    if what != "suspects":
        return ""
    return (
        "Fill in the column answer: a class, ok (the label is right), none-of-these, not-usable or unsure; then: "
        f"autoannotate apply DIR {path}"
    )


def write(order: Order) -> None:
    """Write one row an image."""
    rows = order.annotations.rows(order.what)
    if order.what == "suspects":
        rows = rows.assign(**dict.fromkeys(TO_FILL_IN, ""))
    with order.path.open("wb") as file:
        file.writelines(csv_parts(rows))
