"""Clusters: found without labels and named by them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made_labels import thrown

from autoannotate.labelling.features import compact
from autoannotate.labelling.neighbours import graph_of, nearest
from autoannotate.labelling.spectral_clustering import cut_and_name


def clouds(k: int, size: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 8) in k Gaussian clouds, and the cloud of each, (N,)."""
    rng = np.random.default_rng(seed)
    which = np.arange(k * size) % k
    return rng.normal(size=(k * size, 8)) + apart * np.eye(k, 8)[which], which


@settings(max_examples=10, deadline=None)
@given(k=st.integers(2, 4), share=st.floats(0, 0.35), seed=st.integers(0, 99))
def test_far_clouds_are_found_and_named_whatever_share_of_labels_is_wrong(k: int, share: float, seed: int) -> None:
    points, which = clouds(k, 60, apart=20.0, seed=seed)
    named = cut_and_name(graph_of(nearest(compact(points))), thrown(which, share, k, seed))
    assert named is not None
    assert np.array_equal(named.labels, which)
    assert named.border == 0.0
    assert named.agreement > 3.0
    assert abs(named.kappa - (1 - share * k / (k - 1))) < 0.05


def test_too_few_images_and_images_that_are_all_alike_have_no_clusters() -> None:
    points, which = clouds(2, 5, apart=20.0)
    assert cut_and_name(graph_of(nearest(compact(points))), which) is None
    alike = np.zeros((60, 8))
    assert cut_and_name(graph_of(nearest(compact(alike))), np.arange(60) % 2) is None
