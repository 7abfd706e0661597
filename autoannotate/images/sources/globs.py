"""Files by a pattern, as in `scans/**/*.png`."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from autoannotate.errors import InputError
from autoannotate.images.kinds import HIDDEN, is_hidden
from autoannotate.images.ref import PassedOver
from autoannotate.images.sources import archives
from autoannotate.images.sources.source import Entry, Source


def entries(text: str) -> Iterator[Entry | PassedOver]:
    """The files that match, `**` for folders of any depth, in the order of their names; archives among them are opened.

    Raises
    ------
    InputError
        Where none matches.
    """
    root = _root(text)
    files = sorted(Path(match) for match in glob.iglob(text, recursive=True))  # noqa: PTH207 (pathlib knows no absolute ones)
    files = [file for file in files if file.is_file()]
    if not files:
        raise InputError(f"No file matches {text}: write ** for folders of any depth, as in 'scans/**/*.png'.")
    for file in files:
        path = file.relative_to(root).as_posix()
        if is_hidden(file.name):
            yield HIDDEN
            continue
        if archives.is_archive(file.name):
            yield from archives.below(f"{path}/", archives.entries(str(file)))
        else:
            yield Entry(path, file)


def _root(text: str) -> Path:
    """The folder before the first part that is a pattern."""
    parts = Path(text).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def _recognises(text: str) -> bool:
    return glob.has_magic(text) and "://" not in text and not Path(text).exists()


SOURCE = Source("pattern", "a pattern in quotes, as in 'scans/**/*.png'", _recognises, entries)
