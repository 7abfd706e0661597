"""What representations are measured by, on points where it is known, and a whole evaluation with embeddings of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from autoannotate.cli.main import app
from autoannotate.evaluation.protocols.representations import label_error_recall, measured
from autoannotate.evaluation.representations import of_volumes, representations
from autoannotate.evaluation.scanner_changes import CHANGES


def points(distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1, 2], 60)
    values = rng.normal(size=(180, 16)) + distance * np.eye(3, 16)[labels]
    return values, labels, rng.random(180) < 0.5


def test_classes_far_apart_score_one_and_noise_scores_chance() -> None:
    far = measured(*points(12.0), 3, np.random.default_rng(1))
    assert all(far[name] > 0.99 for name in ("knn", "probe_10", "probe_all", "retrieval", "nmi", "ari"))
    near = measured(*points(0.0), 3, np.random.default_rng(1))
    assert all(0.15 < near[name] < 0.55 for name in ("knn", "probe_5", "probe_all", "retrieval"))
    assert near["nmi"] < 0.1
    assert np.isnan(near["probe_50"]), "no class has fifty labels to learn from"


def test_more_labels_are_worth_more() -> None:
    some = measured(*points(2.0), 3, np.random.default_rng(1))
    assert some["probe_1"] < some["probe_10"] <= some["probe_all"] + 0.05


def made(folder: Path, n: int = 24) -> list[str]:
    from made_runs import draw_images

    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(n)]
    draw_images(folder / "images", names)
    return names


def evaluated(*options: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", "representations", *map(str, options)])


def test_wrong_labels_are_found_where_classes_are_far_apart() -> None:
    values, labels, _ = points(12.0)
    assert label_error_recall(values, labels, None, 0) > 0.95
    assert label_error_recall(np.random.default_rng(0).normal(size=(180, 16)), labels, None, 0) < 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--methods", "pixels,file"], "needs --embeddings"),
        (["--methods", "pixels,autoencoder_3d"], "takes volumes"),
        (["--embeddings", "pixels=e.npz"], "a method of that name"),
        (["--methods", "pixles"], "Did you mean pixels"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(tmp_path: Path, options: list[str], said: str) -> None:
    made(tmp_path)
    done = evaluated("--data", tmp_path / "images", "--out", tmp_path / "out", *options)
    assert done.exit_code == 2
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_each_change_of_a_scanner_changes_the_picture_and_keeps_its_size() -> None:
    picture = Image.effect_noise((96, 80), 60).convert("RGB")
    for name, change in CHANGES.items():
        changed = change(picture, np.random.default_rng(0))
        assert changed.size == picture.size, name
        assert not np.array_equal(np.asarray(changed), np.asarray(picture)), name


@pytest.mark.slow
def test_all_representations_of_images_side_by_side(tmp_path: Path) -> None:
    names = made(tmp_path, 24)
    values = np.random.default_rng(0).normal(size=(24, 8)) + 9.0 * np.eye(2, 8)[np.arange(24) % 2]
    np.savez(tmp_path / "e.npz", path=np.array(names), embedding=values)
    pd.DataFrame({"path": names, "scanner": ["xy"[i % 2] for i in range(24)]}).to_csv(tmp_path / "m.csv", index=False)
    options = ["--data", tmp_path / "images", "--methods", "all", "--runs", 1, "--test", 0.5, "--simclr-epochs", 1,
               "--embeddings", f"other={tmp_path / 'e.npz'}", "--metadata", tmp_path / "m.csv",
               "--out", tmp_path / "out"]  # fmt: skip
    done = evaluated(*options)
    assert done.exit_code == 0, done.output
    runs = pd.read_csv(tmp_path / "out" / "runs.csv").set_index("method")
    there = {name for name in representations() if not of_volumes(name)}
    assert there <= {*runs.index}
    assert "autoencoder_3d" not in runs.index
    good = runs[runs["failed"].isna()]
    assert there - set(good.index) <= {"imagenet"}
    assert good.loc["other", "probe_all"] == good.loc["other", "auroc_scanner"] == 1.0
    assert runs.loc["pixels", "probe_all"] < 0.9
    assert np.isnan(good.loc["other", "noise"])
    assert good.drop(index="other")[list(CHANGES)].notna().all(axis=None)
    assert (tmp_path / "out" / "curves.png").is_file()
    assert evaluated(*options[:2], "--embeddings", tmp_path / "none.npz", "--out", tmp_path / "two").exit_code == 1


@pytest.mark.slow
def test_volumes_are_pooled_over_their_slices_beside_a_3d_baseline(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(10):
        values = rng.normal(100, 10, (24, 24, 4)).astype(np.float32)
        values[6:18, 6:18] += 80 * (i % 2)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"{i}.nii.gz")
        rows.append((f"{i}.nii.gz", "box" if i % 2 else "plain"))
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(tmp_path / "labels.csv", index=False)
    done = evaluated("--data", tmp_path, "--methods", "pixels,embeddings,autoencoder_3d", "--runs", 1, "--test", 0.5,
                     "--simclr-epochs", 5, "--out", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.output
    runs = pd.read_csv(tmp_path / "out" / "runs.csv").set_index("method")
    assert runs["failed"].isna().all()
    assert runs.loc["embeddings", "probe_all"] == 1.0
    assert runs.loc["pixels", "retrieval"] > 0.95
