"""The methods that ours is measured against, written from their papers; one file each.

All see the same features as ours and take the settings of their papers, or better ones where those do worse here (said in
the file). Adding one is adding a file with `solve(problem)`; the first sentence of its docstring is what reports call it.
"""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

from autoannotate._internal.choices import module_names

SHARED = ("shared", "heads", "students")  # what several of them use
ON_REQUEST = ("aled", "coteaching", "disc", "sce", "sstext")
"""Those that take longer than all others together, or are made for few answers: measured where `--methods` names them."""


def baselines() -> tuple[str, ...]:
    """The names of the baselines.

    >>> "cleanlab" in baselines() and "transclip" in baselines()
    True
    """
    return tuple(name for name in module_names(__name__) if name not in SHARED)


def trained() -> tuple[str, ...]:
    """The baselines that are ways to train a network, which the student's own can be too: their `solve` takes `fit`.

    >>> trained()
    ('coteaching', 'disc', 'sce')
    """
    return tuple(name for name in baselines() if "fit" in inspect.signature(baseline(name).solve).parameters)


def usual() -> tuple[str, ...]:
    """The baselines that run when nobody names the methods: all but `ON_REQUEST`."""
    return tuple(name for name in baselines() if name not in ON_REQUEST)


def baseline(name: str) -> ModuleType:
    """The module of a baseline."""
    return importlib.import_module(f"{__name__}.{name}")


def described(name: str) -> str:
    """What a baseline is, from the first sentence of its docstring."""
    first = (baseline(name).__doc__ or name).strip().split("\n")[0].rstrip(".")
    return first
