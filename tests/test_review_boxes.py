"""Proposals about boxes on their page, in a real browser: a key takes one and a key drops it, and the second file follows."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from review_browser import eventually, open_browser, tab

from autoannotate.annotator.boxes import audit_boxes, save
from autoannotate.errors import InputError, UsageError
from autoannotate.review.boxes_app import build_boxes_app
from autoannotate.review.server import bound, page_server, serve
from autoannotate.runs.box_repairs import decide, read_decisions

browser = pytest.fixture(scope="module")(open_browser)


@pytest.fixture
def audited(tmp_path: Path) -> Path:
    """Three boxes that need a repair each: over the border, with turned corners, and doubled."""
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for n in range(3):
        Image.fromarray(rng.integers(0, 255, (100, 100), dtype=np.uint8)).save(tmp_path / "scans" / f"{n}.png")
    rows = [
        "0.png,80,10,120,40,cell", "1.png,60,60,20,20,cell", "2.png,10,10,40,40,cell", "2.png,10.5,10,40.5,40,cell",
    ]  # fmt: skip
    (tmp_path / "boxes.csv").write_text("path,x_min,y_min,x_max,y_max,label\n" + "\n".join(rows) + "\n")
    save(audit_boxes(tmp_path / "scans", tmp_path / "boxes.csv", repair=True), tmp_path / "audit")
    return tmp_path / "audit"


@contextmanager
def page_of(folder: Path, reader: str | None = "Ana") -> Iterator[str]:
    listening = bound("127.0.0.1", 0)
    served = page_server(build_boxes_app(folder, reader), listening, "127.0.0.1")
    thread = threading.Thread(target=served.run, args=([listening],), daemon=True)
    thread.start()
    while not served.server.started:
        time.sleep(0.01)
    yield served.url
    served.server.should_exit = served.server.force_exit = True
    thread.join(10)
    listening.close()


def second_file(folder: Path) -> list[dict[str, str]]:
    with (folder / "boxes-repaired.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_dropped_proposals_leave_the_second_file_and_come_back(audited: Path) -> None:
    assert [row["change"] for row in second_file(audited)] == ["cut", "turned", ""]
    assert decide(audited, 1, "drop", "Ana") == {1: "drop"}
    assert decide(audited, 3, "drop", "Ana") == {1: "drop", 3: "drop"}
    rows = second_file(audited)
    assert [row["change"] for row in rows] == ["", "turned", "", ""]
    assert float(rows[0]["x_max"]) == 120
    decide(audited, 1, "take", "Ben")
    decide(audited, 3, "open", "Ben")
    rows = second_file(audited)
    assert [(row["change"], row["decision"]) for row in rows] == [("cut", "take"), ("turned", "open"), ("", "")]
    assert read_decisions(audited) == {1: "take"}
    assert len((audited / "decisions.csv").read_text().splitlines()) == 5  # every one is kept
    with pytest.raises(InputError, match="no proposal 9"):
        decide(audited, 9, "take", "Ana")


def test_an_audit_without_repairs_says_how_to_have_them(audited: Path, tmp_path: Path) -> None:
    save(audit_boxes(tmp_path / "scans", tmp_path / "boxes.csv"), tmp_path / "plain")
    with pytest.raises(InputError, match="again with --repair"):
        serve(tmp_path / "plain", browser=False)
    with pytest.raises(UsageError, match="are of labels"):
        serve(audited, plan="double", browser=False)


def test_a_replaced_audit_keeps_the_decisions_aside(audited: Path, tmp_path: Path) -> None:
    decide(audited, 1, "drop", "Ana")
    save(audit_boxes(tmp_path / "scans", tmp_path / "boxes.csv", repair=True), audited, overwrite=True)
    assert read_decisions(audited) == {}
    assert "drop" in (audited / "decisions-1.csv").read_text()


def test_a_key_takes_and_a_key_drops(browser: Any, audited: Path) -> None:
    with page_of(audited) as url, tab(browser) as page:
        page.goto(url)
        page.wait_for_selector("#whole rect.new")
        assert "token" not in page.url
        assert "Cut at the border: cell" in page.inner_text("#change")
        page.wait_for_selector("#near rect.old")
        page.keyboard.press("t")
        page.get_by_text("Proposal 2 of 3").first.wait_for()
        page.keyboard.press("d")
        page.get_by_text("Proposal 3 of 3").first.wait_for()
        page.locator("#detail", has_text="another cell box").wait_for()
        page.wait_for_selector("#whole rect.new", state="detached")  # the box would be left out
        eventually(lambda: read_decisions(audited) == {1: "take", 2: "drop"})
        page.keyboard.press("u")
        page.get_by_text("Proposal 2 of 3").first.wait_for()
        page.click("#take")
        eventually(lambda: read_decisions(audited) == {1: "take", 2: "take"})
    assert [row["decision"] for row in second_file(audited)] == ["take", "take", ""]


def test_a_decision_has_a_name(browser: Any, audited: Path) -> None:
    with page_of(audited, None) as url, tab(browser) as page:
        page.goto(url)
        page.wait_for_selector("#whole rect.new")
        page.keyboard.press("t")
        page.wait_for_selector("#trouble:not([hidden])")
        assert read_decisions(audited) == {}
        page.fill("#reader", "Ben")
        page.click("#take")
        eventually(lambda: read_decisions(audited) == {1: "take"})
    assert "Ben" in (audited / "decisions.csv").read_text()
