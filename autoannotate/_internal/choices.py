"""Choices by name: each module of a folder is one (a format, a protocol), and a name that is none of them gets the nearest."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Collection
from types import ModuleType

from autoannotate.errors import UsageError


def module_names(package: str) -> list[str]:
    """The public modules of a package, sorted, with dashes as on the command line.

    >>> module_names("autoannotate.answers.importers")
    ['chexpert', 'csv', 'cvat', 'fiftyone', 'label-studio']
    """
    found = (module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def chosen_module(package: str, name: str, what: str) -> ModuleType:
    """The module of a package by its name on the command line; `what` it is, for the sentence.

    Raises
    ------
    UsageError
        With the names there are, and the nearest one.
    """
    chosen(name, module_names(package), what)
    return importlib.import_module(f"{package}.{name.replace('-', '_')}")


def chosen(name: str, known: Collection[str], what: str) -> str:
    """`name`, if it is known; `what` it is, for the sentence.

    Raises
    ------
    UsageError
        With the names there are, and the nearest one.

    Examples
    --------
    >>> chosen("knn", ["given", "knn"], "method")
    'knn'
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"There is no {what} {name!r}: choose one of {', '.join(known)}.{hint}")
    return name
