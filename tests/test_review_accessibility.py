"""Views that are seldom open, on a screen, a tablet and a phone: axe finds nothing serious, and nothing overflows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from review_browser import doubted_run, grid_ready, open_browser, served, shown, tab
from test_review_boxes import audited, page_of
from test_review_proposals import run as proposing
from test_review_start import listed

from autoannotate import Annotations
from autoannotate.review.start import Start

pytestmark = pytest.mark.slow
browser = pytest.fixture(scope="module")(open_browser)
SIZES = {"screen": (1280, 800), "tablet": (820, 1180), "phone": (390, 844)}
__all__ = ["audited", "proposing"]  # fixtures


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, browser: Any) -> Any:
    width, height = SIZES[request.param]
    with tab(browser, viewport={"width": width, "height": height}, bypass_csp=True) as opened:
        opened.size = request.param
        yield opened


def fine(page: Any, view: str) -> None:
    """What axe and the width of the page say."""
    page.wait_for_timeout(400)
    if folder := os.environ.get("AUTOANNOTATE_SCREENSHOTS"):  # to look at
        page.screenshot(path=Path(folder) / f"{view}-{page.size}.png")
    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found] == [], view
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_the_sample_of_a_certificate_and_the_certificate(page: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 12, suspects=3)
    labels = dict(Annotations.load(run).table[["path", "label"]].itertuples(index=False, name=None))
    with served(run) as server:
        page.goto(server.url)
        shown(page, 1, of=3)
        page.keyboard.press("e")
        page.get_by_label("At most").select_option("0.1")
        page.get_by_role("button", name="Draw a sample and answer it").click()
        page.wait_for_selector("#layer > [alt^='Image 1 of ']")
        fine(page, "sample")
        total = int((page.locator("#position").inner_text()).split()[-1])
        for number in range(1, total + 1):
            page.wait_for_selector(f"#layer > [alt='Image {number} of {total}']")
            label = labels[page.evaluate("document.body.dataset.shown")]
            page.get_by_role("button", name=label, exact=True).click()
        page.get_by_text("with 95% confidence").first.wait_for()
        page.get_by_text("The whole certificate").click()
        fine(page, "certificate")
        assert "of which readers answered 10" in page.inner_text("#runSheet")
        assert page.evaluate(
            "[...document.querySelectorAll('#runSheet .card, #runSheet .card *')].every(e => e.scrollWidth <= innerWidth"
            " && e.getBoundingClientRect().right <= innerWidth)"
        ), "the certificate is cut off"
        assert page.evaluate(
            "document.querySelector('nav [aria-current]').getBoundingClientRect().right"
            " <= document.querySelector('nav').getBoundingClientRect().right + 1"
        ), "which view it is stays in sight"


def test_proposals(page: Any, proposing: Path) -> None:
    with served(proposing) as server:
        page.goto(server.url)
        page.wait_for_selector("#proposal:not([hidden])")
        page.wait_for_selector("#layer > [alt^='Image 1 of ']")
        fine(page, "proposals")
        assert page.evaluate(
            "[...document.querySelectorAll('#proposal button')].every(e => { const r = e.getBoundingClientRect();"
            " return r.left >= 0 && r.right <= innerWidth && r.bottom <= innerHeight; })"
        )


def test_open_filters_readers_and_their_plan(page: Any, tmp_path: Path) -> None:
    with served(doubted_run(tmp_path, 8, suspects=3)) as server:
        page.goto(server.url)
        shown(page, 1, of=3)
        page.keyboard.press("g")
        grid_ready(page, 1)
        page.get_by_text("Filters").click()
        page.wait_for_selector("#gridName")
        fine(page, "filters")
        page.keyboard.press("Escape")
        page.get_by_text("Filters").click()
        page.keyboard.press("p")
        page.get_by_role("heading", name="Reading plan").wait_for()
        page.get_by_label("From now on").select_option("double")
        page.get_by_role("button", name="Read by this plan").click()
        fine(page, "plan")


def test_the_list_of_runs(page: Any, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    doubted_run(tmp_path / "a", 6).rename(tmp_path / "runs" / "a run with a rather long name")
    with listed(Start(tmp_path / "runs", "Ana")) as (_, url):
        page.goto(url)
        page.get_by_role("row", name="a run with").wait_for()
        fine(page, "runs")


def test_boxes(page: Any, audited: Path) -> None:
    with page_of(audited) as url:
        page.goto(url)
        page.wait_for_selector("#whole rect.new")
        fine(page, "boxes")
