"""Embeddings and probabilities of other models, from the command line: without pictures, weak sources weighed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from autoannotate import Annotations
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.main import app

RNG = np.random.default_rng(0)
TRUTH = np.arange(120) % 2
NAMES = [f"{i:03d}.png" for i in range(120)]


def called(*options: object) -> Result:
    return CliRunner().invoke(app, [str(option) for option in options])


def embeddings(folder: Path, values: np.ndarray, name: str = "e.npz") -> Path:
    np.savez(folder / name, path=np.array(NAMES[: len(values)]), embedding=values)
    return folder / name


def good(distance: float = 6.0) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(120, 8)) + distance * np.eye(2, 8)[TRUTH]


def said(folder: Path, name: str, right: float, rows: slice = slice(None)) -> Path:
    """A source that is right on a share of images."""
    rng = np.random.default_rng(len(name))
    label = np.where(rng.random(120) < right, TRUTH, 1 - TRUTH)
    table = pd.DataFrame({"path": NAMES, "a": np.where(label == 0, 0.9, 0.1), "b": np.where(label == 1, 0.9, 0.1)})
    table[rows].to_csv(folder / name, index=False)
    return folder / name


def test_labels_are_audited_by_embeddings_alone(tmp_path: Path) -> None:
    given = np.where(np.isin(np.arange(120), [4, 17, 60]), 1 - TRUTH, TRUTH)
    pd.DataFrame({"path": NAMES, "label": [("a", "b")[k] for k in given]}).to_csv(tmp_path / "l.csv", index=False)
    out = tmp_path / "run"
    done = called("audit", "--embeddings", embeddings(tmp_path, good()), "--labels", tmp_path / "l.csv", "--out", out)
    assert done.exit_code == 0, done.output
    issues = pd.read_csv(out / "issues.csv")
    assert set(issues[issues["issue"] == "label"]["path"][:3]) == {NAMES[4], NAMES[17], NAMES[60]}
    assert called("update", out).exit_code == 0


def test_labels_come_from_sources_weighed_by_their_agreement(tmp_path: Path) -> None:
    sources = [
        said(tmp_path, "best.csv", 0.95),
        said(tmp_path, "good-one.csv", 0.85, slice(0, 90)),
        said(tmp_path, "poor.csv", 0.6),
    ]
    given = [part for source in sources for part in ("--probabilities", source)]
    out = tmp_path / "run"
    done = called("label", "--classes", "a,b", "--embeddings", embeddings(tmp_path, good()), *given, "--out", out)
    assert done.exit_code == 0, done.output
    run = Annotations.load(out)
    assert (run.table["label"].map({"a": 0, "b": 1}).to_numpy() == TRUTH).mean() > 0.95
    accuracy = {one["name"]: one["accuracy"] for one in run.run["sources"]}
    assert accuracy["best.csv"] > accuracy["good-one.csv"] > accuracy["poor.csv"]
    assert {one["name"]: one["images"] for one in run.run["sources"]}["good-one.csv"] == 90
    assert "best.csv" in done.output
    assert called("update", out).exit_code == 0


def answered(run: Path, rows: np.ndarray) -> None:
    """A clinician's right answers."""
    with AnswerStore(run) as store:
        store.add([Answer(NAMES[i], "Ana", "label", ("a", "b")[TRUTH[i]], source="review", round=0) for i in rows])
    assert called("update", run).exit_code == 0


def test_answers_correct_what_sources_agree_on_by_sharing_errors(tmp_path: Path) -> None:
    """One source is right on nine in ten; two others are right on six, and mostly wrong together."""
    rng = np.random.default_rng(3)
    shared = np.where(rng.random(120) < 0.6, TRUTH, 1 - TRUTH)
    files = [said(tmp_path, "good.csv", 0.9)]
    for name in ("first.csv", "second.csv"):
        label = np.where(rng.random(120) < 0.95, shared, 1 - shared)
        table = pd.DataFrame({"path": NAMES, "a": np.where(label == 0, 0.8, 0.2), "b": np.where(label == 1, 0.8, 0.2)})
        table.to_csv(tmp_path / name, index=False)
        files.append(tmp_path / name)
    given, out = [part for file in files for part in ("--probabilities", file)], tmp_path / "run"
    meaningless = embeddings(tmp_path, RNG.normal(size=(120, 8)))
    assert called("label", "--classes", "a,b", "--embeddings", meaningless, *given, "--out", out).exit_code == 0
    before = {one["name"]: one["accuracy"] for one in Annotations.load(out).run["sources"]}
    assert before["good.csv"] < before["first.csv"], "two that agree are believed"
    answered(out, np.arange(0, 120, 3))
    run = Annotations.load(out)
    after = {one["name"]: one["accuracy"] for one in run.run["sources"]}
    assert after["good.csv"] > max(after["first.csv"], after["second.csv"])
    assert after["good.csv"] > before["good.csv"]
    assert "On the answered images alone: good.csv" in run.record.reliability.verdict


def test_how_often_a_single_source_is_right_is_unknown_until_there_are_answers(tmp_path: Path) -> None:
    source, out = said(tmp_path, "only.csv", 0.8), tmp_path / "run"
    source.write_text(source.read_text() + "elsewhere.png,1,0\n")
    asked = ("label", "--classes", "a,b", "--embeddings", embeddings(tmp_path, good()), "--probabilities", source)
    done = called(*asked, "--out", out)
    assert done.exit_code == 0, done.output
    assert "only.csv unknown, of 120" in " ".join(done.output.split())
    assert "only.csv speaks of 1 image not here: elsewhere.png." in " ".join(done.output.split())
    assert Annotations.load(out).run["sources"][0]["accuracy"] is None
    answered(out, np.arange(20))
    table = pd.read_csv(source)[:20]
    right = float(((table["b"] > 0.5) == (TRUTH[:20] == 1)).mean())
    assert Annotations.load(out).run["sources"][0]["accuracy"] == pytest.approx(right)


@pytest.mark.slow
def test_what_was_learned_of_embeddings_is_explored_without_pictures(tmp_path: Path) -> None:
    pytest.importorskip("openTSNE")
    pytest.importorskip("sknetwork")
    pd.DataFrame({"path": NAMES, "label": [("a", "b")[k] for k in TRUTH]}).to_csv(tmp_path / "l.csv", index=False)
    file, out = embeddings(tmp_path, good()), tmp_path / "run"
    assert called("audit", "--embeddings", file, "--labels", tmp_path / "l.csv", "--out", out).exit_code == 0
    done = called("explore", out, "--no-page")
    assert done.exit_code == 0, done.output
    assert len(pd.read_parquet(out / "explore" / "map.parquet")) == 120


@pytest.mark.parametrize(
    ("values", "expected", "status"),
    [
        (np.ones((120, 8)), "All embeddings", 1),
        (np.random.default_rng(5).normal(size=(120, 8)), "look useless", 0),
        (good() * (np.arange(120) >= 7)[:, None], "7 embeddings hold nothing but zeros", 0),
    ],
)
def test_useless_embeddings_are_told(tmp_path: Path, values: np.ndarray, expected: str, status: int) -> None:
    pd.DataFrame({"path": NAMES, "label": [("a", "b")[k] for k in TRUTH]}).to_csv(tmp_path / "l.csv", index=False)
    file = embeddings(tmp_path, values)
    done = called("audit", "--embeddings", file, "--labels", tmp_path / "l.csv", "--out", tmp_path / "run")
    assert done.exit_code == status, done.output
    assert expected in " ".join(done.output.split())


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    file, source = embeddings(tmp_path, good()), said(tmp_path, "s.csv", 0.9)
    for command, expected in (
        (("audit", "--labels", "l.csv"), "--embeddings"),
        (("label", tmp_path, "--findings", "a,b", "--probabilities", source), "--findings do not use them"),
        (("label", "--classes", "a,b", "--embeddings", file), "--probabilities"),
    ):
        done = called(*command, "--out", tmp_path / "run")
        assert done.exit_code in (1, 2)
        assert expected in " ".join(done.output.split())
    pd.DataFrame({"path": NAMES, "a": 0.9, "b": 0.3}).to_csv(tmp_path / "bad.csv", index=False)
    done = called(
        "label",
        "--classes",
        "a,b",
        "--embeddings",
        file,
        "--probabilities",
        tmp_path / "bad.csv",
        "--out",
        tmp_path / "run",
    )
    assert done.exit_code == 1
    assert "120 rows of bad.csv do not sum to one: 000.png (1.2)" in " ".join(done.output.split())
    assert not (tmp_path / "run" / "run.json").exists()


def test_rows_that_an_audit_skips_are_listed_and_the_rest_is_audited(tmp_path: Path) -> None:
    file, out = embeddings(tmp_path, good()), tmp_path / "run"
    names = NAMES
    rows = ["path,label", *(f"{name},{'ab'[k]}" for name, k in zip(names, TRUTH, strict=True)), "ghost.png,a"]
    groups = ["path,patient", *(f"{name},P{n // 2}" for n, name in enumerate(names)), f"{names[0]},P9"]
    (tmp_path / "l.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "g.csv").write_text("\n".join([*groups[:3], f"{names[2]},", *groups[4:]]) + "\n")
    asked = ("audit", "--embeddings", file, "--labels", tmp_path / "l.csv", "--out", out)
    refused = called(*asked)
    assert refused.exit_code == 1
    assert f"ghost.png (row {len(rows)})" in refused.output
    done = called(*asked, "--groups", tmp_path / "g.csv", "--skip-problems")
    assert done.exit_code == 0, done.output
    listed = json.loads((out / "run.json").read_text())["skipped"]
    for said in (
        f"g.csv, row 4: {names[2]}: has no group",
        f"g.csv, row {len(groups)}: {names[0]}: is of one group here and of another in row 2",
        f"l.csv, row {len(rows)}: ghost.png: no such image",
    ):
        assert any(said in each for each in listed), listed
        assert said in done.output
    assert len(pd.read_csv(out / "labels.csv")) == len(names)
