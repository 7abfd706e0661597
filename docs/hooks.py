"""What mkdocs does beside its plugins so that pages need no network: equations, and the script of the search.

Equations in LaTeX become MathML, which browsers draw by themselves. The search of pages on a disk needs iframe-worker (Martin
Donath, MIT), which the plugin `offline` would fetch from a server: docs/assets holds it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
BLOCK, INLINE = re.compile(r"\$\$(.+?)\$\$", re.DOTALL), re.compile(r"\$([^$\n]+?)\$")

BRACKETS = re.compile(r'<autoref [^>]*identifier="([A-Z]+)"[^>]*>([A-Z]+)</autoref>')

SHIM = "https://unpkg.com/iframe-worker/shim"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Equations between `$$` (a block) and `$` (in a line), outside code."""
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
