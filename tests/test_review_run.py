"""The page in a real browser: several readers by a plan, and the whole loop of update, certificate and export."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from review_browser import doubted_run, eventually, grid_ready, open_browser, said, served, shown, tab

from autoannotate import Annotations
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import OutputError, UsageError
from autoannotate.review.agreement import agreement
from autoannotate.review.reading_plan import ReadingPlan, keep_plan, load_plan, parse_plan
from autoannotate.runs import history
from autoannotate.runs.lock import alone
from autoannotate.runs.save import contents

browser = pytest.fixture(scope="module")(open_browser)
pytestmark = pytest.mark.slow


def taken_in(run: Path) -> None:
    """A round in which all answers stand in the place of labels, as an update leaves it."""
    old = Annotations.load(run)
    answers = {path: said(run, reader) for reader in ("Ana",) for path in [reader]}["Ana"]
    table = old.table.copy()
    hit = table["path"].isin(list(answers))
    table.loc[hit, "label"] = [answers[path] for path in table.loc[hit, "path"]]
    table.loc[hit, "source"] = "clinician"
    table.loc[hit, ["suspect", "suspect_score"]] = 0
    queue = old.suspects[~old.suspects["path"].isin(list(answers))]
    changes = tuple(
        history.Change(path, before, after, "Ana answered")
        for path, before, after in zip(old.table["path"], old.table["label"], table["label"], strict=True)
        if before != after
    )
    new = Annotations(table, queue.assign(rank=range(1, len(queue) + 1)), old.unreadable, old.run | {"round": 1})
    with AnswerStore(run) as store:
        ids = tuple(answer.id for answer in store.current() if answer.id)
    record = history.Round(1, "update", "2026-01-01T00:00:00+00:00", ids, ids, changes=changes, learnt=ids,
                           before=history.numbers_of(old), after=history.numbers_of(new))  # fmt: skip
    history.keep(run, contents(new), record)


def test_a_second_reading_outlives_the_update_and_stays_blind(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 12, suspects=4)
    keep_plan(run, parse_plan("double"), answered=False)
    with AnswerStore(run) as store:
        store.add([Answer(f"scans/{i:04d}.png", "Ana", "label", "brain") for i in range(4)])
    taken_in(run)
    with served(run, "Ben") as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=4)
        assert page.locator("#nearThumbs").is_visible()
        page.wait_for_selector("#nearThumbs .caption")
        for number in range(1, 5):
            shown(page, number, of=4)
            path = page.locator("#path").inner_text()
            machine = ("chest", "breast", "brain")[int(path[6:10]) % 3]
            assert f"Labelled {machine}" in page.locator("#labelled").inner_text(), "the machine's, not Ana's"
            near = [
                page.locator("#nearThumbs .thumb").nth(i) for i in range(page.locator("#nearThumbs .thumb").count())
            ]
            for one in near:
                number_of = int((one.get_attribute("title") or "")[6:10])
                caption = one.locator(".caption").inner_text().removeprefix("✓ ")
                mine = said(run, "Ben").get(f"scans/{number_of:04d}.png")
                assert caption in (mine, ("chest", "breast", "brain")[number_of % 3])
            page.keyboard.press("1")
        page.get_by_role("heading", name="All answered").wait_for()
    assert set(said(run, "Ben").values()) == {"chest"}
    with served(run, "Cem") as server, tab(browser) as page:
        page.goto(server.url)
        page.wait_for_selector("#one:not([hidden]), #done:not([hidden])")
        page.keyboard.press("d")
        shown(page, 1, of=4)  # a third settles what they disagree on


def test_a_plan_is_kept_and_never_asks_for_less(tmp_path: Path) -> None:
    keep_plan(tmp_path, parse_plan("double:0.3"), answered=False)
    assert load_plan(tmp_path) == ReadingPlan(2, 0.3)
    twice = [f"scan{i}" for i in range(2000) if load_plan(tmp_path).readers(f"scan{i}") == 2]  # type: ignore[union-attr]
    assert 520 < len(twice) < 680
    with pytest.raises(UsageError):
        keep_plan(tmp_path, parse_plan("single"), answered=True)
    keep_plan(tmp_path, parse_plan("double"), answered=True)
    assert all(load_plan(tmp_path).readers(path) == 2 for path in twice)  # type: ignore[union-attr]
    for text in ("triple", "double:x", "double:0", "single:0.5:1"):
        with pytest.raises(UsageError):
            parse_plan(text)


def test_agreement_has_intervals_and_says_where_images_are_too_few(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    classes = ["a", "b", "c"]

    def answers(name: str, wrong: float, n: int, seconds: float | None = 2.0) -> list[Answer]:
        given = np.where(rng.random(n) < wrong, (truth[:n] + 1) % 3, truth[:n])
        return [Answer(f"{i}", name, "label", classes[k], seconds=seconds, id=1) for i, k in enumerate(given)]

    told = [
        *answers("Ana", 0.05, 200),
        *answers("Ben", 0.05, 200),
        *answers("Cem", 0.4, 12),
        *answers("Bulk", 0.0, 200, None),
    ]
    began = time.perf_counter()
    found = agreement(told, classes, "Ana")
    assert time.perf_counter() - began < 0.3
    pairs = {(pair["first"], pair["second"]): pair for pair in found["pairs"]}
    both = pairs["Ana", "Ben"]["kappa"]
    assert both["low"] < both["value"] < both["high"]
    assert 0.75 < both["value"] < 0.95
    assert pairs["Ben", "Cem"]["kappa"] is None
    assert pairs["Ben", "Cem"]["shared"] == 12
    readers = {one["name"]: one["quality"] for one in found["readers"]}
    assert readers["Bulk"]["n"] == 0, "a grid confirmed at once proves nothing"
    assert readers["Ana"]["n"] > 180
    assert {one["name"] for one in found["classes"]} == set(classes)


def test_own_answers_are_listed_filtered_and_changed(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 6)
    with AnswerStore(run) as store:
        store.add(
            [Answer(f"scans/{i:04d}.png", "Ana", "label", "chest", note="odd" if i == 3 else "") for i in range(6)]
        )
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        page.get_by_role("heading", name="All answered").wait_for()
        page.keyboard.press("m")
        page.locator("#mineTiles .thumb >> nth=5").wait_for()
        page.locator("#mineOther").select_option("other")
        page.locator("#mineCount").get_by_text("4 answers").wait_for()
        page.locator("#mineText").fill("odd")
        page.locator("#mineCount").get_by_text("0 answers").wait_for()
        page.locator("#mineOther").select_option("")
        page.locator("#mineCount").get_by_text("1 answer").wait_for()
        page.locator("#mineTiles .thumb").click()
        page.get_by_text("You answered: chest").wait_for()
        shown(page, 1, of=1)
        page.keyboard.press("3")
        page.locator("#mineTiles .thumb").wait_for()
        assert said(run)["scans/0003.png"] == "brain"


def test_a_sample_is_answered_blind_and_the_certificate_is_shown_and_saved(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 60, suspects=3)
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=3)
        page.keyboard.press("e")
        page.get_by_label("At most").select_option("0.1")
        page.get_by_role("button", name="Draw a sample and answer it").click()
        page.wait_for_selector("#layer > [alt^='Image 1 of ']")
        total = int((page.locator("#position").inner_text()).split()[-1])
        labels = dict(zip(Annotations.load(run).table["path"], Annotations.load(run).table["label"], strict=True))
        with AnswerStore(run) as store:
            for number in range(1, total + 1):
                page.wait_for_selector(f"#layer > [alt='Image {number} of {total}']")
                for hint in ("#card", "#near", "#path", "#same"):
                    element = page.locator(hint)
                    assert not element.is_visible() or not element.inner_text(), hint
                assert page.locator("#classes .hint").count() == 0
                page.keyboard.press("Enter")  # takes nothing: there is no suggestion
                label = labels[page.evaluate("document.body.dataset.shown")]
                page.get_by_role("button", name=label, exact=True).click()
        page.get_by_text("at most 10% are wrong, with 95% confidence").first.wait_for()
    assert (run / "certificate.txt").is_file()
    assert (run / "certified.csv").is_file()
    assert len(store.__class__(run).current("Ana")) == total


def test_exports_and_the_lock(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 6)
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1)
        page.keyboard.press("e")
        page.locator("#exportFormat").select_option("jsonl")
        page.get_by_role("button", name="Export", exact=True).click()
        page.locator("#runJob").get_by_text("Exported: ").wait_for()
        assert len(list((run / "exports").glob("all-*.jsonl"))) == 1
        with alone(run):
            page.get_by_role("button", name="Improve the labels").click()
            page.locator("#runJob").get_by_text("Another update of").wait_for()
            with pytest.raises(OutputError), alone(run):
                pass


def test_labels_are_improved_from_the_page_and_what_changed_is_shown(browser: Any, tmp_path: Path) -> None:
    from made_runs import draw_images
    from PIL import Image

    from autoannotate import Annotator

    images = draw_images(tmp_path / "images", [f"disc/{i}.png" for i in range(12)], 64)
    rng = np.random.default_rng(1)
    (images / "noise").mkdir()
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(images / "noise" / f"{i}.png")
    Annotator(["disc", "noise"], student="none", cache=tmp_path / "cache").label(images).save(tmp_path / "run")
    run = tmp_path / "run"
    labels = Annotations.load(run).table.set_index("path")["label"]
    asked = [f"{kind}/{i}.png" for kind in ("disc", "noise") for i in range(6)]
    with AnswerStore(run) as store:  # whatever the machine took them for, it was wrong
        store.add([Answer(path, "Ana", "label", "noise" if labels[path] == "disc" else "disc") for path in asked])
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        page.wait_for_selector("main:not([hidden])")
        page.keyboard.press("e")
        page.get_by_text("12 answered images that the other labels have not learnt from yet").wait_for()
        page.get_by_role("button", name="Improve the labels").click()
        page.get_by_role("button", name="Stop").wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("Stopped. The run is as it was.").wait_for()
        assert len(history.rounds(run)) == 1
        page.get_by_role("button", name="Improve the labels").click()
        page.get_by_role("heading", name="What round 1 changed").or_(page.locator("#runJob .bad")).wait_for(
            timeout=300_000
        )
        assert page.locator("#runJob .bad").count() == 0, page.locator("#runJob").inner_text()
        page.locator("#runChanges img").first.wait_for()
        assert (
            "disc → noise" in page.locator("#runChanges").inner_text()
            or "noise → disc" in page.locator("#runChanges").inner_text()
        )
        assert page.get_by_text("The labels have learnt from every answer").is_visible()
    assert history.rounds(run)[-1].what == "update"
    eventually(lambda: not multiprocessing.active_children())


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_axe_finds_nothing_serious_in_any_view(browser: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    run = doubted_run(tmp_path, 30, suspects=3)
    with AnswerStore(run) as store:
        for reader, label in (("Ben", "brain"), ("Cem", "chest"), ("Ana", "chest")):
            store.add([Answer(f"scans/{i:04d}.png", reader, "label", label, seconds=1.0) for i in range(4, 28)])
    with served(run) as server, tab(browser, viewport={"width": size[0], "height": size[1]}, bypass_csp=True) as page:
        page.goto(server.url)
        shown(page, 1, of=3)

        def fine(view: str) -> None:
            page.wait_for_timeout(400)
            found = Axe().run(page).response["violations"]
            serious = [
                (one["id"], [node["html"][:120] for node in one["nodes"]])
                for one in found
                if one["impact"] in ("serious", "critical")
            ]
            assert serious == [], view

        fine("one by one")
        for key, waits in (
            ("g", ".tile.seen"),
            ("p", "#readersSheet table"),
            ("m", "#mineTiles .thumb"),
            ("e", "#improve"),
            ("d", "#doneTitle"),
        ):
            page.keyboard.press(key)
            page.locator(waits).first.wait_for()
            wide = "[...document.querySelectorAll('.sheet')].filter(e => e.checkVisibility() && e.scrollWidth > innerWidth)"
            assert page.evaluate(f"{wide}.length") == 0, key
            fine(key)
        page.keyboard.press("?")
        fine("help")


def test_the_picture_has_most_of_a_phone_and_of_a_tablet(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 12, suspects=6)
    with served(run) as server:
        for width, height in ((390, 844), (820, 1180)):
            with tab(browser, viewport={"width": width, "height": height}, has_touch=True) as page:
                page.goto(server.url)
                shown(page, 1)
                box = page.locator("#viewer").bounding_box()
                assert box["height"] > 0.5 * height
                assert box["width"] == width
                out_of_reach = page.evaluate(
                    "[...document.querySelectorAll('.tools button, #accept, #classes button, .others button')]"
                    ".filter(e => e.checkVisibility()).map(e => [e.textContent, e.getBoundingClientRect()])"
                    ".filter(([, r]) => r.left < 0 || r.right > innerWidth || r.bottom > innerHeight).map(([text]) => text)"
                )
                assert out_of_reach == []
                page.wait_for_selector("#nearThumbs img >> nth=3")
                assert page.evaluate(
                    "[...document.querySelectorAll('#nearThumbs')].every(e => e.scrollWidth <= e.clientWidth + 1)"
                )
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                page.get_by_role("button", name="Grid").tap()
                grid_ready(page, 1)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_hints_in_unaided_mode(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 6)
    with AnswerStore(run) as store:
        store.add([Answer("scans/0005.png", "Ana", "label", "breast")])
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1)
        order = page.locator("#classes button span").all_inner_texts()
        assert order == ["chest", "breast", "brain"], "digits stay where they are, whatever is suggested"
        page.keyboard.press("3")
        shown(page, 2)
        page.keyboard.press("h")
        page.wait_for_selector("#layer > [alt='Image 2 of 6']")
        assert page.locator("#classes button span").all_inner_texts() == order
        page.wait_for_selector("#nearThumbs img >> nth=4")
        page.wait_for_timeout(300)
        visible = page.evaluate(
            "[...document.querySelectorAll('#one *')].filter(e => e.checkVisibility()).map(e => [e.title, e.ariaLabel,"
            " e.alt, e.childElementCount ? '' : e.textContent].join(' ')).join(' ')"
        )
        assert "scans/" not in visible
        assert "CLIP" not in visible
        page.wait_for_selector("#nearThumbs .caption:has-text('✓ breast')")  # of the reader's own answer, and no more
        assert page.locator("#nearThumbs .other").count() == 0


def test_the_estimate_by_answers_stays_in_sight_and_says_that_it_is_one(browser: Any, tmp_path: Path) -> None:
    run = doubted_run(tmp_path, 12, suspects=6)
    with AnswerStore(run) as store:
        store.add([Answer("scans/0000.png", "Ana", "label", "brain")])
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        page.wait_for_selector("#layer > [alt]")
        assert page.locator("#curve svg").count() == 0
        taken_in(run)
        page.locator("#curve").get_by_text("Estimated wrong: 1.2% → 1.2%, with 1 answer").wait_for()
        assert "0 answers: 1.2%, 1 answers: 1.2%" in page.locator("#curve svg").get_attribute("aria-label")
        page.keyboard.press("e")
        page.locator("#runSheet").get_by_text("Estimated by the program, not counted").wait_for()
