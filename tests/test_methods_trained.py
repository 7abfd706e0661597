"""Rivals that train a network, fit robust Gaussians, or learn from few answers: each does what its paper promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_methods import from_clip, problem

from autoannotate.evaluation.baselines import ON_REQUEST, baselines, disc, sce, usual
from autoannotate.evaluation.baselines.sstext import sstext
from autoannotate.evaluation.methods import solve


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
