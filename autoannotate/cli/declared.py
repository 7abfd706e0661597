"""The commands that modules declare, read from their source: importing them all takes ten times as long."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path


def declared(folder: Path) -> dict[str, tuple[str, str]]:
    """Name to module and first paragraph of help, for each `@app.command` and `app.add_typer` of a folder's modules.

    Modules come in the order of their names, `label` before all others; commands in the order of their module.

    >>> from autoannotate.cli import commands
    >>> declared(Path(commands.__path__[0]))["export"]
    ('export', 'Write the suspects, or all labels, for another program.')
    """
    files = sorted(folder.glob("*.py"), key=lambda file: (file.stem != "label", file.stem))
    return {name: (file.stem, says) for file in files for name, says in _commands(ast.parse(file.read_bytes()))}


def _commands(module: ast.Module) -> Iterator[tuple[str, str]]:
    groups = {
        node.targets[0].id: str(_argument(node.value, None, "help"))
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call)
    }
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            for call in node.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "app.command":
                    text = inspect.cleandoc(ast.get_docstring(node) or "").split("\n\n")[0]
                    yield str(_argument(call, 0, "name") or node.name.replace("_", "-")), " ".join(text.split())
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            if ast.unparse(call.func) == "app.add_typer" and isinstance(call.args[0], ast.Name):
                yield str(_argument(call, None, "name")), groups[call.args[0].id]


def _argument(call: ast.Call, position: int | None, name: str) -> object:
    """The constant that a call is given, by position or name; None where there is none."""
    given = [word.value for word in call.keywords if word.arg == name]
    given += call.args[position : position + 1] if position is not None else []
    return given[0].value if given and isinstance(given[0], ast.Constant) else None
