"""Zero-shot: cosines of images and class descriptions, as probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoannotate.labelling.zero_shot import classifier
from autoannotate.labelling.zero_shot.classifier import class_embeddings, probabilities

rows = st.integers(1, 6).flatmap(
    lambda n: arrays(np.float32, (n, 5), elements=st.floats(-1, 1, width=32)).map(
        lambda a: a + np.eye(n, 5, dtype=np.float32) * 3
    )
)


def test_a_class_is_the_direction_between_its_prompts() -> None:
    classes = class_embeddings([np.array([[1.0, 0.0], [0.0, 5.0]]), np.array([[0.0, -2.0]])])
    np.testing.assert_allclose(classes, [[0.5**0.5, 0.5**0.5], [0.0, -1.0]], atol=1e-6)


def test_a_class_without_prompts_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        class_embeddings([np.zeros((0, 4))])


def test_an_image_has_the_class_whose_description_it_is_nearest_to() -> None:
    found = probabilities(np.array([[1.0, 0.1], [0.1, 1.0]]), np.eye(2), logit_scale=100.0)
    assert found.argmax(axis=1).tolist() == [0, 1]
    assert found[0, 0] > 0.99


@settings(max_examples=30, deadline=None)
@given(images=rows, texts=rows, scale=st.floats(0, 1e4))
def test_probabilities_sum_to_one_at_any_scale(images: np.ndarray, texts: np.ndarray, scale: float) -> None:
    found = probabilities(images, texts, scale)
    assert found.shape == (len(images), len(texts))
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


@settings(max_examples=20, deadline=None)
@given(texts=rows)
def test_the_length_of_an_embedding_does_not_matter(texts: np.ndarray) -> None:
    np.testing.assert_allclose(class_embeddings([texts]), class_embeddings([texts * 7]), atol=1e-5)


@given(st.integers(0, 1000), st.integers(2, 40))
@settings(deadline=None)
def test_normalising_a_distribution_keeps_the_order_of_images_along_every_direction(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    images, direction = rng.normal(size=(n, 8)), rng.normal(size=8)
    unit = images / np.linalg.norm(images, axis=1, keepdims=True)
    before, after = unit @ direction, classifier.distribution_normalised(images) @ direction
    np.testing.assert_allclose(after - before, np.full(n, -before.mean() / 2), atol=1e-5)


def test_a_threshold_in_the_wrong_place_is_moved_towards_the_images() -> None:
    """Two clusters whose similarities to both classes are off by the same amount: one side was taken for the other."""
    classes = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    rng = np.random.default_rng(0)
    first, second = ([0.9, 0.1, 0.4], [0.55, 0.45, 0.7])
    images = np.repeat([first, second], 50, axis=0) + rng.normal(scale=0.02, size=(100, 3))
    truth = np.repeat([0, 1], 50)
    plain = classifier.probabilities(images / np.linalg.norm(images, axis=1, keepdims=True), classes, 100.0).argmax(1)
    moved = classifier.probabilities(classifier.distribution_normalised(images), classes, 100.0).argmax(1)
    assert (plain == truth).mean() == 0.5
    assert (moved == truth).mean() == 1.0
