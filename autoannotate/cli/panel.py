"""A framed list as rich draws it, for a page that cannot wait for the import of rich."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

import typer


def panel(title: str, rows: Sequence[tuple[str, str]], width: int) -> str:
    """Names and what they mean, in a frame of this width."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    across, down, corners = ("─", "│", "╭╮╰╯") if unicode else ("-", "|", "++++")
    names = max(len(name) for name, _ in rows)
    room = max(width - names - 6, 10)
    inner = names + room + 4
    drawn = [f"{corners[0]}{across} {title} {across * (inner - len(title) - 3)}{corners[1]}"]
    for name, says in rows:
        for i, line in enumerate(textwrap.wrap(says, room) or [""]):
            named = typer.style(f"{name if i == 0 else '':{names}}", fg="cyan", bold=True)
            drawn.append(f"{down} {named}  {line:{room}} {down}")
    drawn.append(f"{corners[2]}{across * inner}{corners[3]}")
    return "".join(f"{line}\n" for line in drawn)
