"""Statistics over repeated runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.evaluation.statistics import bootstrap_interval, paired, signed_rank, summarise


def test_a_method_that_wins_every_one_of_thirty_runs_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    rival = rng.uniform(0.7, 0.9, 30)
    found = paired(rival + rng.uniform(0.01, 0.03, 30), rival)
    assert found is not None
    assert found.ci95 is not None
    assert found.p is not None
    assert (found.wins, found.ties, found.losses) == (30, 0, 0)
    assert 0.01 < found.ci95[0] < found.difference < found.ci95[1] < 0.03
    assert found.p < 1e-8
    assert found.note == ""


def test_runs_are_paired() -> None:
    """A difference far smaller than the spread between runs is seen, since both methods had the same runs."""
    hard_or_easy = np.linspace(0.5, 0.95, 30)
    found = paired(hard_or_easy + 0.001 * (1 + np.arange(30) % 3), hard_or_easy)
    assert found is not None
    assert found.ci95 is not None
    assert found.ci95[0] > 0.001


def test_few_runs_say_what_they_cannot_show() -> None:
    five = paired(np.arange(5) + 1.0, np.arange(5.0))
    assert five is not None
    assert five.p == pytest.approx(2 / 2**5)
    assert five.note.startswith("5 runs")
    one = paired(np.array([0.9]), np.array([0.8]))
    assert one is not None
    assert one.ci95 is None
    assert one.note.startswith("1 run:")
    assert paired(np.array([]), np.array([])) is None


def test_equal_methods_differ_by_nothing() -> None:
    found = paired(np.full(10, 0.8), np.full(10, 0.8))
    assert found is not None
    assert (found.difference, found.ci95, found.p, found.ties) == (0.0, (0.0, 0.0), 1.0, 10)


def test_a_run_that_failed_takes_its_pair_with_it() -> None:
    found = paired(np.array([0.9, math.nan, 0.7]), np.array([0.8, 0.2, math.nan]))
    assert found is not None
    assert found.n == 1
    assert found.difference == pytest.approx(0.1)
    summary = summarise(np.array([0.9, math.nan]))
    assert summary is not None
    assert (summary.n, summary.mean, summary.min, summary.max, summary.ci95) == (1, 0.9, 0.9, 0.9, None)
    assert summarise(np.array([math.nan])) is None


def test_unpaired_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="equal numbers"):
        paired(np.zeros(3), np.zeros(4))


def test_ties_by_rounding_are_ties() -> None:
    found = paired(np.array([0.9, 0.8, 0.3]), np.array([0.8, 0.7, 0.1 + 0.2]))
    assert found is not None
    assert (found.wins, found.ties) == (2, 1)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40))
def test_swapping_the_methods_flips_the_signs_and_keeps_p(seed: int, n: int) -> None:
    first, second = np.random.default_rng(seed).integers(0, 20, (2, n)) / 20
    forth, back = paired(first, second), paired(second, first)
    assert forth is not None
    assert back is not None
    assert forth.difference == pytest.approx(-back.difference)
    assert (forth.wins, forth.losses) == (back.losses, back.wins)
    assert forth.p == pytest.approx(back.p)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40))
def test_the_interval_holds_the_mean_and_lies_within_the_values(seed: int, n: int) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    interval = bootstrap_interval(values)
    assert interval is not None
    assert values.min() - 1e-9 <= interval[0] <= values.mean() + 1e-9
    assert values.mean() - 1e-9 <= interval[1] <= values.max() + 1e-9
    assert interval == bootstrap_interval(values)


def test_the_interval_of_thirty_runs_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        interval = bootstrap_interval(rng.normal(0.8, 0.05, 30))
        assert interval is not None
        held += interval[0] <= 0.8 <= interval[1]
    assert 0.88 <= held / 200 <= 0.99


def test_the_signed_rank_test_is_scipys() -> None:
    assert signed_rank(np.array([1.0, 2.0, 3.0, 4.0, 5.0, -0.5])) == pytest.approx(0.0625)
    assert signed_rank(np.zeros(4)) == 1.0
