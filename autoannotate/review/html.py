"""The pages' HTML; what the head of each holds is one file."""

from __future__ import annotations

from importlib import resources

from fastapi.responses import Response

HEAD = "<!-- head.html -->"


def page_of(name: str) -> Response:
    """A page of the package."""
    static = resources.files("autoannotate.review") / "static"
    head, text = ((static / one).read_text(encoding="utf-8").rstrip("\n") for one in ("head.html", name))
    return Response(text.replace(HEAD, head, 1) + "\n", media_type="text/html; charset=utf-8")
