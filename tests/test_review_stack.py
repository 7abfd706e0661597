"""An item of several slices in a real browser: wheel, keys, slider and play; zoom, window and level stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from made_runs import make_run
from review_browser import PATIENCE, eventually, open_browser, served

from autoannotate.answers.store import AnswerStore

pytestmark = pytest.mark.slow
browser = pytest.fixture(scope="module")(open_browser)
SLICES = 12


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    yield opened
    context.close()
    assert troubles == []


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A volume whose slices are brighter and brighter, and a flat picture."""
    (tmp_path / "scans").mkdir()
    ramp = np.broadcast_to(100 * np.arange(SLICES, dtype=np.int16), (24, 24, SLICES)).copy()
    ramp[:4, :4] = 3000
    nibabel.save(nibabel.Nifti1Image(ramp, np.diag([1, 1, 4, 1])), tmp_path / "scans" / "a.nii.gz")
    made = make_run(tmp_path / "scans", ["a.nii.gz", "b.png"], draw=False)
    from PIL import Image

    Image.fromarray(np.eye(24, dtype=np.uint8) * 255).save(tmp_path / "scans" / "b.png")
    made.run["arguments"] = {"images": str(tmp_path / "scans"), "item": "auto", "cache": str(tmp_path / "cache")}
    table = made.table.assign(telling_slice=["a.nii.gz#9", ""])
    type(made)(table, made.suspects, made.unreadable, made.run, probabilities=made.probabilities).save(tmp_path / "run")
    return tmp_path / "run"


def brightness(page: Any) -> float:
    return page.evaluate(
        """() => { const seen = document.querySelector('#layer img, #layer canvas');
        const copy = document.createElement('canvas'); copy.width = copy.height = 24;
        const draw = copy.getContext('2d'); draw.drawImage(seen, 0, 0, 24, 24);
        return draw.getImageData(12, 4, 1, 1).data[0]; }"""
    )


def test_slices_by_wheel_keys_slider_and_play(page: Any, run: Path) -> None:
    with served(run) as server:
        page.goto(server.url)
        at = page.locator("#sliceAt")
        playwright = pytest.importorskip("playwright.sync_api")
        playwright.expect(at).to_have_text("7 of 12")
        middle = brightness(page)
        page.keyboard.press("ArrowDown")
        playwright.expect(at).to_have_text("8 of 12")
        eventually(lambda: brightness(page) > middle)
        page.locator("#viewer").hover()
        for wanted in ("7 of 12", "6 of 12"):  # a notch is a slice
            page.mouse.wheel(0, -120)
            playwright.expect(at).to_have_text(wanted)
        eventually(lambda: brightness(page) < middle)
        page.locator("#telling").click()
        playwright.expect(at).to_have_text("10 of 12")
        page.locator("#slice").fill("0")
        playwright.expect(at).to_have_text("1 of 12")
        page.locator("#slice").blur()
        page.keyboard.press(" ")
        eventually(lambda: at.text_content() not in ("1 of 12", "2 of 12"))
        page.keyboard.press(" ")
        assert page.locator("#play").get_attribute("aria-pressed") == "false"
        page.locator("#slice").fill("6")
        page.locator("#slice").blur()
        playwright.expect(page.locator("#windowing")).to_be_visible()  # the values have come
        page.keyboard.press("+")
        page.keyboard.press("Shift+ArrowLeft")
        playwright.expect(page.locator("#window")).to_be_visible()
        window, place = page.locator("#window").text_content(), page.locator("#layer").get_attribute("style")
        before = brightness(page)
        page.keyboard.press("ArrowUp")
        eventually(lambda: brightness(page) < before)
        assert page.locator("#window").text_content() == window
        assert page.locator("#layer").get_attribute("style") == place
        page.keyboard.press("1")  # answers are about the whole item
        eventually(lambda: len(AnswerStore(run).everything()) == 1)


def test_a_slice_that_there_is_not_is_refused_and_costs_nothing(run: Path) -> None:
    from autoannotate.errors import UnreadableImageError
    from autoannotate.review.pictures import slice_of, stack_of
    from autoannotate.review.server import pictures_of

    volume, flat = pictures_of(run, None)
    assert stack_of(volume, "a.nii.gz#9") == {"slices": SLICES, "middle": 6, "telling": 9}
    assert stack_of(flat, "") == {}
    assert slice_of(volume, 11).frame == 11
    with pytest.raises(UnreadableImageError, match="no such slice"):
        slice_of(volume, 12)
