"""Class names as people type them: with commas between, quoted where they hold one, as JSON, or in a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from autoannotate.errors import UsageError
from autoannotate.runs.delimited import decode


def class_names(text: str | None, file: Path | None) -> list[str]:
    """The names from --classes or --classes-file.

    Raises
    ------
    UsageError
        Where both are given, or neither.
    """
    if (text is None) == (file is None):
        way = "Name what an image can be with --classes A,B,… or with --classes-file FILE, one name a line"
        raise UsageError(f"{way}." if text is None else f"{way}: give one of the two.")
    return class_list(text) if text is not None else _from_file(Path(str(file)))


def class_list(text: str) -> list[str]:
    """The names in what was typed after --classes.

    Raises
    ------
    UsageError
        Where it cannot be understood, with the way out.

    Examples
    --------
    >>> class_list('"chest, PA",breast'), class_list('["chest", "breast"]'), class_list("'chest,breast'")
    (['chest, PA', 'breast'], ['chest', 'breast'], ['chest', 'breast'])
    """
    text = text.strip()
    if text.startswith("@"):
        return _from_file(Path(text[1:]))
    if text.startswith(("[", "{")):
        try:
            names = json.loads(text)
        except ValueError:
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"{text!r} is no JSON list of names: give them as in --classes chest,breast")
        return names
    if len(text) > 2 and text[0] == text[-1] == "'" and "'" not in text[1:-1]:  # cmd.exe leaves such quotes in place
        text = text[1:-1]
    try:
        return next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error:
        raise UsageError(
            f"A quote in {text!r} is never closed: put a name with a comma in double quotes, as in "
            "--classes '\"chest, PA\",breast'"
        ) from None


def as_typed(names: Sequence[str]) -> str:
    """Names as `class_list` reads them.

    Examples
    --------
    >>> as_typed(["chest, PA", "breast"])
    '"chest, PA",breast'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()


def _from_file(file: Path) -> list[str]:
    try:
        text = decode(file.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({(error.strerror or str(error)).lower()}): it should have one class a line."
        ) from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) == 1 and not lines[0].startswith("@"):
        return class_list(lines[0])
    return [line[1:-1].replace('""', '"') if len(line) > 2 and line[0] == line[-1] == '"' else line for line in lines]
