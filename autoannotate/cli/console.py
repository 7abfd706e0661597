"""What commands print with: text as it is, and no sign that could end a command whose work is done."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def make_console() -> Console:
    """A console that prints names and paths as they are: brackets are no markup, and colons no emoji."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def replace_what_cannot_be_shown() -> None:
    """Let stdout and stderr write `?` for a character that their encoding lacks, as cp1252 and ASCII lack arrows."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="replace")
