"""The review page for tests in a real browser: runs to review, a real server in a thread, and what a test waits for."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import REASON, make_run
from PIL import Image

from autoannotate import Annotations
from autoannotate.answers.store import AnswerStore
from autoannotate.review.app import build_app
from autoannotate.review.server import bound, page_server, pictures_of
from autoannotate.review.session import Desk

PATIENCE = 30_000  # milliseconds; machines under load are slow


def open_browser() -> Iterator[Any]:
    """A fixture: Chromium, or the reason why there is none."""
    sync = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium is installed: apt-get install chromium, or set AUTOANNOTATE_CHROMIUM")
    with sync.sync_playwright() as started:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = started.chromium.launch(executable_path=path, args=args)
        yield opened
        opened.close()


@contextmanager
def served(run: Path, reader: str | None = "Ana", **options: Any) -> Iterator[Served]:
    """The page of a run while it is served."""
    server = Served(run, reader, **options)
    yield server
    server.close()


class Served:
    """The page of a run, served from this process."""

    def __init__(self, run: Path, reader: str | None = "Ana", **options: Any) -> None:
        self.store, self._listening = AnswerStore(run), bound("127.0.0.1", 0)
        self.desk = Desk(run, self.store, pictures_of(run, None), **options)
        self._serve(build_app(self.desk, reader))

    def _serve(self, app: Any) -> None:
        self._page = page_server(app, self._listening, "127.0.0.1")
        self.url = self._page.url
        self._thread = threading.Thread(target=self._page.run, args=([self._listening],), daemon=True)
        self._thread.start()
        while not self._page.server.started:
            time.sleep(0.01)

    def close(self) -> None:
        self._page.server.should_exit = True
        self._page.server.force_exit = True
        self._thread.join(10)
        self._listening.close()
        self.store.close()


def doubted_run(
    folder: Path,
    n: int = 6,
    classes: Sequence[str] = ("chest", "breast", "brain"),
    suggested: str = "breast",
    reason: str = f"{REASON}; CLIP says breast (81%)",
    features: np.ndarray | None = None,
    suspects: int | None = None,
    **known: Any,
) -> Path:
    """A run of n images whose first `suspects` (all) are doubted, with features in a cache of its own."""
    paths = [f"scans/{i:04d}.png" for i in range(n)]
    made = make_run(folder / "images", paths, classes)
    table = made.table.assign(suspect=[int(i < (n if suspects is None else suspects)) for i in range(n)])
    doubted = table[table["suspect"] == 1]
    queue = type(table)(
        {
            "rank": range(1, len(doubted) + 1),
            "path": doubted["path"],
            "label": doubted["label"],
            "suggested_label": suggested,
            "suspect_score": np.linspace(0.9, 0.5, len(doubted)),
            "reason": reason,
        }
    )
    run = made.run | {"arguments": {"images": str(folder / "images"), "cache": str(folder / "cache")}} | known
    Annotations(table, queue, made.unreadable, run).save(folder / "run")
    keep_features(folder, np.random.default_rng(0).normal(size=(n, 32)) if features is None else features)
    return folder / "run"


def keep_features(folder: Path, features: np.ndarray) -> None:
    """Put features into the cache of the run, as labelling does."""
    from autoannotate.images import find_images, fingerprint
    from autoannotate.models.embedding_cache import EncodingCache

    cache = EncodingCache(folder / "cache", Annotations.load(folder / "run").run["model"]["weights_sha256"])
    cache.put([fingerprint(ref) for ref in find_images(folder / "images")], features, features)
    cache.close()


def shown(page: Any, number: int, of: int = 6) -> None:
    """Wait until the image is there to be answered."""
    page.wait_for_selector(f"#layer > [alt^='Image {number} of {of}']")


def said(run: Path, reader: str = "Ana") -> dict[str, str]:
    """What a reader's answers are, by path."""
    with AnswerStore(run) as store:
        return {a.path: a.label or a.verdict for a in store.current(reader)}


def eventually(what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + PATIENCE / 1000
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def grid_ready(page: Any, tiles: int) -> None:
    """Wait until so many tiles were seen."""
    page.wait_for_selector(f".tile.seen >> nth={tiles - 1}")


@contextmanager
def tab(browser: Any, **options: Any) -> Iterator[Any]:
    """A tab of its own; nothing may go wrong in its scripts."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    yield page
    context.close()
    assert troubles == []


def chromium() -> str | None:
    known = (os.environ.get("AUTOANNOTATE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in known if name and (found := shutil.which(name))), None)


def grey(folder: Path, name: str, level: int = 128) -> None:
    """A picture of one grey."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (60, 60), level).save(folder / name)
