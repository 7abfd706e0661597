"""A table for spreadsheets: the columns of labels.csv or suspects.csv; no cell can fire as a formula."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoannotate.tables import to_csv

if TYPE_CHECKING:
    from autoannotate.annotations import Annotations, What

SUFFIX = ".csv"


def write(annotations: Annotations, what: What, path: Path) -> None:
    """Write one row an image."""
    path.write_bytes(to_csv(annotations.rows(what)))
