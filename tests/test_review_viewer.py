"""The picture in a real browser: window presets, slices of a stack, a scale, side by side, zoom that is kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run
from pydicom import dcmread
from pydicom.data import get_testdata_file
from review_browser import doubted_run, eventually, open_browser, said, served, shown, tab

from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.images import find_images
from autoannotate.images.items import items_of

browser = pytest.fixture(scope="module")(open_browser)
pytestmark = pytest.mark.slow


def series_run(folder: Path, slices: int = 6) -> Path:
    """A run of one CT series as one item, and of a single CT image of another series and the same patient."""
    images = folder / "images"
    (images / "head").mkdir(parents=True)
    for number in range(slices):
        header = dcmread(str(get_testdata_file("CT_small.dcm")))
        header.SeriesInstanceUID, header.SOPInstanceUID = "1.2.3.1", f"1.2.3.1.{number}"
        header.ImagePositionPatient, header.InstanceNumber = [0, 0, 5.0 * number], number + 1
        pixels = header.pixel_array.copy()
        pixels[:20, : 10 * (number + 1)] = 2000
        header.PixelData = pixels.tobytes()
        header.save_as(images / "head" / f"{number}.dcm")
    single = dcmread(str(get_testdata_file("CT_small.dcm")))
    single.SeriesInstanceUID = "1.2.3.2"
    single.save_as(images / "scout.dcm")
    items = items_of(find_images(images), "auto")
    made = make_run(images, [item.path for item in items], ("chest", "head"), draw=False)
    table = made.table.assign(patient="p1", series=["s1", "s2"])
    made.run["arguments"] |= {"item": "auto"}
    made.__class__(table, made.suspects, made.unreadable, made.run).save(folder / "run")
    return folder / "run"


def grey_at(page: Any, x: float, y: float) -> int:
    """How bright the canvas is at a share of its width and height."""
    return int(page.evaluate(
        "([x, y]) => { const c = document.querySelector('#layer canvas');"
        "return c.getContext('2d').getImageData(Math.floor(x * c.width), Math.floor(y * c.height), 1, 1).data[0]; }", [x, y]
    ))  # fmt: skip


def test_presets_slices_and_scale_of_a_ct(browser: Any, tmp_path: Path) -> None:
    with served(series_run(tmp_path)) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=1)
        page.locator("#preset option", has_text="lung").wait_for(state="attached")
        assert page.locator("#scale").inner_text() in ("1 cm", "2 cm", "5 cm")
        page.locator("#preset").select_option("lung")
        page.locator("#window").get_by_text("W 1,500  L -600").wait_for()
        page.locator("#viewer").focus()
        page.keyboard.press("w")
        page.locator("#window").get_by_text("W 2,000  L 500").wait_for()
        assert page.locator("#sliceAt").inner_text() == "4 of 6"
        assert grey_at(page, 0.28, 0.05) > 150, "the fourth slice is bright up to a third of its width"
        page.keyboard.press("ArrowUp")
        page.locator("#sliceAt").get_by_text("3 of 6").wait_for()
        eventually(lambda: grey_at(page, 0.28, 0.05) < 150)
        page.mouse.move(400, 300)
        page.mouse.wheel(0, 120)
        page.locator("#sliceAt").get_by_text("4 of 6").wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.locator("#sliceAt").get_by_text("6 of 6").wait_for()
        assert page.locator("#window").inner_text().split() == ["W", "2,000", "L", "500"], (
            "the window stays from slice to slice"
        )
        for size in ((1024, 768), (900, 600), (1280, 800)):
            page.set_viewport_size({"width": size[0], "height": size[1]})
            edge = "document.querySelector('.stage').getBoundingClientRect().right"
            assert page.evaluate(
                f"[...document.querySelectorAll('.tools button')].every(e => e.getBoundingClientRect().right <= {edge})"
            ), "Skip is in sight"
        width = page.locator("#scale").bounding_box()["width"]
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert page.locator("#scale").bounding_box()["width"] != width
        page.keyboard.press("r")
        page.locator("#layer img").wait_for()


def test_a_window_is_kept_for_the_modality_and_zoom_where_asked(browser: Any, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.dcm", "b.dcm"):
        shutil.copyfile(str(get_testdata_file("CT_small.dcm")), images / name)
    run = make_run(images, ["a.dcm", "b.dcm"], draw=False)
    run.suspects.loc[1] = run.suspects.loc[0].to_dict() | {"rank": 2, "path": "b.dcm"}
    run.save(tmp_path / "run")
    with served(tmp_path / "run") as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=2)
        page.locator("#preset option", has_text="brain").wait_for(state="attached")
        page.locator("#preset").select_option("brain")
        page.locator("#window").get_by_text("W 80  L 40").wait_for()
        page.locator("#viewer").focus()
        page.keyboard.press("i")
        page.keyboard.press("z")
        page.keyboard.press("ArrowRight")
        page.locator("#layer > [alt^='Image 2 of 2'], #layer > [aria-label^='Image 2 of 2']").wait_for()
        page.locator("#window").get_by_text("W 80  L 40").wait_for()
        assert page.locator("#layer.inverted").count() == 0
        assert page.locator("#viewer.zoomed").count() == 0
        page.keyboard.press("?")
        page.get_by_label("Keep zoom and inversion").check()
        page.keyboard.press("Escape")
        page.locator("#viewer").focus()
        page.keyboard.press("i")
        page.keyboard.press("z")
        page.keyboard.press("ArrowLeft")
        page.locator("#layer > [alt^='Image 1 of 2'], #layer > [aria-label^='Image 1 of 2']").wait_for()
        assert page.locator("#layer.inverted").count() == 1
        assert page.locator("#viewer.zoomed").count() == 1


def test_side_by_side_with_the_nearest_of_another_class_or_the_same_patient(browser: Any, tmp_path: Path) -> None:
    features = np.zeros((6, 8))
    features[np.arange(6), [0, 0, 1, 1, 2, 2]] = 1
    features[:, 3] = np.arange(6) / 10
    run = doubted_run(tmp_path, 6, features=features)
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1)
        page.keyboard.press("o")
        page.locator("#otherLayer img").wait_for()
        options = page.locator("#otherWhy option").all_inner_texts()
        assert options == ["the nearest of breast", "the nearest of brain"]
        first = page.locator("#otherPath").inner_text()
        page.keyboard.press("b")
        eventually(lambda: page.locator("#otherPath").inner_text() != first)
        page.keyboard.press("z")
        transform = "document.querySelector('{}').style.transform"
        assert page.evaluate(transform.format("#otherLayer")) == page.evaluate(transform.format("#layer")) != ""
        page.keyboard.press("1")
        shown(page, 2)
        page.locator("#otherLayer img").wait_for()
        page.keyboard.press("h")  # unaided: nothing of what the machine thinks
        page.locator("#otherWhy option", has_text="nothing to compare with").wait_for(state="attached")
        page.keyboard.press("o")
        assert page.locator("#other").is_hidden()
    assert said(run) == {"scans/0000.png": "chest"}


def test_the_same_patients_images_are_offered(browser: Any, tmp_path: Path) -> None:
    with served(series_run(tmp_path)) as server, tab(browser, viewport={"width": 390, "height": 844}) as page:
        page.goto(server.url)
        shown(page, 1, of=1)
        page.locator("#viewer").focus()
        page.keyboard.press("o")
        page.locator("#otherLayer img").wait_for()
        assert page.locator("#otherWhy option").first.inner_text() == "the same patient"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert re.search(r"scout\.dcm", page.locator("#otherPath").inner_text())


def test_the_grid_is_filtered_by_metadata_and_by_who_answered(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 12, suspects=2)
    ages = "".join(f"scans/{i:04d}.png,{20 + i},{'FM'[i % 2]},Ada\n" for i in range(12))
    (tmp_path / "patients.csv").write_text(f"path,age,sex,patient_name\n{ages}")
    with AnswerStore(run) as store:
        store.add([Answer(f"scans/{i:04d}.png", "Ben", "label", "brain") for i in range(5)])
    with served(run, metadata=tmp_path / "patients.csv") as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=2)
        page.keyboard.press("g")
        page.get_by_role("button", name="All 12").click()
        page.locator("#gridLeft").get_by_text("12 left").wait_for()
        page.get_by_text("Filters").click()
        assert page.locator("#gridColumn optgroup").evaluate_all("all => all.map((e) => e.label)") == ["age", "sex"]
        page.locator("#gridColumn").select_option("sex\tM")
        page.locator("#gridLeft").get_by_text("6 left").wait_for()
        page.locator("#gridColumn").select_option(label="20 to 22.75")
        page.locator("#gridLeft").get_by_text("3 left").wait_for()
        page.locator("#gridColumn").select_option("")
        page.locator("#gridReader").select_option("Ben")
        page.locator("#gridLeft").get_by_text("5 left").wait_for()
        labels = page.locator("#tiles .tile").evaluate_all(
            "all => all.map((e) => e.ariaLabel || e.getAttribute('aria-label'))"
        )
        assert sum("brain" in label for label in labels) == 1, "who answered shows, and not what"


def test_everything_is_reached_and_done_by_keyboard(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 12, suspects=3)
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=3)

        def by_tab(selector: str, most: int = 80) -> None:
            for _ in range(most):
                page.keyboard.press("Tab")
                if page.evaluate(f"Boolean(document.activeElement?.matches({selector!r}))"):
                    return
            raise AssertionError(f"Tab never came to {selector}")

        for selector in (
            "[data-do=zoom]",
            "[data-do=compare]",
            "[data-do=skip]",
            "#accept",
            "#classes button",
            "#note",
        ):
            by_tab(selector)
        page.keyboard.type("odd")
        page.keyboard.press("Enter")
        page.keyboard.press("2")
        shown(page, 2, of=3)
        page.keyboard.press("Enter")
        shown(page, 3, of=3)
        page.keyboard.press("u")
        page.get_by_role("heading", name="All answered").wait_for()
        page.keyboard.press("Backspace")
        shown(page, 3, of=3)
        page.keyboard.press("3")
        page.get_by_role("heading", name="All answered").wait_for()
        page.keyboard.press("g")
        page.locator(".tile.seen").first.wait_for()
        by_tab("#gridFilters summary")
        page.keyboard.press("Enter")  # opens them, and confirms nothing
        assert page.locator("#gridFilters[open]").count() == 1
        by_tab("#gridName")
        page.keyboard.type("0007")
        page.locator("#gridLeft").get_by_text("0 left").or_(page.locator("#gridLeft").get_by_text("1 left")).wait_for()
        page.keyboard.press("Control+a")
        page.keyboard.press("Delete")
        page.locator("#gridLeft").get_by_text("3 left").wait_for()
        by_tab("#tiles .tile")
        page.keyboard.press("Space")
        page.locator(".tile[aria-pressed=true]").wait_for()
        for key, heading in (("m", "My answers"), ("p", None), ("e", "Improve the labels")):
            page.keyboard.press(key)
            if heading:
                page.get_by_role("heading", name=heading).first.wait_for()
        by_tab("#improve")
        page.keyboard.press("?")
        page.get_by_role("heading", name="Keys").wait_for()
        page.keyboard.press("Escape")
    with AnswerStore(run) as store:
        answers = {one.path: (one.label, one.note) for one in store.current("Ana")}
    assert answers == {
        "scans/0000.png": ("breast", "odd"), "scans/0001.png": ("breast", ""), "scans/0002.png": ("brain", "")
    }  # fmt: skip
