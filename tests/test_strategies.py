"""What to ask next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.errors import UsageError
from autoannotate.labelling.features import TYPICAL, Features, compact
from autoannotate.labelling.label_errors.correction import correct
from autoannotate.labelling.neighbours import near_duplicate_groups, nearest
from autoannotate.labelling.queries.queue import choose
from autoannotate.labelling.queries.strategies import DEFAULT, STRATEGIES, Pool, order
from autoannotate.labelling.task import Task


def make_pool(
    n: int = 60, k: int = 3, seed: int = 0, answered: float = 0.0, blobs: int = 6, spread: float = 0.1, groups: int = 0
) -> Pool:
    """Images in round clusters; where opinions are divided is drawn at random."""
    rng = np.random.default_rng(seed)
    points = compact(np.eye(blobs, 8)[np.arange(n) % blobs] + spread * rng.normal(size=(n, 8)))
    views = rng.dirichlet(np.ones(k), size=(2, n))
    return Pool(
        points=points,
        neighbours=nearest(points, k=TYPICAL),
        labels=views.mean(axis=0).argmax(axis=1),
        views=views,
        doubt=rng.random(n),
        answered=rng.random(n) < answered,
        groups=rng.integers(groups, size=n) if groups else np.arange(n),
    )


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(STRATEGIES)),
    n=st.integers(3, 40),
    k=st.integers(1, 4),
    answered=st.sampled_from([0.0, 0.3, 1.0]),
    groups=st.sampled_from([0, 2, 12]),
    size=st.integers(0, 50),
)
def test_every_strategy_asks_each_open_group_once(
    name: str, n: int, k: int, answered: float, groups: int, size: int
) -> None:
    pool = make_pool(n, k, answered=answered, groups=groups, blobs=3)
    asked = order(name, pool, size)
    open_groups = set(pool.groups[~pool.answered].tolist())
    assert len(asked) == min(size, len(open_groups))
    assert len(set(pool.groups[asked].tolist())) == len(asked)
    assert not pool.answered[asked].any()
    assert np.array_equal(asked, order(name, pool, size))


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_without_a_size_everything_is_ranked(name: str) -> None:
    pool = make_pool(answered=0.2)
    assert sorted(order(name, pool)) == np.flatnonzero(~pool.answered).tolist()


def test_an_unknown_strategy_is_told_with_the_names_there_are() -> None:
    with pytest.raises(UsageError, match="doubtful, informative, mixture, representative"):
        order("clever", make_pool())
    assert DEFAULT in STRATEGIES


def test_doubtful_begins_with_the_most_suspicious() -> None:
    pool = make_pool()
    assert np.all(np.diff(pool.doubt[order("doubtful", pool)]) <= 0)


def test_informative_begins_where_opinion_is_divided() -> None:
    pool = make_pool()
    views = np.broadcast_to([0.98, 0.01, 0.01], pool.views.shape).copy()
    views[:, 7] = [0.49, 0.48, 0.03]  # between two classes
    views[0, 11], views[1, 11] = [0.97, 0.02, 0.01], [0.02, 0.97, 0.01]  # each view is sure, of another class
    pool = Pool(pool.points, pool.neighbours, pool.labels, views, pool.doubt, pool.answered, pool.groups)
    assert order("informative", pool, 2).tolist() == [11, 7]


def test_representative_asks_one_of_each_cluster_first() -> None:
    pool = make_pool(n=90, blobs=6)
    assert sorted(order("representative", pool, 6) % 6) == [0, 1, 2, 3, 4, 5]


def test_representative_turns_to_clusters_without_an_answer() -> None:
    pool = make_pool(n=90, blobs=6)
    answered = np.isin(np.arange(90), [0, 1, 2, 6, 7, 8])
    pool = Pool(pool.points, pool.neighbours, pool.labels, pool.views, pool.doubt, answered, pool.groups)
    assert set(order("representative", pool, 3) % 6) <= {3, 4, 5}


def test_a_mixture_asks_about_the_typical_one_of_two_that_are_equally_uncertain() -> None:
    pool = make_pool(n=120, blobs=6, k=2)
    odd = pool.points.copy()
    odd[5] = compact(np.random.default_rng(1).normal(size=(120, 8)))[5]
    views = np.broadcast_to([0.95, 0.05], (2, 120, 2)).copy()
    views[:, [5, 6]] = [0.5, 0.5]
    pool = Pool(odd, nearest(odd, k=TYPICAL), pool.labels, views, np.zeros(120), pool.answered, pool.groups)
    assert order("mixture", pool, 2).tolist() == [6, 5]


def test_a_near_duplicate_is_asked_unless_its_twin_answered_for_it_or_waits_for_a_second_reader() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(120) % 2
    features = rng.normal(size=(120, 60)) + 6.0 * truth[:, None] * np.eye(1, 60)
    features[1], features[11] = features[0], features[10]
    truth[[1, 11]] = 0
    given = truth.copy()
    given[[1, 11]] = 1  # wrong labels of two pictures, each of which is there twice
    sure = 0.05 + 0.9 * np.eye(2)[given]
    corrected = correct(Task(Features(features), sure, ["a", "b"]), sure)
    suspects = replace(corrected.queue, flagged=np.isin(np.arange(120), [1, 11]))
    corrected = replace(corrected, queue=suspects)
    groups = near_duplicate_groups(nearest(compact(features)))
    unusable, unsure = np.arange(120) == 0, np.arange(120) == 10
    rows = choose(features, corrected, ["a", "b"], answered=unusable, unsure=unsure, groups=groups).rows
    assert 1 in rows
    assert 11 not in rows
    assert 10 in rows
