"""The student of several findings: one network, a head a finding, and values that are not known left out of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_student import features_of, small_backbone

from autoannotate.labelling.features import Features
from autoannotate.labelling.findings import label_findings, with_evidence
from autoannotate.labelling.label_errors.findings_student import FEWEST, compared_areas, judge_findings, mean_area
from autoannotate.labelling.task import Task
from autoannotate.models import student_network
from autoannotate.models.findings_student import FindingsStudentTrainer, masked_loss, train_findings_student
from autoannotate.models.student_training import StudentTrainer


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(student_network.BACKBONES, "small", small_backbone)


def scenes(n: int, seed: int = 0) -> tuple[list[Image.Image], np.ndarray]:
    """Noisy grey pictures with a disc, with stripes, with both or neither."""
    rng = np.random.default_rng(seed)
    values = np.stack([np.arange(n) % 2, np.arange(n) // 2 % 2], axis=1)
    y, x = np.mgrid[:32, :32]
    pictures = []
    for disc, stripes in values:
        grey, centre = rng.normal(110, 20, (32, 32)), rng.integers(10, 22, 2)
        grey[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 60] += 90 * disc
        grey += 50 * stripes * np.sign(np.sin(x * 1.2 + centre[0]))
        pictures.append(Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB"))
    return pictures, values


def test_one_network_learns_all_findings_from_the_values_that_are_known() -> None:
    pictures, truth = scenes(160)
    rng = np.random.default_rng(1)
    weights = (rng.random(truth.shape) < 0.6).astype(float)  # two fifths of the values are masked, and wrong
    values = np.where(weights > 0, truth, 1 - truth)
    made = train_findings_student(
        pictures, features_of(160), values, weights, baseline=rng.random(truth.shape), kind="small", passes=1900,
        device="cpu",
    )  # fmt: skip
    assert made is not None
    assert made.reliable.all()
    assert mean_area(made.probability, truth, weights == 0) > 0.8  # of the masked ones
    assert "used for 2 of 2 findings" in made.note


def test_a_masked_value_has_no_part_in_the_loss() -> None:
    logits = torch.tensor([[2.0, -3.0], [0.5, 9.0]], requires_grad=True)
    weights = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    masked_loss(logits, torch.tensor([[1, 0], [0, 0]]), weights, 0.1).backward()
    assert logits.grad is not None
    assert logits.grad[1, 1] == 0
    assert (logits.grad.flatten()[:3] != 0).all()


def test_it_is_used_only_for_findings_that_it_tells_surely_no_worse() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (200, 2))
    good = 3.0 * (2 * values - 1) + rng.normal(size=values.shape)
    logits = np.stack([good * [1, 0], good * [1, 0]], axis=1)  # nothing of the second finding
    baseline = 1 / (1 + np.exp(-good))
    made = judge_findings(logits, np.ones((200, 2), bool), values, np.ones((200, 2), bool), baseline)
    assert made.reliable.tolist() == [True, False]
    few = judge_findings(logits[:12], np.ones((12, 2), bool), values[:12], np.ones((12, 2), bool), baseline[:12])
    assert min(values[:12, 0].sum(), 12 - values[:12, 0].sum()) < FEWEST
    assert not few.reliable.any()
    assert np.isnan(few.area).all()


def test_areas_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    values, score, other = np.arange(40) % 2, rng.integers(0, 9, 40).astype(float), rng.normal(size=40)
    one, two, spread = compared_areas(score, other, values)
    assert (one, two) == pytest.approx((roc_auc_score(values, score), roc_auc_score(values, other)))
    assert spread > 0


def tasks_of(truth: np.ndarray, points: np.ndarray, given: np.ndarray) -> list[Task]:
    half = np.full((len(truth), 2), 0.5)
    return [Task(Features(points), half, ["no a", "a"], trust=0.0, meaningful=False, given=given[:, 0], keep=True),
            Task(Features(points), half, ["no b", "b"], trust=0.0, meaningful=False, given=given[:, 1], keep=True)]  # fmt: skip


@pytest.mark.slow
def test_an_audit_of_findings_doubts_what_the_student_sees_otherwise() -> None:
    pictures, truth = scenes(160)
    rng = np.random.default_rng(2)
    points = np.concatenate([1.2 * truth, rng.normal(size=(160, 6))], axis=1) + rng.normal(
        size=(160, 8)
    )  # tell a little
    wrong = np.zeros(truth.shape, dtype=bool)
    for f in range(2):
        wrong[rng.permutation(np.flatnonzero(truth[:, f] == 1))[:12], f] = True
    given = np.where(wrong, 0, truth)
    trainer = FindingsStudentTrainer(StudentTrainer(pictures, "small", passes=1900, device="cpu"))
    alone, helped = (label_findings(tasks_of(truth, points, given), trainer=each) for each in (None, trainer))
    assert helped.student is not None
    assert helped.student.reliable.all()

    def found(made: Any, f: int) -> float:
        doubt = made.of_each[f].corrected.doubt
        return float(wrong[np.argsort(-doubt)[:12], f].mean())

    assert np.mean([found(helped, f) for f in range(2)]) > np.mean([found(alone, f) for f in range(2)]) + 0.2
    again = label_findings(with_evidence(tasks_of(truth, points, given), helped.student.evidence))
    np.testing.assert_allclose(again.of_each[0].corrected.doubt, helped.of_each[0].corrected.doubt)


@pytest.mark.parametrize("about", ["guesses", "few"])
def test_where_it_cannot_help_there_is_none_and_it_is_said(about: str) -> None:
    pictures, truth = scenes(24)
    tasks = tasks_of(truth, np.random.default_rng(0).normal(size=(24, 8)), truth)
    if about == "guesses":
        tasks = [Task(task.features, task.zero_shot, task.class_names, trust=0.0, meaningful=False) for task in tasks]
    trainer: Callable[..., Any] = FindingsStudentTrainer(StudentTrainer(pictures, "small", passes=100, device="cpu"))
    made = label_findings(tasks, trainer=trainer)
    assert made.student is None
    assert made.about_student.startswith("No student was trained")
