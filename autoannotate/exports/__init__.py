"""Labels for other programs: one module a format, found by its name (`label_studio.py` is `label-studio`).

A format's module says what it is in the first line of its docstring, names the `SUFFIX` of its file (empty
for a folder) and has one function, `write(annotations, what, path)`, that makes `path`. Adding a format is
adding such a file.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from autoannotate.errors import OutputError, UsageError
from autoannotate.tables import plain_errors

if TYPE_CHECKING:
    from autoannotate.annotations import Annotations, What


class Format(Protocol):
    """What a module in this folder offers."""

    SUFFIX: str

    def write(self, annotations: Annotations, what: What, path: Path) -> None: ...


def formats() -> list[str]:
    """The names of the formats.

    >>> "csv" in formats() and "jsonl" in formats()
    True
    """
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def find_format(name: str) -> Format:
    """The format of that name. Raises `UsageError` with the names there are, and the nearest one."""
    known = formats()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"There is no format {name!r}: choose one of {', '.join(known)}.{hint}")
    return cast(Format, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def export(annotations: Annotations, format: str, path: Path, what: What = "suspects", overwrite: bool = False) -> None:
    """Write the suspects, or all labels, to `path`: whole, or not at all.

    Raises `UsageError` for an unknown format or part, and `OutputError` where something is in the way. An
    exported queue may hold a clinician's answers by now, so a file is replaced only with `overwrite`, and a
    folder never.
    """
    module = find_format(format)
    annotations.rows(what)  # an unknown part is found out before anything is written
    if path.is_dir():
        raise OutputError(f"{path} is a folder that is there already: choose another place with --out.")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} is there already and may hold answers: choose another place with --out, or replace it "
            "with --overwrite."
        )
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            module.write(annotations, what, beside / path.name)
            (beside / path.name).replace(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
