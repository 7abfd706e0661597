"""Correction: labels come out better or as they were, answers are truth, what is in doubt is asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_labels import thrown

from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.student import StudentResult
from autoannotate.labelling.label_errors.student_decision import Decision
from autoannotate.labelling.pipeline import Labelled, label
from autoannotate.labelling.task import Task

NAMES = ("chest", "breast", "skin")


def images(n: int, distance: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    truth = np.arange(n) % 3
    return np.random.default_rng(seed).normal(size=(n, 12)) + distance * np.eye(3, 12)[truth], truth


def corrected(features: np.ndarray, labels: np.ndarray, **more: object) -> Labelled:
    """The pipeline on labels that exist, and words that say nothing."""
    return label(Task(Features(features), np.full((len(labels), 3), 1 / 3), NAMES, given=labels, **more))  # type: ignore[arg-type]


class NeverCalled:
    """A trainer of a student that must not be trained."""

    rounds = 2

    def take(self, rows: np.ndarray) -> NeverCalled:
        return self

    def __call__(self, *args: object, **options: object) -> StudentResult:
        raise AssertionError("a student was trained")


@pytest.mark.parametrize("distance", [1.0, 2.5, 6.0])
def test_right_labels_stay_as_they_are_however_much_classes_overlap(distance: float) -> None:
    features, truth = images(600, distance)
    found = corrected(features, truth)
    assert np.array_equal(found.labels, truth)
    assert (found.source == "given").all()


@pytest.mark.parametrize(("distance", "share"), [(3.0, 0.1), (3.0, 0.3), (6.0, 0.2), (6.0, 0.4)])
def test_wrong_labels_are_put_right_where_the_other_images_know_better(distance: float, share: float) -> None:
    features, truth = images(600, distance)
    labels = thrown(truth, share, 3)
    found = corrected(features, labels)
    assert (found.labels == truth).mean() > 1.0 - share / 2
    for k in range(3):
        assert (found.labels == truth)[truth == k].mean() >= (labels == truth)[truth == k].mean()
    assert ((found.source == "correction") == (found.labels != labels)).all()


def test_labels_that_the_images_cannot_explain_are_kept() -> None:
    labels = np.random.default_rng(3).integers(0, 3, 300)
    found = corrected(np.random.default_rng(4).normal(size=(300, 12)), labels)
    assert (found.labels == labels).mean() > 0.98


def test_what_a_student_said_before_is_heard() -> None:
    features, truth = images(600, 2.5)
    labels = thrown(truth, 0.3, 3)
    earlier = 0.02 + 0.94 * np.eye(3)[thrown(truth, 0.02, 3, 5)]
    alone, both = corrected(features, labels), corrected(features, labels, student=earlier)
    assert (both.labels == truth).mean() > max(0.95, (alone.labels == truth).mean() + 0.03)
    aside = np.arange(600) < 60
    others = corrected(features, labels, student=earlier, excluded=aside)
    assert (others.labels == truth)[~aside].mean() > 0.95
    assert np.array_equal(others.labels[aside], labels[aside])


def test_doubt_is_about_the_labels_that_came_in_and_the_queue_about_those_that_go_out() -> None:
    features, truth = images(600, 6.0)
    labels = thrown(truth, 0.2, 3)
    found = corrected(features, labels)
    wrong = labels != truth
    assert wrong[np.argsort(-found.corrected.doubt)[: wrong.sum()]].mean() > 0.95
    assert len(found.queue.rows) < 60
    assert found.corrected.queue.error_rate < 0.1


def test_answers_are_never_changed_or_asked_again_and_those_left_out_stay() -> None:
    features, truth = images(300, 4.0)
    labels = thrown(truth, 0.2, 3)
    answers = np.full(300, -1)
    answers[:30] = (truth[:30] + 1) % 3  # whatever a clinician says is true
    excluded = np.zeros(300, dtype=bool)
    excluded[290:] = True
    found = corrected(features, labels, answers=answers, excluded=excluded)
    assert np.array_equal(found.labels[:30], answers[:30])
    assert (found.confidence[:30] == 1).all()
    assert np.array_equal(found.labels[290:], labels[290:])
    assert not np.isin(np.arange(30), found.queue.rows).any()
    assert not np.isin(np.arange(290, 300), found.queue.rows).any()


def test_answers_that_take_the_labels_side_stop_the_correction() -> None:
    features, truth = images(600, 6.0)
    labels = thrown(truth, 0.2, 3)
    disputed = np.flatnonzero(labels != truth)[:20]
    answers = np.full(600, -1)
    answers[disputed] = labels[disputed]
    found = corrected(features, labels, answers=answers)
    assert np.array_equal(found.labels, labels)


def test_guesses_are_left_as_they_are() -> None:
    features, truth = images(300, 0.0)
    labels = thrown(truth, 0.3, 3)
    guesses = 0.1 / 3 + 0.9 * np.eye(3)[labels]
    task = Task(Features(features), guesses, NAMES, trust=0.0, meaningful=False)
    found = label(task)
    assert np.array_equal(found.labels, labels)
    assert found.corrected.student.note == "No student was asked for."
    assert label(task, trainer=NeverCalled()).corrected.student.decision == Decision.GUESSES


@pytest.mark.parametrize(
    ("distance", "share", "decision"),
    [
        (6.0, 0.0, Decision.NOTHING_LEFT),  # no noise
        (6.0, 0.4, Decision.NOTHING_LEFT),  # noise that the features settle
        (1.0, 0.0, Decision.OVERLAP),
        (1.0, 0.2, Decision.OVERLAP),
    ],
)
def test_no_student_is_trained_where_it_could_change_no_label(distance: float, share: float, decision: str) -> None:
    features, truth = images(600, distance)
    labels = thrown(truth, share, 3)
    task = Task(Features(features), np.full((600, 3), 1 / 3), NAMES, given=labels)
    alone, asked = label(task), label(task, trainer=NeverCalled())
    assert np.array_equal(asked.labels, alone.labels)
    assert asked.corrected.student.decision == decision
    assert asked.corrected.student.note.startswith("No student was trained")


def test_an_audit_of_overlapping_classes_trains_one_all_the_same_for_its_ranking() -> None:
    features, truth = images(600, 1.0)
    trainer = Knowing(truth)
    task = Task(Features(features), np.full((600, 3), 1 / 3), NAMES, given=thrown(truth, 0.2, 3), keep=True)
    assert label(task, trainer=trainer).corrected.student.decision == Decision.TRAINED
    assert trainer.asked


class Knowing(NeverCalled):
    """A trainer of students that know more than the other images do, and say how they were asked."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth
        self.asked: list[np.ndarray] = []

    def __call__(self, features: Features, labels: np.ndarray, weights: np.ndarray, **options: object) -> StudentResult:
        self.asked.append(np.asarray(options["given"]))
        said = 0.02 + 0.94 * np.eye(3)[self.truth]
        return StudentResult(said, True, 0.9, 0.8, "It was trained.")


def test_a_student_is_trained_where_labels_may_change_and_others_are_contradicted() -> None:
    features, truth = images(600, 2.5)
    labels = thrown(truth, 0.3, 3)
    task = Task(Features(features), np.full((600, 3), 1 / 3), NAMES, given=labels)
    trainer = Knowing(truth)
    alone, taught = label(task), label(task, trainer=trainer)
    assert 0 < len(trainer.asked) <= trainer.rounds
    assert all(np.array_equal(given, labels) for given in trainer.asked)
    assert taught.corrected.student.decision == Decision.TRAINED
    assert (taught.labels == truth).mean() > (alone.labels == truth).mean()


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 25), seed=st.integers(0, 99))
def test_any_few_images_work_and_the_seed_decides_everything(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(n, 5)), rng.integers(0, 3, n)
    first, again = (corrected(features, labels, seed=seed) for _ in range(2))
    np.testing.assert_allclose(first.probabilities.sum(axis=1), 1.0)
    assert ((first.confidence >= 0) & (first.confidence <= 1)).all()
    assert first.labels.tobytes() == again.labels.tobytes()
    assert first.suspect_score.tobytes() == again.suspect_score.tobytes()
