"""Spot checks: proposed labels wait, a random sample of answers decides about them, and the error of deciding is bounded."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from made_runs import make_run
from rich.console import Console

from autoannotate import Annotations
from autoannotate.answers.apply import apply
from autoannotate.cli.print_run import print_summary
from autoannotate.labelling.features import Features
from autoannotate.labelling.pipeline import label, ranking
from autoannotate.labelling.proposals import FEWEST, Group, Proposals
from autoannotate.labelling.queries import spot_checks
from autoannotate.labelling.queries.sign_test import ALPHA, crossed, lower_bound, wealth
from autoannotate.labelling.queries.spot_checks import APPLIED, FIRST, MOST, OPEN, REFUSED, UNSEEN, WAITING, check
from autoannotate.labelling.task import Task
from autoannotate.runs import proposals as on_disk

N = 120


@pytest.mark.parametrize("right", [0, 2, 4])
def test_of_all_orders_of_a_small_group_at_most_one_in_twenty_is_decided_wrongly(right: int) -> None:
    orders = [np.isin(np.arange(8), chosen).astype(float) for chosen in combinations(range(8), right)]
    assert np.mean([crossed(order, 8) is not None for order in orders]) <= ALPHA


def test_looking_after_every_answer_keeps_the_error() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([0.0, 0.5, 1.0], [40, 20, 40])
    wrongly = [crossed(rng.permutation(group)[:40], len(group)) is not None for _ in range(600)]
    assert np.mean(wrongly) <= ALPHA + 2 * np.sqrt(ALPHA / 600)


def test_seven_right_answers_decide_and_a_bound_goes_with_them() -> None:
    right = np.ones(12)
    assert crossed(right, 1000) == 7
    assert crossed(right[:6], 1000) is None
    assert 0.5 <= lower_bound(right[:7], 1000) < lower_bound(right, 1000) < 1.0
    assert crossed(np.full(40, 0.5), 1000) is None, "where neither label is right nothing is decided"
    assert np.isinf(wealth(np.ones(6), 10)[-1]), "six of ten are a majority, whatever the others are"


def make_proposals(size: int = 60, groups: int = 2) -> Proposals:
    labels = np.zeros(N, dtype=np.int64)
    group = np.full(N, -1)
    group[:size] = np.arange(size) % groups
    found = tuple(Group(0, 1, ("clusters", "mixture"), int((group == g).sum()), 20.0) for g in range(groups))
    return Proposals(labels, np.where(group >= 0, 1, -1), group, found)


NAMES = [f"scan-{i:03}.png" for i in range(N)]
DRAWN = spot_checks.drawing_order(NAMES, 0)


def answers_to(rows: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth = np.full(N, -1)
    truth[rows] = classes[rows]
    return truth, truth >= 0


@pytest.mark.parametrize(
    ("share", "answers", "state"),
    [(1.0, FIRST, APPLIED), (0.0, FIRST, REFUSED), (1.0, 3, WAITING), (0.5, MOST, OPEN)],
)
def test_a_sample_applies_a_group_or_refuses_it_or_asks_for_more(share: float, answers: int, state: str) -> None:
    proposals = make_proposals(100, 1)
    order = np.flatnonzero(proposals.group == 0)[np.argsort(DRAWN[proposals.group == 0])]
    truth = np.zeros(N, dtype=np.int64)
    truth[order] = np.arange(100) % 2 if share == 0.5 else int(share)
    (found,) = check(proposals, *answers_to(order[:answers], truth), DRAWN)
    assert found.state == state
    assert list(found.sample) == list(order[:answers])
    assert (len(found.ask) > 0) == (state == WAITING)
    assert (found.bound is not None and found.bound >= 0.5) == (state in (APPLIED, REFUSED))


def test_noise_is_proven_by_a_group_that_a_sample_applied_unless_another_was_refused() -> None:
    proposals = make_proposals(groups=2)
    first = proposals.group == 0

    def borne_out(*classes: int) -> bool:
        truth = np.where(first, classes[0], classes[-1])
        seen = proposals.group >= 0 if len(classes) > 1 else first
        return spot_checks.borne_out(check(proposals, np.where(seen, truth, -1), seen, DRAWN), "mixture")

    assert borne_out(1)
    assert borne_out(1, 1)
    assert not borne_out(0)
    assert not borne_out(1, 0)
    applied = check(proposals, np.where(first, 1, -1), first, DRAWN)
    assert not spot_checks.borne_out(applied, "transduction"), "which does not support the group"


def test_answers_outside_the_sample_decide_nothing() -> None:
    proposals = make_proposals(100, 1)
    order = np.flatnonzero(proposals.group == 0)[np.argsort(DRAWN[:100])]
    (found,) = check(proposals, *answers_to(order[1:60], np.ones(N, dtype=np.int64)), DRAWN)
    assert found.state == WAITING
    assert len(found.sample) == 0
    assert list(found.ask) == [order[0]], "of the first twelve the others are answered"


def test_the_sample_does_not_depend_on_which_other_images_there_are() -> None:
    assert np.array_equal(spot_checks.drawing_order(NAMES[::2], 0), DRAWN[::2])
    assert not np.array_equal(spot_checks.drawing_order(NAMES, 1), DRAWN)


@pytest.fixture(scope="module")
def task() -> Task:
    """Two clouds that overlap, and labels that have nothing to do with them: correction changes nothing."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], N // 2)
    features = rng.normal(size=(N, 8)) + 1.5 * truth[:, None]
    given = np.where(rng.random(N) < 0.45, 1 - truth, truth)
    return Task(Features(features), np.full((N, 2), 0.5), ["normal", "pneumonia"], given=given, image_names=NAMES)


def with_proposals(task: Task, right: bool) -> tuple[Task, np.ndarray]:
    """The task with one group of proposals for labels 0, and the truth by which they are right or wrong."""
    assert task.given is not None
    group = np.where(task.given == 0, 0, -1)
    proposed = np.where(group == 0, 1, -1)
    found = (Group(0, 1, ("clusters",), int((group == 0).sum()), 30.0),)
    truth = np.where(group == 0, int(right), task.given)
    return replace(task, proposals=Proposals(task.given, proposed, group, found)), truth


def test_the_queue_asks_for_the_sample_first_and_labels_only_wait(task: Task) -> None:
    before = label(task)
    waiting, _ = with_proposals(task, right=True)
    found = label(waiting)
    assert np.array_equal(found.labels, before.labels)
    assert list(found.queue.rows[:FIRST]) == list(found.checks[0].ask)
    assert all("spot check" in why for why in found.queue.reasons[:FIRST])
    assert (found.suggested[found.checks[0].ask] == 1).all()
    assert (found.waiting >= 0).any()


@pytest.mark.parametrize("right", [True, False])
def test_twelve_answers_decide_about_all_labels_of_a_group(task: Task, right: bool) -> None:
    waiting, truth = with_proposals(task, right)
    first = label(waiting)
    answers = np.full(N, -1)
    answers[first.checks[0].ask] = truth[first.checks[0].ask]
    found = label(replace(waiting, answers=answers))
    assert found.checks[0].state == (APPLIED if right else REFUSED)
    assert (found.waiting < 0).all()
    group = waiting.proposals is not None and waiting.proposals.group == 0
    assert (found.labels[group] == truth[group]).mean() > 0.9
    assert (found.source == "clinician").sum() == FIRST


def test_a_group_that_answers_about_others_changed_is_asked_no_more(task: Task) -> None:
    waiting, _ = with_proposals(task, right=True)
    assert waiting.proposals is not None
    group = waiting.proposals.group == 0
    checks = check(waiting.proposals, np.full(N, -1), np.zeros(N, bool), np.arange(N, dtype=float))
    labels = np.array(task.given)
    asked = spot_checks.worth_asking(waiting.proposals, checks, labels, np.zeros(N, bool))
    assert len(asked[0].ask) == FIRST
    labels[np.flatnonzero(group)[FEWEST - 1 :]] = 1
    (one,) = spot_checks.worth_asking(waiting.proposals, checks, labels, np.zeros(N, bool))
    assert one.state == WAITING
    assert len(one.ask) == 0


def test_which_labels_came_in_decides_what_is_asked_through_the_posterior_alone() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], N // 2)
    features = rng.normal(size=(N, 8))
    features[:, 0] += 6 * truth
    given = np.where(rng.random(N) < 0.2, 1 - truth, truth)
    answers = np.where(rng.random(N) < 0.1, truth, -1)
    task = Task(Features(features), np.full((N, 2), 0.5), ["a", "b"], given=given, image_names=NAMES, answers=answers)
    found = label(task)
    assert (found.labels == truth).mean() > 0.95
    margin = np.abs(np.diff(found.probabilities, axis=1))[:, 0][ranking(task, found, "informative")]
    assert (np.diff(margin) >= -1e-12).all(), "a label that was surely put right is not asked about again"


def test_proposals_can_be_taken_unseen(task: Task) -> None:
    waiting, _ = with_proposals(task, right=True)
    found = label(replace(waiting, accept_proposals=True))
    assert found.checks[0].state == UNSEEN
    assert (found.source == "proposal").sum() > 0
    assert (found.waiting < 0).all()


def test_groups_are_made_where_sources_agree_and_only_before_the_first_answer() -> None:
    rng = np.random.default_rng(3)
    truth = np.repeat([0, 1], 100)
    features = rng.normal(size=(200, 6))
    features[:, 0] += 7 * truth  # two clusters
    given = np.where((features[:, 1] > 0.1) & (rng.random(200) < 0.8), 1 - truth, truth)
    task = Task(Features(features), np.full((200, 2), 0.5), ["a", "b"], given=given, keep=True)
    found = label(task)
    assert np.array_equal(found.labels, given), "an audit changes nothing"
    assert found.proposals is not None
    assert found.proposals.groups
    for g, group in enumerate(found.proposals.groups):
        rows = np.flatnonzero(found.proposals.group == g)
        assert len(rows) == group.size >= FEWEST
        assert 0 <= group.estimated_right <= group.size
        assert group.given is None or (given[rows] == group.given).all()
        assert (found.proposals.proposed[rows] == truth[rows]).mean() > 0.9
    answers = np.where(np.arange(200) < 3, truth, -1)
    assert label(replace(task, answers=answers)).proposals is None, "a sample of groups made with answers is not random"


def test_proposals_are_kept_beside_the_run_and_read_again(tmp_path: Path) -> None:
    paths = [f"{i:03}.png" for i in range(40)]
    proposals = Proposals(
        np.zeros(40, dtype=np.int64), np.where(np.arange(40) < 30, 1, -1), np.where(np.arange(40) < 30, 0, -1),
        (Group(0, 1, ("clusters",), 30, 21.0),),
    )  # fmt: skip
    checks = check(proposals, np.full(40, -1), np.zeros(40, dtype=bool), np.linspace(0, 1, 40))
    run = make_run(tmp_path / "scans", paths)
    record = on_disk.record_of(checks, paths, ["chest", "breast"], {})
    run = replace(
        run, proposals=on_disk.table_of(proposals, paths, ["chest", "breast"]), run=run.run | {"proposals": record}
    )
    run.save(tmp_path / "run")
    again = Annotations.load(tmp_path / "run")
    found = on_disk.read_proposals(again.proposals, again.record.proposals, paths[:35][::-1], ["chest", "breast"])
    assert found is not None
    assert found.groups == proposals.groups
    assert np.array_equal(found.proposed, proposals.proposed[:35][::-1])
    assert on_disk.waiting_in_words(again.record.proposals[0]) == (
        "30 labels would change from chest to breast (by clusters of the images; an estimated 21 right): check 12 of them"
    )
    assert "check 12 of them" in (tmp_path / "run" / "report.html").read_text()

    (tmp_path / "answers.csv").write_text("path,answer\n000.png,breast\n002.png,breast\n004.png,chest\n")
    apply(again, tmp_path / "answers.csv", reader="Ana")
    printed = io.StringIO()
    print_summary(Annotations.load(tmp_path / "run"), tmp_path / "run", Console(file=printed, width=200))
    said = f"{30 - 15 - 2} more labels would change from chest to breast"  # every other one was breast from the start
    assert said in printed.getvalue()
    assert said in (tmp_path / "run" / "report.html").read_text()


@pytest.fixture(scope="module")
def guesses() -> tuple[Task, np.ndarray]:
    """Two clouds of images that zero-shot nearly all calls normal."""
    rng = np.random.default_rng(5)
    truth = np.repeat([0, 1], N // 2)
    features = rng.normal(size=(N, 8)) + 2.5 * truth[:, None]
    zero_shot = np.full((N, 2), 0.5) + np.array([[0.05, -0.05]]) * np.where(rng.random(N) < 0.9, 1, -1)[:, None]
    labels = zero_shot.argmax(axis=1)
    group = np.where((labels == 0) & (features.mean(axis=1) > 1.25), 0, -1)
    proposals = Proposals(
        labels, np.where(group == 0, 1, -1), group, (Group(0, 1, ("transduction",), int((group == 0).sum()), 40.0),)
    )
    task = Task(
        Features(features), zero_shot, ["normal", "pneumonia"], meaningful=False, trust=0.0, image_names=NAMES,
        proposals=proposals,
    )  # fmt: skip
    return task, truth


def test_guesses_stay_until_a_sample_has_decided_and_are_put_right_then(guesses: tuple[Task, np.ndarray]) -> None:
    task, truth = guesses
    first = label(task)
    sample = first.checks[0].ask
    answers = np.full(N, -1)
    answers[sample[:5]] = [0, 1, 0, 1, 0]  # nothing is decided by these
    found = label(replace(task, answers=answers))
    others = answers < 0
    assert np.array_equal(found.labels[others], first.labels[others])
    assert found.checks[0].state == WAITING

    answers[sample] = truth[sample]
    found = label(replace(task, answers=answers))
    assert found.checks[0].state == APPLIED
    assert found.meaningful
    assert (found.labels == truth).mean() > 0.9 > (first.labels == truth).mean()
    assert found.corrected.queue.error_rate >= spot_checks.expected_errors(found.checks) / N > 0
