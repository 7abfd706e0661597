"""The page in a real browser: no answer gets into the store that nobody gave."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_browser import doubted_run, eventually, grid_ready, open_browser, said, served, shown, tab

from autoannotate.review.suggestion import proposal

browser = pytest.fixture(scope="module")(open_browser)
pytestmark = pytest.mark.slow

REACHED = """() => [...document.querySelectorAll('#classes button')].filter((button) => {
  button.scrollIntoView({ block: 'center' });
  const at = button.getBoundingClientRect();
  const hit = document.elementFromPoint(at.left + at.width / 2, at.top + at.height / 2);
  return !(button === hit || button.contains(hit)) || at.height < 30 || at.width < 60;
}).map((button) => button.dataset.label)"""


@pytest.mark.parametrize("count", [15, 30, 100])
def test_every_class_can_be_seen_found_and_pressed(browser: Any, tmp_path: Path, count: int) -> None:
    names = [f"lesion {chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(count)]
    sizes = [(1280, 800), (390, 844), (820, 1180), (1180, 820)][: 4 if count == 100 else 2]
    run = doubted_run(tmp_path, 8, names, names[7], f"CLIP says {names[7]} (81%)")
    with served(run) as server:
        for number, size in enumerate(sizes, start=1):
            with tab(browser, viewport={"width": size[0], "height": size[1]}) as page:
                page.goto(server.url)
                shown(page, 2 * number - 1, of=8)
                assert page.evaluate(REACHED) == []
                assert page.locator("#classes button").first.get_attribute("data-label") == names[7], "the likeliest"
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                page.get_by_role("button", name=names[-1], exact=True).click()
                shown(page, 2 * number, of=8)
                page.keyboard.press("/")
                page.keyboard.press("Enter")  # nothing is typed: nothing is taken
                page.keyboard.type(names[11][-2:])
                assert page.locator("#takes").inner_text() == f"Enter takes: {names[11]}"
                assert page.locator("#classes button.take").is_visible()
                page.keyboard.press("Enter")
                eventually(lambda number=number: len(said(run)) == 2 * number)
    assert list(said(run).values()) == [names[-1], names[11]] * len(sizes)


def test_a_search_without_a_hit_takes_nothing(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 6, [f"lesion {i}" for i in range(12)], "lesion 3", "")
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1)
        page.keyboard.press("/")
        page.keyboard.type("zebra")
        page.get_by_text("No class is called so").wait_for()
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        assert said(run) == {}


def test_pictures_that_never_arrived_are_not_confirmed(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 90, suspects=3)
    held: list[Any] = []
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=3)
        page.wait_for_selector("#nearThumbs img >> nth=7")
        page.wait_for_timeout(500)
        page.route("**/thumbnail*", lambda route: held.append(route))
        page.keyboard.press("g")
        page.wait_for_selector(".tile >> nth=29")
        page.keyboard.press("Enter")
        page.locator("#flash").get_by_text("not on the screen yet").wait_for()
        assert said(run) == {}
        eventually(lambda: bool(page.wait_for_timeout(50)) or len(held) >= 6)
        for route in held[:4]:  # these four arrive
            route.continue_()
        grid_ready(page, 4)
        assert page.locator("#confirm").inner_text().endswith("Confirm 4 as chest")
        assert "26 not shown yet" in page.locator("#gridLeft").inner_text()
        page.keyboard.press("Enter")
        page.locator("#news").get_by_text("26 images were not on the screen yet and were left out").wait_for()
        eventually(lambda: len(said(run)) == 4)
        page.unroute("**/thumbnail*")
        for route in held[4:]:
            with contextlib.suppress(Exception):  # those of tiles that are gone
                route.continue_()
        grid_ready(page, 26)
        page.keyboard.press("Enter")
        eventually(lambda: len(said(run)) == 30)


def test_keys_are_taken_while_the_page_after_next_is_fetched(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 360, suspects=3)
    held: list[Any] = []
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=3)
        page.keyboard.press("g")
        grid_ready(page, 40)
        page.wait_for_timeout(1500)  # the next forty are fetched
        page.route("**/thumbnail*", lambda route: held.append(route))  # and from now on nothing comes
        page.keyboard.press("Enter")
        eventually(lambda: len(said(run)) == 40)
        grid_ready(page, 40)
        page.keyboard.press("Enter")
        eventually(lambda: bool(page.wait_for_timeout(50)) or len(said(run)) == 80)


def test_guesses_are_not_one_key_away_from_being_truth(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 60, ["normal", "pneumonia"], "normal", "", suspects=3)
    known = (run / "run.json").read_text()
    (run / "run.json").write_text(known.replace('"reliability": {', '"reliability": {"meaningful": false, '))
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=3)
        assert not page.locator("#accept").is_visible()
        page.keyboard.press("Enter")
        page.locator("#flash").get_by_text("choose a class").wait_for()
        page.keyboard.press("g")
        grid_ready(page, 30)
        assert page.get_by_text("These labels are guesses").is_visible()
        for _ in range(3):
            page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        assert said(run) == {}
        page.keyboard.press("Shift+ArrowRight")
        page.get_by_text("2 selected").wait_for()
        page.keyboard.press("2")
        page.get_by_role("button", name="Keep the 2 named").wait_for()
        page.keyboard.press("Enter")
        eventually(lambda: list(said(run).values()) == ["pneumonia"] * 2)
        grid_ready(page, 28)
        page.locator("#confirmGuesses").click()
        page.get_by_role("heading", name="These labels are guesses").wait_for()
        page.keyboard.press("Enter")  # the default is no
        page.wait_for_timeout(300)
        assert len(said(run)) == 2
        page.locator("#confirmGuesses").click()
        page.get_by_role("button", name="Yes, I looked at each").click()
        eventually(lambda: len(said(run)) == 30)


def test_enter_takes_what_the_reasons_say_and_nothing_where_they_differ(browser: Any, tmp_path: Path) -> None:
    reasons = "the other images make it pneumonia (84%); looks like its 8 nearest neighbours, all labelled pneumonia"
    run = doubted_run(tmp_path, 6, ["normal", "pneumonia"], "normal", f"{reasons}; CLIP says pneumonia (81%)")
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1)
        assert page.locator("#accept").inner_text().endswith("Accept pneumonia")
        page.keyboard.press("Enter")
        shown(page, 2)
    assert list(said(run).values()) == ["pneumonia"]
    classes = ["normal", "pneumonia", "effusion"]
    assert proposal("normal", "CLIP says pneumonia (61%); the student says effusion (71%)", classes) is None
    assert proposal("effusion", "nearly the same picture as normal/1.png, labelled effusion", classes) == "effusion"


def test_enter_never_takes_what_a_reader_marked_wrong(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 12, suspects=3, suggested="chest", reason="")
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=3)
        page.keyboard.press("g")
        grid_ready(page, 4)
        wrong = page.locator(".tile").first.get_attribute("data-path")
        page.keyboard.press("Space")
        page.keyboard.press("Enter")
        shown(page, 1, of=1)
        assert not page.locator("#accept").is_visible()
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        assert wrong not in said(run)
        page.keyboard.press("q")  # nor later, in another view
        shown(page, 1, of=3 if wrong == "scans/0000.png" else 2)
        page.keyboard.press("3")
        eventually(lambda: "brain" in said(run).values())


def test_of_two_classes_wrong_means_the_other(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 12, ["normal", "pneumonia"], suspects=3)
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=3)
        page.keyboard.press("g")
        grid_ready(page, 6)
        wrong = page.locator(".tile").first.get_attribute("data-path")
        page.keyboard.press("Space")
        page.locator(".tile .mark").get_by_text("pneumonia").wait_for()
        page.keyboard.press("Enter")
        eventually(lambda: len(said(run)) == 6)
    assert {path for path, label in said(run).items() if label == "pneumonia"} == {wrong}


def test_the_older_of_two_tabs_shows_both_answers_and_overwrites_nothing(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 6)
    with served(run) as server, tab(browser) as old, tab(browser) as new:
        for page in (old, new):
            page.goto(server.url)
            shown(page, 1)
        new.keyboard.press("1")
        shown(new, 2)
        old.keyboard.press("3")
        row = old.locator("#conflict").get_by_role("row", name="scans/0000.png")
        row.get_by_text("chest").wait_for()
        assert row.get_by_text("brain").is_visible()
        assert said(run) == {"scans/0000.png": "chest"}
        old.get_by_role("button", name="Keep the one there").click()
        shown(old, 2)
        old.keyboard.press("2")
        shown(old, 3)
        new.keyboard.press("3")
        new.get_by_role("button", name="Take the one here").click()
        shown(new, 3)
        eventually(lambda: said(run) == {"scans/0000.png": "chest", "scans/0001.png": "brain"})
        new.keyboard.press("g")  # and a grid: the other tab answered one of these
        grid_ready(new, 1)
        old.keyboard.press("1")
        shown(old, 4)
        old.keyboard.press("2")
        shown(old, 5)
        assert said(run)["scans/0003.png"] == "breast"
        new.keyboard.press("Enter")
        new.locator("#conflict").get_by_role("row", name="scans/0003.png").get_by_text("breast").wait_for()
        new.get_by_role("button", name="Keep the one there").click()
        new.wait_for_timeout(300)
        assert said(run)["scans/0003.png"] == "breast"


def test_marks_and_selection_survive_other_orders_and_views(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 30, suspects=3)
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=3)
        page.keyboard.press("g")
        grid_ready(page, 10)
        boxes = [page.locator(".tile").nth(i).bounding_box() for i in (1, 3)]
        page.mouse.move(boxes[0]["x"] + 20, boxes[0]["y"] + boxes[0]["height"] + 30)  # a frame from below the first row
        page.mouse.down()
        page.mouse.move(boxes[1]["x"] + 30, boxes[1]["y"] + 30, steps=5)
        page.mouse.up()
        count = page.locator(".tile.chosen").count()
        assert count >= 3
        chosen = {page.locator(".tile.chosen").nth(i).get_attribute("data-path") for i in range(count)}
        page.locator("#gridGive").get_by_role("button", name="brain").click()
        assert page.locator(".tile .mark").count() == count
        page.locator("#gridOrder").select_option("name")
        page.keyboard.press("q")
        shown(page, 1, of=3)
        page.keyboard.press("g")
        grid_ready(page, 10)
        marked = page.locator(".tile:has(.mark)")
        assert {marked.nth(i).get_attribute("data-path") for i in range(marked.count())} == chosen
        page.reload()
        shown(page, 1, of=3)
        page.keyboard.press("g")
        grid_ready(page, 10)
        assert page.locator(".tile .mark").count() == count


def test_filters_orders_and_more_like_this(browser: Any, tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(30, 32))
    features[17] = features[4] + 0.7 * features[5]
    run = doubted_run(tmp_path, 30, suspects=3, features=features)
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=3)
        page.keyboard.press("g")
        grid_ready(page, 10)
        page.get_by_role("button", name="All 30").click()
        grid_ready(page, 30)
        page.get_by_text("Filters").click()
        page.locator("#gridName").fill("000")
        page.locator("#gridLeft").get_by_text("10 left").wait_for()
        page.locator("#gridReason").fill("nearest neighbours")
        page.locator("#gridLeft").get_by_text("3 left").wait_for()
        page.get_by_role("button", name="Show all again").click()
        page.locator("#gridLeft").get_by_text("30 left").wait_for()
        page.get_by_text("Filters").click()
        page.locator(".tile[data-path='scans/0004.png']").focus()
        page.keyboard.press("z")
        page.locator("#enlarged img").wait_for()
        page.get_by_role("button", name="More like this").click()
        page.get_by_text("The nearest to scans/0004.png first").wait_for()
        page.wait_for_selector(".tile:nth-child(2)[data-path='scans/0017.png']")
        page.locator("#gridSize").fill("3")
        page.wait_for_selector(".tile >> nth=11")
        eventually(lambda: page.locator(".tile").count() == 12)


def test_a_neighbour_shows_the_readers_own_answer_though_it_was_fetched_before(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 6)
    with served(run) as server, tab(browser) as page:
        fetched: list[str] = []
        page.on("response", lambda answer: fetched.append(answer.url))
        page.goto(server.url)
        shown(page, 1)
        page.wait_for_selector("#nearThumbs img >> nth=4")
        eventually(lambda: page.evaluate("1") and any("items/1/view" in url for url in fetched))  # loaded ahead
        page.keyboard.press("3")
        shown(page, 2)
        page.wait_for_selector("#nearThumbs .thumb[title='scans/0000.png'] .caption:has-text('✓ brain')")
