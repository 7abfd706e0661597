"""Whether zero-shot labels mean anything, told from embeddings alone; checked here on clouds whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.labelling.zero_shot.reliability import Reliability, estimate_reliability, kappa

D = 64


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def estimate(images: np.ndarray, texts: list[np.ndarray], seed: int = 0) -> Reliability:
    random_texts = unit(np.random.default_rng(99).normal(size=(40, D)))
    return estimate_reliability(unit(images), [unit(t) for t in texts], random_texts, seed=seed)


def sentences(centre: np.ndarray, rng: np.random.Generator, count: int = 8) -> np.ndarray:
    return centre + 0.3 * rng.normal(size=(count, D)) / np.sqrt(D)


def two_clusters(rng: np.random.Generator, gap: float, n: int = 200) -> tuple[np.ndarray, list[np.ndarray]]:
    """Images around two centres `gap` standard deviations apart, and sentences that point at the centres."""
    common, a, b = np.linalg.qr(rng.normal(size=(D, 3)))[0].T
    centres = np.stack([common + 0.3 * a, common + 0.3 * b])
    images = np.repeat(centres, n // 2, axis=0)
    images = images + rng.normal(size=images.shape) * float(np.linalg.norm(centres[0] - centres[1])) / gap
    return images, [sentences(a, rng), sentences(b, rng)]


@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_classes_that_are_plain_to_see_are_trusted(seed: int) -> None:
    images, texts = two_clusters(np.random.default_rng(seed), gap=8.0)
    found = estimate(images, texts)
    assert found.meaningful
    assert found.trust > 0.6
    assert found.advice == ""


@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_one_cloud_cut_in_two_is_called_out_with_a_way_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    common, a, b = unit(rng.normal(size=(3, D)))
    images = common + 0.1 * rng.normal(size=(200, D))
    found = estimate(images, [sentences(a, rng), sentences(b, rng)])
    assert not found.meaningful
    assert found.trust < 0.3
    assert "about 20 images of each" in found.advice
    assert "--model" in found.advice


def test_all_images_in_one_class_are_no_evidence() -> None:
    rng = np.random.default_rng(0)
    a, b = unit(rng.normal(size=(2, D)))
    found = estimate(a + 0.02 * rng.normal(size=(100, D)), [sentences(a, rng), sentences(b, rng)])
    assert not found.meaningful


def test_the_same_images_give_the_same_estimate() -> None:
    images, texts = two_clusters(np.random.default_rng(3), gap=4.0)
    assert estimate(images, texts) == estimate(images, texts)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=60))
@settings(deadline=None)
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    if len(np.unique(first)) < 2 or len(np.unique(second)) < 2:
        assert kappa(first, second, 3) == 0.0
    else:
        assert kappa(first, second, 3) == pytest.approx(cohen_kappa_score(first, second), abs=1e-9)


def test_a_few_images_are_never_called_trustworthy_however_plain() -> None:
    images, texts = two_clusters(np.random.default_rng(3), gap=8.0, n=24)
    found = estimate(images, texts)
    assert found.meaningful
    assert "24 images are too few" in found.verdict
    assert found.advice
