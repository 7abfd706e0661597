"""A text file with a path a line, or a table with a column of paths."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

from autoannotate.errors import InputError
from autoannotate.images.sources.source import Entry, Source

SUFFIXES = (".txt", ".lst", ".csv", ".tsv")
COLUMNS = ("path", "file", "image", "filename", "file_name", "filepath", "image_path", "image path", "image_id")
MOST_BYTES = 2**30


def entries(text: str) -> Iterator[Entry]:
    """The files that a list names, relative to the list's own folder; each once.

    Raises
    ------
    InputError
        With what is wrong, and the way out.
    """
    place = Path(text)
    names = list(dict.fromkeys(_names(place)))
    if not names:
        raise InputError(f"The list {place} names no file: write one path a line, relative to the folder of the list.")
    folder = place.absolute().parent
    files = [folder / name for name in names]
    there = sum(file.exists() for file in files)
    if not there:
        raise InputError(
            f"None of the {len(files):,} files that {place} names is there (the first: {names[0]}): "
            f"paths are relative to the folder of the list, {folder}."
        )
    root = (
        folder
        if all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in names)
        else _common(files)
    )
    for file in files:
        path = os.path.relpath(file, root) if root else file.name
        yield Entry(Path(path).as_posix(), file)


def _common(files: list[Path]) -> Path | None:
    """The deepest folder that all files are in."""
    try:
        return Path(os.path.commonpath([os.path.normpath(file.parent) for file in files]))
    except ValueError:  # on several drives of Windows
        return None


def _names(place: Path) -> Iterator[str]:
    content = _content(place)
    if place.suffix.lower() in (".txt", ".lst"):
        yield from (line.strip() for line in content.splitlines() if line.strip() and not line.startswith("#"))
        return
    first = content.partition("\n")[0]
    delimiter = max("\t;,", key=first.count) if any(mark in first for mark in "\t;,") else ","
    rows = [
        row for row in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter) if any(map(str.strip, row))
    ]
    if not rows:
        return
    header = [cell.strip().casefold() for cell in rows[0]]
    column = next((header.index(name) for name in COLUMNS if name in header), None)
    if column is None and len(header) > 1:
        raise InputError(
            f"The table {place} has no column of paths: name it `path` ({', '.join(header[:8])} are there)."
        )
    for row in rows[0 if column is None else 1 :]:
        cell = row[column or 0].strip() if len(row) > (column or 0) else ""
        if cell:
            yield cell.removeprefix("./")


def _content(place: Path) -> str:
    try:
        if place.stat().st_size > MOST_BYTES:
            raise InputError(f"{place} is too large for a list of paths.")
        return place.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"The list {place} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        return place.read_bytes().decode("cp1252", "replace")  # as spreadsheets on Windows save


def _recognises(text: str) -> bool:
    return text.lower().endswith(SUFFIXES) and Path(text).is_file()


SOURCE = Source("list", "a text file or table of paths (txt, csv, tsv)", _recognises, entries)
