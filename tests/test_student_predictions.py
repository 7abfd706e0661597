"""What the student of a run said, kept for the updates: it comes back as it was, of its own images, or not at all."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_runs import make_run
from PIL import Image

from autoannotate import Annotations
from autoannotate.images import find_images, stamp
from autoannotate.runs import student_predictions
from autoannotate.runs.picture_stamps import stamps
from autoannotate.runs.save import FILES

RNG = np.random.default_rng(0)


def said(images: int = 4, classes: int = 2) -> np.ndarray:
    return RNG.dirichlet(np.ones(classes), size=images)


@pytest.fixture
def predicted() -> np.ndarray:
    return said()


@pytest.fixture
def run(tmp_path: Path, predicted: np.ndarray) -> Annotations:
    made = make_run(tmp_path / "scans")
    content = student_predictions.pack(predicted)
    marks = "".join(stamp(ref).ljust(8, "0") for ref in made_order(tmp_path, made))
    known = {"said": student_predictions.digest(content), "kind": "embedded"}
    made = replace(made, run={**made.run, "student": known, "stamps": marks}, student=content)
    made.save(tmp_path / "run")
    return made


def made_order(tmp_path: Path, made: Annotations) -> list:
    refs = {ref.path: ref for ref in find_images(tmp_path / "scans")}
    return [refs[path] for path in made.table["path"]]


def about(content: bytes, place: Path, refs: list) -> np.ndarray | None:
    """What the run in `place` knows of these images, as an update asks for it."""
    known = stamps(place / "run", 0, {ref.path: ref for ref in refs})
    paths = Annotations.load(place / "run").table["path"].tolist()
    return student_predictions.about(content, paths, known, refs, 2)


def test_it_is_one_more_file_of_the_run_without_any_name_in_it(run: Annotations, tmp_path: Path) -> None:
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == sorted((*FILES, student_predictions.FILE))
    content = (tmp_path / "run" / student_predictions.FILE).read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        assert {name: held[name].dtype for name in held} == {"said": np.dtype(np.float16)}
    assert Annotations.load(tmp_path / "run").student == content == run.student


def test_it_comes_back_image_by_image_in_any_order(run: Annotations, tmp_path: Path, predicted: np.ndarray) -> None:
    refs = made_order(tmp_path, run)[::-1][:3]
    assert run.student is not None
    found = about(run.student, tmp_path, refs)
    assert found is not None
    np.testing.assert_allclose(found, predicted[::-1][:3], atol=1e-3)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_what_a_run_of_0_1_0_kept_beside_the_probabilities_is_left_aside(run: Annotations, tmp_path: Path) -> None:
    three = RNG.dirichlet(np.ones(2), size=(3, 4))
    found = about(student_predictions.pack(three), tmp_path, made_order(tmp_path, run))
    assert found is not None
    np.testing.assert_allclose(found, three[0], atol=1e-3)


def test_of_a_picture_that_was_replaced_it_says_nothing(run: Annotations, tmp_path: Path) -> None:
    refs = made_order(tmp_path, run)
    Image.new("RGB", (70, 50)).save(tmp_path / "scans" / refs[1].path)
    assert run.student is not None
    found = about(run.student, tmp_path, refs)
    assert found is not None
    assert found[1].tolist() == [0.5, 0.5]
    assert not np.allclose(found[0], 0.5)


def test_a_file_of_another_run_or_a_damaged_one_is_not_heard(run: Annotations, tmp_path: Path) -> None:
    refs, file = made_order(tmp_path, run), tmp_path / "run" / student_predictions.FILE
    file.write_bytes(student_predictions.pack(said()))
    assert Annotations.load(tmp_path / "run").student is None
    file.unlink()
    assert Annotations.load(tmp_path / "run").student is None
    for content in (b"no archive", student_predictions.pack(said(images=5)), student_predictions.pack(said(classes=3))):
        assert about(content, tmp_path, refs) is None


def test_a_copy_of_a_run_keeps_it_and_a_run_without_a_student_leaves_none_behind(
    run: Annotations, tmp_path: Path
) -> None:
    Annotations.load(tmp_path / "run").save(tmp_path / "copy")
    assert Annotations.load(tmp_path / "copy").student == run.student
    make_run(tmp_path / "scans").save(tmp_path / "copy", overwrite=True)
    assert not (tmp_path / "copy" / student_predictions.FILE).exists()
