"""Embeddings and probabilities that users bring: read, checked, and weighed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autoannotate.annotator.weak_sources import read_probabilities
from autoannotate.errors import InputError
from autoannotate.labelling.label_model import dawid_skene
from autoannotate.models.embeddings_file import read_embeddings

PATHS = ["a.png", "b.png", "c.png"]
VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_embeddings_come_back_in_the_order_of_the_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", path=np.array(PATHS[::-1]), embedding=VALUES[::-1])
    pd.DataFrame({"path": PATHS, "embedding": VALUES.tolist()}).to_parquet(tmp_path / "e.parquet")
    pd.DataFrame({"path": PATHS, **{f"d{i}": VALUES[:, i] for i in range(4)}}).to_parquet(tmp_path / "wide.parquet")
    np.save(tmp_path / "e.npy", VALUES)
    for name in ("e.npz", "e.parquet", "wide.parquet", "e.npy"):
        assert (read_embeddings(tmp_path / name).of(PATHS) == VALUES).all(), name
    assert read_embeddings(tmp_path / "e.npz").unknown(PATHS[:2]) == ["c.png"]


def test_bad_embeddings_are_one_sentence_with_the_rows(tmp_path: Path) -> None:
    def saved(**arrays: object) -> Path:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
        np.savez(file, **arrays)
        return file

    holed = VALUES.copy()
    holed[1, 2] = np.nan
    for file, said in (
        (saved(path=np.array(PATHS), embedding=holed), "NaN or infinity in 1 embedding: b.png"),
        (saved(path=np.array(PATHS[:2]), embedding=VALUES), "2 paths and 3 embeddings"),
        (saved(path=np.array(["a.png"] * 3), embedding=VALUES), "more than one embedding of a.png"),
        (saved(vectors=VALUES), "no array path"),
        (tmp_path / "none.npz", "There is no file"),
        (saved(path=np.array(PATHS, dtype=object), embedding=VALUES), r"Python objects.*np\.array\(PATHS, dtype=str\)"),
    ):
        with pytest.raises(InputError, match=said):
            read_embeddings(file)
    (tmp_path / "empty.npz").touch()
    pd.DataFrame({"path": PATHS}).to_parquet(tmp_path / "paths.parquet")
    pd.DataFrame({"path": PATHS, "x": [1.0, 2.0, 4.0], "site": "A"}).to_parquet(tmp_path / "text.parquet")
    for name, said in (("empty.npz", "is empty"), ("paths.parquet", "no column embedding"), ("text.parquet", "site")):
        with pytest.raises(InputError, match=said):
            read_embeddings(tmp_path / name)
    assert read_embeddings(saved(path=np.array(PATHS, dtype="S"), embedding=VALUES)).names == tuple(PATHS)
    with pytest.raises(InputError, match=r"1 image without an embedding: d\.png"):
        read_embeddings(saved(path=np.array(PATHS), embedding=VALUES)).of([*PATHS, "d.png"])


def test_damaged_embeddings_are_one_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", path=np.array(PATHS), embedding=VALUES)
    pd.DataFrame({"path": PATHS, "embedding": VALUES.tolist()}).to_parquet(tmp_path / "good.parquet")
    np.save(tmp_path / "good.npy", VALUES)
    for kind in ("npz", "parquet", "npy"):
        whole = (tmp_path / f"good.{kind}").read_bytes()
        third = len(whole) // 3
        for broken in (b"", whole[: len(whole) // 2], whole[:third] + b"\x00\xff" * 8 + whole[third + 16 :], b"hello"):
            (tmp_path / f"bad.{kind}").write_bytes(broken)
            if kind == "parquet" and len(broken) == len(whole):
                continue  # bytes that no number depends on
            with pytest.raises(InputError, match=r"bad\."):
                read_embeddings(tmp_path / f"bad.{kind}")
    rows = [[1.0, 2.0], [1.0, 2.0, 3.0], None]
    pd.DataFrame({"path": PATHS, "embedding": rows}).to_parquet(tmp_path / "ragged.parquet")
    with pytest.raises(InputError, match=r"b\.png \(3\)"):
        read_embeddings(tmp_path / "ragged.parquet")
    pd.DataFrame({"path": ["a.png", None], "x": [1.0, 2.0], "y": [3.0, 4.0]}).to_parquet(tmp_path / "unnamed.parquet")
    with pytest.raises(InputError, match="without a path: row 2"):
        read_embeddings(tmp_path / "unnamed.parquet")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,x,y\na.png,0.2,0.9\n", r"1 row of p\.csv does not sum to one: a\.png \(1\.1\)"),
        ("path,x,x,y\na.png,0.2,0.8,0.8\n", "more than one column x"),
        ("path,Path,x,y\na.png,b.png,0.2,0.8\n", "more than one column"),
        ("path,x\na.png,1\n", "lacks the column y"),
        ("path,x,y\na.png,high,0\nb.png,1,0\nc.png,-1,2\n", r"2 rows of p\.csv .* no probability.*: a\.png and c\.png"),
        ("path,x,y\nelse.png,1,0\n", "None of the rows"),
    ],
)
def test_bad_probabilities_are_one_sentence(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(InputError, match=said):
        read_probabilities(tmp_path / "p.csv", PATHS, ["x", "y"])


def test_a_source_that_says_nothing_of_an_image_is_unknown_there(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("path,y,x\nc.png,0.25,0.75\n")
    found, _ = read_probabilities(tmp_path / "p.csv", PATHS, ["x", "y"])
    assert np.isnan(found[:2]).all()
    assert found[2].tolist() == [0.75, 0.25]
    (tmp_path / "p.csv").write_bytes("Path;x;y\r\nc.png;0,75;0,25\r\n".encode("utf-16"))
    found, unknown = read_probabilities(tmp_path / "p.csv", PATHS, ["x", "y"])
    assert found[2].tolist() == [0.75, 0.25], "as a spreadsheet saves it"
    assert unknown == []
    (tmp_path / "p.csv").write_text("path,x,y\na.png,,\nb.png,1,0\nelse.png,0,1\n")
    found, unknown = read_probabilities(tmp_path / "p.csv", PATHS, ["x", "y"])
    assert np.isnan(found[[0, 2]]).all()
    assert unknown == ["else.png"]


def test_reliable_sources_outweigh_unreliable_ones() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    accuracies = np.array([0.9, 0.85, 0.5, 0.4])
    said = np.where(rng.random((4, 600)) < accuracies[:, None], truth, rng.integers(0, 3, (4, 600)))
    sources = np.eye(3)[said]
    sources[1, :100] = np.nan
    model = dawid_skene(sources)
    majority = (np.nansum(sources, axis=0).argmax(axis=1) == truth).mean()
    assert (model.posterior.argmax(axis=1) == truth).mean() > majority
    assert (np.argsort(-model.accuracy) == np.arange(4)).all()
    real = (said == truth).mean(axis=1)
    assert np.abs(model.accuracy - real).max() < 0.06
    known = np.where(np.arange(600) < 50, truth, -1)
    assert (dawid_skene(sources, known).posterior[:50].argmax(axis=1) == truth[:50]).all()


def test_a_copy_of_a_source_counts_once() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 3, 600)
    right = np.array([0.85, 0.75, 0.5])
    said = np.where(rng.random((3, 600)) < right[:, None], truth, (truth + rng.integers(1, 3, (3, 600))) % 3)
    sources = 0.6 * np.eye(3)[said] + 0.4 * rng.dirichlet([1, 1, 1], (3, 600))
    alone = dawid_skene(sources)
    near = sources[2] * 0.999 + 0.001 / 3
    near[:10] = np.nan
    copied = dawid_skene(np.concatenate([sources, sources[2:], near[None]]))
    assert copied.same.tolist() == [0, 1, 2, 2, 2]
    assert (copied.posterior.argmax(axis=1) == alone.posterior.argmax(axis=1)).mean() > 0.99
    readers = np.eye(3)[np.where(rng.random((2, 600)) < 0.99, truth, 0)]
    assert dawid_skene(readers).same.tolist() == [0, 1], "two good readers agree, and are two"


def test_sources_that_are_not_sure_are_weighed_all_the_same() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 600)
    right = np.array([0.9, 0.75, 0.4])
    said = np.where(rng.random((3, 600)) < right[:, None], truth, (truth + rng.integers(1, 3, (3, 600))) % 3)
    for sure in (0.4, 0.6, 0.8, 1.0):
        sources = np.where(np.eye(3, dtype=bool)[said], sure, (1 - sure) / 2)
        model = dawid_skene(sources)
        assert (model.posterior.argmax(axis=1) == truth).mean() > 0.8, sure
        assert np.abs(model.accuracy - (said == truth).mean(axis=1)).max() < 0.12, sure


def test_a_source_is_weighed_more_where_it_is_surer_of_itself() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 3000)
    sign = np.where(truth == 0, -1, 1)
    first = 1 / (1 + np.exp(-1.4 * (sign + 1.2 * rng.normal(size=(3, 3000)))))
    sources = np.stack([1 - first, first], axis=2)
    votes = (first > 0.5).sum(axis=0) > 1.5
    model = dawid_skene(sources)
    assert (model.posterior.argmax(axis=1) == truth).mean() > (votes == truth).mean() + 0.01
    sources[:, :5] = 0.5
    assert np.ptp(np.round(dawid_skene(sources).posterior[:5], 6), axis=0).max() == 0, "all classes alike say nothing"


@pytest.mark.parametrize(("classes", "right"), [(3, (0.9, 0.75, 0.4)), (8, (0.8, 0.7, 0.6)), (2, (0.9, 0.6))])
def test_answers_cost_independent_sources_two_points_at_most(classes: int, right: tuple[float, ...]) -> None:
    """On images drawn at random, which are answered; of the least sure ones they may cost more: eval/label/sources.md."""
    before, after = [], []
    for seed in range(5):
        rng = np.random.default_rng([seed, classes])
        truth = rng.integers(0, classes, 800)
        wrong = (truth + rng.integers(1, classes, (len(right), 800))) % classes
        sources = np.eye(classes)[np.where(rng.random(wrong.shape) < np.array(right)[:, None], truth, wrong)]
        known = np.where(rng.permutation(800) < 40, truth, -1)
        for answers, shares in ((None, before), (known, after)):
            shares.append((dawid_skene(sources, answers).posterior.argmax(axis=1) == truth)[known < 0].mean())
    assert np.mean(after) > np.mean(before) - 0.02


def test_one_source_alone_is_believed_as_it_is() -> None:
    rng = np.random.default_rng(7)
    truth = rng.choice(3, 300, p=[1 / 6, 2 / 6, 3 / 6])
    said = np.where(rng.random(300) < 0.9, truth, rng.integers(0, 3, 300))
    source = np.where(np.eye(3, dtype=bool)[said], 0.8, 0.1)
    source[:4] = np.nan
    model = dawid_skene(source[None])
    np.testing.assert_allclose(model.posterior[4:], source[4:])
    np.testing.assert_allclose(model.posterior[:4], 1 / 3)
    assert np.isnan(model.accuracy).all(), "nothing tells how often it is right"
