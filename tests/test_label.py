"""The main job, whole: from a folder of real images to labels, doubts and a report, with the encoder in the package."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_processes import hears_ctrl_c
from made_scans import CLASSES, write_scans
from pydicom import dcmread
from pydicom.data import get_testdata_file

from autoannotate import Annotations, Annotator
from autoannotate.errors import InputError
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.labelled_set import balanced_sample
from autoannotate.labelling.label_errors.student_decision import Decision
from autoannotate.models import embedding_cache as encodings
from autoannotate.models import encoding
from autoannotate.models.encoder import Encoder
from autoannotate.runs import student_predictions, tables
from autoannotate.runs.run import LABELS, SUSPECTS
from autoannotate.runs.save import FILES


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real files that pydicom brings, each whole, mirrored and cropped, a broken one, and one with a patient's name."""
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    dicom = dcmread(get_testdata_file("CT_small.dcm", download=False))
    dicom.PatientName, dicom.PatientID = "Doe^Jane", "SECRET-4711"
    dicom.save_as(folder / "patient.dcm")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def command(scans: Path, out: Path, cache: Path) -> list[str]:
    label = [sys.executable, "-m", "autoannotate", "label", str(scans), "--classes", ",".join(CLASSES)]
    return [*label, "--out", str(out), "--cache", str(cache)]


@pytest.fixture(scope="module")
def run(
    scans: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("out") / "run"
    return out, subprocess.run(command(scans, out, cache), capture_output=True, text=True, check=False)


def test_one_command_writes_all_that_was_promised(run: Any, scans: Path) -> None:
    out, process = run
    assert process.returncode == 0, process.stderr
    assert (
        {*FILES}
        <= {path.name for path in out.iterdir() if path.name[0] != "."}
        <= {*FILES, student_predictions.FILE, tables.PROPOSALS_FILE}
    )
    labels, suspects = pd.read_csv(out / "labels.csv"), pd.read_csv(out / "suspects.csv")
    of_items = ("item", "series", "study", "patient", "slices", "telling_slice")  # since DICOM is among the images
    assert tuple(labels.columns) == (*LABELS, "note", "proposed", *of_items)
    assert tuple(suspects.columns) == SUSPECTS
    assert len(labels) == len(list(scans.rglob("*.png"))) + 1 == 82
    assert set(labels["label"]) <= set(CLASSES)
    assert set(labels["source"]) <= {"clip", "refinement", "correction", "student"}
    assert labels[["confidence", "suspect_score", "clip_confidence"]].stack().between(0, 1).all()
    assert suspects["rank"].tolist() == list(range(1, len(suspects) + 1))
    assert set(suspects["path"]) == set(labels.loc[labels["suspect"] == 1, "path"])
    assert suspects["reason"].str.len().gt(0).all()
    student = json.loads((out / "run.json").read_text())["student"]
    assert student["decision"] in set(Decision)
    assert student["note"] in process.stdout


def test_results_go_to_stdout_and_progress_to_stderr(run: Any) -> None:
    _, process = run
    assert "report.html" in process.stdout
    assert "reading and encoding" in process.stderr
    assert "reading and encoding" not in process.stdout


def test_a_broken_file_is_a_row_and_the_run_goes_on(run: Any) -> None:
    out, _ = run
    unreadable = pd.read_csv(out / "unreadable.csv")
    assert unreadable["path"].tolist() == ["broken.jpg"]
    assert unreadable["reason"].str.len().gt(10).all()


def test_nothing_from_a_header_and_no_foreign_path_reaches_an_output(run: Any, scans: Path) -> None:
    out, _ = run
    for name in FILES:
        text = (out / name).read_text()
        assert "Doe" not in text
        assert "4711" not in text
        if name.endswith(".csv"):
            assert str(scans) not in text


@pytest.mark.slow
def test_the_run_says_how_to_repeat_it_and_the_same_seed_gives_the_same_bytes(
    run: Any, scans: Path, tmp_path: Path
) -> None:
    out, _ = run
    about = json.loads((out / "run.json").read_text())
    assert about["classes"] == CLASSES
    assert len(about["model"]["weights_sha256"]) == 64
    assert about["command"].startswith("autoannotate label")
    again = subprocess.run(command(scans, tmp_path / "again", tmp_path / "fresh"), capture_output=True, check=False)
    assert again.returncode == 0
    for name in ("labels.csv", "suspects.csv", "unreadable.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


def test_a_second_run_with_other_classes_encodes_no_image(
    run: Any, scans: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        assert not list(arguments[1]), "an image was encoded again"  # type: ignore[call-overload]
        return real(*arguments, **options)

    real = Encoder.encode_images
    monkeypatch.setattr(Encoder, "encode_images", refuse)
    annotations = Annotator(["CT scan", "everyday photograph"], cache=cache, student="none").label(scans)
    assert set(annotations.table["label"]) <= {"CT scan", "everyday photograph"}


def test_features_of_an_older_form_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = encodings.EncodingCache(tmp_path, "weights")
    kept.put(["scan"], np.ones((1, 4)), np.ones((1, 8)))
    assert kept.known(["scan"]) == {"scan"}
    assert kept.get(["scan"])[1].shape == (1, 8)
    monkeypatch.setattr(encodings, "FORM", encodings.FORM + 1)
    assert encodings.EncodingCache(tmp_path, "weights").known(["scan"]) == set()


def test_a_stopped_run_goes_on_where_it_was(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "ENCODED_AT_ONCE", 10)
    encoded: list[int] = []

    def stopping(items: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
        for i, item in enumerate(items):
            if description == "reading and encoding" and i == 25:
                raise KeyboardInterrupt
            yield item

    def counting(items: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
        if description == "reading and encoding":
            encoded.append(total or 0)
        yield from items

    settings: dict[str, Any] = {"cache": tmp_path, "student": "none"}
    with pytest.raises(KeyboardInterrupt):
        Annotator(CLASSES, **settings).label(scans, track=stopping)
    Annotator(CLASSES, **settings).label(scans, track=counting)
    files = len([file for file in scans.rglob("*") if file.is_file()])
    assert encoded == [files - 20 + 1]  # the broken one is tried again


@pytest.mark.slow
def test_ctrl_c_is_one_sentence_and_costs_nothing_done(scans: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(scans, tmp_path / "out", tmp_path / "cache"), stderr=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "cache").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command to go on" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "labels.csv").exists()


def test_real_files_get_the_class_that_they_are(run: Any) -> None:
    labels = pd.read_csv(run[0] / "labels.csv").set_index("path")["label"]
    assert labels["patient.dcm"] == "CT"


def test_a_folder_where_nothing_can_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_text("this is no picture")
    with pytest.raises(InputError, match=r"None of the 1 images could be read.*scan\.png"):
        Annotator(["chest", "breast"], cache=False).label(tmp_path)


def test_the_cache_folder_is_for_this_user_alone(run: Any, cache: Path) -> None:
    assert (cache / "encodings.sqlite").stat().st_mode & 0o077 == 0


def labelled(data: Path, folder: Path, sets: dict[str, str], count: int, seed: int = 0) -> dict[str, str]:
    """Copy `count` images of each set (`chest_nih`, or one label of it, `chest_nih:normal`) and say what each is."""
    folder.mkdir()
    found = read_labelled([f"{name}={data / 'eval' / source}" for name, source in sets.items()])
    truth = {}
    for i in balanced_sample(found.labels, count, np.random.default_rng(seed)):
        copied = found.refs[i].path.replace("/", "-")
        shutil.copy(found.refs[i].file, folder / copied)
        truth[copied] = found.class_names[found.labels[i]]
    return truth


@pytest.mark.slow
@pytest.mark.parametrize(
    "sets",
    [{"chest": "chest_nih", "breast": "breast_busi"}, {"blood": "blood_pbc", "skin": "skin_ham10000"}],
    ids=lambda sets: " against ".join(sets),
)
def test_organs_are_told_apart_and_the_labels_are_no_worse_than_clip(
    data_dir: Path, tmp_path: Path, sets: dict[str, str]
) -> None:
    truth = labelled(data_dir, tmp_path / "images", sets, 300)
    annotations = Annotator(list(sets), cache=tmp_path / "cache").label(tmp_path / "images")
    expected = annotations.table["path"].map(truth)
    assert (annotations.table["clip_label"] == expected).mean() >= 0.985
    assert (annotations.table["label"] == expected).mean() >= 0.995
    assert annotations.run["reliability"]["meaningful"]


@pytest.mark.slow
def test_classes_that_look_the_same_are_called_out_and_left_as_they_were(data_dir: Path, tmp_path: Path) -> None:
    sets = {label: f"chest_nih:{label}" for label in ("normal", "abnormal")}
    labelled(data_dir, tmp_path / "images", sets, 100)
    annotations = Annotator(list(sets), cache=False).label(tmp_path / "images")
    assert not annotations.run["reliability"]["meaningful"]
    assert "about 20 images of each" in annotations.run["reliability"]["advice"]
    assert (annotations.table["label"] == annotations.table["clip_label"]).all()
    annotations.save(tmp_path / "run")
    assert "look the same to this encoder" in (tmp_path / "run" / "report.html").read_text()
    assert Annotations.load(tmp_path / "run").record.student.decision == Decision.GUESSES
