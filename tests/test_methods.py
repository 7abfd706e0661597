"""The methods of the evaluation: each answers every problem, and each does what its paper promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation.baselines import usual
from autoannotate.evaluation.methods import METHODS, solve
from autoannotate.evaluation.noise_injection import read_noise
from autoannotate.evaluation.task import Clinician, Problem

RIVALS = usual()
ARRAYS_ONLY = ("given", *RIVALS, "ours")  # with the student left out


def problem(
    n: int = 300, k: int = 3, noise: str = "symmetric:0.2", apart: float = 6.0, seed: int = 0, width: int = 200
) -> tuple[Problem, np.ndarray]:
    """n images of k classes, each around a mean of its own, with wrong labels; and the truth."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % k
    directions = np.linalg.qr(rng.normal(size=(width, k)))[0].T
    features = (1.0 + rng.normal(size=(n, width)) / 4 + apart * directions[truth]).astype(np.float32)
    labels = read_noise(noise).inject(truth, features, seed)
    made = Problem(
        features=features,
        embeddings=features / np.linalg.norm(features, axis=1, keepdims=True),
        probabilities=0.9 * np.eye(k)[labels] + 0.1 / k,
        given=labels,
        class_names=[f"class {c}" for c in range(k)],
        texts=None,
        train=np.ones(n, dtype=bool),
        images=lambda i: Image.new("RGB", (8, 8)),
        groups=None,
        image_names=[f"{i}.png" for i in range(n)],
        encoder=None,
        seed=seed,
        student="none",
    )
    return made, truth


def from_clip(k: int = 3, seed: int = 0) -> tuple[Problem, np.ndarray]:
    """The same images labelled by words that point only roughly to their classes; a third are test images."""
    made, truth = problem(k=k, seed=seed, apart=6.0)
    rng = np.random.default_rng([seed, 1])
    means = np.stack([made.embeddings[truth == c].mean(axis=0) for c in range(k)])
    centred = means - means.mean(axis=0)
    texts = centred + 1.3 * np.linalg.norm(centred, axis=1).mean() * _unit(rng.normal(size=centred.shape))
    logits = 10.0 * made.embeddings @ _unit(texts).T
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    train = np.arange(len(truth)) % 9 < 6
    return (
        replace(
            made, probabilities=probabilities, given=probabilities.argmax(axis=1), texts=_unit(texts), train=train,
            start="clip",
        ),
        truth,
    )  # fmt: skip


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ARRAYS_ONLY)
def test_every_method_labels_every_image_and_says_how_sure_it_is(name: str) -> None:
    made, truth = problem()
    solution = solve(name, made)
    n, k = len(truth), 3
    assert solution.labels.shape == (n,)
    assert set(solution.labels) <= set(range(k))
    assert solution.probabilities is not None
    assert solution.probabilities.shape == (n, k)
    assert solution.probabilities.min() >= 0.0
    assert solution.probabilities.sum(axis=1) == pytest.approx(np.ones(n))
    if name != "given":
        assert solution.doubt is not None
        assert np.isfinite(solution.doubt).all()


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("noise", ["symmetric:0.2", "class:0.2", "instance:0.2"])
def test_a_rival_repairs_labels_of_well_parted_classes(name: str, noise: str) -> None:
    made, truth = problem(noise=noise)
    assert (made.given == truth).mean() == pytest.approx(0.8)
    assert (solve(name, made).labels == truth).mean() > 0.9


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_doubts_wrong_labels_most(name: str) -> None:
    made, truth = problem()
    doubt = solve(name, made).doubt
    assert doubt is not None
    wrong = made.given != truth
    assert wrong[np.argsort(-doubt)[: wrong.sum()]].mean() > 0.9


@pytest.mark.parametrize("name", RIVALS)
def test_the_same_problem_has_the_same_solution(name: str) -> None:
    made, _ = problem()
    first, second = solve(name, made), solve(name, made)
    assert (first.labels == second.labels).all()
    assert first.doubt is not None
    assert second.doubt is not None
    assert (first.doubt == second.doubt).all()


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_leaves_its_input_as_it_was(name: str) -> None:
    made, _ = problem()
    before = made.given.copy(), made.probabilities.copy(), made.features.copy()
    solve(name, made)
    assert (made.given == before[0]).all()
    assert (made.probabilities == before[1]).all()
    assert (made.features == before[2]).all()


@pytest.mark.parametrize("name", ["cleanlab", "selftrain", "knn", "labelprop"])
def test_labels_of_test_images_play_no_part(name: str) -> None:
    """A method that learns from given labels learns nothing from those of images outside `train`."""
    made, _ = problem()
    made = replace(made, train=np.arange(300) % 9 < 6)
    garbled = made.given.copy()
    garbled[~made.train] = (garbled[~made.train] + 1) % 3
    other = replace(made, given=garbled, probabilities=0.9 * np.eye(3)[garbled] + 0.1 / 3)
    test = ~made.train
    assert (solve(name, made).labels == solve(name, other).labels)[test].all()


@pytest.mark.parametrize("name", RIVALS)
def test_from_zero_shot_labels_to_better_ones_on_images_that_were_not_learned_from(name: str) -> None:
    made, truth = from_clip()
    test = ~made.train
    assert (solve(name, made).labels == truth)[test].mean() >= (made.given == truth)[test].mean()


def test_clip_alone_is_its_own_labels_in_the_pair_protocol_and_no_guess_elsewhere() -> None:
    made, _ = from_clip()
    assert (solve("clip", made).labels == made.given).all()
    noisy, _ = problem()
    with pytest.raises(UsageError, match="encoder"):
        solve("clip", noisy)


def test_the_network_alone_says_why_it_could_not_be_trained() -> None:
    made, _ = problem()
    with pytest.raises(InputError, match="student"):
        solve("cnn", made)


def test_ours_is_the_product_and_reports_its_confidence() -> None:
    made, truth = problem()
    solution = solve("ours", made)
    assert (solution.labels == truth).mean() >= (made.given == truth).mean()
    assert solution.doubt is not None
    wrong = made.given != truth
    assert wrong[np.argsort(-solution.doubt)[: wrong.sum()]].mean() > 0.9


def test_an_unknown_method_is_told_with_the_nearest() -> None:
    made, _ = problem()
    with pytest.raises(UsageError, match=r"Did you mean labelprop\?"):
        solve("labelpropagation", made)
    assert {"ours", "given", "clip", "cleanlab", "selftrain", "knn", "labelprop", "transclip", "zlap"} <= set(METHODS)


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(RIVALS),
    n=st.integers(6, 40),
    k=st.integers(2, 4),
    seed=st.integers(0, 10_000),
    trained=st.floats(0.4, 1.0),
)
def test_small_uneven_and_noisy_sets_break_no_rival(name: str, n: int, k: int, seed: int, trained: float) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 5)).astype(np.float32)
    features[rng.random(n) < 0.2] = 0.0
    labels = rng.choice(k, n, p=rng.dirichlet(np.ones(k)))
    train = rng.random(n) < trained
    train[:2] = True
    made, _ = problem(n=n, k=k, seed=seed)
    made = replace(
        made, features=features, embeddings=features, given=labels, train=train,
        probabilities=0.9 * np.eye(k)[labels] + 0.1 / k,
    )  # fmt: skip
    solution = solve(name, made)
    assert set(solution.labels) <= set(range(k))
    assert solution.probabilities is not None
    assert solution.probabilities.sum(axis=1) == pytest.approx(np.ones(n))
    assert solution.doubt is not None
    assert np.isfinite(solution.doubt).all()


def test_twenty_answers_are_all_that_a_method_learns_of_the_truth() -> None:
    made, truth = problem(noise="instance:0.3", apart=3.0)
    asked: list[int] = []

    class Watched(Clinician):
        def __call__(self, row: int) -> int:
            asked.append(row)
            return super().__call__(row)

    with_clinician = replace(made, clinician=lambda many: Watched(truth, many))
    found = solve("ours+20", with_clinician)
    assert len(asked) == len(set(asked)) == 20
    assert (found.labels[asked] == truth[asked]).all()
    rival = solve("knn+20", with_clinician)
    assert sorted(asked[20:]) == sorted(asked[:20])
    assert (rival.labels[asked] == truth[asked]).all()
    with pytest.raises(ValueError, match="no question is left"):
        Clinician(truth, 0)(3)
    with pytest.raises(UsageError, match="no clinician"):
        solve("ours+20", made)
