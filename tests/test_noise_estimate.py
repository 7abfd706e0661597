"""The noise estimate: right labels stay, wrong ones are put right where the images know better, and how many is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_labels import thrown

from autoannotate.labelling.label_errors.noise_estimate import (
    HeldOutMixture,
    NoiseEstimate,
    bayes,
    estimate_noise,
    pool,
    weighed,
)
from autoannotate.labelling.label_errors.noisy_mixture import Mixture, fit_mixture
from autoannotate.labelling.label_errors.suspects import predict_out_of_sample


def clouds(n: int, k: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 24) in k Gaussian clouds, and the class of each."""
    truth = np.arange(n) % k
    return np.random.default_rng(seed).normal(size=(n, 24)) + apart * np.eye(k, 24)[truth], truth


def estimate(features: np.ndarray, labels: np.ndarray, k: int) -> NoiseEstimate:
    return predict_out_of_sample(features, labels, np.full((len(labels), k), 1 / k)).estimate()


def views(truth: np.ndarray, k: int, overlap: float, seed: int = 0) -> list[np.ndarray]:
    """Two calibrated predictions about images whose classes overlap this much."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        margin = rng.normal(size=(len(truth), k)) * overlap + 4.0 * np.eye(k)[truth]
        sharp = np.exp(4.0 * margin / max(overlap, 0.5) ** 2)
        found.append(sharp / sharp.sum(axis=1, keepdims=True))
    return found


@pytest.mark.parametrize("apart", [0.5, 1.5, 3.0, 6.0, 20.0])
@pytest.mark.parametrize("k", [2, 4])
def test_right_labels_stay_however_much_classes_overlap(apart: float, k: int) -> None:
    features, truth = clouds(300, k, apart)
    found = estimate(features, truth, k)
    assert np.array_equal(found.corrected(truth), truth)
    assert found.error_rate == 0.0


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_right_labels_stay_where_images_cluster_by_something_else(axis: int) -> None:
    features, truth = clouds(400, 2, 1.5)
    scanner = np.random.default_rng(axis).integers(0, 2, 400)
    features[:, 10 + axis] += 8.0 * scanner
    assert np.array_equal(estimate(features, truth, 2).corrected(truth), truth)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("apart", [5.0, 20.0])
def test_symmetric_noise_is_found_and_put_right(share: float, apart: float) -> None:
    features, truth = clouds(600, 4, apart)
    labels = thrown(truth, share, 4)
    found = estimate(features, labels, 4)
    assert abs(found.error_rate - share) < 0.06
    assert (found.corrected(labels) == truth).mean() > 1.0 - share / 3


def test_noise_that_fills_one_side_of_a_class_is_put_right_where_classes_lie_apart() -> None:
    features, truth = clouds(400, 2, 6.0)
    edge = (features[:, 5] > 0.3) & (truth == 0)
    labels = np.where(edge, 1, truth)
    assert 0.1 < (labels != truth).mean() < 0.25
    assert (estimate(features, labels, 2).corrected(labels) == truth).mean() > 0.97


def test_labels_that_have_nothing_to_do_with_the_images_are_kept() -> None:
    features, _ = clouds(300, 3, 0.0)
    labels = np.random.default_rng(3).integers(0, 3, 300)
    assert (estimate(features, labels, 3).corrected(labels) == labels).mean() > 0.98


@pytest.mark.parametrize("overlap", [1.0, 2.0, 3.0])
def test_a_likelihood_ratio_tells_symmetric_noise_from_overlap(overlap: float) -> None:
    truth = np.arange(1200) % 4
    assert not estimate_noise(views(truth, 4, overlap), truth).may_change
    labels = thrown(truth, 0.2, 4)
    found = estimate_noise(views(truth, 4, overlap), labels)
    assert found.explanation == "symmetric"
    assert abs(found.error_rate - 0.2) < 0.05


def test_a_student_says_which_labels_are_wrong_but_not_that_some_are() -> None:
    truth = np.arange(900) % 3
    labels = thrown(truth, 0.2, 3)
    student = 0.02 + 0.94 * np.eye(3)[truth]
    alone, both = (estimate_noise(views(truth, 3, 3.0), labels, students=each) for each in ([], [student]))
    assert (both.corrected(labels) == truth).mean() > (alone.corrected(labels) == truth).mean() + 0.02
    assert both.error_rate == alone.error_rate
    unlike = 0.02 + 0.94 * np.eye(3)[np.roll(truth, 1)]
    assert not estimate_noise(views(truth, 3, 2.0), truth, students=[unlike]).may_change


def test_a_label_of_a_rare_class_is_not_given_up_for_the_common_one_on_a_slight_advantage() -> None:
    posterior = np.tile([0.9, 0.1], (100, 1))
    posterior[:6] = [0.55, 0.45]
    labels = np.r_[np.ones(6, dtype=int), np.zeros(94, dtype=int)]
    everything = NoiseEstimate(posterior, posterior, posterior, np.eye(2), 0.1, 0.1, "", True, np.ones(2, dtype=bool))
    assert np.array_equal(everything.corrected(labels), labels)


def test_a_class_with_few_labels_is_left_alone() -> None:
    features, truth = clouds(300, 3, 20.0)
    labels = thrown(np.where(truth == 2, 0, truth), 0.2, 2)
    labels[:3] = 2
    corrected = estimate(features, labels, 3).corrected(labels)
    assert (corrected[:3] == 2).all()
    assert (corrected == 2).sum() == 3


def test_answers_teach_that_there_is_more_noise_than_was_estimated() -> None:
    truth = np.arange(600) % 2
    labels = np.where((truth == 0) & (np.random.default_rng(0).random(600) < 0.5), 1, 0 + truth)
    predicted = 0.2 + 0.6 * np.eye(2)[truth]
    answers = np.where(np.arange(600) < 120, truth, -1)
    assert weighed(predicted, labels, 0.05, answers).noise_matrix[0, 1] > 0.25


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 60), k=st.integers(2, 4), seed=st.integers(0, 99))
def test_estimates_are_probabilities_for_any_labels(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    if n < 2:
        return
    found = estimate(rng.normal(size=(n, 9)), labels, k)
    for each in (found.predicted, found.clean, found.posterior, found.noise_matrix):
        assert np.isfinite(each).all()
        np.testing.assert_allclose(each.sum(axis=1), 1.0, atol=1e-6)
    assert 0.0 <= found.error_rate < 1.0


def test_the_pool_is_the_better_view_where_the_other_says_nothing() -> None:
    truth = np.arange(600) % 3
    good = views(truth, 3, 2.0)[0]
    noise = np.random.default_rng(0).dirichlet(np.ones(3), 600)
    pooled = pool([good, noise], truth).probabilities
    assert (pooled.argmax(axis=1) == good.argmax(axis=1)).mean() > 0.97


def test_bayes_rule_weighs_the_label_by_the_noise() -> None:
    posterior = bayes(np.array([[0.5, 0.5]]), np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0]))
    np.testing.assert_allclose(posterior, [[0.9 / 1.3, 0.4 / 1.3]])


def test_the_mixture_finds_classes_and_noise_and_a_label_it_did_not_see_changes_nothing() -> None:
    features, truth = clouds(400, 2, 5.0)
    labels = np.where((truth == 0) & (np.random.default_rng(0).random(400) < 0.4), 1, truth)
    seen = np.ones(400, dtype=bool)
    found = fit_mixture(features[:, :8], labels, 2, seen)
    assert (found.clean.argmax(axis=1) == truth).mean() > 0.98
    np.testing.assert_allclose(found.noise_matrix, [[0.6, 0.4], [0.0, 1.0]], atol=0.1)
    seen[:50] = False
    other = np.where(seen, labels, 1 - labels)
    one, two = (fit_mixture(features[:, :8], each, 2, seen).clean for each in (labels, other))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("images", "z", "contradicted", "accepted"),
    [
        (60, 0.5, 0.0, False),  # 12 labels found wrong are few
        (60, 2.0, 0.0, True),  # but likely
        (300, 0.5, 0.5, True),
        (300, -0.2, 0.5, False),  # neither its likelihood nor the pool sides with it
        (300, -0.2, 0.3, True),
    ],
)
def test_the_mixture_needs_many_wrong_labels_or_likely_ones_and_the_pool_where_it_is_less_likely(
    images: int, z: float, contradicted: float, accepted: bool
) -> None:
    truth = np.arange(images) % 2
    wrong = np.flatnonzero(truth == 1)[: images // 5]
    labels = truth.copy()
    labels[wrong] = 0
    sure = np.where(np.eye(2)[truth] > 0, 0.999, 0.001)
    noise = np.array([[0.999, 0.001], [0.4, 0.6]])
    evidence = np.random.default_rng(0).normal(size=images)
    evidence = (evidence - evidence.mean()) / evidence.std() + z / np.sqrt(images)
    predicted = truth.copy()
    predicted[wrong[: round(contradicted * len(wrong))]] = 0
    view = np.where(np.eye(2)[predicted] > 0, 0.7, 0.3)
    mixture = HeldOutMixture(Mixture(sure, bayes(sure, noise, labels), noise), sure, evidence)
    found = estimate_noise([view, view], labels, mixture=mixture)
    assert (found.explanation == "mixture") is accepted
