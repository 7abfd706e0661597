"""Ridge regression in closed form is what it says, and a kernel machine that corrects itself sees through mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_labels import thrown

from autoannotate.probe import self_trained_kernel, standardised
from autoannotate.ridge import Ridge, likeness


def test_leaving_one_out_in_closed_form_is_leaving_one_out() -> None:
    rng = np.random.default_rng(0)
    points, targets, weights = rng.normal(size=(30, 6)), rng.normal(size=(30, 2)), rng.uniform(0.1, 5, 30)
    quick = Ridge(points, weights, 2.0).left_out(targets)
    for i in (0, 7, 29):
        rest = np.arange(30) != i
        gram = (points[rest] * weights[rest, None]).T @ points[rest] + 2.0 * np.eye(6)
        slow = points[i] @ np.linalg.solve(gram, (points[rest] * weights[rest, None]).T @ targets[rest])
        assert quick[i] == pytest.approx(slow)


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


def test_it_sees_through_mistakes_and_never_judges_an_image_by_its_own_label() -> None:
    points, truth = clouds(300)
    labels = thrown(truth, 0.3, 3)
    seen = np.ones((300, 3), dtype=bool)
    said = self_trained_kernel(points, labels, seen)
    np.testing.assert_allclose(said.sum(axis=1), 1.0)
    assert (said.argmax(axis=1) == truth).mean() > 0.9
    other = labels.copy()
    other[7] = (labels[7] + 1) % 3
    assert np.abs(self_trained_kernel(points, other, seen)[7] - said[7]).max() < 0.05


def test_a_class_that_no_other_image_has_is_not_guessed() -> None:
    points, truth = clouds(90)
    labels = np.where(np.arange(90) == 4, 2, truth % 2)
    seen = np.ones((90, 3), dtype=bool)
    seen[4, 2] = False
    said = self_trained_kernel(points, labels, seen)
    assert said[4, 2] == 0.0
    assert np.isfinite(said).all()
