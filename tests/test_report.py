"""The report: one page that needs nothing else, tells the truth about the run, and cannot be turned against its reader."""

from __future__ import annotations

import base64
import io
import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_runs import REASON, draw_images, make_run
from PIL import Image
from rich.console import Console

from autoannotate import Annotations
from autoannotate._internal.wording import percent
from autoannotate.cli.print_run import print_summary
from autoannotate.runs.report import agreement, render_report
from autoannotate.runs.report_words import collapsed, story


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, tag: str, name: str) -> list[str]:
        return [value for there, key, value in self.attributes if (there, key) == (tag, name)]


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    return make_run(tmp_path / "scans")


def test_the_page_needs_nothing_but_itself(run: Annotations) -> None:
    html = render_report(run)
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert all(value.startswith("data:image/jpeg;base64,") for value in page.values("img", "src"))
    assert not re.search(r"https?:|url\(|@import", html)


def test_pictures_are_small_copies_of_the_images(run: Annotations) -> None:
    sources = Page(render_report(run)).values("img", "src")
    assert len(sources) == 1 + len(run.table)  # the suspect, and all images as samples
    image = Image.open(io.BytesIO(base64.b64decode(sources[0].split(",")[1])))
    original = np.asarray(run.read_image("a/1.png"), dtype=float)
    assert np.abs(np.asarray(image.convert("RGB"), dtype=float) - original).mean() < 6


def test_the_page_says_what_a_reader_needs(run: Annotations) -> None:
    text = " ".join(Page(render_report(run)).text.split())
    for words in (
        "4 images labelled: chest and breast",
        "look trustworthy",
        REASON,
        "perhaps breast",
        "1.2%",
        "a/broken.png",
        "the file ends in the middle of the picture",
        "autoannotate label scans --classes chest,breast",
        "ab" * 32,
        "not for diagnosis",
        "No person has checked these labels yet.",
    ):
        assert words in text


def test_the_page_is_readable_without_eyes(run: Annotations) -> None:
    page = Page(render_report(run))
    assert page.tags["h1"] == 1
    assert page.values("html", "lang") == ["en"]
    assert len(page.values("img", "alt")) == page.tags["img"]
    assert all(page.values("img", "alt"))
    assert len(page.values("svg", "aria-label")) == page.tags["svg"]


def test_names_that_are_html_are_shown_as_text(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    run = make_run(tmp_path, paths=["a\"onerror='x'.png", "<b>.png"], classes=[nasty, "b"], reason=f"{nasty}&")
    page = Page(render_report(run))
    assert "script" not in page.tags
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert nasty in page.text


def test_classes_that_the_encoder_cannot_tell_apart_are_called_out(tmp_path: Path) -> None:
    text = Page(render_report(make_run(tmp_path, trust=0.05))).text
    assert "look the same to this encoder" in text
    assert "Do not use these labels as they are" in text
    assert "--model biomedclip" in text
    assert "look trustworthy" not in text


def test_the_words_of_the_run_about_its_trust_come_first(tmp_path: Path) -> None:
    said = {"trust": 0.9, "verdict": "All is well.", "advice": "Go on.", "evidence": {"prompt_agreement": 0.987}}
    text = Page(render_report(make_run(tmp_path, reliability=said))).text
    assert "All is well." in text
    assert "Go on." in text
    assert "prompt agreement 0.987" in text


def test_the_judgement_of_the_run_goes_before_the_number(tmp_path: Path) -> None:
    run = make_run(tmp_path, reliability={"trust": 0.5, "meaningful": False})
    assert "look the same to this encoder" in Page(render_report(run)).text
    run = make_run(tmp_path, reliability={"trust": 0.2, "meaningful": True})
    assert "only in part" in Page(render_report(run)).text


def test_images_that_are_gone_leave_an_empty_frame(run: Annotations, tmp_path: Path) -> None:
    for file in (tmp_path / "scans").rglob("*.png"):
        file.unlink()
    page = Page(render_report(run))
    assert page.tags["img"] == 0
    assert "not shown" in page.text


def test_a_run_that_says_nothing_about_itself_has_a_report_all_the_same(run: Annotations) -> None:
    html = render_report(Annotations(run.table, run.suspects[:0], run.unreadable[:0], {}))
    assert "4 images labelled" in html
    assert "most doubtful" not in html


def test_answers_by_clinicians_are_told_from_the_machines(run: Annotations) -> None:
    answered = run.table.assign(source=["clinician", *run.table["source"][1:]])
    text = Page(render_report(Annotations(answered, run.suspects, run.unreadable, run.run))).text
    assert "Clinicians gave 1 label" in text


def test_the_page_stays_small_for_many_large_noisy_images_and_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(tmp_path / "0.png")
    paths = [f"{i}.png" for i in range(800)]
    for path in paths[1:]:
        os.link(tmp_path / "0.png", tmp_path / path)
    run = make_run(tmp_path, paths=paths, classes=[f"class {i}" for i in range(60)], draw=False)
    queue = pd.concat([run.suspects] * 500, ignore_index=True).assign(path=paths[:500], reason=REASON * 3)
    unreadable = pd.concat([run.unreadable] * 5000, ignore_index=True)
    html = render_report(Annotations(run.table, queue, unreadable, run.run))
    assert len(html.encode()) < 5_000_000
    assert "4,950 more" in html


def test_the_report_names_no_place_that_the_user_did_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(Path("scans"), ["1.png", "2.png"])
    make_run(Path("scans"), paths=["1.png", "2.png"]).save("out")
    for name in ("labels.csv", "suspects.csv", "unreadable.csv", "report.html", "run.json"):
        assert str(tmp_path) not in Path("out", name).read_text()


def lopsided(tmp_path: Path, **about: Any) -> Annotations:
    """A run that calls 38 of 40 images chest."""
    run = make_run(tmp_path, [f"{i}.png" for i in range(40)], draw=False, **about)
    run.table.loc[:, "label"] = ["chest"] * 38 + ["breast"] * 2
    return run


def test_classes_that_hardly_any_image_got_are_named(tmp_path: Path) -> None:
    run = lopsided(tmp_path)
    for text in (Page(render_report(run)).text, summary(run)):
        assert "Hardly any image is labelled breast (2): rare here, or lost to a wrong threshold." in text
        assert "state it with --prior" in text


def test_a_stated_prior_says_what_is_hardly_any(tmp_path: Path) -> None:
    rare, even = ({"prior": {"chest": 1 - share, "breast": share}, "images": "scans"} for share in (0.1, 0.5))
    assert collapsed(lopsided(tmp_path, arguments=rare)) == ""
    assert "breast (2), far fewer than --prior states." in collapsed(lopsided(tmp_path, arguments=even))


def test_once_people_have_answered_shares_are_theirs(tmp_path: Path) -> None:
    assert collapsed(lopsided(tmp_path, update={"new_answers": 3})) == ""


def test_agreement_counts_each_image_once(run: Annotations) -> None:
    found = agreement(run.table, ["chest", "breast"])
    cells = [[cell["n"] for cell in row["cells"]] for row in found["rows"]]
    assert cells == [[1, 0], [1, 2]]  # CLIP said breast of the first chest
    assert found["share"] == 0.75


def test_of_many_classes_those_that_changed_are_shown(run: Annotations) -> None:
    found = agreement(run.table, [f"class {i}" for i in range(40)] + ["chest", "breast"])
    assert len(found["classes"]) == 12
    assert {"chest", "breast"} <= set(found["classes"])


@pytest.mark.parametrize(
    ("share", "words"),
    [(0, "0%"), (1, "100%"), (0.5, "50%"), (0.99996, "99.9%"), (0.0312, "3.1%"), (0.0004, "0.04%"), (0.09, "9%")],
)
def test_shares_are_written_as_people_write_them(share: float, words: str) -> None:
    assert percent(share) == words


# The summary on the terminal


def summary(run: Annotations, width: int = 100) -> str:
    out = io.StringIO()
    print_summary(run, Path("somewhere/out"), Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_the_summary_is_plain_text_with_all_numbers(run: Annotations) -> None:
    text = summary(run)
    assert "\x1b" not in text
    for words in (
        r"chest +2 +50% +1",
        r"all +4 +1",
        r"CLIP and the student disagree +1 image \(25%\)",
        r"labels estimated wrong +1\.2%\n",
        r"suspects, for a person to check +1 \(25%\)",
        r"files that could not be used +1: unreadable.csv says why\n",
        r"look trustworthy",
        r"Report +somewhere/out/report\.html",
        r"Next ",
    ):
        assert re.search(words, text), words


def test_the_summary_breaks_no_path_in_a_narrow_window(run: Annotations) -> None:
    assert "somewhere/out/report.html" in summary(run, width=20)


def test_the_summary_of_guesses_says_so(tmp_path: Path) -> None:
    text = summary(make_run(tmp_path, trust=0.0))
    assert "look the same to this encoder" in text
    assert "do not use these labels" in text
    assert re.search(r"labels estimated wrong +unknown", text)


def test_the_report_of_guesses_asks_for_answers_and_puts_no_number_on_doubt(tmp_path: Path) -> None:
    text = " ".join(Page(render_report(make_run(tmp_path, trust=0.0))).text.split())
    assert "What to answer first" in text
    assert "1.2%" not in text
    assert not re.search(r"doubt \d+%", text)


def test_class_names_are_never_markup(tmp_path: Path) -> None:
    assert "[red]x[/red]" in summary(make_run(tmp_path, classes=["[red]x[/red]", "y"]))


def test_a_run_that_guesses_says_so_in_every_paragraph(tmp_path: Path) -> None:
    text = " ".join(Page(render_report(make_run(tmp_path, trust=0.0))).text.split())
    assert "contradict" not in text
    assert "CLIP alone gave" not in text
    assert "images to answer first" in text
    assert "no sign that they are right" in text


def test_annotations_print_as_a_short_table(tmp_path: Path) -> None:
    text = str(make_run(tmp_path))
    assert len(text) < 400
    assert "chest" in text
    assert "4 images" in text


def test_why_no_student_was_trained_is_told_in_the_summary_and_in_the_story(tmp_path: Path) -> None:
    note = "No student was trained: the labels are close to guesses, which it would learn."
    kept = {"kind": "none", "decision": "labels are guesses", "note": note}
    made = make_run(tmp_path / "images", student=kept)
    assert note in story(made)
    assert note in summary(made, 200)
    unasked = make_run(
        tmp_path / "other", student=kept | {"decision": "not asked for", "note": "No student was asked for."}
    )
    assert "student" not in story(unasked)
