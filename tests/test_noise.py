"""Noise models: exactly as many wrong labels as asked for, of the kind asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.errors import UsageError
from autoannotate.evaluation.noise_injection import NOISES, read_noise


def blobs(n: int, k: int, seed: int = 0, apart: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, 12) of k classes around means on a line, so that each class has a nearest one."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    features = rng.normal(size=(n, 12))
    features[:, 0] += apart * labels**1.1
    return labels, features


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(NOISES)),
    n=st.integers(4, 120),
    k=st.integers(2, 5),
    rate=st.floats(0.0, 0.9),
    seed=st.integers(0, 1000),
)
def test_exactly_as_many_labels_are_wrong_as_asked_for(name: str, n: int, k: int, rate: float, seed: int) -> None:
    labels, features = blobs(n, min(k, n), seed)
    before = labels.copy()
    noisy = read_noise(f"{name}:{rate}").inject(labels, features, seed)
    assert (noisy != labels).sum() == round(rate * n)
    assert set(noisy) <= set(labels)
    assert (labels == before).all()


@pytest.mark.parametrize("name", sorted(NOISES))
def test_the_same_seed_gives_the_same_noise_and_another_seed_other_noise(name: str) -> None:
    labels, features = blobs(200, 4)
    noise = read_noise(f"{name}:0.3")
    assert (noise.inject(labels, features, 1) == noise.inject(labels, features, 1)).all()
    assert (noise.inject(labels, features, 1) != noise.inject(labels, features, 2)).any()


@pytest.mark.parametrize("name", sorted(NOISES))
def test_classes_may_have_gaps_in_their_numbers(name: str) -> None:
    labels, features = blobs(90, 3)
    noisy = read_noise(f"{name}:0.2").inject(np.array([1, 4, 7])[labels], features, 0)
    assert set(noisy) <= {1, 4, 7}


def test_symmetric_noise_goes_to_all_other_classes_alike() -> None:
    labels, features = blobs(6000, 4)
    noisy = read_noise("symmetric:0.3").inject(labels, features, 0)
    flips = np.array([[(noisy[labels == a] == b).sum() for b in range(4)] for a in range(4)])
    others = flips[~np.eye(4, dtype=bool)]
    assert others.min() > 0.7 * others.mean()
    assert others.max() < 1.3 * others.mean()


def test_class_noise_goes_to_the_nearest_class_and_hits_classes_unevenly() -> None:
    labels, features = blobs(1000, 5)
    noisy = read_noise("class:0.2").inject(labels, features, 0)
    wrong = noisy != labels
    assert (np.abs(noisy - labels)[wrong] == 1).all()  # the means lie on a line
    assert all(len(set(noisy[wrong & (labels == c)])) == 1 for c in range(5))
    rates = sorted(wrong[labels == c].mean() for c in range(5))
    assert rates == pytest.approx([0.1, 0.15, 0.2, 0.25, 0.3])


def test_class_noise_of_two_classes_is_the_usual_asymmetric_one() -> None:
    labels, features = blobs(1000, 2)
    noisy = read_noise("class:0.2").inject(labels, features, 0)
    assert sorted((noisy != labels)[labels == c].mean() for c in range(2)) == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.45])
def test_right_labels_stay_the_majority_of_every_class_under_class_noise(rate: float) -> None:
    labels, features = blobs(1000, 5)
    noisy = read_noise(f"class:{rate}").inject(labels, features, 3)
    assert all((noisy[labels == c] == c).mean() > 0.5 for c in range(5))


def test_instance_noise_depends_on_the_image() -> None:
    """Images that look alike are mislabelled alike: wrong labels predict wrong labels among neighbours, as chance does not."""
    from autoannotate.labelling.features import compact
    from autoannotate.labelling.neighbours import nearest

    labels, features = blobs(1000, 2, apart=2.0)
    features = features[:, :3]
    index = nearest(compact(features)).index

    def together(name: str) -> float:
        shares = []
        for seed in range(5):
            wrong = read_noise(f"{name}:0.3").inject(labels, features, seed) != labels
            shares.append(wrong[index][wrong].mean())
        return float(np.mean(shares))

    assert together("symmetric") == pytest.approx(0.3, abs=0.03)
    assert together("instance") > 0.4


@pytest.mark.parametrize("text", ["salt:0.2", "symmetric", "symmetric:", "symmetric:many", "symmetric:1", "class:-0.1"])
def test_a_noise_that_does_not_exist_or_has_no_rate_is_told_plainly(text: str) -> None:
    with pytest.raises(UsageError, match=r"symmetric|class"):
        read_noise(text)


def test_noise_reads_back_as_it_was_asked_for() -> None:
    assert str(read_noise("instance:0.30")) == "instance:0.3"


def test_one_class_has_no_wrong_label_to_give() -> None:
    with pytest.raises(ValueError, match="two classes"):
        read_noise("symmetric:0.5").inject(np.zeros(10, int), np.zeros((10, 3)), 0)
