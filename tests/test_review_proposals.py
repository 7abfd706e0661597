"""Spot checks on the page: a group at a time, the label it has and the proposed one side by side, one key each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_browser import doubted_run, eventually, open_browser, said, served, shown, tab

from autoannotate import Annotations
from autoannotate.answers.store import AnswerStore
from autoannotate.labelling.proposals import Group, Proposals
from autoannotate.labelling.queries.spot_checks import FIRST, check
from autoannotate.review.queues import queue
from autoannotate.review.server import pictures_of
from autoannotate.review.session import Desk
from autoannotate.runs.proposals import record_of, table_of

CLASSES = ["normal", "pneumonia"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 40 images, of which those labelled normal wait as one group of proposals."""
    folder = doubted_run(tmp_path, 40, CLASSES, suggested="pneumonia", suspects=3)
    made = Annotations.load(folder)
    labels = np.array([CLASSES.index(name) for name in made.table["label"]])
    group = np.where(labels == 0, 0, -1)
    proposals = Proposals(labels, np.where(group == 0, 1, -1), group, (Group(0, 1, ("clusters",), 20, 15.0),))
    paths = made.table["path"].tolist()
    checks = check(proposals, np.full(40, -1), np.zeros(40, dtype=bool), np.linspace(0, 1, 40))
    record = record_of(checks, paths, CLASSES, {})
    replace(made, run=made.run | {"proposals": record}, proposals=table_of(proposals, paths, CLASSES)).save(
        folder, overwrite=True
    )
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from open_browser()


def test_the_queue_of_a_group_compares_two_labels(run: Path) -> None:
    with AnswerStore(run) as store:
        desk = Desk(run, store, pictures_of(run, None))
        asked = queue(desk, "Ana", "proposals")["items"]
        assert desk.session("Ana")["proposals"] == 1
    assert len(asked) == FIRST
    assert [one["proposal"]["at"] for one in asked] == list(range(1, FIRST + 1))
    assert asked[0]["proposal"]["group"] == "20 labels would change from normal to pneumonia"
    assert (asked[0]["proposal"]["label"], asked[0]["proposal"]["proposed"]) == ("normal", "pneumonia")


def test_one_key_keeps_a_label_and_one_takes_the_proposed(browser: Any, run: Path) -> None:
    with served(run) as page_of, tab(browser) as page:
        page.goto(page_of.url)
        shown(page, 1, FIRST)
        assert "20 labels would change from normal to pneumonia" in page.inner_text("#proposal")
        assert "normal" in page.inner_text("#keepLabel")
        assert "pneumonia" in page.inner_text("#takeProposed")
        page.keyboard.press("k")
        shown(page, 2, FIRST)
        page.keyboard.press("j")
        shown(page, 3, FIRST)
        page.click("#takeProposed")
        shown(page, 4, FIRST)
        eventually(lambda: sorted(said(run).values()) == ["normal", "pneumonia", "pneumonia"])
        page.keyboard.press("q")
        page.wait_for_selector("#proposal", state="hidden")
        page.keyboard.press("c")
        page.wait_for_selector("#proposal:not([hidden])")
