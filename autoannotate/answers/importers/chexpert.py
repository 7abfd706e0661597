"""A table with a column a finding, as CheXpert and MIMIC-CXR have them: 1, 0, -1 (unsure), or blank where nothing is said.

For runs of findings. Columns are found by the names of the findings; columns that are none of them are passed over.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from autoannotate.answers.importers import Given, Wanted
from autoannotate.errors import InputError
from autoannotate.labelling.zero_shot.vocabulary import key
from autoannotate.runs.delimited import PATH, decode, parse, read_delimited
from autoannotate.runs.tables import fused

HINT = "write 1, 0 or -1 in the columns of the findings"
OF_OTHERS = ("answer", "choice", "label", "verdict", "annotation_id", "suspect_score")
READER, NOTE = ("reader", "annotator"), ("note", "comment")
NUMBERS = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}


def recognises(head: bytes) -> bool:
    """Whether it is a table with a column of pictures, columns of 1, 0 and -1, and no column of answers."""
    if head.startswith((b"[", b"{", b"<", b"PK")):
        return False
    try:
        table = parse(decode(head, cut=True), cut=True)
    except csv.Error:
        return False
    if table.column(PATH) is None or table.column(OF_OTHERS) is not None:
        return False
    whole = [row for _, row in table.rows[:-1] or table.rows if len(row) == len(table.header)]
    columns = ({fused(row[i].strip()) for row in whole} for i in range(len(table.header)))
    return any(cells <= {*NUMBERS, ""} and cells & NUMBERS.keys() for cells in columns)


def read(file: Path, wanted: Wanted) -> Iterator[Given]:
    """Each row that says something.

    Raises
    ------
    InputError
        Where no column is a finding of the run, or a cell is no number.
    """
    table = read_delimited(file)
    path = table.column(PATH)
    if path is None:
        raise InputError(f"{file} lacks the column path: it needs path and a column a finding.")
    known = {key(name): name for name in wanted.classes}
    columns = {known[key(name)]: i for i, name in enumerate(table.header) if key(name) in known}
    if not columns:
        raise InputError(f"{file} has no column of a finding of the run: they are {', '.join(wanted.classes)}.")
    reader, note = table.column(READER), table.column(NOTE)
    for number, row in table.rows:
        cells = [cell.strip() for cell in [*row, *[""] * (len(table.header) - len(row))]]
        said = {}
        for name, i in columns.items():
            if not cells[i]:
                continue
            if fused(cells[i]) not in NUMBERS:
                raise InputError(f"{file}, row {number}: {name} is {cells[i]!r}, and 1, 0, -1 or blank is wanted.")
            said[name] = NUMBERS[fused(cells[i])]
        if said:
            yield Given(
                where=f"row {number}", image=fused(cells[path], "path"),
                word="|".join(f"{name}={value}" for name, value in said.items()),
                reader="" if reader is None else fused(cells[reader]), note="" if note is None else fused(cells[note]),
            )  # fmt: skip
