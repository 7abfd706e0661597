"""JSON Lines for programs: one object an image, with the columns of labels.csv or suspects.csv as keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoannotate.annotations import Annotations, What

SUFFIX = ".jsonl"


def write(annotations: Annotations, what: What, path: Path) -> None:
    """Write one line an image, UTF-8, keys in the order of the columns."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for row in annotations.rows(what).to_dict(orient="records"):
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
