"""Pseudo-labels: the structure of the images repairs zero-shot labels where it can, and never harms them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.labelling.features import Features
from autoannotate.labelling.pipeline import label
from autoannotate.labelling.semi_supervised.refinement import match_prior, refine
from autoannotate.labelling.task import Task


def clusters(sizes: list[int], seed: int = 0, distance: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Images as points in one Gaussian cloud a class, `distance` apart, and their true classes."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(size=(len(truth), 16)) + distance * np.eye(len(sizes), 16)[truth], truth


def noisy(truth: np.ndarray, k: int, noise: float, bias: float = 0.0, seed: int = 0) -> np.ndarray:
    """Zero-shot probabilities whose margins are the truth plus noise, with `bias` for class 0."""
    logits = np.eye(k)[truth] + noise * np.random.default_rng(seed).normal(size=(len(truth), k))
    logits[:, 0] += bias
    odds = np.exp(2 * logits)
    return odds / odds.sum(axis=1, keepdims=True)


def accuracy(probabilities: np.ndarray, truth: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == truth).mean())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), trust=st.floats(0, 1), k=st.integers(2, 4), n=st.integers(1, 60))
def test_rows_are_probabilities_and_guesses_about_a_cloud_stay_as_they_are(
    seed: int, trust: float, k: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    features, zero_shot = rng.normal(size=(n, 8)), rng.dirichlet(np.ones(k), n)
    refined = refine(features, zero_shot, trust=trust)
    assert refined.shape == (n, k)
    assert (refined >= 0).all()
    np.testing.assert_allclose(refined.sum(axis=1), 1.0)
    assert np.array_equal(refine(features, zero_shot, trust=0.0), zero_shot)


@pytest.mark.parametrize("sizes", [[100, 100], [240, 30], [80, 60, 70]])
def test_where_classes_are_clusters_wrong_labels_are_put_right_balanced_or_not(sizes: list[int]) -> None:
    features, truth = clusters(sizes)
    zero_shot = noisy(truth, len(sizes), noise=0.6)
    assert accuracy(zero_shot, truth) < 0.92
    assert accuracy(refine(features, zero_shot, trust=1.0), truth) > 0.99


def test_an_odd_image_of_which_zero_shot_is_certain_keeps_its_label_in_another_classs_cluster() -> None:
    features, truth = clusters([100, 100])
    zero_shot = noisy(truth, 2, noise=0.6)
    features[0] = features[150] + 0.1  # it looks like the other class …
    for sure, kept in ((0.99, True), (0.7, False)):  # … and zero-shot knows better, or does not
        zero_shot[0] = sure, 1 - sure
        assert (refine(features, zero_shot, trust=0.98)[0].argmax() == 0) == kept
        labelled = label(Task(Features(features), zero_shot, ["a", "b"], trust=0.98))
        assert (labelled.labels[0] == 0) == kept
        assert labelled.probabilities[0].argmax() == labelled.labels[0]


def test_images_without_clusters_keep_their_zero_shot_labels() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 16))
    zero_shot = noisy((features[:, 0] > 0).astype(int), 2, noise=0.5)
    refined = refine(features, zero_shot, trust=1.0)
    assert np.array_equal(refined.argmax(axis=1), zero_shot.argmax(axis=1))


def test_clusters_that_have_nothing_to_do_with_the_classes_change_nothing() -> None:
    features, _ = clusters([150, 150])
    truth = np.arange(300) % 2
    zero_shot = noisy(truth, 2, noise=0.3)
    refined = refine(features, zero_shot, trust=1.0)
    assert np.array_equal(refined.argmax(axis=1), zero_shot.argmax(axis=1))


def two_ways(by_island: float, sizes: tuple[int, ...] = (200, 200)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Islands of the classes 0 and 1 in turn, the class of each image's island, and zero-shot that is unsure and names them,
    but for a share of the first two that sticks together: it follows another feature there."""
    features, island = clusters(list(sizes), distance=20.0)
    features[:, 5] *= 5  # so that images which are alike are alike in it
    truth = island % 2
    other = np.zeros(len(island), dtype=bool)
    for k in range(2):
        of = np.flatnonzero(island == k)
        other[of[np.argsort(-features[of, 5])[: round((1 - by_island) * len(of))]]] = True
    return features, truth, 0.25 + noisy(np.where(other, 1 - truth, truth), 2, noise=0.15) / 2


def test_errors_that_stick_together_are_put_right_where_each_class_is_an_island() -> None:
    features, truth, zero_shot = two_ways(by_island=0.8)
    assert 0.75 < accuracy(zero_shot, truth) < 0.85
    refined = refine(features, zero_shot, trust=0.8)
    assert accuracy(refined, truth) == 1.0
    moved = zero_shot.argmax(axis=1) != truth
    assert refined[moved].max() <= 0.75  # the islands may be two scanners
    np.testing.assert_allclose(refined[~moved], zero_shot[~moved])


def test_what_zero_shot_is_sure_of_stays_though_its_island_has_another_name() -> None:
    features, _, zero_shot = two_ways(by_island=0.8)
    sure = np.clip(2 * zero_shot - 0.5, 0.0, 1.0)
    np.testing.assert_allclose(refine(features, sure, trust=0.8), sure)


def test_islands_that_zero_shot_agrees_with_only_fairly_change_nothing() -> None:
    features, _, zero_shot = two_ways(by_island=0.65)
    np.testing.assert_allclose(refine(features, zero_shot, trust=0.8), zero_shot)


def test_more_islands_than_classes_are_not_put_together() -> None:
    features, truth, zero_shot = two_ways(by_island=0.8, sizes=(200, 200, 40))
    third = np.arange(len(truth)) >= 400
    assert accuracy(zero_shot[third], truth[third]) == 1.0
    np.testing.assert_allclose(refine(features, zero_shot, trust=0.8), zero_shot)


def test_a_wrong_threshold_is_moved_to_the_gap_between_the_clusters() -> None:
    features, truth = clusters([120, 120])
    zero_shot = noisy(truth, 2, noise=0.1, bias=1.1)
    assert accuracy(zero_shot, truth) < 0.75
    assert accuracy(refine(features, zero_shot, trust=1.0), truth) > 0.99


def test_a_stated_prior_moves_a_wrong_threshold_even_without_clusters() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 16))
    truth = (features[:, 0] > 0.5).astype(int)
    zero_shot = noisy(truth, 2, noise=0.2, bias=1.5)
    prior = np.bincount(truth) / len(truth)
    assert accuracy(zero_shot, truth) < 0.75
    for trust in (0.0, 1.0):
        assert accuracy(refine(features, zero_shot, trust=trust, prior=prior), truth) > 0.95


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), share=st.floats(0.1, 0.9))
def test_matching_a_prior_meets_the_shares_and_keeps_the_ranking(seed: int, share: float) -> None:
    margin = np.random.default_rng(seed).normal(size=200) + 2.0
    zero_shot = np.stack([1 / (1 + np.exp(-margin)), 1 / (1 + np.exp(margin))], axis=1)
    matched = match_prior(zero_shot, np.array([share, 1 - share]))
    assert abs((matched.argmax(axis=1) == 0).mean() - share) < 0.03
    assert np.array_equal(np.argsort(matched[:, 0], kind="stable"), np.argsort(zero_shot[:, 0], kind="stable"))


def test_weak_guesses_together_name_the_clusters() -> None:
    features, truth = clusters([150, 150])
    guesses = noisy(truth, 2, noise=1.2)
    assert 0.55 < accuracy(guesses, truth) < 0.75
    named = refine(features, guesses, trust=0.0)
    assert accuracy(named, truth) == 1.0
    assert named.max() <= 0.75  # nobody can tell how often such names are right


def test_guesses_that_agree_with_clusters_hardly_beyond_chance_name_nothing() -> None:
    features, truth = clusters([150, 150])
    guesses = noisy(np.random.default_rng(1).permutation(truth), 2, noise=0.3)
    assert np.array_equal(refine(features, guesses, trust=0.0), guesses)


def test_more_trust_never_means_less_of_the_structure() -> None:
    features, truth = clusters([60, 60])
    zero_shot = noisy(truth, 2, noise=0.6)
    found = [accuracy(refine(features, zero_shot, trust=t), truth) for t in (0.3, 0.6, 0.8, 1.0)]
    assert found == sorted(found)


def test_the_order_of_the_images_does_not_matter() -> None:
    features, truth = clusters([50, 70])
    zero_shot = noisy(truth, 2, noise=0.6)
    order = np.random.default_rng(3).permutation(len(truth))
    np.testing.assert_allclose(
        refine(features[order], zero_shot[order], trust=1.0),
        refine(features, zero_shot, trust=1.0)[order],
        atol=1e-9,
    )


def test_shapes_that_do_not_fit_and_trust_out_of_range_are_errors() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        refine(np.zeros((3, 2)), np.full((4, 2), 0.5), trust=1.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        refine(np.zeros((3, 2)), np.full((3, 2), 0.5), trust=1.5)
