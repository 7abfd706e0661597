"""JSON Lines for programs: one object an image, with the columns of labels.csv or suspects.csv as keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from autoannotate.runs.tables import records

if TYPE_CHECKING:
    from autoannotate.exports import Order

SUFFIX = ".jsonl"


def write(order: Order) -> None:
    """Write one line an image, UTF-8, keys in the order of the columns."""
    with order.path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for row in records(order.annotations.rows(order.what)):
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
