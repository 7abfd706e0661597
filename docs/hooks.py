"""What mkdocs does beside its plugins: lists of what is registered, equations, and the script of the search.

A line `<!-- exports -->` (a key of `LISTS`) becomes a table of names and what the code says of them. Equations in LaTeX become
MathML, which browsers draw by themselves. The search of pages on a disk needs iframe-worker (Martin Donath, MIT), which the
plugin `offline` would fetch from a server: docs/assets holds it.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

from autoannotate._internal.choices import module_names
from autoannotate.evaluation.baselines import baselines
from autoannotate.evaluation.noise_injection import NOISES
from autoannotate.evaluation.representations import representations
from autoannotate.images.registry import READERS
from autoannotate.labelling.label_errors.reasons import REASONS
from autoannotate.labelling.queries.strategies import STRATEGIES
from autoannotate.runs.label_columns import COLUMNS

LISTS = {
    "exports": ("autoannotate.exports", module_names("autoannotate.exports")),
    "importers": ("autoannotate.answers.importers", module_names("autoannotate.answers.importers")),
    "protocols": ("autoannotate.evaluation.protocols", module_names("autoannotate.evaluation.protocols")),
    "baselines": ("autoannotate.evaluation.baselines", baselines()),
    "representations": ("autoannotate.evaluation.representations", representations()),
    "noise models": ("", NOISES),
    "strategies": ("", STRATEGIES),
    "reasons": ("", {name: reason.doubt for name, reason in REASONS.items()}),
    "readers": ("", {reader.formats: ", ".join(sorted(reader.suffixes)) for reader in READERS}),
    "columns": ("", {column.name: column.says for column in COLUMNS}),
}

CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
BLOCK, INLINE = re.compile(r"\$\$(.+?)\$\$", re.DOTALL), re.compile(r"\$([^$\n]+?)\$")

LIST = re.compile(rf"^<!-- ({'|'.join(LISTS)}) -->$", re.MULTILINE)
BRACKETS = re.compile(r'<autoref [^>]*identifier="([A-Z]+)"[^>]*>([A-Z]+)</autoref>')

SHIM = "https://unpkg.com/iframe-worker/shim"


def rows(package: str, names: Any) -> Iterator[str]:
    """The rows of a table: each name, and the first paragraph of its docstring, or what is said instead."""
    for name in names:
        thing = importlib.import_module(f"{package}.{name.replace('-', '_')}") if package else names[name]
        says = thing if isinstance(thing, str) else (inspect.getdoc(thing) or "").split("\n\n")[0]
        yield f"| {f'`{name}`' if name.islower() else name} | {' '.join(says.split())} |"


def listed(found: re.Match[str]) -> str:
    """The table that takes the place of `<!-- NAME -->`."""
    return "\n".join(["| name | what it is |", "|---|---|", *rows(*LISTS[found[1]])])


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lists for `<!-- NAME -->`; equations between `$$` (a block) and `$` (in a line), outside code."""
    markdown = LIST.sub(listed, markdown)
    parts = CODE.split(markdown)
    for i in range(0, len(parts), 2):
        parts[i] = BLOCK.sub(lambda found: convert(found[1].strip(), display="block"), parts[i])
        parts[i] = INLINE.sub(lambda found: convert(found[1]), parts[i])
    return "".join(parts)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """The usage of commands with its brackets, which are taken for links from one page to another."""
    return BRACKETS.sub(r"[\2] [\1]", html) if page.file.src_uri == "reference/cli.md" else html


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """The page with the script from its own folder."""
    return output.replace(SHIM, f"{'../' * page.url.count('/')}assets/iframe-worker.js")


def on_post_build(config: Any, **_: Any) -> None:
    """No page for addresses that a server does not know: there is no server."""
    (Path(config["site_dir"]) / "404.html").unlink(missing_ok=True)
