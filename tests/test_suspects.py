"""Suspects: planted wrong labels are found and named, clean labels are left alone, odd inputs work."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.labelling.label_errors.reasons import REASONS
from autoannotate.labelling.label_errors.suspects import find_suspects, predict_out_of_sample

NAMES = ("chest", "breast", "skin")


def images(n: int, k: int = 3, seed: int = 0, distance: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    truth = np.arange(n) % k
    points = np.random.default_rng(seed).normal(size=(n, 12)) + distance * np.eye(k, 12)[truth]
    return points, truth


def even(n: int, k: int = 3) -> np.ndarray:
    return np.full((n, k), 1.0 / k)


def test_planted_wrong_labels_are_flagged_first_and_get_the_right_suggestion() -> None:
    features, truth = images(150)
    labels = truth.copy()
    labels[:12] = (labels[:12] + 1) % 3
    found = find_suspects(features, labels, even(150), NAMES, seed=0)
    assert set(np.argsort(-found.score)[:12]) == set(range(12))
    assert found.flagged[:12].all()
    assert found.flagged[12:].sum() <= 3
    assert np.array_equal(found.suggested, truth)
    assert abs(found.error_rate - 12 / 150) < 0.04
    assert "looks like its 8 nearest neighbours" in found.reasons[0]
    assert "labelled chest" in found.reasons[0]


def test_clean_labels_give_few_suspects_and_no_change() -> None:
    features, truth = images(150)
    found = find_suspects(features, truth, even(150), NAMES, seed=0)
    assert found.flagged.sum() <= 2
    assert found.error_rate < 0.02
    assert np.array_equal(found.suggested, truth)


def test_labels_that_nothing_in_the_images_supports_are_mostly_kept_and_not_flagged() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 150)
    found = find_suspects(rng.normal(size=(150, 12)), labels, even(150), NAMES, seed=0)
    assert (found.suggested == labels).mean() > 0.9
    assert found.flagged.mean() < 0.1


def test_a_tight_group_of_wrong_labels_is_found_by_the_classifier_beside_its_neighbours() -> None:
    features, truth = images(200, k=2, distance=6.0)
    labels = truth.copy()
    wrong = np.argsort(features[:, 2] - 100 * (truth == 0))[:10]
    labels[wrong] = 1 - labels[wrong]
    found = find_suspects(features, labels, even(200, 2), NAMES[:2], seed=0)
    assert np.isin(np.argsort(-found.score)[:10], wrong).mean() >= 0.8


def test_near_duplicates_with_two_labels_name_each_other_and_the_less_supported_is_flagged() -> None:
    features, truth = images(90, distance=3.0)
    features[1] = features[0] + 1e-4
    labels = truth.copy()
    names = [f"scan{i}.png" for i in range(90)]
    found = find_suspects(features, labels, even(90), NAMES, seed=0, image_names=names)
    assert found.flagged[1]
    assert found.score[1] > found.score[0]
    assert "nearly the same picture as scan1.png, labelled breast" in found.reasons[0]
    assert "nearly the same picture as scan0.png, labelled chest" in found.reasons[1]


def test_an_image_far_from_every_other_is_said_to_fit_no_class() -> None:
    features, truth = images(90)
    features[7] = 0.0
    features[7, 11] = 60.0
    found = find_suspects(features, truth, even(90), NAMES, seed=0)
    assert "fits no class" in found.reasons[7]
    assert sum("fits no class" in each for each in found.reasons) <= 4


def test_an_image_between_two_classes_is_said_to_be_ambiguous() -> None:
    features, truth = images(120, k=2, distance=6.0)
    features[0, :2] = 3.0
    features[0, 2:] = 0.0
    found = find_suspects(features, truth, even(120, 2), NAMES[:2], seed=0)
    assert found.score[0] >= np.quantile(found.score, 0.95)


def test_clip_and_the_student_are_heard_where_they_are_worth_it() -> None:
    features, truth = images(90)
    zero_shot = 0.05 + 0.85 * np.eye(3)[truth]
    zero_shot[0] = [0.05, 0.9, 0.05]
    student = np.eye(3)[truth] * 0.9 + 0.05
    student[3] = [0.05, 0.05, 0.9]
    found = find_suspects(features, truth, zero_shot, NAMES, seed=0, student=student)
    silent = find_suspects(features, truth, even(90), NAMES, seed=0)
    assert "CLIP says breast (90%)" in found.reasons[0]
    assert "the student says skin (90%)" in found.reasons[3]
    assert found.score[0] > silent.score[0]
    assert found.score[3] > silent.score[3]


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 14), seed=st.integers(0, 50), k=st.integers(1, 4))
def test_any_few_images_and_any_labels_work(n: int, seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    zero_shot = rng.dirichlet(np.ones(k), n)
    found = find_suspects(rng.normal(size=(n, 5)), labels, zero_shot, list("abcd")[:k], seed=seed)
    assert found.out_of_sample.shape == (n, k)
    np.testing.assert_allclose(found.out_of_sample.sum(axis=1), 1.0)
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert len(found.reasons) == n
    assert ((found.suggested >= 0) & (found.suggested < k)).all()


@pytest.mark.parametrize("members", [1, 2, 3])
def test_a_class_of_one_to_three_images_works_and_is_not_wiped_out(members: int) -> None:
    features, truth = images(80, k=2)
    truth[:members] = 2
    features[:members] = 8.0 * np.eye(12)[5] + np.random.default_rng(9).normal(size=(members, 12))
    zero_shot = 0.1 + 0.7 * np.eye(3)[truth]
    found = find_suspects(features, truth, zero_shot, NAMES, seed=0)
    assert np.array_equal(found.suggested, truth)


@pytest.mark.parametrize("rare", [0, 1])
def test_a_class_of_one_image_says_the_same_of_the_others_whatever_its_number(rare: int) -> None:
    features = np.random.default_rng(0).normal(size=(100, 64))
    features[0] += 3.0
    labels = np.full(100, 1 - rare)
    labels[0] = rare
    estimate = predict_out_of_sample(features, labels, 0.05 + 0.9 * np.eye(2)[labels]).estimate()
    assert estimate.error_rate < 0.05


def test_one_class_only_gives_no_suspects() -> None:
    features, _ = images(40)
    found = find_suspects(features, np.zeros(40, dtype=int), even(40), NAMES, seed=0)
    assert not found.flagged.any()
    assert (found.suggested == 0).all()


def test_images_that_are_all_the_same_work() -> None:
    found = find_suspects(np.ones((30, 6)), np.arange(30) % 3, even(30), NAMES, seed=0)
    assert np.isfinite(found.score).all()


def test_the_order_of_the_images_does_not_matter_and_the_seed_decides_the_rest() -> None:
    features, truth = images(90, distance=3.0)
    labels = truth.copy()
    labels[:8] = (labels[:8] + 1) % 3
    order = np.random.default_rng(1).permutation(90)
    names = [f"scan{i}" for i in range(90)]
    plain = find_suspects(features, labels, even(90), NAMES, seed=4, image_names=names)
    mixed = find_suspects(
        features[order], labels[order], even(90), NAMES, seed=4, image_names=[names[i] for i in order]
    )
    again = find_suspects(features, labels, even(90), NAMES, seed=4, image_names=names)
    np.testing.assert_allclose(mixed.score, plain.score[order], atol=1e-9)
    assert np.array_equal(mixed.flagged, plain.flagged[order])
    assert mixed.reasons == tuple(plain.reasons[i] for i in order)
    assert np.array_equal(again.score, plain.score)
    assert again.reasons == plain.reasons


def test_every_reason_has_a_name_a_weight_and_a_docstring() -> None:
    assert {"neighbours_disagree", "ambiguous", "outlier", "near_duplicate_disagrees"} <= set(REASONS)
    for name, each in REASONS.items():
        assert each.name == name
        assert 0 < each.weight <= 1
        assert each.doubt.__doc__


def test_shapes_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match="don't fit"):
        find_suspects(np.zeros((3, 2)), np.array([0, 1, 5]), even(3), NAMES, seed=0)
