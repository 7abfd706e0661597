"""How each picture was when a round was made: by what a picture that was replaced since is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autoannotate.errors import InputError, UsageError
from autoannotate.images import ImageRef, stamp
from autoannotate.runs import history


def stamps(folder: Path, number: int, refs: Mapping[str, ImageRef]) -> dict[str, str]:
    """How each file was in a round, by path; empty where that is not known or the folder was copied since."""
    try:
        then = history.load_round(folder, number)
    except (InputError, UsageError):
        return {}
    text, paths = then.record.stamps, list(then.table["path"])
    if len(text) != 8 * len(paths):
        return {}
    known = {path: text[8 * i : 8 * i + 8] for i, path in enumerate(paths)}
    here = [path for path in paths if path in refs]
    differ = sum(stamp(refs[path]).ljust(8, "0") != known[path] for path in here)
    return {} if differ > len(here) / 2 else known
