"""Belief: mistakes are told from overlap, and labels only change where the opinions are the better of the two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_labels import thrown

from autoannotate.labelling.label_errors.noise_estimate import (
    Belief,
    Clusters,
    Twins,
    are_classes,
    believe,
    blind_noise,
    weighed,
)
from autoannotate.labelling.label_errors.suspects import ask

K = 4
N = 1200


def opinions(truth: np.ndarray, overlap: float, seed: int = 0) -> tuple[list[np.ndarray], Twins]:
    """Two calibrated opinions about images whose classes overlap this much, and twins that err as often and apart."""
    rng = np.random.default_rng(seed)

    def one() -> np.ndarray:
        margin = rng.normal(size=(len(truth), K)) * overlap + 4.0 * np.eye(K)[truth]
        sharp = np.exp(4.0 * margin / max(overlap, 0.5) ** 2)
        return sharp / sharp.sum(axis=1, keepdims=True)

    return [one(), one()], Twins(one(), one())


TRUTH = np.arange(N) % K


@pytest.mark.parametrize("overlap", [1.0, 2.0, 3.0])
def test_right_labels_are_never_changed_however_much_classes_overlap(overlap: float) -> None:
    said, twins = opinions(TRUTH, overlap)
    belief = believe(said, TRUTH, [twins])
    assert np.array_equal(belief.better(TRUTH), TRUTH)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_blind_noise_is_found_its_rate_is_told_and_labels_come_out_better(share: float) -> None:
    said, twins = opinions(TRUTH, 2.0)
    labels = thrown(TRUTH, share, K)
    belief = believe(said, labels, [twins])
    assert abs(belief.error_rate - share) < 0.05
    assert abs(belief.blind - share) < 0.05
    assert (belief.better(labels) == TRUTH).mean() > (labels == TRUTH).mean() + 0.8 * share * 0.8


def test_noise_that_both_twins_resist_is_told_from_how_little_they_quarrel() -> None:
    rng = np.random.default_rng(0)
    labels = TRUTH.copy()
    hard = rng.random(N) < 0.5  # errors only among half of the images, always into the next class
    wrong = hard & (rng.random(N) < 0.5)
    labels[wrong] = (labels[wrong] + 1) % K
    said, twins = opinions(TRUTH, 1.5)
    belief = believe(said, labels, [twins])
    assert belief.may_change
    assert (belief.better(labels) == TRUTH).mean() > 0.95


def test_of_two_pairs_of_twins_the_better_judges_say_how_much_is_wrong() -> None:
    rng = np.random.default_rng(0)
    wrong = (rng.random(N) < 0.5) & (rng.random(N) < 0.5)
    labels = np.where(wrong, (TRUTH + 1) % K, TRUTH)
    said, poor = opinions(TRUTH, 2.5)
    _, good = opinions(TRUTH, 1.5, seed=1)
    poor_alone, good_alone, both = (believe(said, labels, pairs) for pairs in ([poor], [good], [poor, good]))
    assert good.agreement(labels) > poor.agreement(labels)
    assert both.error_rate == good_alone.error_rate
    assert abs(both.error_rate - wrong.mean()) <= abs(poor_alone.error_rate - wrong.mean())


def test_twins_that_corrected_labels_say_that_more_is_wrong_unless_they_lost_a_class_or_noise_is_blind() -> None:
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(N) < 0.25, (TRUTH + 1) % K, TRUTH)
    wrong = (labels != TRUTH).mean()
    learned = np.where((labels != TRUTH) & (rng.random(N) < 0.5), labels, TRUTH)  # half of the mistakes,
    learned = thrown(learned, 0.15, K, 4)  # beside errors of its own
    one, other, says = (np.eye(K)[thrown(learned, 0.05, K, seed)] for seed in (1, 2, 3))
    twins, corrected = Twins(one, other), replace(opinions(TRUTH, 1.0)[1], corrected=True)

    def rate(opinions: list[np.ndarray], labels: np.ndarray, *more: Twins) -> float:
        return believe(opinions, labels, [twins, *more]).error_rate

    alike = [0.1 + 0.6 * says] * 2  # as sure of all: what cannot tell blind noise
    assert abs(rate(alike, labels, corrected) - wrong) < 0.03 < wrong - rate(alike, labels)
    lost = replace(corrected, second=np.where(corrected.second[:, 3:] > 0.5, np.eye(K)[0], corrected.second))
    assert rate(alike, labels, lost) == rate(alike, labels)
    seen, blind = opinions(TRUTH, 2.0)[0], thrown(TRUTH, 0.2, K)
    assert rate(seen, blind, corrected) == rate(seen, blind) > 0.0


def test_no_label_changes_where_one_pair_of_twins_sees_nothing_wrong() -> None:
    said, twins = opinions(TRUTH, 2.5)
    # two that err alike, and less often than the twins: they would call each of their errors a wrong label
    alike = twins.first.copy()
    alike[: N // 4] = np.eye(K)[TRUTH[: N // 4]]
    assert believe(said, TRUTH, [Twins(alike, alike)]).may_change
    assert np.array_equal(believe(said, TRUTH, [twins, Twins(alike, alike)]).better(TRUTH), TRUTH)


def test_blind_noise_that_was_seen_stands_when_an_opinion_joins() -> None:
    labels = thrown(TRUTH, 0.3, K)
    said, twins = opinions(TRUTH, 2.0)
    lost = Twins(*(np.eye(K)[np.random.default_rng(seed).integers(K, size=N)] for seed in (1, 2)))
    alike = [0.1 + 0.6 * np.eye(K)[said[0].argmax(1)]]  # as sure of all: what cannot tell noise from overlap
    seen = blind_noise(said, labels)
    assert abs(seen - 0.3) < 0.05
    assert blind_noise(alike, labels) == 0.0
    assert not believe(alike, labels, [twins, lost]).may_change
    assert (believe(alike, labels, [twins, lost], blind=seen).better(labels) == TRUTH).mean() > 0.8


@pytest.mark.parametrize(("overlap", "count", "share", "seen"), [(2.5, 60, 0.3, True), (5.0, 100, 0.3, False)])
def test_faint_blind_noise_is_seen_by_opinions_that_agree_with_the_labels(
    overlap: float, count: int, share: float, seen: bool
) -> None:
    # of both the evidence is between 95 and 99 %; the second hardly agree with the labels, kappa 0.24
    truth = np.arange(count) % K
    said, _ = opinions(truth, overlap)
    assert (blind_noise(said, thrown(truth, share, K)) > 0.0) == seen


def test_what_may_be_chance_among_few_images_is_no_noise() -> None:
    few = TRUTH[:120]
    first, second = few.copy(), few.copy()
    first[:24] = (few[:24] + 1) % K  # contradict 20 % of the labels
    second[:12], second[24:32] = first[:12], (few[24:32] + 1) % K  # and each other over 17 % of the images

    def told(times: int) -> float:
        one, other = (np.eye(K)[np.tile(each, times)] for each in (first, second))
        return believe([0.1 + 0.6 * one], np.tile(few, times), [Twins(one, other, first_only=True)]).error_rate

    assert told(1) == 0.0
    assert told(10) > 0.0


def test_where_classes_are_clusters_what_follows_the_clusters_is_heard() -> None:
    rng = np.random.default_rng(0)
    labels = np.where((TRUTH < 2) & (rng.random(N) < 0.4), TRUTH + 2, TRUTH)
    learned = 0.1 + 0.6 * np.eye(K)[labels]  # an opinion that learned the mistakes
    follows = 0.01 + 0.96 * np.eye(K)[TRUTH]
    belief = believe([learned, follows], labels, [], Clusters((1,), 0.01))
    assert (belief.better(labels) == TRUTH).mean() > 0.99


def test_clusters_that_err_nearly_as_often_as_the_labels_are_not_believed() -> None:
    labels, views = thrown(TRUTH % 2, 0.3, 2), 0.45 + 0.1 * np.eye(2)[TRUTH % 2]
    assert not believe([views], labels, [], Clusters((0,), 0.2)).may_change
    assert believe([views], labels, [], Clusters((0,), 0.1)).may_change


def test_clusters_that_hardly_agree_with_the_labels_are_no_classes_unless_far_apart_or_noise_is_likely_blind() -> None:
    truth = TRUTH % 2
    labels, views = thrown(truth, 0.4, 2), 0.45 + 0.1 * np.eye(2)[truth]  # as sure of all: no noise is likely
    told = opinions(TRUTH, 1.5)[0][0]  # surer of some
    told = np.stack([told[:, ::2].sum(axis=1), told[:, 1::2].sum(axis=1)], axis=1)
    assert not are_classes(0.1, views, [views], labels)
    assert are_classes(0.01, views, [views], labels)
    assert are_classes(0.1, views, [told], labels)
    assert are_classes(0.1, views, [views], thrown(truth, 0.2, 2))


def test_clusters_that_contradict_most_labels_are_never_believed() -> None:
    views = np.eye(K)[TRUTH]
    assert are_classes(0.0, views, [views], thrown(TRUTH, 0.4, K))
    assert not are_classes(0.0, views, [views], thrown(TRUTH, 0.55, K))


def test_where_clusters_know_hardly_more_than_all_together_all_are_heard() -> None:
    labels = thrown(TRUTH, 0.3, K)
    good = opinions(TRUTH, 1.5)[0][0]
    follows = good.copy()
    follows[: N // 40] = np.roll(good[: N // 40], 1, axis=1)  # clusters err where all together do not
    both, alone = believe([good, follows], labels, [], Clusters((1,), 0.1)), believe([follows], labels)
    assert both.error_rate > both.blind > 0.25  # the clusters find the most wrong labels
    assert (both.better(labels) == TRUTH).mean() > (alone.better(labels) == TRUTH).mean() + 0.02


def test_where_noise_is_likely_blind_clusters_are_not_heard_alone() -> None:
    labels = thrown(TRUTH, 0.3, K)
    good = opinions(TRUTH, 1.5)[0][0]
    follows = 0.01 + 0.96 * np.eye(K)[thrown(TRUTH, 0.1, K, 2)]
    believed = believe([good, follows], labels, [], Clusters((1,), 0.1))
    assert (believed.better(labels) == TRUTH).mean() > (follows.argmax(axis=1) == TRUTH).mean() + 0.05


def test_where_noise_can_be_learned_those_who_corrected_it_are_heard() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(N) < 0.5  # errors only among half of the images, always into the next class
    following = (TRUTH + 1) % K
    labels = np.where(hard & (rng.random(N) < 0.5), following, TRUTH)
    said, twins = opinions(TRUTH, 1.5)
    torn = np.where(rng.random(N) < 0.5, 0.6, 0.4)[:, None]  # this opinion learned them, and takes either side
    learned = np.where(hard[:, None], torn * np.eye(K)[TRUTH] + (1 - torn) * np.eye(K)[following], np.eye(K)[TRUTH])
    heard, deaf = (believe([0.02 + 0.92 * learned, said[1]], labels, [twins], None, each) for each in ((1,), ()))
    assert heard.blind == deaf.blind == 0.0
    assert heard.error_rate == deaf.error_rate
    assert (heard.better(labels) == TRUTH).mean() > max((deaf.better(labels) == TRUTH).mean(), 0.95)


def test_a_label_of_a_rare_class_is_not_given_up_for_the_common_one_on_a_slight_advantage() -> None:
    posterior = np.tile([0.95, 0.05], (100, 1))
    posterior[90:] = [0.6, 0.4]  # for their size the ten are likelier to be of the rare class
    nothing = np.zeros((2, 2))
    belief = Belief(posterior, posterior, posterior, nothing, 0.2, 0.1, 0.0, 0.5, np.ones(2, dtype=bool))
    labels = np.r_[np.zeros(90, dtype=np.int64), np.ones(10, dtype=np.int64)]
    assert np.array_equal(belief.better(labels), labels)
    posterior[90:] = [0.99, 0.01]
    assert not belief.better(labels).any()


def test_a_label_gives_way_to_the_likeliest_class_even_where_no_class_is_likely() -> None:
    posterior = np.tile([0.3, 0.3, 0.4], (90, 1))
    posterior[:, :2] += np.where(np.arange(90) % 2, 0.1, -0.1)[:, None] * [1, -1]  # 0.4, 0.2, 0.4 and 0.2, 0.4, 0.4
    posterior[:30] = [0.45, 0.3, 0.25]
    belief = Belief(posterior, posterior, posterior, np.eye(3), 0.4, 0.2, 0.4, 0.0, np.ones(3, dtype=bool))
    assert (belief.better(np.ones(90, dtype=np.int64))[:30] == 0).all()
    wary = replace(belief, sure=0.6)
    assert (wary.better(np.ones(90, dtype=np.int64)) == 1).all()


def test_noise_is_alike_for_all_classes_unless_the_labels_bear_out_more() -> None:
    said, twins = opinions(TRUTH, 1.5)
    alike = believe(said, thrown(TRUTH, 0.2, K), [twins])
    off = alike.noise[~np.eye(K, dtype=bool)]
    np.testing.assert_allclose(off, off[0])
    assert abs(1.0 - alike.noise[0, 0] - 0.2) < 0.05
    rng = np.random.default_rng(0)
    taken = np.where((TRUTH == 0) & (rng.random(N) < 0.5), 1, TRUTH)  # half of one class carries another's name
    learned = believe(said, taken, [twins]).noise
    assert learned[0, 1] > 0.3 > 0.05 > learned[2, 3]


def test_answers_teach_that_there_is_more_noise_than_was_believed() -> None:
    said = opinions(TRUTH, 2.0)[0][0]
    labels = thrown(TRUTH, 0.4, K)
    answers = np.where(np.arange(N) % 8 == 0, TRUTH, -1)
    before, after = weighed(said, labels, 0.1).noise, weighed(said, labels, 0.1, answers).noise
    np.testing.assert_allclose(np.diag(before), 0.9)
    assert np.diag(after).mean() < 0.85


def test_a_class_with_few_labels_is_left_alone() -> None:
    said, twins = opinions(TRUTH, 1.0)
    labels = thrown(np.where(TRUTH == 3, 0, TRUTH), 0.2, K) % 3
    labels[:4] = 3
    assert (believe(said, labels, [twins]).better(labels)[:4] == 3).all()


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 60), k=st.integers(2, 5), seed=st.integers(0, 999))
def test_beliefs_are_probabilities_for_any_opinions(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    said = [rng.dirichlet(np.full(k, 0.3), n) for _ in range(3)]
    belief = believe(said, labels, [Twins(said[0], said[1]), Twins(said[1], said[2], first_only=True)])
    assert isinstance(belief, Belief)
    for each in (belief.predicted, belief.clean, belief.posterior, belief.noise):
        np.testing.assert_allclose(each.sum(axis=1), 1.0)
    assert 0.0 <= belief.error_rate <= 1.0
    assert ((belief.better(labels) >= 0) & (belief.better(labels) < k)).all()


def test_islands_name_themselves_however_the_noise_moves_the_border() -> None:
    features, truth = two_islands()
    labels = truth.copy()
    often = np.where(features[:, 1] > 0, 0.75, 0.05)  # one side of the first island mostly carries the other's name
    labels[np.random.default_rng(5).random(len(truth)) < often * (truth == 0)] = 1
    assert 0.15 < (labels != truth).mean() < 0.25
    assert np.array_equal(beliefs(features, labels).better(labels), truth)


@pytest.mark.parametrize("inside", ["halves of each island", "one island"])
def test_islands_that_are_not_the_classes_change_no_right_label(inside: str) -> None:
    features, island = two_islands()
    truth = (features[:, 1] > 0.1).astype(np.int64)  # cuts across both islands: half of each
    if inside == "one island":
        truth = np.where(island == 1, 1, truth)
    assert (beliefs(features, truth).better(truth) == truth).mean() > 0.98


@pytest.mark.parametrize("agreement", [0.55, 0.6, 0.65])
def test_right_labels_of_classes_that_overlap_are_kept_where_images_cluster_by_something_else(agreement: float) -> None:
    """As X-rays cluster by view, and the sick are more often taken lying down: it looks like noise thrown into clusters."""
    rng = np.random.default_rng(0)
    scanner = np.arange(300) % 2
    labels = np.where(rng.random(300) < agreement, scanner, 1 - scanner)
    points = rng.normal(size=(300, 24))
    points[:, 0] += np.where(scanner == 1, 2.5, -2.5)
    points[:, 1] += np.where(labels == 1, 0.4, -0.4)
    belief = beliefs(points, labels)
    assert np.array_equal(belief.better(labels), labels)


def test_clusters_that_find_hardly_more_than_the_blind_noise_that_is_seen_are_not_the_classes() -> None:
    """Two scanners, far apart, one of which took nearly all of the sick."""
    rng = np.random.default_rng(0)
    truth = np.arange(600) % 2
    scanner = np.where(rng.random(600) < 0.08, 1 - truth, truth)
    points = rng.normal(size=(600, 24))
    points[:, 0] += np.where(scanner == 1, 4.0, -4.0)
    points[:, 1:4] += np.where(truth == 1, 0.9, -0.9)[:, None]
    labels = thrown(truth, 0.1, 2)
    assert (beliefs(points, labels).better(labels) == truth).mean() > 0.97 > (scanner == truth).mean() + 0.03


def two_islands(size: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 8) of two far groups, and which is which, (N,)."""
    rng = np.random.default_rng(3)
    which = np.arange(2 * size) % 2
    points = rng.normal(size=(2 * size, 8))
    points[:, 0] += np.where(which == 1, 25.0, -25.0)
    return points, which


def beliefs(features: np.ndarray, labels: np.ndarray) -> Belief:
    return ask(features, labels, np.full((len(labels), 2), 0.5)).belief()
