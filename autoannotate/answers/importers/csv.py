"""A table: our own exported queue with its column `answer` filled in, `path,label`, or Label Studio's CSV and TSV.

Columns (their case does not matter): `path`; `answer`, where empty cells are images not answered, or else `label`;
`verdict`, `reader`, `note`, `answered_at` and `seconds` where there are such. A table of the machine's labels without a
column `answer` (labels.csv, suspects.csv) does not tell which labels a person looked at. Commas, semicolons and tabs
separate; UTF-8, UTF-16 and Windows-1252 are read, as spreadsheets save them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from autoannotate.answers.importers import Given, seconds, utc
from autoannotate.errors import InputError
from autoannotate.runs.delimited import PATH, Delimited, column_key, decode, parse, read_delimited
from autoannotate.runs.tables import fused

HINT = (
    "write what you see in the column answer (add it where there is none), or say --all-checked if a person looked at "
    "every row"
)
_NAMES = {
    "image": PATH,
    "answer": ("answer", "choice"),
    "label": ("label",),
    "verdict": ("verdict",),
    "reader": ("reader", "annotator", "completed_by"),
    "note": ("note", "comment"),
    "answered_at": ("answered_at", "updated_at", "created_at"),
    "seconds": ("seconds", "lead_time"),
}
_BY_MACHINE = {"suspect_score", "clip_label", "suggested_label", "confidence"}


def recognises(head: bytes) -> bool:
    """Whether the first line names a column of pictures and one of answers."""
    if head.startswith((b"[", b"{", b"<", b"PK")):
        return False
    try:
        columns = _columns(parse(decode(head, cut=True), cut=True))
    except csv.Error:
        return False
    return "image" in columns and bool(columns.keys() & {"answer", "label", "verdict"})


def read(file: Path) -> Iterator[Given]:
    """Each row that has an answer. Raises `InputError` where a column is missing."""
    table = read_delimited(file)
    header, columns = table.header, _columns(table)
    if "image" not in columns:
        raise InputError(f"{file} lacks the column path: it needs path and answer, or path and label.")
    if not columns.keys() & {"answer", "label", "verdict"}:
        raise InputError(f"{file} has no column answer: it needs path and answer, or path and label.")
    machine = bool(_BY_MACHINE & {column_key(name) for name in header})
    for number, row in table.rows:
        cells = {what: row[i].strip() if i < len(row) else "" for what, i in columns.items()}
        word, by_person = _word(cells, machine)
        if not word:
            continue
        yield Given(
            where=f"row {number}",
            image=fused(cells["image"], "path"),
            word=word,
            machine=fused(cells.get("label", "")),
            reader=_reader(fused(cells.get("reader", "")), header[columns["reader"]] if "reader" in columns else ""),
            note=fused(cells.get("note", "")),
            answered_at=utc(cells.get("answered_at", "")),
            seconds=seconds(cells.get("seconds", "")),
            by_person=by_person,
        )


def _word(cells: Mapping[str, str], machine: bool) -> tuple[str, bool]:
    """What a row answers, and whether a person must have written it."""
    label = fused(cells.get("label", ""))
    if "answer" in cells:
        answer = fused(cells["answer"])
        return (answer, True) if answer else (label, False)
    verdict = cells.get("verdict", "")
    if verdict and verdict.casefold() != "label":
        return fused(verdict), True
    return label, not machine


def _reader(name: str, column: str) -> str:
    """Label Studio's tables have a number for each annotator."""
    return f"annotator {name}" if name.isdecimal() and column.strip().casefold() == "annotator" else name


def _columns(table: Delimited) -> dict[str, int]:
    found = {what: table.column(names) for what, names in _NAMES.items()}
    return {what: i for what, i in found.items() if i is not None}
