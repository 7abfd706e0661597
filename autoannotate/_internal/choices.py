"""Choices by name: each module of a folder is one (a format, a protocol), and a name that is none of them gets the nearest."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from autoannotate.errors import UsageError


def module_names(package: str) -> list[str]:
    """The public modules of a package, sorted, with dashes as on the command line; the package is not imported for it.

    >>> module_names("autoannotate.answers.importers")
    ['chexpert', 'csv', 'cvat', 'fiftyone', 'label-studio']
    """
    found = (module.name for module in pkgutil.iter_modules(_places(package)))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def registered_names(module: str, decorator: str) -> list[str]:
    """The functions of a module that a decorator registers, by the name it is given or else their own; read from the source.

    >>> registered_names("autoannotate.evaluation.noise_injection", "noise_model")
    ['symmetric', 'class', 'instance']
    """
    package, _, name = module.rpartition(".")
    tree = ast.parse(Path(_places(package)[0], f"{name}.py").read_bytes())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    found = [(node.name, mark) for node in functions for mark in node.decorator_list]
    named = [(name, [ast.literal_eval(of) for of in getattr(mark, "args", ())]) for name, mark in found
             if ast.unparse(getattr(mark, "func", mark)) == decorator]  # fmt: skip
    return [str(given[0]) if given else name for name, given in named]


def _places(package: str) -> list[str]:
    loaded = sys.modules.get(package)
    if loaded is not None:
        return list(loaded.__path__)
    spec = importlib.util.find_spec(package)
    assert spec is not None, package
    return list(spec.submodule_search_locations or ())


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
