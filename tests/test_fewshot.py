"""Labels learned from a few answers, and whether labels were as sure as they were right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.answers.calibration import interval, reliability_diagram
from autoannotate.labelling.semi_supervised import few_shot


def blobs(n: int = 120, k: int = 4, noise: float = 0.8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.permutation(n) % k
    return 3.0 * np.eye(k, 24)[truth] + noise * rng.normal(size=(n, 24)), truth


def some(truth: np.ndarray, each: int) -> np.ndarray:
    answers = np.full(len(truth), -1)
    for k in np.unique(truth):
        answers[np.flatnonzero(truth == k)[:each]] = k
    return answers


def test_a_few_answers_teach_the_other_labels_whatever_zero_shot_says() -> None:
    features, truth = blobs()
    answers = some(truth, 6)
    for zero_shot in (np.full((120, 4), 0.25), np.eye(4)[(truth + 1) % 4] * 0.9 + 0.025):
        found = few_shot.learn(features, zero_shot, answers)
        assert (found.probabilities.argmax(axis=1) == truth).mean() >= 0.97
        assert found.told
        assert np.allclose(found.probabilities.sum(axis=1), 1.0)


def test_where_nothing_can_be_told_it_says_so() -> None:
    rng = np.random.default_rng(3)
    features, truth = rng.normal(size=(150, 24)), rng.integers(3, size=150)
    found = few_shot.learn(features, np.full((150, 3), 1 / 3), some(truth, 15))
    assert not found.told
    assert found.kappa is not None
    assert found.kappa < 0.4


def test_ten_right_answers_of_ten_are_no_proof_of_perfect_labels() -> None:
    features, truth = blobs(n=400, k=2, noise=0.3)
    flat = np.full((400, 2), 0.5)
    sure = [few_shot.learn(features, flat, some(truth, n)).probabilities.max(axis=1).mean() for n in (5, 20)]
    assert sure[0] < 0.97
    assert sure[0] < sure[1]


def test_answers_to_the_hardest_images_do_not_make_the_others_guesses() -> None:
    features, truth = blobs(n=400, k=2, noise=0.8)
    flat = np.full((400, 2), 0.5)
    first = few_shot.learn(features, flat, some(truth, 8))
    hardest = np.argsort(first.probabilities.max(axis=1))[:30]
    answers = some(truth, 8)
    answers[hardest] = truth[hardest]
    assert few_shot.learn(features, flat, answers).told


def test_good_zero_shot_is_kept() -> None:
    rng = np.random.default_rng(4)
    features, truth = rng.normal(size=(150, 24)), rng.integers(3, size=150)
    zero_shot = np.eye(3)[truth] * 0.8 + 0.2 / 3
    found = few_shot.learn(features, zero_shot, some(truth, 15))
    assert (found.probabilities.argmax(axis=1) == truth).mean() >= 0.95


def test_a_class_without_answers_is_not_learned() -> None:
    assert not few_shot.enough(np.array([0, 0, 0, 0, 0, 0, -1]), 2)
    assert few_shot.enough(np.array([0, 0, 0, 0, 0, 1, -1]), 2)
    assert not few_shot.enough(np.array([0, 1]), 2)
    assert few_shot.enough(np.arange(7), 7)
    assert not few_shot.enough(np.full(5, -1), 2)


@pytest.mark.parametrize("each", [2, 1])
def test_one_or_two_answers_a_class_are_learned_from_and_promises_nothing(each: int) -> None:
    features, truth = blobs(k=8 // each, noise=0.5)
    found = few_shot.learn(features, np.full((120, 8 // each), each / 8), some(truth, each))
    assert few_shot.enough(some(truth, each), 8 // each)
    assert (found.probabilities.argmax(axis=1) == truth).mean() > 0.85
    assert found.kappa is None
    assert not found.told


def test_the_same_seed_learns_the_same() -> None:
    features, truth = blobs()
    flat = np.full((120, 4), 0.25)
    first, again = (few_shot.learn(features, flat, some(truth, 5), seed=7) for _ in range(2))
    assert np.array_equal(first.probabilities, again.probabilities)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=120))
def test_a_diagram_counts_every_answer_once(answers: list[tuple[float, bool]]) -> None:
    sure, right = [c for c, _ in answers], [r for _, r in answers]
    found = reliability_diagram(sure, right)
    assert sum(one["n"] for one in found["bins"]) == found["answers"] == len(answers)
    for one in found["bins"]:
        assert one["from"] - 1e-6 <= one["confidence"] <= one["to"] + 1e-6
        assert 0.0 <= one["low"] <= one["right"] <= one["high"] <= 1.0


def test_few_answers_give_wide_intervals() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    narrow, wide = interval(90, 100), interval(9, 10)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]
    assert len(reliability_diagram([0.5] * 11, [True] * 11)["bins"]) == 1


def test_another_picture_of_a_patient_proves_nothing() -> None:
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(60), 4)
    features = rng.normal(size=(60, 24))[patients] + 0.1 * rng.normal(size=(240, 24))
    answers = np.where(patients < 40, rng.integers(2, size=60)[patients], -1)  # which class a patient has is thrown
    alone = few_shot.learn(features, np.full((240, 2), 0.5), answers)
    grouped = few_shot.learn(features, np.full((240, 2), 0.5), answers, groups=patients)
    assert grouped.kappa is not None
    assert alone.kappa is not None
    assert grouped.kappa < alone.kappa
    assert not grouped.told
