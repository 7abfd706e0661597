"""The command line's frame: the Typer app, and how a command fails with one plain sentence.

Results go to stdout, progress and errors to stderr. Exit status: 0 done, 1 failed with a plain sentence,
2 wrong usage, 130 stopped with Ctrl-C. Heavy imports happen inside the commands: `--help` answers at once.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import typer

from autoannotate.errors import AutoannotateError, UsageError

P = ParamSpec("P")
TRACE = "AUTOANNOTATE_TRACE"
RUN = Path("autoannotate-run")
DEMO = Path("autoannotate-demo")
ABOUT = """Labels for unlabelled medical images.

CLIP proposes, cleanlab doubts, a CNN corrects, a clinician decides."""
MACHINERY = "Machinery"
LINE_BREAK = re.compile(r"(?<!\n)\n(?![\n\s*-])")
"""A line that goes on in the next one, but for lists and paragraphs."""

app = typer.Typer(
    name="autoannotate",
    help=ABOUT,
    epilog="To see it work on real images: autoannotate demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def plainly(stopped: str = "Stopped.") -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Let a command fail with one plain sentence on stderr and the right exit status, never with a trace."""

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            trace = bool(os.environ.get(TRACE))
            if not trace:
                warnings.simplefilter("ignore")  # what libraries have to say to programmers
            try:
                command(*args, **kwargs)
            except (typer.Exit, typer.Abort, BrokenPipeError):
                raise
            except KeyboardInterrupt:
                _say(stopped)
                raise typer.Exit(130) from None
            except Exception as error:
                if trace:
                    raise
                _say(_in_words(error))
                raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None

        run.__doc__ = LINE_BREAK.sub(" ", inspect.cleandoc(command.__doc__ or ""))  # the help wraps to the terminal

        return run

    return decorate


def _in_words(error: Exception) -> str:
    if isinstance(error, AutoannotateError):
        return str(error)
    said = " ".join(str(error).split())[:300]
    return (
        f"Something went wrong that autoannotate did not foresee ({type(error).__name__}: {said}). Please "
        f"report it where autoannotate is developed, with the command and what {TRACE}=1 before it shows."
    )


def _say(sentence: str) -> None:
    typer.secho("autoannotate: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(sentence, err=True)
