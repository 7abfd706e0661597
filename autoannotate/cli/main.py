"""The command line as a whole: all commands by name, each loaded when it is called.

Importing every command, building its options and drawing with rich take 0.3 s, and the list of the commands needs none of it.
"""

from __future__ import annotations

import importlib
import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from autoannotate.cli import commands
from autoannotate.cli.app import app
from autoannotate.cli.console import replace_what_cannot_be_shown
from autoannotate.cli.declared import declared
from autoannotate.cli.panel import panel

COMMANDS = declared(Path(commands.__path__[0]))
"""Name to the module in `autoannotate.cli.commands` that has the command, and the first paragraph of its help."""


class LazyGroup(typer.core.TyperGroup):
    """The group of all commands, which imports a command's module when that command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None once all are loaded, from which Typer suggests one."""
        if cmd_name not in self.commands:
            self.commands.update(loaded([cmd_name] if cmd_name in COMMANDS else list(COMMANDS)).commands)
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page that rich would draw."""
        width = shutil.get_terminal_size().columns
        options = [("  ".join(option.opts), str(getattr(option, "help", ""))) for option in self.get_params(ctx)]
        about = (self.help or "").split("\n\n")
        parts = [
            [f"Usage: {ctx.command_path} {' '.join(self.collect_usage_pieces(ctx))}"],
            *[textwrap.wrap(paragraph, max(width - 2, 20)) for paragraph in about],
        ]
        for part in parts:
            formatter.write("\n" + "".join(f" {line}\n" for line in part))
        formatter.write("\n" + panel("Options", options, width))
        formatter.write(panel("Commands", [(name, says) for name, (_, says) in COMMANDS.items()], width))
        formatter.write(f"\n {self.epilog}\n")


def loaded(names: Iterable[str]) -> typer.core.TyperGroup:
    """The group with these commands in it."""
    for module in dict.fromkeys(COMMANDS[name][0] for name in names):
        importlib.import_module(f"{commands.__name__}.{module}")
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return group


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"autoannotate {version('autoannotate')}")
        raise typer.Exit


@app.callback(cls=LazyGroup)
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What holds for every command."""


def main() -> None:
    """What the console script `autoannotate` calls."""
    replace_what_cannot_be_shown()
    app(prog_name="autoannotate")
