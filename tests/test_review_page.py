"""The page in a real browser, by keyboard: what a clinician does, and what must never be lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_run
from PIL import Image
from review_browser import PATIENCE, chromium, doubted_run, eventually, keep_features, said, served, shown, tab

from autoannotate import Annotations
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.review import queues
from autoannotate.runs import history
from autoannotate.runs.save import contents

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")

CLASSES = ("chest", "breast", "brain")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = chromium()
    if path is None:
        pytest.skip("no Chromium is installed: apt-get install chromium, or set AUTOANNOTATE_CHROMIUM")
    with playwright.sync_playwright() as started:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = started.chromium.launch(executable_path=path, args=args)
        yield opened
        opened.close()


class Server:
    """`autoannotate review` as a user starts it."""

    def __init__(self, run: Path, *options: str) -> None:
        command = [sys.executable, "-m", "autoannotate", "review", str(run), "--no-browser", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{20,}", self.url), self.process.stderr

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(run: Path, *options: str) -> Server:
        servers.append(Server(run, *options))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.kill()


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


def queue_of(folder: Path, n: int = 6, suspects: int | None = None, draw: bool = True) -> Path:
    """A run whose first images are suspects, suggested breast, with features in a cache of its own."""
    paths = [f"scans/{i:04d}.png" for i in range(n)]
    run = make_run(folder / "images", paths, CLASSES, draw=draw)
    table = run.table.assign(suspect=[int(i < (n if suspects is None else suspects)) for i in range(n)])
    doubted = table[table["suspect"] == 1]
    queue = type(table)(
        {
            "rank": range(1, len(doubted) + 1),
            "path": doubted["path"],
            "label": doubted["label"],
            "suggested_label": "breast",
            "suspect_score": np.linspace(0.9, 0.5, len(doubted)),
            "reason": "looks like its 8 nearest neighbours, all labelled breast; CLIP says breast (81%)",
        }
    )
    known = run.run | {"arguments": {"images": str(folder / "images"), "cache": str(folder / "cache")}}
    type(run)(table, queue, run.unreadable, known).save(folder / "run")
    return folder / "run"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = queue_of(tmp_path)
    keep_features(tmp_path, np.random.default_rng(0).normal(size=(6, 32)))
    return made


def open_page(page: Any, server: Server, number: int = 1, of: int = 6) -> None:
    page.goto(server.url)
    shown(page, number, of)


def test_a_whole_queue_is_answered_by_keyboard_alone(page: Any, run: Path, serve: Callable[..., Server]) -> None:
    server = serve(run, "--reader", "Ana")
    open_page(page, server)
    assert page.url.endswith("/"), "the token does not stay in the address"
    assert page.get_by_text("6 left").is_visible()
    assert "looks like its 8 nearest neighbours, all labelled breast" in page.locator("#reasons").inner_text()
    keys = {name: page.get_by_role("button", name=name, exact=True) for name in CLASSES}
    assert [keys[name].get_attribute("aria-keyshortcuts") for name in CLASSES] == ["1", "2", "3"]
    for number, key in enumerate(["Enter", "1", "3", "u", "0", "x"], start=1):
        shown(page, number)
        page.keyboard.press(key)
    page.get_by_role("heading", name="All answered").wait_for()
    assert page.locator("#doneGain").inner_text().startswith("4 labels put right · 1 confirmed · 1 unsure")
    answers = ["breast", "chest", "brain", "unsure", "none", "discard"]
    assert said(run) == {f"scans/{i:04d}.png": answer for i, answer in enumerate(answers)}
    with AnswerStore(run) as store:
        assert all(a.fingerprint and a.seconds is not None and a.source == "review" for a in store.current())
    assert server.stop() == 0


def test_undo_goes_back_any_number_of_times_and_over_a_restart(
    page: Any, run: Path, serve: Callable[..., Server]
) -> None:
    first = serve(run, "--reader", "Ana")
    open_page(page, first)
    for number in (1, 2, 3):
        shown(page, number)
        page.keyboard.press("1")
    shown(page, 4)
    page.keyboard.press("Backspace")
    shown(page, 3)
    assert len(said(run)) == 2
    first.stop()
    open_page(page, serve(run, "--reader", "Ana"), 3)
    page.keyboard.press("Control+z")
    shown(page, 2)
    page.keyboard.press("Backspace")
    shown(page, 1)
    assert said(run) == {}
    page.keyboard.press("2")
    shown(page, 2)
    page.keyboard.press("ArrowLeft")
    shown(page, 1)
    page.get_by_text("You answered: breast").wait_for()
    page.keyboard.press("3")
    shown(page, 2)
    eventually(lambda: said(run) == {"scans/0000.png": "brain"})


def test_where_nothing_is_in_doubt_the_others_come_most_doubtful_first(
    page: Any, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    run = queue_of(tmp_path, 3, suspects=0)
    open_page(page, serve(run, "--reader", "Ana"), of=3)
    assert "scans/0000.png" in page.locator("#path").text_content(), "its score is the highest"
    for number in (1, 2, 3):
        shown(page, number, of=3)
        page.keyboard.press("Enter")
    page.get_by_role("heading", name="All answered").wait_for()
    assert list(said(run).values()) == ["chest", "breast", "brain"]


def test_a_key_held_down_is_one_answer(page: Any, run: Path, serve: Callable[..., Server]) -> None:
    open_page(page, serve(run, "--reader", "Ana"))
    for _ in range(4):
        page.keyboard.down("1")
    page.keyboard.up("1")
    shown(page, 2)
    page.wait_for_timeout(300)
    assert len(said(run)) == 1


def test_a_note_goes_with_the_answer(page: Any, run: Path, serve: Callable[..., Server]) -> None:
    open_page(page, serve(run, "--reader", "Ana"))
    page.keyboard.press("n")
    page.keyboard.type("marker 1 in the way")
    page.keyboard.press("Enter")
    page.keyboard.press("u")
    shown(page, 2)
    eventually(lambda: bool(said(run)))
    with AnswerStore(run) as store:
        assert [(a.verdict, a.note) for a in store.current()] == [("unsure", "marker 1 in the way")]


def test_a_killed_server_loses_no_answer_and_the_page_says_what_is_not_kept(
    page: Any, run: Path, serve: Callable[..., Server]
) -> None:
    server = serve(run, "--reader", "Ana")
    open_page(page, server)
    page.keyboard.press("1")
    shown(page, 2)
    eventually(lambda: len(said(run)) == 1)
    server.kill()
    page.keyboard.press("2")
    page.get_by_role("alert").get_by_text("Not kept yet: scans/0001.png, breast").wait_for()
    page.keyboard.press("3")  # nothing more is taken until that one is kept
    assert len(said(run)) == 1
    serve(run, "--reader", "Ana")  # the address is as it was, and the page goes on by itself
    shown(page, 3)
    eventually(lambda: said(run) == {"scans/0000.png": "chest", "scans/0001.png": "breast"})
    assert not page.get_by_role("alert").is_visible()


def test_a_killed_browser_loses_no_answer_that_it_showed_as_given(
    browser: Any, page: Any, run: Path, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(run, "--reader", "Ana")
    command = [chromium(), "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={tmp_path / 'profile'}"]
    other = subprocess.Popen([*command, "--no-sandbox", "about:blank"], stderr=subprocess.PIPE, text=True)
    try:
        assert other.stderr is not None
        socket = next(line.split()[-1] for line in other.stderr if "DevTools listening" in line)
        with contextlib.closing(browser.browser_type.connect_over_cdp(socket)) as connected:
            mine = connected.contexts[0].new_page()
            mine.set_default_timeout(PATIENCE)
            open_page(mine, server)
            for number, key in ((1, "1"), (2, "2")):
                shown(mine, number)
                mine.keyboard.press(key)
            eventually(lambda: len(said(run)) == 2)
            mine.keyboard.press("n")
            mine.keyboard.type("half a no")
            other.kill()
            other.wait()
    finally:
        other.kill()
    open_page(page, server, number=3)
    assert said(run) == {"scans/0000.png": "chest", "scans/0001.png": "breast"}


def test_a_full_disk_is_said_on_the_page_and_the_image_stays_to_be_answered(
    page: Any, run: Path, serve: Callable[..., Server]
) -> None:
    with AnswerStore(run):
        size = max(item.stat().st_size for item in run.glob("answers*"))
    server = serve(run, "--reader", "Ana")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, hard))  # stands for the full disk
    open_page(page, server)
    page.locator("#note").fill("x" * 3900)
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    page.get_by_role("alert").get_by_text("The disk is full").wait_for()
    shown(page, 1)
    assert page.get_by_text("6 left").is_visible()
    assert said(run) == {}
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))  # space was made
    page.keyboard.press("2")
    shown(page, 2)
    eventually(lambda: said(run) == {"scans/0000.png": "breast"})


def test_an_update_while_the_page_is_open_brings_the_new_queue_and_loses_no_answer(
    page: Any, run: Path, serve: Callable[..., Server]
) -> None:
    server = serve(run, "--reader", "Ana")
    open_page(page, server)
    page.keyboard.press("1")
    shown(page, 2)
    # An update in another process read the first answer; the image on the screen is not in doubt any more, the first image's
    # file was gone so that all rows moved, and the last two are asked in another order
    old = Annotations.load(run)
    table = old.table.iloc[1:].assign(suspect=[0, 0, 0, 1, 1]).reset_index(drop=True)
    queue = old.suspects.iloc[[5, 4]].assign(rank=[1, 2], reason="asked by the new round")
    new = Annotations(table, queue, old.unreadable, old.run | {"round": 1}, old.images)
    history.keep(run, contents(new), history.Round(1, "update", "2026-01-01T00:00:00+00:00"))
    page.locator("#news").get_by_text("The labels were updated. After this image comes the new queue").wait_for()
    assert page.locator("#path").text_content() == "scans/0001.png", "the picture is not pulled away"
    assert page.locator("#left").text_content() == "3 left"
    page.keyboard.press("2")
    shown(page, 2, of=3)
    assert page.locator("#path").text_content() == "scans/0005.png"
    assert "asked by the new round" in page.locator("#reasons").inner_text()
    page.keyboard.press("3")
    shown(page, 3, of=3)
    page.keyboard.press("3")
    page.get_by_role("heading", name="All answered").wait_for()
    assert page.get_by_text(f"autoannotate update {run}").is_visible()
    answers = {"0000": "chest", "0001": "breast", "0004": "brain", "0005": "brain"}
    assert said(run) == {f"scans/{name}.png": label for name, label in answers.items()}
    later = Annotations(table, queue.assign(path="scans/0002.png").iloc[:1], old.unreadable, old.run | {"round": 2})
    history.keep(run, contents(later), history.Round(2, "update", "2026-01-01T00:00:00+00:00"))
    page.locator("#news").get_by_text("This is the new queue: 1 image to look at").wait_for()  # from the last page too
    shown(page, 1, of=1)


def test_guesses_are_shown_as_guesses(page: Any, run: Path, serve: Callable[..., Server]) -> None:
    known = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(known | {"reliability": {"trust": 0.1, "meaningful": False}}))
    open_page(page, serve(run, "--reader", "Ana"))
    assert page.get_by_text("Which is it?").is_visible()
    assert "cannot tell these classes apart" in page.locator("#labelled").inner_text()
    assert page.get_by_text("About 20 answers of each class teach the other labels.").is_visible()
    assert page.locator("#classes .hint").count() == 0


def test_a_server_that_hangs_for_a_while_gets_the_answer_once(
    page: Any, run: Path, serve: Callable[..., Server]
) -> None:
    server = serve(run, "--reader", "Ana")
    open_page(page, server)
    page.wait_for_timeout(500)
    server.process.send_signal(signal.SIGSTOP)
    page.keyboard.press("1")
    shown(page, 2)
    page.keyboard.press("2")
    page.wait_for_timeout(400)
    assert page.locator("#position").text_content() == "2 of 6", "the next one waits for the first to be kept"
    server.process.send_signal(signal.SIGCONT)
    shown(page, 3)
    eventually(lambda: said(run) == {"scans/0000.png": "chest", "scans/0001.png": "breast"})
    with AnswerStore(run) as store:
        assert len(store.everything()) == 2


def test_two_readers_are_blind_and_a_third_settles_what_they_disagree_on(
    browser: Any, page: Any, run: Path, serve: Callable[..., Server]
) -> None:
    ana, ben = serve(run, "--reader", "Ana"), serve(run, "--reader", "Ben")
    for server, keys in ((ana, "111111"), (ben, "111123")):
        context = browser.new_context()
        context.set_default_timeout(PATIENCE)
        other = context.new_page()
        other.goto(server.url)
        for number, key in enumerate(keys, start=1):
            shown(other, number)
            assert not other.get_by_text("You answered").is_visible()
            other.keyboard.press(key)
        other.get_by_role("heading", name="All answered").wait_for()
        context.close()
    page.goto(serve(run).url)  # nobody named: the page asks
    page.get_by_label("Your name").fill("Cem")
    page.keyboard.press("Enter")
    shown(page, 1)
    page.keyboard.press("p")
    page.get_by_role("heading", name="How the readers agree").wait_for()
    assert page.get_by_role("row", name="Ana and Ben").get_by_text("6").first.is_visible()
    assert page.get_by_text("2 images in dispute").is_visible()
    page.keyboard.press("d")
    shown(page, 1, of=2)
    assert not page.get_by_text("brain, chest").is_visible()
    page.keyboard.press("2")
    shown(page, 2, of=2)
    page.keyboard.press("v")
    page.get_by_text("brain, chest").wait_for()
    page.keyboard.press("3")
    page.get_by_role("heading", name="No disagreement waits").wait_for()
    assert said(run, "Cem") == {"scans/0004.png": "breast", "scans/0005.png": "brain"}


def test_forty_are_confirmed_in_one_stroke_and_undone_in_one(
    page: Any, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    run = queue_of(tmp_path, 150, suspects=3)
    keep_features(tmp_path, np.random.default_rng(0).normal(size=(150, 32)))
    open_page(page, serve(run, "--reader", "Ana"), of=3)
    page.keyboard.press("g")
    page.wait_for_selector(".tile >> nth=39")
    assert page.get_by_text("50 left").is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("3")
    wrong = page.locator(".tile >> nth=1").get_attribute("data-path")
    brain = page.locator(".tile >> nth=9").get_attribute("data-path")
    page.get_by_role("button", name="Confirm 38 as chest, then name 1").wait_for()
    page.keyboard.press("Enter")
    shown(page, 1, of=1)
    answers = said(run)
    assert len(answers) == 39
    assert answers.pop(brain) == "brain"
    assert set(answers.values()) == {"chest"}
    assert wrong not in answers
    page.keyboard.press("2")
    page.get_by_text("10 left").wait_for()
    assert said(run)[wrong] == "breast"
    page.keyboard.press("Backspace")
    page.get_by_text("11 left").wait_for()
    page.keyboard.press("Backspace")
    page.get_by_text("50 left").wait_for()
    assert said(run) == {}


def test_nearly_identical_images_are_answered_once_unless_asked_for_one_by_one(
    page: Any, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    run = queue_of(tmp_path, 40, suspects=6)
    features = np.random.default_rng(0).normal(size=(40, 64))
    features[[2, 20]] = features[0] + 1e-4
    features[4] = features[3] + 1e-4
    keep_features(tmp_path, features)
    open_page(page, serve(run, "--reader", "Ana"), of=4)  # 0 with 2 (and 20, no suspect), 1, 3 with 4, 5
    page.get_by_text("Nearly identical: one answer for all 3").wait_for()
    page.keyboard.press("1")
    shown(page, 2, of=4)
    eventually(lambda: said(run) == dict.fromkeys(["scans/0000.png", "scans/0002.png", "scans/0020.png"], "chest"))
    page.keyboard.press("1")
    shown(page, 3, of=4)
    page.keyboard.press("s")
    page.keyboard.press("2")
    shown(page, 4, of=5)
    page.keyboard.press("3")
    shown(page, 5, of=5)
    eventually(lambda: said(run).get("scans/0004.png") == "brain")
    assert said(run)["scans/0003.png"] == "breast"
    for left in (4, 3, 1):
        page.keyboard.press("Backspace")
        page.wait_for_timeout(300)
        eventually(lambda left=left: len(said(run)) == {4: 5, 3: 4, 1: 3}[left])
    page.keyboard.press("Backspace")
    eventually(lambda: said(run) == {})


def test_a_replaced_or_vanished_image_is_shown_as_such_and_never_labelled_unseen(
    page: Any, run: Path, serve: Callable[..., Server]
) -> None:
    images = run.parent / "images" / "scans"
    open_page(page, serve(run, "--reader", "Ana"))
    Image.new("L", (60, 60), 200).save(images / "0000.png")  # while it is looked at
    (images / "0004.png").unlink()
    page.keyboard.press("1")
    page.get_by_role("alert").get_by_text("changed while you looked").wait_for()
    page.locator("#warning").get_by_text("The file changed since it was labelled").wait_for()
    assert said(run) == {}
    shown(page, 1)
    page.keyboard.press("3")  # now it was seen
    for number in (2, 3, 4):
        shown(page, number)
        page.keyboard.press("1")
    page.get_by_text("This image cannot be shown").wait_for()  # though it was loaded ahead, before it vanished
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert page.get_by_role("button", name="chest", exact=True).is_disabled()
    assert "scans/0004.png" not in said(run)
    page.keyboard.press("x")
    shown(page, 6)
    eventually(lambda: said(run).get("scans/0004.png") == "discard")
    assert said(run)["scans/0000.png"] == "brain"


def test_window_and_level_of_a_dicom_file_follow_the_drag(
    page: Any, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    from pydicom.data import get_testdata_file

    (tmp_path / "images").mkdir()
    shutil.copyfile(str(get_testdata_file("CT_small.dcm")), tmp_path / "images" / "ct.dcm")
    make_run(tmp_path / "images", ["ct.dcm"], draw=False).save(tmp_path / "run")
    open_page(page, serve(tmp_path / "run", "--reader", "Ana"), of=1)
    page.locator("#preset").wait_for()
    box = page.locator("#viewer").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 340, steps=4)
    page.mouse.up()
    page.locator("canvas").wait_for()
    first = page.locator("#window").text_content()
    assert re.fullmatch(r"W [\d,.]+  L -?[\d,.]+", first)
    page.keyboard.press("Shift+ArrowRight")
    eventually(lambda: page.locator("#window").text_content() != first)
    page.keyboard.press("i")
    page.keyboard.press("z")
    assert page.locator("#layer.inverted").is_visible()
    page.keyboard.press("r")
    page.locator("#layer img").wait_for()


def test_the_next_picture_is_there_within_100_ms_on_a_queue_of_2000(
    page: Any, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    run = queue_of(tmp_path, 2000)
    keep_features(tmp_path, np.random.default_rng(0).normal(size=(2000, 64)))
    open_page(page, serve(run, "--reader", "Ana"), of=2000)
    page.wait_for_timeout(1500)
    took = []
    for number in range(1, 31):
        took.append(page.evaluate(STOPWATCH, f"Image {number + 1} of 2000"))
        page.wait_for_timeout(250)  # a fast reader
    print(f"key to next picture: median {np.median(took):.0f} ms, 95th percentile {np.percentile(took, 95):.0f} ms")
    assert np.median(took) < 100
    eventually(lambda: len(said(run)) == 30)


def test_what_a_screen_reader_needs_is_there(page: Any, run: Path, serve: Callable[..., Server]) -> None:
    open_page(page, serve(run, "--reader", "Ana"))
    assert page.locator("html").get_attribute("lang") == "en"
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter(e => e.checkVisibility() && !(e.ariaLabel ||"
        " e.textContent.trim() || e.labels?.length || e.title)).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert page.locator("[aria-live=polite]").count() >= 1
    page.keyboard.press("1")
    shown(page, 2)
    playwright.expect(page.locator("#live")).to_have_text(re.compile("^Image 2 of 6"))
    for _ in range(40):  # everything can be reached with Tab, the classes among it
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.label") == "chest":
            break
    else:
        pytest.fail("Tab never came to the classes")
    page.keyboard.press("Enter")  # a button that has the focus is what Enter presses
    shown(page, 3)
    assert said(run) == {"scans/0000.png": "chest", "scans/0001.png": "chest"}


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_view_has_enough_contrast(page: Any, run: Path, serve: Callable[..., Server], theme: str) -> None:
    with AnswerStore(run) as store:  # so that there is an agreement to show, and a disagreement to settle
        for reader, label in (("Ben", "brain"), ("Cem", "chest")):
            store.add([Answer("scans/0000.png", reader, "label", label), Answer("scans/0001.png", reader, "unsure")])
    open_page(page, serve(run, "--reader", "Ana"))
    if theme == "light":
        page.keyboard.press("t")

    def enough(view: str) -> None:
        page.wait_for_timeout(400)  # colours take a moment to change
        assert page.locator("html").get_attribute("data-theme") == theme
        assert page.evaluate(CONTRASTS) == [], view

    enough("one by one")
    page.keyboard.press("g")
    page.wait_for_selector(".tile >> nth=1")
    page.keyboard.press("Space")
    enough("grid")
    page.keyboard.press("p")
    page.get_by_role("heading", name="How the readers agree").wait_for()
    enough("readers")
    page.keyboard.press("d")
    shown(page, 1, of=2)
    page.keyboard.press("v")
    page.get_by_text("brain, chest").wait_for()
    enough("disagreements")
    page.keyboard.press("?")
    enough("help")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Reader: Ana").click()
    page.get_by_label("Your name").wait_for()
    enough("name")
    page.keyboard.press("Escape")
    page.keyboard.press("q")
    for number in range(1, 7):
        shown(page, number)
        page.keyboard.press("1")
    page.get_by_role("heading", name="All answered").wait_for()
    enough("done")


def test_a_tablet_and_a_finger_will_do(browser: Any, run: Path, serve: Callable[..., Server]) -> None:
    context = browser.new_context(viewport={"width": 820, "height": 1180}, has_touch=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    open_page(page, serve(run, "--reader", "Ana"))
    small = "[...document.querySelectorAll('#one button')].filter(e => e.checkVisibility() && e.offsetHeight < 40)"
    assert page.evaluate(f"{small}.map(e => e.outerHTML)") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for number in range(1, 7):
        shown(page, number)
        page.get_by_role("button", name="breast", exact=True).tap()
    page.locator("#done").get_by_role("button", name="Undo").tap()
    shown(page, 6)
    page.get_by_role("button", name="Grid").first.tap()
    page.get_by_role("button", name="Image 1, ").tap()
    page.get_by_role("button", name="Confirm 0 as brain, then name 1").tap()
    shown(page, 1, of=1)
    page.get_by_role("button", name="Not usable").tap()
    page.locator("p", has_text="Nothing that the machine calls brain is left").wait_for()  # the live region says it too
    assert list(said(run).values()) == ["breast"] * 5 + ["discard"]
    context.close()


def test_answers_given_elsewhere_under_another_name_do_not_show(
    page: Any, run: Path, serve: Callable[..., Server]
) -> None:
    with AnswerStore(run) as store:
        store.add([Answer("scans/0000.png", "Ben", "label", "brain")])
    open_page(page, serve(run, "--reader", "Ana"))
    assert page.get_by_text("6 left").is_visible()


STOPWATCH = """(alt) => new Promise((done, fail) => {
  setTimeout(() => fail(new Error(`no ${alt} within 20 s`)), 20000);
  const start = performance.now();
  new MutationObserver(() => {
    if (document.querySelector(`#layer > [alt^="${alt}"]`)) requestAnimationFrame(() => done(performance.now() - start));
  }).observe(document.querySelector("#layer"), { childList: true });
  document.querySelector("#viewer").dispatchEvent(new KeyboardEvent("keydown", { key: "1", code: "Digit1", bubbles: true }));
})"""

CONTRASTS = """() => {
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$|transparent/.test(c)) return c; } return "rgb(255,255,255)"; };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility({ checkVisibilityCSS: true })) continue;
    if (e.closest("#empty, .unseen, .skip, :disabled")) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push([e.outerHTML.slice(0, 80), ((a + 0.05) / (b + 0.05)).toFixed(2)]);
  }
  return bad; }"""


def test_a_long_queue_comes_in_parts_and_is_answered_to_its_end(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MOST_IN_QUEUE", 3)
    monkeypatch.setattr(queues, "LOOK_BACK", 1)
    made = doubted_run(tmp_path, 7)
    with served(made) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=7)
        assert page.get_by_text("7 left").is_visible()
        for number in range(1, 8):
            page.wait_for_function("n => document.body.dataset.shown === n", arg=f"scans/{number - 1:04d}.png")
            page.wait_for_selector("#accept:not([disabled])")
            page.keyboard.press("Enter")
        page.get_by_role("heading", name="All answered").wait_for()
        assert len(said(made)) == 7
        page.keyboard.press("Backspace")
        shown(page, 3, of=3)  # the last part, with what was answered before it
        assert page.get_by_text("1 left").is_visible()
