"""Image sets with several findings an image, for the protocol `findings`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoannotate.answers.given_findings import read_given_findings
from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation.datasets import GROUPS, TABLE
from autoannotate.evaluation.labelled_set import LabelledSet
from autoannotate.images import find_images
from autoannotate.runs.delimited import column_key
from autoannotate.runs.run import check_findings


def read_findings_set(sources: Sequence[str], findings: Sequence[str] = ()) -> LabelledSet:
    """The images of a folder with a labels.csv, with the findings of each.

    Parameters
    ----------
    sources : one folder, or its table of findings (columns of 1, 0, -1 and blank, or one of a|b)
    findings : which of them; by default all that the table has

    Raises
    ------
    UsageError
        For several sources.
    InputError
        Where the table holds no findings of images that are there.
    """
    if len(sources) != 1:
        raise UsageError(
            "The protocol findings takes one --data: a folder with a labels.csv of several findings an image."
        )
    place = Path(sources[0])
    table = place / TABLE if place.is_dir() else place
    if not table.is_file():
        raise InputError(f"There is no table {table}: it has a path and a column a finding, or one with a|b.")
    refs = find_images(table.parent)
    given = read_given_findings(table, refs, list(findings) or None, skip_problems=True)
    names = check_findings([name.replace("_", " ") for name in given.names])
    rows = np.flatnonzero(given.listed)
    known = {column_key(name): cells for name, cells in given.columns.items()}
    together = next((known[name] for name in GROUPS if name in known), None)
    groups = None
    if together is not None:
        groups = np.unique([together[row] or f"image {row}" for row in rows], return_inverse=True)[1].astype(np.int64)
    wrong = len(given.problems)
    notes = (f"{wrong:,} rows or images of {table.name} do not fit and are left out.",) if wrong else ()
    return LabelledSet(
        [refs[row] for row in rows], np.zeros(len(rows), dtype=np.int64), names, groups, table.parent.name, None, notes,
        values=given.values[rows],
    )  # fmt: skip
