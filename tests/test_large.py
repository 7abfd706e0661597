"""Sets too large to be fitted on whole: the labels of the exact way, from models that a sample fits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate import Annotator
from autoannotate.errors import InputError, UsageError
from autoannotate.labelling import features as features_module
from autoannotate.labelling import neighbours
from autoannotate.labelling.features import Features
from autoannotate.labelling.neighbours import nearest, nearest_by_index
from autoannotate.labelling.pipeline import label
from autoannotate.labelling.stratified_sample import stratified_sample
from autoannotate.labelling.task import Task


def made_task(n: int = 1500, classes: int = 3, wrong: float = 0.2, seed: int = 0) -> tuple[Task, np.ndarray]:
    """Three classes that hardly touch, and labels of which a fifth is wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    points = rng.normal(size=(classes, 40))[truth] + 1.2 * rng.normal(size=(n, 40))
    given = np.where(rng.random(n) < wrong, rng.integers(0, classes, n), truth)
    zero_shot = 0.7 * np.eye(classes)[given] + 0.3 / classes
    return Task(Features(points.astype(np.float32)), zero_shot, ["a", "b", "c"][:classes], seed=seed), truth


@pytest.mark.parametrize("given_labels", [True, False])
def test_a_third_of_the_images_fits_models_that_label_the_others_as_all_would(given_labels: bool) -> None:
    task, truth = made_task()
    if given_labels:
        task = replace(task, given=task.zero_shot.argmax(axis=1))
    exact, sampled = label(task), label(task, fit_on=500)
    assert (exact.labels == truth).mean() > 0.97 > (task.zero_shot.argmax(axis=1) == truth).mean()
    assert (exact.labels == sampled.labels).mean() >= 0.995
    assert np.abs(exact.confidence - sampled.confidence).mean() < 0.02
    assert sampled.corrected.queue.error_rate == pytest.approx(exact.corrected.queue.error_rate, abs=0.02)
    np.testing.assert_allclose(sampled.probabilities.sum(axis=1), 1.0)


def test_answers_count_wherever_they_are_and_are_never_changed() -> None:
    task, truth = made_task()
    answers = np.full(len(task), -1)
    asked = np.random.default_rng(1).permutation(len(task))[:60]
    answers[asked] = truth[asked]
    found = label(replace(task, answers=answers), fit_on=500)
    assert (found.labels[asked] == truth[asked]).all()
    assert (found.source[asked] == "clinician").all()
    assert (found.labels == truth).mean() > 0.97
    assert not set(found.queue.rows) & set(asked)


def test_labels_of_an_audit_stay_and_are_doubted_outside_of_the_sample_too() -> None:
    task, truth = made_task()
    given_before = task.zero_shot.argmax(axis=1)
    found = label(replace(task, given=given_before, keep=True), fit_on=500)
    assert (found.labels == given_before).all()
    wrong = given_before != truth
    assert found.suspect_score[wrong].min() > np.median(found.suspect_score[~wrong])
    assert wrong[found.queue.rows].mean() > 0.9


def test_features_are_read_block_by_block_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (neighbours, features_module):
        monkeypatch.setattr(module, "MANY", 600)
    monkeypatch.setattr(features_module, "BLOCK", 128)
    read = []

    class Counted:
        """A table that says how many rows were read together."""

        def __init__(self, values: np.ndarray) -> None:
            self.values, self.shape = values, values.shape

        def __len__(self) -> int:
            return len(self.values)

        def __getitem__(self, rows: object) -> np.ndarray:
            found = self.values[rows]  # type: ignore[index]
            read.append(len(found))
            return found

    task, truth = made_task()
    found = label(replace(task, features=Features(Counted(task.features.values))), fit_on=500)
    assert (found.labels == truth).mean() > 0.97
    assert read
    assert max(read) < 1000


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(30, 300), share=st.floats(0.1, 0.9), classes=st.integers(1, 4), patients=st.integers(1, 40),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_sample_holds_every_class_and_whole_groups(
    n: int, share: float, classes: int, patients: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 5))
    labels, groups = rng.integers(0, classes, n), rng.integers(0, patients, n)
    always = rng.random(n) < 0.05
    rows = stratified_sample(points, labels, int(share * n), groups=groups, always=always, seed=seed)
    assert (np.diff(rows) > 0).all()
    assert set(groups[rows]) & set(np.delete(groups, rows)) == set()
    assert always[rows].sum() == always.sum()
    alone = stratified_sample(points, labels, int(share * n), seed=seed)
    assert set(labels[alone]) == set(labels)
    assert len(alone) >= min(n, int(share * n)) * 0.9


def test_a_sample_holds_no_more_wrong_labels_than_the_whole() -> None:
    for seed in range(5):  # wrong labels are the rare ones of each cluster
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 2, 1500)
        points = rng.normal(size=(2, 16))[truth] + rng.normal(size=(1500, 16))
        wrong = rng.random(1500) < 0.2
        rows = stratified_sample(points, np.where(wrong, 1 - truth, truth), 500, seed=seed)
        assert 490 <= len(rows) <= 560
        assert wrong[rows].mean() == pytest.approx(wrong.mean(), abs=0.03)


def test_the_index_finds_the_neighbours_that_a_search_of_all_finds() -> None:
    pytest.importorskip("faiss", reason="the extra `large` is not installed")
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 16))[rng.integers(0, 20, 3000)] + rng.normal(size=(3000, 16))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[100:130] = points[100]  # more copies than neighbours that are asked for
    exact, found = nearest(points, 10), nearest_by_index(points, 10)
    assert found is not None
    shared = [len(np.intersect1d(a, b)) for a, b in zip(exact.index, found.index, strict=True)]
    assert np.delete(shared, range(100, 130)).mean() >= 9.5
    assert (found.index != np.arange(3000)[:, None]).all()
    assert np.abs(found.similarity - exact.similarity).mean() < 0.01


def test_the_index_finds_neighbours_among_many_pictures_that_are_nearly_the_same() -> None:
    pytest.importorskip("faiss", reason="the extra `large` is not installed")
    rng = np.random.default_rng(0)
    points = rng.normal(size=(12, 16))[rng.integers(0, 12, 3000)] + 0.003 * rng.normal(size=(3000, 16))
    points /= np.linalg.norm(points, axis=1, keepdims=True)  # 250 frames of each of 12 films: 4 bits see no difference
    exact, found = nearest(points, 10), nearest_by_index(points, 10)
    assert found is not None
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(exact.index, found.index, strict=True)]) >= 9.3


@pytest.mark.parametrize("count", [3, 90, 1500, 2503])
def test_the_nearest_are_those_that_a_sort_of_all_finds(count: int) -> None:
    rng = np.random.default_rng(count)
    points = rng.normal(size=(count, 8)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    cosines = points @ points.T
    np.fill_diagonal(cosines, -np.inf)
    found = nearest(points, 20)
    k = min(20, count - 1)
    np.testing.assert_allclose(found.similarity, -np.sort(-cosines, axis=1)[:, :k], atol=1e-6)


class TestEmbeddings:
    """`label --embeddings`: features, or everything, from a file."""

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Embeddings near the two classes' sentences, in the model's own space."""
        annotator = Annotator(["chest X-ray", "skin"])
        texts = annotator.encoder.encode_texts(["a chest X-ray", "a dermoscopy image of the skin"])
        rng = np.random.default_rng(0)
        values = texts[np.arange(300) % 2] + 0.02 * rng.normal(size=(300, texts.shape[1]))
        file = tmp_path_factory.mktemp("made") / "embeddings.npz"
        np.savez(file, path=np.array([f"{i:03d}.png" for i in range(300)]), embedding=values.astype(np.float32))
        return file

    def test_embeddings_alone_are_labelled_and_updated(self, made: Path, tmp_path: Path) -> None:
        annotations = Annotator(["chest X-ray", "skin"], embeddings=made, fit_on=150).label()
        annotations.save(tmp_path / "run")
        table = pd.read_csv(tmp_path / "run" / "labels.csv")
        assert table["path"].tolist() == [f"{i:03d}.png" for i in range(300)]
        assert (table["label"] == np.where(np.arange(300) % 2, "skin", "chest X-ray")).mean() > 0.99
        assert "300" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
        again = Annotator.from_run(annotations).update(annotations)
        assert (again.table["label"] == table["label"]).all()

    def test_what_does_not_fit_is_one_sentence(self, made: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "other.npy", np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32))
        with pytest.raises(InputError, match=r"have 7 numbers each.*--model, or give the folder"):
            Annotator(["a", "b"], embeddings=tmp_path / "other.npy").label()
        with pytest.raises(UsageError, match="Name the images to label"):
            Annotator(["a", "b"]).label()
        with pytest.raises(UsageError, match="--fit-on 3 is too few"):
            Annotator(["a", "b"], fit_on=3)

    @pytest.mark.slow
    def test_the_command_takes_embeddings_without_images(self, made: Path, tmp_path: Path) -> None:
        asked = [sys.executable, "-m", "autoannotate", "label", "--classes", "chest X-ray,skin"]
        none = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path)
        assert none.returncode == 2
        assert "Name the IMAGES to label" in none.stderr
        done = subprocess.run([*asked, "--embeddings", str(made)], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(pd.read_csv(tmp_path / "autoannotate-run" / "labels.csv")) == 300
        assert "autoannotate review autoannotate-run --images FOLDER" in done.stdout.replace("\n", " ")
