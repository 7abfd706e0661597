"""The list of runs in a folder, each with its page below it, in a real browser."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_runs import draw_images
from review_browser import doubted_run, eventually, open_browser, said, shown, tab
from typer.testing import CliRunner

from autoannotate.cli.main import app
from autoannotate.errors import InputError, UnreadableImageError, UsageError
from autoannotate.images import find_images, read_image
from autoannotate.review.allowed_folders import AllowedFolders
from autoannotate.review.server import bound, page_server, serve
from autoannotate.review.start import Start, free_name

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
    with listed(Start(folder, "Ana")) as (start, url), tab(browser) as page:
        page.goto(url)
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


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder that may be seen, with links that lead out of it."""
    draw_images(tmp_path / "scans", [f"{part}/{i}.png" for part in ("a", "b", "leak") for i in range(8)])
    draw_images(tmp_path / "secret", ["0.png"])
    (tmp_path / "scans" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "scans" / "leak" / "link.png").symlink_to(tmp_path / "secret" / "0.png")
    (tmp_path / "scans" / "b" / "again").symlink_to(tmp_path / "scans" / "a")
    return tmp_path / "scans"


def test_a_page_sees_the_folders_below_an_allowed_one_and_nothing_else(scans: Path) -> None:
    allowed = AllowedFolders.of([scans])
    assert allowed.names() == ["scans", "scans/a", "scans/b", "scans/leak"]
    assert allowed.find("scans/a/") == scans / "a"
    outside = ("", "scans/../secret", "../secret", "secret", str(scans.parent / "secret"), "scans/out", "scans/nothing", "/",
               "scansX", "scans/a/0.png", "scans/\0")  # fmt: skip
    for name in outside:
        with pytest.raises(InputError, match="not one of the folders"):
            allowed.find(name)
    allowed.check_links(allowed.find("scans/b"))
    with pytest.raises(InputError, match=r"leak/link.png is a link that leads out of scans"):
        allowed.check_links(allowed.find("scans/leak"))
    with pytest.raises(UsageError, match="no folder"):
        AllowedFolders.of([scans / "a" / "0.png"])


def test_a_detached_header_reads_no_file_outside_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(64 * 64))
    header = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 64 64\nencoding: raw\ndata file: {}\n\n"
    for name in ("../secret.raw", str(tmp_path / "secret.raw")):
        (tmp_path / "in" / "scan.nhdr").write_text(header.format(name))
        with pytest.raises(UnreadableImageError, match="outside of its folder"):
            read_image(find_images(tmp_path / "in")[0])


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a\\b", "taken", "C:x"])
def test_a_run_gets_a_plain_name_that_is_free(name: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"choose another name|cannot be the name"):
        free_name(tmp_path, name)


@pytest.mark.slow
def test_a_folder_is_labelled_from_the_page(browser: Any, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "words.yaml").write_text("classes:\n  chest: [a photo of a chest of drawers]\n")
    start = Start(tmp_path / "runs", "Ana", allowed=AllowedFolders.of([scans]))
    with listed(start) as (_, url), tab(browser, bypass_csp=True) as page:
        page.goto(url)
        page.get_by_text("There is no run here yet").wait_for()
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        def asked(images: str, classes: str, name: str) -> None:
            for field, text in (("Images in", images), ("Names", classes), ("Name of the run", name)):
                page.get_by_label(field, exact=True).fill(text)
            page.get_by_role("button", name="Label", exact=True).click()

        for images, classes, trouble in (
            ("scans/../secret", "chest, breast", "not one of the folders"),
            ("scans/a", "chest", "two classes or more"),
            ("scans/a", "@/etc/hostname", "Type the names themselves"),
        ):
            asked(images, classes, "first")
            page.get_by_role("alert").get_by_text(trouble).wait_for()
        page.get_by_label("Names").fill("normal, pneumonia")
        page.get_by_role("button", name="How the names are understood").click()
        page.get_by_text("chest X-ray showing clear lungs").wait_for()
        page.get_by_label("All images are").fill("submarine")
        asked("scans/a", "chest, breast", "first")
        page.get_by_role("alert").get_by_text("no modality or kind of image").wait_for()
        page.get_by_label("All images are").fill("")
        assert page.get_by_label("CLIP model").input_value() == "embedded"
        assert "Good for" in page.inner_text("#modelHow")
        page.get_by_label("Own words").select_option("words.yaml")
        page.get_by_role("button", name="How the names are understood").click()
        page.get_by_text("a photo of a chest of drawers").wait_for()
        asked("scans/leak", "chest, breast", "first")
        page.get_by_text("leads out of scans").first.wait_for()
        asked("scans/a", "chest, breast", "first")
        page.get_by_role("button", name="Stop").wait_for()
        page.reload()
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("Stopped. What was encoded").first.wait_for()
        assert not list((tmp_path / "runs").glob("*/run.json"))
        page.get_by_label("Own words").select_option("words.yaml")
        asked("scans/a", "chest, breast", "first")
        page.get_by_text("first is there: 8 images").first.wait_for(timeout=120_000)
        page.get_by_role("link", name="first").click()
        shown(page, 1, of=8)
    images, out = str(scans / "a"), str(tmp_path / "runs" / "first")
    assert f"autoannotate review {out}" in (tmp_path / "runs" / "first" / "report.html").read_text()
    words = ["--prompts", str(tmp_path / "runs" / "words.yaml")]
    assert json.loads((tmp_path / "runs" / "first" / "run.json").read_text())["command"].split()[-2:] == words
    again = CliRunner().invoke(app, ["label", images, "--classes", "chest,breast", "--out", out, *words])
    assert again.exit_code == 0, again.output  # the same command lets new images join


@contextmanager
def listed(start: Start) -> Iterator[tuple[Start, str]]:
    """The list of runs while it is served, and its address."""
    listening = bound("127.0.0.1", 0)
    page_of = page_server(start, listening, "127.0.0.1")
    thread = threading.Thread(target=page_of.run, args=([listening],), daemon=True)
    thread.start()
    while not page_of.server.started:
        time.sleep(0.01)
    yield start, page_of.url
    page_of.server.should_exit = page_of.server.force_exit = True
    thread.join(10)
    listening.close()
    start.close()
