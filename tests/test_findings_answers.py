"""Answers about several findings an image: how they are written, applied, put together, and given in the page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_findings import NAMES, PATHS, make_findings_run
from review_browser import eventually, open_browser, said, served, shown, tab

from autoannotate import Annotations
from autoannotate.answers.apply import NothingAppliedError
from autoannotate.answers.findings import answered_findings
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError
from autoannotate.review.queues import Filters
from autoannotate.review.session import Desk
from autoannotate.runs.finding_words import understand_findings, values_of, written
from autoannotate.runs.history import rounds


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_findings_run(tmp_path / "images").save(tmp_path / "run")
    return tmp_path / "run"


def values(run: Annotations) -> dict[str, list[int]]:
    assert run.findings is not None
    table = run.findings.pivot(index="path", columns="finding", values="value")
    return {str(path): [int(row[name]) for name in NAMES] for path, row in table.iterrows()}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("effusion", ("label", "effusion")),
        (" Mass | EFFUSION ", ("label", "effusion|mass")),
        ("none-of-these", ("none", None)),
        ("No finding", ("none", None)),
        ("effusion=0|mass=0|old fracture=0", ("none", None)),
        ("effusion=1", ("label", "effusion=1")),
        ("effusion=1|mass=-1|old fracture=0", ("label", "effusion=1|mass=-1|old fracture=0")),
        ("unsure", ("unsure", None)),
        ("not-usable", ("discard", None)),
    ],
)
def test_an_answer_is_written_in_one_way(text: str, meant: tuple[str, str | None]) -> None:
    verdict, label = understand_findings(text, NAMES)
    assert (verdict, label) == meant
    if verdict != "discard":
        assert written(values_of(verdict, label, NAMES), NAMES) == meant


def test_an_unknown_finding_is_a_sentence() -> None:
    with pytest.raises(InputError, match="no finding of the run is called 'efusion': did you mean effusion"):
        understand_findings("efusion|mass", NAMES)


def test_readers_vote_on_each_finding() -> None:
    standing = [
        Answer("a", "Ana", "label", "effusion|mass", id=1),
        Answer("a", "Ben", "label", "effusion", id=2),
        Answer("b", "Ana", "label", "mass=1", id=3),
        Answer("c", "Ana", "discard", id=4),
        Answer("d", "Ana", "label", "effusion=-1|mass=0|old fracture=0", id=5),
    ]
    found = answered_findings(standing, ["a", "b", "c", "d"], NAMES)
    assert found.answers.tolist() == [[1, -1, 0], [-1, 1, -1], [-1, -1, -1], [-1, 0, 0]]
    assert found.unsure.tolist() == [[False, True, False], [False] * 3, [False] * 3, [True, False, False]]
    assert found.excluded.tolist() == [False, False, True, False]


def test_a_table_of_answers_is_applied_finding_by_finding(run: Path, tmp_path: Path) -> None:
    lines = ["path,answer,reader", f"{PATHS[0]},effusion,Ana", f"{PATHS[1]},No finding,Ana", f"{PATHS[2]},mass=1,Ana",
             f"{PATHS[3]},not-usable,Ana"]  # fmt: skip
    (tmp_path / "answers.csv").write_text("\n".join(lines) + "\n")
    applied = Annotations.load(run).apply(tmp_path / "answers.csv")
    assert values(applied) == {
        PATHS[0]: [1, 0, 0], PATHS[1]: [0, 0, 0], PATHS[2]: [1, 1, -1], PATHS[3]: [-1, -1, -1],
    }  # fmt: skip
    assert applied.table["label"].tolist() == ["effusion", "", "effusion|mass", "not-usable"]
    assert applied.table["source"].tolist() == ["clinician", "clinician", "clip", "clinician"]
    assert applied.suspects.empty
    assert applied.record.findings["mass"]["answered"] == 4
    again = Annotations.load(run)
    assert values(again) == values(applied)
    assert [one.what for one in rounds(run)] == ["label", "apply"]
    again.apply(tmp_path / "answers.csv")
    assert len(rounds(run)) == 2


def test_an_answer_that_fits_no_finding_is_not_applied(run: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_text(f"path,answer\n{PATHS[0]},effusion|cyst\n")
    with pytest.raises(NothingAppliedError):
        Annotations.load(run).apply(tmp_path / "answers.csv")


def test_a_view_a_finding_and_what_a_grid_confirms(run: Path) -> None:
    with AnswerStore(run) as store:
        desk = Desk(run, store, list(Annotations.load(run).refs.values()))
        assert desk.session("Ana")["labels"] == {"effusion": 2, "mass": 2}
        of_mass = desk.grid("Ana", Filters(label="mass"))
        assert [item["path"] for item in of_mass["items"]] == [PATHS[0], PATHS[3]]
        everything = {item["path"]: item["says"] for item in desk.grid("Ana", Filters())["items"]}
        assert everything == {
            PATHS[0]: "effusion|mass", PATHS[1]: "none of them", PATHS[2]: "effusion=1|mass=0", PATHS[3]: "mass",
        }  # fmt: skip
        given = [
            {"path": path, "verdict": "label", "label": says, "fingerprint": desk.files.look(path).fingerprint}
            for path, says in everything.items()
        ]
        desk.answer("Ana", "one", given)
        assert said(run) == {
            PATHS[0]: "effusion|mass",
            PATHS[1]: "none",
            PATHS[2]: "effusion=1|mass=0",
            PATHS[3]: "mass",
        }
        assert desk.progress("Ana")["answered"] == 4


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from open_browser()


@pytest.mark.slow
def test_the_page_has_a_toggle_a_finding_and_one_enter_for_all(run: Path, browser: Any) -> None:
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=1)
        state = "#classes button >> nth={} >> [aria-pressed]"
        pressed = page.eval_on_selector_all("#classes button", "all => all.map((b) => b.getAttribute('aria-pressed'))")
        assert pressed == ["true", "false", "false"], state  # what the machine proposes: mass is in doubt
        page.keyboard.press("2")
        page.keyboard.press("Shift+Digit3")
        pressed = page.eval_on_selector_all("#classes button", "all => all.map((b) => b.getAttribute('aria-pressed'))")
        assert pressed == ["true", "true", "mixed"]
        page.keyboard.press("Enter")
        eventually(lambda: said(run) == {PATHS[0]: "effusion=1|mass=1|old fracture=-1"})
        page.wait_for_selector("#done:not([hidden])")


@pytest.mark.slow
def test_findings_stand_below_what_rules_make_them_a_kind_of(browser: Any, tmp_path: Path) -> None:
    rules = ["old fracture implies effusion", "mass excludes old fracture"]
    make_findings_run(tmp_path / "images", rules=rules).save(tmp_path / "run")
    with served(tmp_path / "run") as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=1)
        assert page.eval_on_selector_all("#classes button", "all => all.map((b) => b.dataset.label)") == [
            "effusion", "old fracture", "mass"
        ]  # fmt: skip
        kind = page.locator("#classes button.kind")
        assert kind.get_attribute("aria-description") == "a kind of effusion"
        page.keyboard.press("3")  # the keys are those of the findings as they were named
        assert kind.get_attribute("aria-pressed") == "true"
        if folder := os.environ.get("AUTOANNOTATE_SCREENSHOTS"):  # to look at
            page.screenshot(path=Path(folder) / "hierarchy.png")
