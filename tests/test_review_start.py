"""The list of runs in a folder, each with its page below it, in a real browser."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from review_browser import doubted_run, eventually, open_browser, said, shown, tab

from autoannotate.errors import UsageError
from autoannotate.review.server import bound, page_server, serve
from autoannotate.review.start import Start

browser = pytest.fixture(scope="module")(open_browser)


def test_what_is_about_one_run_is_refused_for_several(tmp_path: Path) -> None:
    for name in ("a", "b"):
        doubted_run(tmp_path / name, 3).rename(tmp_path / f"run {name}")
    with pytest.raises(UsageError, match="are about one"):
        serve(tmp_path, plan="double", browser=False)


@pytest.mark.slow
def test_runs_of_a_folder_are_listed_and_answered_each_by_itself(browser: Any, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for name, count in (("first", 6), ("zweite Reihe", 4)):
        doubted_run(tmp_path / name, count).rename(folder / name)
    (folder / "broken").mkdir()
    (folder / "broken" / "run.json").write_text("{")
    listening, start = bound("127.0.0.1", 0), Start(folder, "Ana")
    page_of = page_server(start, listening, "127.0.0.1")
    thread = threading.Thread(target=page_of.run, args=([listening],), daemon=True)
    thread.start()
    while not page_of.server.started:
        time.sleep(0.01)
    with tab(browser) as page:
        page.goto(page_of.url)
        page.get_by_role("row", name="first").wait_for()
        assert "token" not in page.url
        assert page.get_by_role("row", name="broken").get_by_text("run.json cannot be read").is_visible()
        page.get_by_role("link", name="zweite Reihe").click()
        shown(page, 1, of=4)
        page.keyboard.press("1")
        shown(page, 2, of=4)
        page.get_by_role("link", name="autoannotate").click()
        page.get_by_role("row", name="zweite Reihe").get_by_text("1", exact=True).wait_for()
        page.get_by_role("link", name="first").click()
        shown(page, 1, of=6)
        page.keyboard.press("2")
        shown(page, 2, of=6)
        assert page.evaluate("fetch('api/nothing').then(a => a.status)") == 404
    eventually(lambda: list(said(folder / "first").values()) == ["breast"])
    assert list(said(folder / "zweite Reihe").values()) == ["chest"]
    assert start.answers() == 2
    page_of.server.should_exit = page_of.server.force_exit = True
    thread.join(10)
    listening.close()
    start.close()
