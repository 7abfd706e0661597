"""A run as a labeller: scikit-learn's rules, a saved folder, and new images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import draw_images, make_run
from PIL import Image, ImageOps
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from typer.testing import CliRunner

from autoannotate import Annotations
from autoannotate.annotator.estimator import FeatureClassifier
from autoannotate.annotator.labeller import Labeller
from autoannotate.annotator.predict import export_onnx, labeller_of, predict
from autoannotate.cli.main import app
from autoannotate.errors import InputError, UsageError

MANY = [f"{'ab'[i % 2]}/{i}.png" for i in range(24)]


def known_failures(estimator: FeatureClassifier) -> dict[str, str]:
    same = "weights say how sure labels are: axes are of the images, whatever their labels"
    return {f"check_sample_weight_equivalence_on_{kind}_data": same for kind in ("dense", "sparse")}


@parametrize_with_checks([FeatureClassifier()], expected_failed_checks=known_failures)
def test_it_is_a_scikit_learn_classifier(estimator: FeatureClassifier, check: object) -> None:
    check(estimator)  # type: ignore[operator]


def test_it_works_in_pipelines_and_cross_validation() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(["x", "y", "z"], 40)
    X = rng.normal(size=(120, 30)) + 2.5 * (y[:, None] == np.array(["x", "y", "z"]).repeat(10))
    assert cross_val_score(make_pipeline(StandardScaler(), clone(FeatureClassifier(C=0.1))), X, y).mean() > 0.9
    model = FeatureClassifier().fit(X, y)
    far = model.novelty(-10 * np.ones((1, 30)) + rng.normal(size=30) * 20)
    assert far > model.threshold_
    assert (model.novelty(X) > model.threshold_).mean() < 0.05


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path / "images", MANY).save(tmp_path / "run")
    return tmp_path / "run"


def test_the_runs_own_images_keep_their_labels(run: Path, tmp_path: Path) -> None:
    found = predict(labeller_of(run), tmp_path / "images")
    table = Annotations.load(run).table
    ours = table.set_index("path").loc[found.table["path"], "label"]
    assert found.table["label"].tolist() == ours.tolist()
    assert list(found.table.columns[:8]) == list(table.columns[:8])
    assert np.allclose(found.probabilities[["chest", "breast"]].sum(axis=1), 1)


def test_a_saved_labeller_is_the_same_and_needs_no_run(run: Path, tmp_path: Path) -> None:
    first = predict(labeller_of(run), tmp_path / "images")
    (run / "labeller").rename(tmp_path / "alone")
    assert {file.name for file in (tmp_path / "alone").iterdir()} == {
        "labeller.json",
        "labeller.safetensors",
        "CARD.md",
    }
    again = predict(labeller_of(tmp_path / "alone"), tmp_path / "images")
    pd.testing.assert_frame_equal(first.table, again.table)
    assert "not accuracy" in (tmp_path / "alone" / "CARD.md").read_text()


def test_a_broken_labeller_is_one_sentence(run: Path, tmp_path: Path) -> None:
    labeller_of(run)
    (run / "labeller" / "labeller.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is broken"):
        Labeller.load(run / "labeller")
    (run / "labeller" / "labeller.safetensors").unlink()
    with pytest.raises(InputError, match=r"lacks labeller\.safetensors: copy the whole folder"):
        Labeller.load(run / "labeller")
    with pytest.raises(InputError, match="no run"):
        labeller_of(tmp_path / "images")


def test_a_labeller_whose_parts_do_not_belong_together_is_one_sentence(run: Path, tmp_path: Path) -> None:
    labeller_of(run)
    folder = run / "labeller"
    arrays, about = load_file(folder / "labeller.safetensors"), json.loads((folder / "labeller.json").read_text())
    save_file({**arrays, "axes_": arrays["axes_"][:3].copy()}, folder / "labeller.safetensors")
    with pytest.raises(InputError, match="is broken"):
        Labeller.load(folder)
    save_file(arrays, folder / "labeller.safetensors")
    for wrong, said in (
        ({"learned": [*about["learned"], "zebra"]}, "is broken"),
        ({"format": about["format"] + 1}, "another version of autoannotate: update"),
        ({"format": 0}, "another version of autoannotate: make it again"),
    ):
        (folder / "labeller.json").write_text(json.dumps(about | wrong))
        with pytest.raises(InputError, match=said):
            Labeller.load(folder)
    assert isinstance(labeller_of(run), Labeller), "of a run it is made again"


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two kinds of picture with a student, and its labeller."""
    folder = tmp_path_factory.mktemp("taught")
    names = [f"{'ab'[i % 2]}/{i:02d}.png" for i in range(60)]
    draw_images(folder / "images", names)
    for name in names[::2]:
        with Image.open(folder / "images" / name) as picture:
            ImageOps.invert(picture).save(folder / "images" / name)
    made = make_run(folder / "images", names, draw=False)
    made.run["arguments"] = {**made.run.get("arguments", {}), "student": "embedded", "fast": True}
    made.save(folder / "run")
    labeller_of(folder / "run")
    return folder


@pytest.mark.slow
def test_the_student_is_saved_and_labels_new_images(taught: Path, tmp_path: Path) -> None:
    kept = Labeller.load(taught / "run" / "labeller")
    assert kept.students is not None
    assert "students" in (taught / "run" / "labeller" / "CARD.md").read_text()
    draw_images(tmp_path / "new", ["1.png", "2.png"], side=56)
    first, again = (
        predict(kept, tmp_path / "new"),
        predict(Labeller.load(taught / "run" / "labeller"), tmp_path / "new"),
    )
    pd.testing.assert_frame_equal(first.table, again.table)
    assert set(first.table["source"]) == {"student"}
    own = predict(kept, taught / "images").table
    assert set(own["in_training"]) == {1}
    assert set(own["source"]) == set(Annotations.load(taught / "run").table["source"])


@pytest.mark.slow
def test_a_labeller_is_exported_to_onnx_and_gives_the_same_probabilities(taught: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    kept = Labeller.load(taught / "run" / "labeller")
    found = predict(kept, taught / "images")
    assert export_onnx(kept, found, tmp_path / "l.onnx") < 1e-3
    session = onnxruntime.InferenceSession(tmp_path / "l.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == sorted(kept.classes)
    assert {one.name for one in session.get_inputs()} == set(json.loads(told["sizes"])) == {"look", "closer", "student"}


def test_a_run_without_a_student_says_so(run: Path, tmp_path: Path) -> None:
    draw_images(tmp_path / "new", ["1.png"], side=64)
    found = predict(labeller_of(run), tmp_path / "new")
    assert set(found.table["source"]) == {"probe"}
    card = (run / "labeller" / "CARD.md").read_text()
    assert "No student" in card
    assert "What gave these labels their value: clip 23, student 1." in card


def test_a_run_on_embeddings_of_a_file_labels_new_embeddings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"{i:02d}.png" for i in range(60)]
    values = rng.normal(size=(60, 8)) + 6 * np.eye(2, 8)[np.arange(60) % 2]
    np.savez(tmp_path / "e.npz", path=np.array(names), embedding=values)
    pd.DataFrame({"path": names, "label": ["ab"[i % 2] for i in range(60)]}).to_csv(tmp_path / "l.csv", index=False)
    command = ["audit", "--embeddings", tmp_path / "e.npz", "--labels", tmp_path / "l.csv", "--out", tmp_path / "run"]
    done = CliRunner().invoke(app, [str(one) for one in command])
    assert done.exit_code == 0, done.output
    labeller = labeller_of(tmp_path / "run")
    fresh = rng.normal(size=(4, 8)) + 6 * np.eye(2, 8)[np.arange(4) % 2]
    np.savez(tmp_path / "new.npz", path=np.array(list("wxyz")), embedding=fresh)
    found = predict(labeller, None, embeddings=tmp_path / "new.npz")
    assert found.table["label"].tolist() == ["a", "b", "a", "b"]
    np.savez(tmp_path / "short.npz", path=np.array(["x"]), embedding=fresh[:1, :5])
    with pytest.raises(InputError, match="of 5 numbers"):
        predict(labeller, None, embeddings=tmp_path / "short.npz")
    with pytest.raises(UsageError, match="--embeddings"):
        predict(labeller, tmp_path)


@pytest.mark.slow
def test_the_command_labels_new_images(run: Path, tmp_path: Path) -> None:
    draw_images(tmp_path / "new", ["n/1.png", "n/2.png"], side=64)
    command = [
        sys.executable,
        "-m",
        "autoannotate",
        "predict",
        str(run),
        str(tmp_path / "new"),
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 images in" in done.stdout
    table = pd.read_csv(tmp_path / "o" / "labels.csv")
    assert set(table["label"]) <= {"chest", "breast"}
    assert {"novelty", "unlike_training"} <= set(table.columns)
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_new_volumes_and_series_have_one_row_each_and_hashed_names_where_asked(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nibabel

    monkeypatch.setenv("AUTOANNOTATE_KEY_FILE", str(tmp_path / "hash.key"))
    (tmp_path / "new" / "Mueller").mkdir(parents=True)
    values = np.random.default_rng(0).random((20, 22, 9), dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 4, 1])), tmp_path / "new" / "Mueller" / "Anna.nii.gz")
    (tmp_path / "new" / "words.txt").write_text("words")
    labeller = labeller_of(run)
    found = predict(labeller, tmp_path / "new", item="auto")
    assert found.table[["path", "item", "slices"]].to_numpy().tolist() == [["Mueller/Anna.nii.gz", "series", "9"]]
    assert [(group.kind, group.count) for group in found.passed_over] == [("text files", 1)]
    assert len(predict(labeller, tmp_path / "new", item="image").table) == 9
    asked = ["predict", str(run), str(tmp_path / "new"), "--out", str(tmp_path / "o"), "--item", "auto", "--hash-paths"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "text files (1)" in done.output
    for file in (tmp_path / "o").iterdir():
        assert not any(marker in file.read_text() for marker in ("Mueller", "Anna"))
    table = pd.read_csv(tmp_path / "o" / "labels.csv")
    assert table["path"].str.fullmatch(r"[0-9a-f]{16}/[0-9a-f]{16}\.nii\.gz").all()
