"""Groups stay together: no image is judged by a model that saw another picture of the same patient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.labelling.label_errors.from_answers import basis, generalise
from autoannotate.labelling.label_errors.out_of_sample import folds
from autoannotate.labelling.label_errors.suspects import find_suspects, predict_out_of_sample
from autoannotate.labelling.ridge import Ridge


@given(st.integers(2, 80), st.integers(2, 30), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_no_fold_divides_a_group_and_every_image_is_held_out_once(n: int, many: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, k, n), rng.integers(0, many, n)
    held_out = list(folds(labels, seed, groups))
    assert sorted(np.concatenate(held_out).tolist()) == list(range(n))
    assert len(held_out) == min(5, len(np.unique(groups)))
    for fold in held_out:
        assert len(fold)
        assert not np.isin(np.delete(groups, fold), groups[fold]).any()


def test_groups_of_one_image_change_nothing_whatever_they_are_called() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 50)
    for one, other in zip(folds(labels, 3), folds(labels, 3, np.arange(50)[::-1]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_leaving_a_group_out_in_closed_form_is_leaving_it_out() -> None:
    rng = np.random.default_rng(0)
    points, targets, weights = rng.normal(size=(30, 6)), rng.normal(size=(30, 2)), rng.uniform(0.1, 5, 30)
    groups = rng.integers(0, 12, 30)
    quick = Ridge(points, weights, 2.0, groups).left_out(targets)
    for i in range(30):
        rest = groups != groups[i]
        gram = (points[rest] * weights[rest, None]).T @ points[rest] + 2.0 * np.eye(6)
        slow = points[i] @ np.linalg.solve(gram, (points[rest] * weights[rest, None]).T @ targets[rest])
        assert quick[i] == pytest.approx(slow, abs=1e-6)


def patients(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four pictures each of 60 patients, that look like their patient and not at all like their class."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), 4)
    points = rng.normal(size=(60, 30))[groups] + 0.3 * rng.normal(size=(240, 30))
    return points, rng.permutation(np.arange(60) % 2)[groups], groups


def agreement(groups: np.ndarray | None) -> float:
    points, labels, _ = patients()
    found = predict_out_of_sample(points, labels, np.full((240, 2), 0.5), groups=groups)
    return float((found.estimate().predicted.argmax(axis=1) == labels).mean())


def test_a_patient_is_recognised_unless_all_pictures_of_him_are_left_out() -> None:
    assert agreement(None) > 0.75
    assert agreement(patients()[2]) < agreement(None) - 0.15


def found(seed: int, grouped: bool) -> int:
    """How many of the twelve pictures of three patients filed wholly under the wrong class are among the twelve worst."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), 4)
    truth = (np.arange(60) % 2)[groups]
    points = rng.normal(size=(60, 30))[groups] + 0.2 * rng.normal(size=(240, 30)) + 2.5 * np.eye(2, 30)[truth]
    wrong = np.isin(groups, (4, 17, 33))
    filed, nothing = np.where(wrong, 1 - truth, truth), np.full((240, 2), 0.5)
    score = find_suspects(points, filed, nothing, ["a", "b"], groups=groups if grouped else None).score
    return int(wrong[np.argsort(-score)[:12]].sum())


def test_patients_filed_wholly_under_the_wrong_class_are_found_with_groups() -> None:
    assert sum(found(seed, grouped=True) for seed in (1, 2, 3)) >= 24  # of 36


def test_one_group_alone_is_an_error() -> None:
    points, labels, _ = patients()
    with pytest.raises(ValueError, match="two groups"):
        predict_out_of_sample(points, labels, np.full((240, 2), 0.5), groups=np.zeros(240, dtype=int))


def test_answers_about_a_patient_are_no_proof_that_answers_generalise() -> None:
    """Labels and answers are of the patient alone, thrown for each: other pictures of him know them, other patients do not."""
    points, labels, groups = patients()
    answers = np.where(groups < 40, labels, -1)
    right = {}
    for name, ids in (("alone", None), ("grouped", groups)):
        learned = generalise(basis(points), labels, answers, 2, groups=ids)
        assert learned is not None
        right[name] = float((learned.predicted.argmax(axis=1) == labels).mean())
    assert right["alone"] > 0.75
    assert right["grouped"] < 0.6
