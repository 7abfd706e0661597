"""Metrics: what they count, against hand-made cases and against scikit-learn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from autoannotate.evaluation import metrics

SEEDS = st.integers(0, 2**32 - 1)


def test_all_metrics_of_right_labels_are_at_their_best() -> None:
    truth = np.array([0, 0, 1, 2, 2])
    certain = np.eye(3)[truth]
    found = metrics.of_labels(truth, truth, given=np.array([1, 0, 1, 2, 0]), probabilities=certain)
    assert found == {
        "accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0, "ece": 0.0, "fixed": 1.0, "broken": 0.0,
    }  # fmt: skip
    assert set(found) == set(metrics.OF_LABELS)


def test_what_the_input_does_not_define_is_nan() -> None:
    truth = np.array([0, 1, 1])
    found = metrics.of_labels(truth, truth, given=truth)
    assert np.isnan(found["fixed"])
    assert np.isnan(found["ece"])
    assert found["broken"] == 0.0
    doubtless = metrics.of_doubt(np.zeros(3, bool), np.arange(3.0))
    assert set(doubtless) == set(metrics.OF_DOUBT)
    assert all(np.isnan(value) for value in doubtless.values())
    assert all(np.isnan(value) for value in metrics.of_doubt(np.ones(3, bool), None).values())


def test_a_label_the_method_broke_counts_as_broken_even_if_it_fixed_as_many() -> None:
    truth, given = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert metrics.of_labels(truth, np.array([1, 0, 1, 1]), given=given)["fixed"] == 1.0
    assert metrics.of_labels(truth, np.array([1, 0, 1, 1]), given=given)["broken"] == pytest.approx(1 / 3)


def test_calibration_error_by_hand() -> None:
    right = np.array([True, True, False, True])
    assert metrics.expected_calibration_error(right, np.full(4, 0.75)) == pytest.approx(0.0)
    assert metrics.expected_calibration_error(right, np.array([1.0, 1.0, 1.0, 1.0])) == pytest.approx(0.25)
    two_bins = metrics.expected_calibration_error(right, np.array([0.1, 0.2, 0.9, 0.8]), bins=2)
    assert two_bins == pytest.approx((abs(2 - 0.3) + abs(1 - 1.7)) / 4)


def test_calibration_is_of_the_labels_as_they_are_not_of_the_argmax() -> None:
    unsure = np.array([[0.7, 0.3]])
    assert metrics.of_labels(np.array([1]), np.array([1]), probabilities=unsure)["ece"] == pytest.approx(0.7)


def test_recall_at_the_number_of_errors_is_precision_there_too() -> None:
    wrong = np.array([True, False, True, False, False])
    found = metrics.of_doubt(wrong, np.array([5.0, 4.0, 3.0, 2.0, 1.0]))
    assert found["recall_at_errors"] == 0.5
    assert found["recall_at_10"] == 0.5  # one image, the least budget
    assert found["average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_who_doubts_all_alike_finds_no_more_than_chance() -> None:
    wrong = np.arange(200) < 20
    assert metrics.recall_at(wrong, np.zeros(200), 50) == pytest.approx(0.25)
    assert metrics.recall_at(wrong[::-1], np.zeros(200), 50) == pytest.approx(0.25)


def test_lengths_that_differ_are_refused() -> None:
    for call in (
        lambda: metrics.of_labels(np.zeros(3, int), np.zeros(2, int)),
        lambda: metrics.of_labels(np.zeros(0, int), np.zeros(0, int)),
        lambda: metrics.of_doubt(np.ones(3, bool), np.zeros(4)),
    ):
        with pytest.raises(ValueError, match="don't fit"):
            call()


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, n=st.integers(1, 60), k=st.integers(2, 6))
def test_accuracy_is_what_was_right_plus_what_was_fixed_less_what_was_broken(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    truth, given_labels, labels = rng.integers(0, k, (3, n))
    found = metrics.of_labels(truth, labels, given=given_labels)
    was = float((given_labels == truth).mean())
    gained = 0.0 if was == 1.0 else (1 - was) * found["fixed"]
    lost = 0.0 if was == 0.0 else was * found["broken"]
    assert found["accuracy"] == pytest.approx(was + gained - lost)


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, n=st.integers(1, 60), k=st.integers(2, 6))
def test_metrics_are_shares_and_do_not_depend_on_order(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    truth, given_labels, labels = rng.integers(0, k, (3, n))
    probabilities = rng.dirichlet(np.ones(k), n)
    doubt = rng.integers(0, 5, n).astype(float)  # with ties
    order = rng.permutation(n)
    for found, shuffled in (
        (
            metrics.of_labels(truth, labels, given_labels, probabilities),
            metrics.of_labels(truth[order], labels[order], given_labels[order], probabilities[order]),
        ),
        (
            metrics.of_doubt(truth != given_labels, doubt),
            metrics.of_doubt((truth != given_labels)[order], doubt[order]),
        ),
    ):
        assert all(np.isnan(value) or -1e-12 <= value <= 1.0 + 1e-12 for value in found.values())
        assert found == pytest.approx(shuffled, nan_ok=True)


@settings(deadline=None, max_examples=30)
@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn on a class that one side lacks
@given(seed=SEEDS, n=st.integers(1, 60), k=st.integers(2, 6))
def test_balanced_accuracy_is_scikit_learns(seed: int, n: int, k: int) -> None:
    truth, labels = np.random.default_rng(seed).integers(0, k, (2, n))
    assert metrics.balanced_accuracy(truth, labels) == pytest.approx(balanced_accuracy_score(truth, labels))


@settings(deadline=None, max_examples=30)
@given(seed=SEEDS, n=st.integers(2, 80))
def test_a_larger_budget_never_finds_fewer(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    wrong, doubt = rng.random(n) < 0.3, rng.integers(0, 4, n).astype(float)
    wrong[0] = True
    found = [metrics.recall_at(wrong, doubt, budget) for budget in range(n + 2)]
    assert found[0] == 0.0
    assert found[-1] == 1.0
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(found))
