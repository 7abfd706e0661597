"""DICOM objects that are no pictures, taken as such where `--include` asks for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut, apply_windowing, pixel_array
from test_images import pixels, reason
from typer.testing import CliRunner

from autoannotate.cli.main import app
from autoannotate.images import find

highdicom = pytest.importorskip("highdicom")
CENTRE, WIDTH = 100, 600


def state_of(image: Dataset, file: Path, **attributes: object) -> Path:
    """A grey scale softcopy presentation state of an image, as highdicom writes it, with further attributes."""
    from highdicom.content import VOILUTTransformation
    from highdicom.pr import GrayscaleSoftcopyPresentationState, SoftcopyVOILUTTransformation

    assert issubclass(SoftcopyVOILUTTransformation, VOILUTTransformation)
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=[image],
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Maker",
        manufacturer_model_name="Model",
        software_versions="1",
        device_serial_number="1",
        content_label="STATE",
        voi_lut_transformations=[SoftcopyVOILUTTransformation(window_center=CENTRE, window_width=WIDTH)],
    )
    for name, value in attributes.items():
        setattr(state, name, value)
    state.save_as(file)
    return file


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    (folder / "image").mkdir(parents=True)
    (folder / "states").mkdir()
    shutil.copyfile(str(get_testdata_file("CT_small.dcm")), folder / "image" / "ct.dcm")
    return folder


def test_a_presentation_state_shows_its_image_as_it_says(study: Path) -> None:
    image = dcmread(study / "image" / "ct.dcm")
    state_of(image, study / "states" / "plain.dcm")
    state_of(
        image, study / "states" / "other.dcm", PresentationLUTShape="INVERSE", ImageRotation=90, ImageHorizontalFlip="Y"
    )
    assert [ref.path for ref in find(study).refs] == ["image/ct.dcm"]
    assert len(find(study, ["presentations"]).refs) == 3
    values = apply_modality_lut(pixel_array(image), image)
    shown = Dataset()
    shown.WindowCenter, shown.WindowWidth, shown.BitsStored, shown.PixelRepresentation = CENTRE, WIDTH, 16, 1
    shown.PhotometricInterpretation = "MONOCHROME2"
    expected = apply_windowing(values.astype(np.int32), shown).astype(float)
    expected = (expected + 2**15) / (2**16 - 1) * 255
    found = pixels(study / "states" / "plain.dcm")[..., 0].astype(float)
    assert np.abs(found - expected).mean() < 1
    assert np.abs(found - pixels(study / "image" / "ct.dcm")[..., 0]).mean() > 10  # its own window is another one
    turned = pixels(study / "states" / "other.dcm")[..., 0].astype(float)
    assert np.abs(turned - np.rot90(255 - expected, -1)[:, ::-1]).mean() < 1


def test_a_state_whose_image_is_elsewhere_says_so(study: Path) -> None:
    state = state_of(dcmread(study / "image" / "ct.dcm"), study / "states" / "plain.dcm")
    (study / "image" / "ct.dcm").unlink()
    assert "neither in its folder nor in one beside it" in reason(state)


@pytest.mark.slow
def test_label_takes_what_is_asked_for_and_counts_the_rest(study: Path, tmp_path: Path) -> None:
    state_of(dcmread(study / "image" / "ct.dcm"), study / "states" / "plain.dcm")
    for name in ("liver_1frame.dcm", "rtdose_1frame.dcm"):
        shutil.copyfile(str(get_testdata_file(name)), study / name)

    def label(out: str, *options: str) -> tuple[set[str], str]:
        done = CliRunner().invoke(
            app,
            [
                "label",
                str(study),
                "--classes",
                "chest,breast",
                "--student",
                "none",
                "--out",
                str(tmp_path / out),
                *options,
            ],
        )
        assert done.exit_code == 0, done.output
        return set(pd.read_csv(tmp_path / out / "labels.csv").path), done.output

    paths, said = label("usual")
    assert paths == {"image/ct.dcm"}
    assert "DICOM presentation states" in said
    paths, said = label("all", "--include", "segmentations,doses,presentations")
    assert paths == {"image/ct.dcm", "states/plain.dcm", "liver_1frame.dcm", "rtdose_1frame.dcm"}
    assert "presentation states" not in said
    wrong = CliRunner().invoke(app, ["label", str(study), "--classes", "a,b", "--include", "reports"])
    assert wrong.exit_code == 2
    assert "--include takes segmentations, doses, presentations" in wrong.output


def test_audit_and_predict_take_them_too(study: Path, tmp_path: Path) -> None:
    shutil.copyfile(str(get_testdata_file("rtdose_1frame.dcm")), study / "dose.dcm")
    for i in range(6):
        for name, shade in (("a", 40), ("b", 200)):
            Image.fromarray(np.full((32, 32), shade + i, np.uint8)).save(study / f"{name}{i}.png")
    rows = [f"{name}{i}.png,{name}" for i in range(6) for name in "ab"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows, "dose.dcm,a", "image/ct.dcm,b"]))
    options = ["--labels", str(tmp_path / "labels.csv"), "--student", "none", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, ["audit", str(study), *options])
    assert done.exit_code == 1  # the dose is labelled, and no picture
    assert "dose.dcm" in done.output
    done = CliRunner().invoke(app, ["audit", str(study), *options, "--include", "doses"])
    assert done.exit_code == 0, done.output
    assert "dose.dcm" in set(pd.read_csv(tmp_path / "run" / "labels.csv").path)
    out = ["--out", str(tmp_path / "new")]
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), str(study), *out, "--include", "doses"])
    assert done.exit_code == 0, done.output
    assert "dose.dcm" in set(pd.read_csv(tmp_path / "new" / "labels.csv").path)
