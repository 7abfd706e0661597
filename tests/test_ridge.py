"""Ridge regression in closed form is what it says, and a kernel machine that corrects itself sees through mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_labels import thrown

from autoannotate.labelling.features import standardised
from autoannotate.labelling.label_errors.out_of_sample import LANDMARKS, WIDTH, SelfTrainedKernel
from autoannotate.labelling.semi_supervised.ridge import Ridge, likeness


def test_leaving_one_out_in_closed_form_is_leaving_one_out() -> None:
    rng = np.random.default_rng(0)
    points, targets, weights = rng.normal(size=(30, 6)), rng.normal(size=(30, 2)), rng.uniform(0.1, 5, 30)
    quick = Ridge(points, weights, 2.0).left_out(targets)
    for i in (0, 7, 29):
        rest = np.arange(30) != i
        gram = (points[rest] * weights[rest, None]).T @ points[rest] + 2.0 * np.eye(6)
        slow = points[i] @ np.linalg.solve(gram, (points[rest] * weights[rest, None]).T @ targets[rest])
        assert quick[i] == pytest.approx(slow)


def test_what_it_was_taught_is_the_weighted_ridge_solution() -> None:
    rng = np.random.default_rng(1)
    points, targets, weights = rng.normal(size=(30, 6)), rng.normal(size=(30, 2)), rng.uniform(0.1, 5, 30)
    gram = (points * weights[:, None]).T @ points + 2.0 * np.eye(6)
    slow = np.linalg.solve(gram, (points * weights[:, None]).T @ targets)
    np.testing.assert_allclose(Ridge(points, weights, 2.0).taught(targets), slow)


@given(st.integers(2, 40), st.integers(1, 8), st.floats(0.05, 2.0), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_likeness_is_a_gaussian_of_the_distance(count: int, columns: int, width: float, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(count, columns))
    rows = likeness(points, width, most=100)
    apart = ((points[:, None] - points[None]) ** 2).mean(axis=2)
    np.testing.assert_allclose(rows @ rows.T, np.exp(-width * apart), atol=1e-4)


def test_likeness_to_landmarks_is_nearly_that_to_all() -> None:
    points = np.random.default_rng(0).normal(size=(600, 2))
    whole, some = (likeness(points, 0.3, most) for most in (600, 200))
    assert some.shape == (600, 200)
    assert np.abs(whole @ whole.T - some @ some.T).max() < 0.02


def clouds(count: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    truth = np.arange(count) % classes
    points = np.random.default_rng(seed).normal(size=(count, 20)) + 8.0 * np.eye(classes, 20)[truth]
    return standardised(points), truth


def machine(points: np.ndarray, labels: np.ndarray, seen: np.ndarray) -> SelfTrainedKernel:
    return SelfTrainedKernel(likeness(points, WIDTH, LANDMARKS), labels, seen)


def test_others_are_judged_as_each_is_with_its_own_label_left_out() -> None:
    points, truth = clouds(200)
    labels = thrown(truth, 0.2, 3)
    basis, seen = likeness(points, WIDTH, LANDMARKS), np.ones((160, 3), dtype=bool)
    said = SelfTrainedKernel(basis[:160], labels[:160], seen).of(basis[160:])
    np.testing.assert_allclose(said.sum(axis=1), 1.0)
    assert (said.argmax(axis=1) == truth[160:]).mean() > 0.9
    seen[:, 1] = False
    labels[labels == 1] = 2
    assert (SelfTrainedKernel(basis[:160], labels[:160], seen).of(basis[160:])[:, 1] == 0.0).all()


def test_it_sees_through_mistakes_and_never_judges_an_image_by_its_own_label() -> None:
    points, truth = clouds(300)
    labels = thrown(truth, 0.3, 3)
    seen = np.ones((300, 3), dtype=bool)
    said = machine(points, labels, seen).left_out
    np.testing.assert_allclose(said.sum(axis=1), 1.0)
    assert (said.argmax(axis=1) == truth).mean() > 0.9
    other = labels.copy()
    other[7] = (labels[7] + 1) % 3
    assert np.abs(machine(points, other, seen).left_out[7] - said[7]).max() < 0.05


def test_a_class_that_no_other_image_has_is_not_guessed() -> None:
    points, truth = clouds(90)
    labels = np.where(np.arange(90) == 4, 2, truth % 2)
    seen = np.ones((90, 3), dtype=bool)
    seen[4, 2] = False
    said = machine(points, labels, seen).left_out
    assert said[4, 2] == 0.0
    assert np.isfinite(said).all()
