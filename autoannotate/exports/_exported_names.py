"""Which image each exported picture is: kept with the run, since an answer comes back under the name of the copy."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from autoannotate._internal.files import write_files
from autoannotate.errors import OutputError

FILE = "exported-names.json"


def exported_names(folder: Path) -> dict[str, list[str]]:
    """The paths of the images that were ever exported under each file name; empty where nothing was, or it was not noted."""
    try:
        known = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {str(name): [str(path) for path in paths] for name, paths in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def remember(folder: Path, names: Mapping[str, str]) -> None:
    """Note the path behind each file name, beside what is known; where the folder cannot be written, nothing is noted."""
    known = exported_names(folder)
    before = {name: list(paths) for name, paths in known.items()}
    for name, path in names.items():
        if path not in known.setdefault(name, []):
            known[name].append(path)
    if known != before:
        with contextlib.suppress(OutputError):
            write_files({folder / FILE: (json.dumps(known, indent=0) + "\n").encode()})
