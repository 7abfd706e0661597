"""Explore a collection: make its map and findings, write them, serve the page until Ctrl-C."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from autoannotate._internal.progress import Track, silent
from autoannotate.answers.store import AnswerStore
from autoannotate.explore.app import PICTURE, build_app
from autoannotate.explore.collection import Collection, open_collection
from autoannotate.explore.findings import Findings, find
from autoannotate.explore.save import save
from autoannotate.review.server import bound, serve_app
from autoannotate.review.session import check_reader

FOLDER = "explore"


def explore(
    source: Path, out: Path | None = None, *, track: Track = silent, **options: Any
) -> tuple[Collection, Findings, list[Path]]:
    """Look at a run or at images, and write what was found.

    Parameters
    ----------
    source : Path
        The folder of a run, or images.
    out : Path, optional
        Where files go; else `explore` in the run's folder, or `autoannotate-explore`.
    **options
        See `open_collection`.

    Returns
    -------
    collection, findings, files
    """
    collection = open_collection(source, track=track, **options)
    findings = find(collection, track)
    folder = out or (source / FOLDER if collection.run is not None else Path(f"autoannotate-{FOLDER}"))
    return collection, findings, save(collection, findings, folder)


def serve(
    collection: Collection,
    findings: Findings,
    folder: Path,
    reader: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    browser: bool = True,
) -> None:
    """Serve the page until Ctrl-C; its address is the first line on stdout. folder: of the run, where there is one."""
    reader = None if reader is None else check_reader(reader)
    is_run = collection.run is not None
    with AnswerStore(folder) if is_run else nullcontext() as store, bound(host, port) as listening:
        app = build_app(collection, findings, folder if is_run else None, reader, store)
        serve_app(app, listening, host, browser=browser, command="explore", files=frozenset({PICTURE}))
