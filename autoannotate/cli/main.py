"""The command line as a whole: every command of `autoannotate.cli.commands`, `label` first."""

from __future__ import annotations

import importlib
import pkgutil

from autoannotate.cli import commands
from autoannotate.cli.app import app
from autoannotate.cli.console import replace_what_cannot_be_shown

FIRST = "label"

for _name in sorted(
    (module.name for module in pkgutil.iter_modules(commands.__path__)), key=lambda name: (name != FIRST, name)
):
    importlib.import_module(f"{commands.__name__}.{_name}")


def main() -> None:
    """What the console script `autoannotate` calls."""
    replace_what_cannot_be_shown()
    app(prog_name="autoannotate")
