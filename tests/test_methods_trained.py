"""Rivals that train a network, fit robust Gaussians, or learn from few answers: each does what its paper promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_labels import thrown
from test_methods import from_clip, problem
from test_student import features_of, shapes, small_backbone

from autoannotate.errors import UsageError
from autoannotate.evaluation.baselines import ON_REQUEST, aled, baselines, disc, sce, trained, usual
from autoannotate.evaluation.baselines.sstext import sstext
from autoannotate.evaluation.methods import solve
from autoannotate.evaluation.task import Problem
from autoannotate.models import student_network


def test_they_are_measured_where_they_are_named() -> None:
    assert set(ON_REQUEST) <= set(baselines())
    assert not set(ON_REQUEST) & set(usual())


@pytest.mark.parametrize("name", ON_REQUEST)
def test_a_rival_repairs_labels_and_doubts_the_wrong_ones_most(name: str) -> None:
    made, truth = problem(n=120, noise="symmetric:0.2")
    before = made.given.copy()
    solution = solve(name, made)
    assert (solution.labels == truth).mean() > 0.9
    wrong = made.given != truth
    assert solution.doubt is not None
    assert wrong[np.argsort(-solution.doubt)[: wrong.sum()]].mean() > 0.8
    assert solution.probabilities is not None
    assert solution.probabilities.sum(axis=1) == pytest.approx(np.ones(120))
    assert (made.given == before).all()


@pytest.mark.parametrize("name", ON_REQUEST)
def test_images_outside_train_are_labelled_without_their_labels(name: str) -> None:
    made, truth = problem(n=90)
    made = replace(made, train=np.arange(90) % 9 < 6)
    garbled = np.where(made.train, made.given, (made.given + 1) % 3)
    other = replace(made, given=garbled, probabilities=0.9 * np.eye(3)[garbled] + 0.1 / 3)
    test = ~made.train
    found = solve(name, made).labels[test]
    assert (found == solve(name, other).labels[test]).all()
    assert (found == truth[test]).mean() > 0.9


@pytest.mark.parametrize("name", ON_REQUEST)
def test_a_class_of_one_image_breaks_none(name: str) -> None:
    made, truth = problem(n=40, k=3)
    labels = np.where(truth == 2, 0, truth)
    labels[0] = 2
    solution = solve(name, replace(made, given=labels, probabilities=0.9 * np.eye(3)[labels] + 0.1 / 3))
    assert solution.probabilities is not None
    assert np.isfinite(solution.probabilities).all()


def test_symmetric_cross_entropy_is_equation_7() -> None:
    logits, label = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([1])
    p = logits.softmax(dim=1)[0]
    reverse = -(p[0] + p[2]) * -4.0  # log 0 is -4, log 1 is 0
    assert float(sce.loss(logits, label)) == pytest.approx(float(-0.1 * p[1].log() + reverse))


STATLAB = (  # P(class 1 | x) by statlab 0.0.4 of the data below, its random numbers seeded with 3
    0.027144, 0.998102, 0.00013, 1.0, 0.032055, 1.0, 0.000141, 1.0, 0.000159, 0.999953, 0.522182, 0.999974, 0.000366, 1.0,
    0.000131, 0.985397, 8e-06, 1.0, 1.5e-05, 1.0, 0.000257, 1.0, 1.5e-05, 0.999969, 0.00327, 0.999959, 8e-06, 0.999956,
    0.000118, 0.999885, 4e-06, 1.0, 0.000456, 1.0, 3.3e-05, 0.999952, 0.0, 1.0, 0.001373, 1.0, 1e-05, 1.0, 1.5e-05, 0.999999,
    0.001228, 1.0, 5.5e-05, 1.0,
)  # fmt: skip


def test_aled_gives_the_scores_of_its_authors_package() -> None:
    rng = np.random.RandomState(5)  # the generator of that package
    labels = np.arange(48) % 2
    points = rng.randn(48, 8) + 1.5 * labels[:, None]
    labels[:4] = 1 - labels[:4]
    odds = aled.pair_odds(points, labels == 0, labels == 1, np.random.RandomState(3))  # type: ignore[arg-type]
    assert 1 / (1 + np.exp(-odds)) == pytest.approx(np.array(STATLAB), abs=2e-6)
    moved = np.where(labels == 0, odds, -odds) > np.log(aled.RATIO)
    assert np.flatnonzero(moved).tolist() == [0, 1, 2, 3]  # as there, and the wrong ones


def test_disc_selects_corrects_and_leaves_alone() -> None:
    said = torch.tensor(
        [[[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.3, 0.7]], [[0.8, 0.2], [0.2, 0.8], [0.95, 0.05], [0.6, 0.4]]]
    )
    clean, hard, mixed, labels = disc.select(said, torch.full((2, 4), 0.4), torch.tensor([0, 0, 1, 1]))
    assert clean.tolist() == [True, False, False, False]
    assert hard.tolist() == [False, True, False, False] or hard.tolist() == [False, True, False, True]
    assert mixed[2]
    assert labels[2] == 0  # 0.925 in the mean, beyond 0.4 + 0.5


def test_the_text_decides_where_nobody_answered_and_answers_where_many_did() -> None:
    made, truth = from_clip()
    assert made.texts is not None
    nobody = np.full(len(truth), -1)
    by_text = sstext(made.embeddings, nobody, made.texts, 100.0, 3)
    assert (by_text.argmax(axis=1) == made.given).mean() > 0.95
    answers = np.where(np.arange(len(truth)) < 30, truth, -1)
    taught = sstext(made.embeddings, answers, made.texts, 100.0, 3).argmax(axis=1)
    assert (taught == truth).mean() >= (made.given == truth).mean()


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> tuple[Problem, np.ndarray]:
    """Discs and stripes, whose features say nothing, an eighth of them with a wrong label; and the truth."""
    monkeypatch.setitem(student_network.BACKBONES, "small", small_backbone)
    drawn, shape = shapes(96)
    rows = np.flatnonzero(shape < 2)
    truth = shape[rows]
    labels = thrown(truth, 0.125, 2)
    made, _ = problem(n=len(rows), k=2)
    return replace(
        made, features=features_of(len(rows)).astype(np.float32), given=labels, probabilities=0.9 * np.eye(2)[labels] + 0.05,
        images=lambda i: drawn[rows[i]], student="small",
    ), truth  # fmt: skip


@pytest.mark.parametrize("name", trained())
def test_a_way_of_training_also_trains_the_students_network(name: str, pictures: tuple[Problem, np.ndarray]) -> None:
    made, truth = pictures
    found = solve(f"{name}-student", made)
    assert (found.labels == truth).mean() > 0.9  # of the labels 0.875
    assert found.probabilities is not None
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(len(truth)))


def test_the_label_of_an_image_has_no_part_in_what_the_students_network_predicts(
    pictures: tuple[Problem, np.ndarray],
) -> None:
    made, truth = pictures
    aside = np.arange(len(truth)) % 4 == 3
    garbled = np.where(aside, 1 - made.given, made.given)
    both = [solve("sce-student", replace(made, train=~aside, given=given)).labels for given in (made.given, garbled)]
    assert np.array_equal(both[0][aside], both[1][aside])


def test_without_a_student_its_network_cannot_be_trained() -> None:
    made, _ = problem(n=40)
    with pytest.raises(UsageError, match="--student"):
        solve("sce-student", made)
