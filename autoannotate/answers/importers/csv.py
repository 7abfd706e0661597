"""A table: our own exported queue with its column `answer` filled in, `path,label`, or Label Studio's CSV and TSV.

Columns (their case does not matter): `path`; `answer`, where empty cells are images not answered, or else `label`;
`verdict`, `reader`, `note`, `answered_at` and `seconds` where there are such. A table of the machine's labels without a
column `answer` (labels.csv, suspects.csv) does not tell which labels a person looked at; in Label Studio's tables the answers
are in the columns behind `id`, and `label` is what the task came with. Separators and encodings: see `runs.delimited`.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from autoannotate._internal.wording import listed
from autoannotate.answers.importers import Given, Wanted, holds_answers, seconds, utc
from autoannotate.answers.importers.label_studio import choice_words, control_names
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
_OF_ANNOTATIONS = {"id", "annotator", "created_at", "updated_at", "lead_time"}
"""Columns of which Label Studio's tables have several, whatever was taken out of them since."""
_BY_MACHINE = {"suspect_score", "clip_label", "suggested_label", "confidence"}


def recognises(head: bytes) -> bool:
    """Whether the first line names a column of pictures and one of answers."""
    if head.startswith((b"[", b"{", b"<", b"PK")):
        return False
    try:
        table = parse(decode(head, cut=True), cut=True)
    except csv.Error:
        return False
    columns = _columns(table)
    return "image" in columns and (bool(columns.keys() & {"answer", "label", "verdict"}) or _by_label_studio(table))


def read(file: Path, wanted: Wanted) -> Iterator[Given]:
    """Each row that has an answer.

    Raises
    ------
    InputError
        Where a column is missing.
    """
    table = read_delimited(file)
    columns = _columns(table)
    if "image" not in columns:
        raise InputError(f"{file} lacks the column path: it needs path and answer, or path and label.")
    machine = bool(_BY_MACHINE & {column_key(name) for name in table.header})
    if _by_label_studio(table) or wanted.control is not None:
        machine = True
        columns.pop("verdict", None)
        if (answers := _answers(table, file, wanted)) is None:
            columns.pop("answer", None)
        else:
            columns["answer"] = answers
    if not columns.keys() & {"answer", "label", "verdict"}:
        raise InputError(
            f"{file} has no column answer: it needs path and answer, or path and label. It has {listed(table.header)}: if "
            "one of these holds the answers, say which with --control."
        )
    by_file = column_key(table.header[columns["image"]]) != "path"
    for number, row in table.rows:
        cells = {what: row[i].strip() if i < len(row) else "" for what, i in columns.items()}
        words, by_person = _words(cells, machine)
        for word in words:
            yield Given(
                where=f"row {number}",
                image=fused(cells["image"], "path"),
                word=word,
                machine=fused(cells.get("label", "")),
                reader=_reader(
                    fused(cells.get("reader", "")), table.header[columns["reader"]] if "reader" in columns else ""
                ),
                note=fused(cells.get("note", "")),
                answered_at=utc(cells.get("answered_at", "")),
                seconds=seconds(cells.get("seconds", "")),
                by_person=by_person,
                by_file=by_file,
            )


def _by_label_studio(table: Delimited) -> bool:
    known = {column_key(name) for name in table.header}
    return "annotation_id" in known or len(known & _OF_ANNOTATIONS) > 1


def _answers(table: Delimited, file: Path, wanted: Wanted) -> int | None:
    """Which column holds the answers, by number."""
    keys = [column_key(name) for name in table.header]
    if wanted.control is None and "answer" in keys:
        return keys.index("answer")
    names = control_names([table.header]) if wanted.control is None else table.header
    words: dict[str, set[str]] = {name: set() for name in names}
    for _, row in table.rows:
        for name, cell in zip(table.header, row, strict=False):
            if name in words:
                words[name] |= set(_chosen(cell.strip()))
    if wanted.control is None:
        words = {name: said for name, said in words.items() if said}
    found = holds_answers(words, wanted, file)
    return None if found is None else table.header.index(found)


def _words(cells: Mapping[str, str], machine: bool) -> tuple[list[str], bool]:
    """What a row answers, and whether a person must have written it."""
    label = [fused(cells["label"])] if cells.get("label") else []
    if "answer" in cells:
        answers = _chosen(cells["answer"])
        return (answers, True) if answers else (label, False)
    verdict = cells.get("verdict", "")
    if verdict and verdict.casefold() != "label":
        return [fused(verdict)], True
    return label, not machine


def _chosen(cell: str) -> list[str]:
    """The words in a cell; Label Studio writes several as JSON.

    >>> _chosen("chest"), _chosen('{"choices": ["chest", "breast"]}'), _chosen("")
    (['chest'], ['chest', 'breast'], [])
    """
    if cell.startswith(("{", "[")):
        with contextlib.suppress(ValueError):
            found = json.loads(cell)
            return choice_words(found)
    return [fused(cell)] if cell else []


def _reader(name: str, column: str) -> str:
    """Label Studio's tables have a number for each annotator."""
    return f"annotator {name}" if name.isdecimal() and column.strip().casefold() == "annotator" else name


def _columns(table: Delimited) -> dict[str, int]:
    found = {what: table.column(names) for what, names in _NAMES.items()}
    return {what: i for what, i in found.items() if i is not None}
