"""Zero-shot as a second opinion about given labels."""

from __future__ import annotations

import numpy as np

from autoannotate.labelling.label_errors.zero_shot_doubt import beside_zero_shot


def test_zero_shot_finds_errors_that_others_learned_and_guesses_change_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    labels = np.where(rng.random(200) < 0.3, 1 - truth, truth)
    wrong = labels != truth
    learned = np.where(labels == 1, 0.6, 0.4) + rng.normal(0, 0.15, 200)  # repeats the errors of the labels
    told = np.where(truth == 1, 0.9, 0.7) + rng.normal(0, 0.05, 200)  # with the threshold elsewhere
    predicted, zero_shot = (np.clip(np.stack([1 - p, p], axis=1), 0.0, 1.0) for p in (learned, told))
    doubt = (1.0 - predicted[np.arange(200), labels]) / 2  # nothing is decided
    both = beside_zero_shot(doubt, labels, predicted, zero_shot)
    assert np.array_equal(np.sort(both), np.sort(doubt))
    found = [wrong[np.argsort(-each)[: wrong.sum()]].mean() for each in (doubt, both)]
    assert found[1] > found[0] + 0.2
    assert np.array_equal(beside_zero_shot(doubt, labels, predicted, np.full((200, 2), 0.5)), doubt)
    decided = int(np.argmax(zero_shot[np.arange(200), labels]))  # the label that zero-shot is surest of
    doubt[decided] = 0.6
    assert np.argmax(beside_zero_shot(doubt, labels, predicted, zero_shot)) == decided
