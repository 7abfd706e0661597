"""What representations are measured by, on points where it is known, and a whole evaluation with embeddings of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from autoannotate.cli.main import app
from autoannotate.evaluation.protocols.representations import measured


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


@pytest.mark.slow
def test_an_evaluation_with_embeddings_of_another_model(tmp_path: Path) -> None:
    from made_runs import draw_images

    names = [f"{'ab'[i % 2]}/{i}.png" for i in range(40)]
    draw_images(tmp_path / "images", names)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 8)) + 9.0 * np.eye(2, 8)[np.arange(40) % 2]
    np.savez(tmp_path / "e.npz", path=np.array(names), embedding=values)
    out = tmp_path / "out"
    options = ["--data", tmp_path / "images", "--methods", "pixels,file", "--runs", 1, "--test", 0.5, "--out", out]
    done = CliRunner().invoke(
        app, ["evaluate", "representations", *map(str, options), "--embeddings", str(tmp_path / "e.npz")]
    )
    assert done.exit_code == 0, done.output
    runs = pd.read_csv(out / "runs.csv").set_index("method")
    assert runs.loc["file", "probe_all"] == 1.0
    assert runs.loc["pixels", "probe_all"] < 0.9
    lacking = CliRunner().invoke(app, ["evaluate", "representations", *map(str, options[:2]), "--out", str(tmp_path / "two"),
                                       "--embeddings", str(tmp_path / "none.npz")])  # fmt: skip
    assert lacking.exit_code == 1
