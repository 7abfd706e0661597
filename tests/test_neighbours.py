"""Principal axes and near duplicates: what holds whatever the images are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.labelling.features import compact, principal_axes
from autoannotate.labelling.neighbours import near_duplicate_groups, nearest


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(2, 40),
    f=st.integers(1, 40),
    rank=st.integers(1, 40),
    asked=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_axes_are_orthonormal_and_as_many_as_the_data_have(n: int, f: int, rank: int, asked: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = min(rank, n - 1, f)
    points = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, f))
    axes = principal_axes(points - points.mean(axis=0), asked)
    assert axes.shape == (f, min(asked, rank))
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(n=st.integers(3, 60), f=st.integers(2, 60), seed=st.integers(0, 99))
def test_the_order_of_the_images_changes_no_axis_and_no_sign(n: int, f: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, f)) * np.geomspace(1.0, 30.0, f)  # directions that are told apart
    points -= points.mean(axis=0)
    np.testing.assert_allclose(principal_axes(rng.permutation(points), 3), principal_axes(points, 3), atol=1e-6)


def test_images_that_are_all_alike_have_an_axis() -> None:
    assert principal_axes(np.zeros((5, 7)), 3).shape == (7, 1)


def test_all_copies_of_a_picture_are_one_group_and_nothing_else_is() -> None:
    rng = np.random.default_rng(0)
    for copies in (2, 8, 20):
        features = rng.normal(size=(300, 200))
        features[:copies] = features[0] + 1e-3 * rng.normal(size=(copies, 200))
        groups = near_duplicate_groups(nearest(compact(features)))
        assert len(set(groups[:copies])) == 1
        assert len(set(groups)) == 300 - copies + 1
