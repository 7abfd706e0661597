"""Items: a series, a volume or a file of frames has one row and one label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from autoannotate import Annotations, Annotator
from autoannotate.errors import UsageError
from autoannotate.images import find_images, read_image
from autoannotate.images.items import items_of
from autoannotate.images.ref import MOST_SLICES

AXIAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]


@pytest.fixture(autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOANNOTATE_KEY_FILE", str(tmp_path_factory.mktemp("key") / "hash.key"))


def slice_of(
    file: Path, place: float, *, series: str = "s", study: str = "t", modality: str = "CT", number: int | None = None,
    orientation: list[int] = AXIAL, kind: str = "AXIAL", stated: bool = True,
) -> None:  # fmt: skip
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[series])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[study])
    dataset.PatientID, dataset.Modality, dataset.ImageType = "MARKER-4711", modality, ["ORIGINAL", "PRIMARY", kind]
    if stated:
        normal = np.cross(orientation[:3], orientation[3:])
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = list(normal * place), orientation
    if number is not None:
        dataset.InstanceNumber = number
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.BitsAllocated = 1, "MONOCHROME2", 8
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 7, 0
    dataset.PixelData = np.random.default_rng(int(place)).integers(0, 255, (16, 16), dtype=np.uint8).tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(file, enforce_file_format=True)


def names(item) -> list[str]:
    return [Path(ref.path).name for ref in item.refs]


def test_slices_are_in_order_of_position_whatever_their_names_and_numbers(tmp_path: Path) -> None:
    for name, place in {"a": 30, "b": 10, "c": 20, "d": 0}.items():
        slice_of(tmp_path / "ct" / f"{name}.dcm", place, number=place % 7)
    (item,) = items_of(find_images(tmp_path))
    assert (item.path, item.kind, names(item)) == ("ct", "series", ["d.dcm", "b.dcm", "c.dcm", "a.dcm"])
    assert all((item.series, item.study, item.patient))
    assert "MARKER" not in repr(item)
    assert item.notes == ()


def test_without_positions_the_instance_numbers_decide(tmp_path: Path) -> None:
    for name, number in {"a": 3, "b": 1, "c": 10}.items():
        slice_of(tmp_path / f"{name}.dcm", 0, number=number, stated=False)
    (item,) = items_of(find_images(tmp_path))
    assert names(item) == ["b.dcm", "a.dcm", "c.dcm"]
    assert "order of their numbers" in item.notes[0]


def test_gaps_and_duplicates_are_said(tmp_path: Path) -> None:
    for number, place in enumerate([0, 5, 10, 10, 15, 30, 35]):
        slice_of(tmp_path / f"{number}.dcm", place)
    (item,) = items_of(find_images(tmp_path))
    assert item.notes == ("1 slice lies where another one does.", "2 slices are missing between others.")


def enhanced(file: Path, places: list[tuple[float, list[int]]]) -> None:
    """An enhanced CT: one file, whose frames say in their functional groups where they lie."""
    slice_of(file, 0, stated=False)
    dataset = dcmread(file)
    groups = []
    for place, orientation in places:
        position, plane, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = list(np.cross(orientation[:3], orientation[3:]) * place)
        plane.ImageOrientationPatient = orientation
        group.PlanePositionSequence, group.PlaneOrientationSequence = [position], [plane]
        groups.append(group)
    dataset.NumberOfFrames, dataset.PerFrameFunctionalGroupsSequence = len(places), groups
    dataset.PixelData = np.random.default_rng(0).integers(0, 255, (len(places), 16, 16), dtype=np.uint8).tobytes()
    dataset.save_as(file, enforce_file_format=True)


def test_frames_of_an_enhanced_file_are_in_order_of_position(tmp_path: Path) -> None:
    enhanced(tmp_path / "ct.dcm", [(10, AXIAL), (0, AXIAL), (5, AXIAL), (20, AXIAL)])
    (item,) = items_of(find_images(tmp_path))
    assert names(item) == ["ct.dcm#1", "ct.dcm#2", "ct.dcm#0", "ct.dcm#3"]
    assert item.notes == ("1 slice is missing between others.",)
    enhanced(tmp_path / "ct.dcm", [(10, AXIAL), (3, SAGITTAL), (5, AXIAL), (1, SAGITTAL)])
    (item,) = items_of(find_images(tmp_path))
    assert names(item) == ["ct.dcm#2", "ct.dcm#0", "ct.dcm#3", "ct.dcm#1"]
    assert "2 orientations" in item.notes[0]


def test_localisers_and_other_orientations_are_items_of_their_own(tmp_path: Path) -> None:
    for number in range(4):
        slice_of(tmp_path / "s" / f"axial{number}.dcm", 5 * number)
    for number in range(3):
        slice_of(tmp_path / "s" / f"sagittal{number}.dcm", 5 * number, orientation=SAGITTAL)
    slice_of(tmp_path / "s" / "scout.dcm", 0, orientation=SAGITTAL, kind="LOCALIZER")
    items = items_of(find_images(tmp_path))
    assert sorted(len(item.refs) for item in items) == [1, 3, 4]
    assert all(len({name[:5] for name in names(item)}) == 1 for item in items)
    assert len({item.path for item in items}) == 3


def test_the_level_can_be_chosen(tmp_path: Path) -> None:
    for series in ("1", "2"):
        for number in range(3):
            slice_of(tmp_path / f"{series}-{number}.dcm", number, series=series)
    slice_of(tmp_path / "xray.dcm", 0, series="3", study="u", modality="CR")
    refs = find_images(tmp_path)
    assert {kind: len(items_of(refs, kind)) for kind in ("auto", "image", "file", "series", "study", "patient")} == {
        "auto": 3, "image": 7, "file": 7, "series": 3, "study": 2, "patient": 1,
    }  # fmt: skip
    with pytest.raises(UsageError, match="series"):
        items_of(refs, "volume")


def test_many_slices_are_sampled_evenly(tmp_path: Path) -> None:
    for number in range(100):
        slice_of(tmp_path / f"{number}.dcm", number)
    (item,) = items_of(find_images(tmp_path))
    places = [int(Path(ref.path).stem) for ref in item.sampled]
    assert len(places) == MOST_SLICES
    assert (places[0], places[-1]) == (0, 99)
    assert set(np.diff(places)) <= {3, 4}


def test_a_volume_and_a_file_of_pages_are_one_item(tmp_path: Path) -> None:
    import nibabel

    values = np.random.default_rng(0).random((20, 22, 40), dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "brain.nii.gz")
    pages = [Image.fromarray(np.full((9, 9), grey, np.uint8)) for grey in (1, 2, 3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    np.savez(tmp_path / "set.npz", train_images=np.zeros((2, 8, 8), np.uint8))
    items = items_of(find_images(tmp_path))
    assert [(item.path, item.kind, len(item.refs)) for item in items] == [
        ("brain.nii.gz", "series", 40), ("pages.tif", "file", 3), ("set.npz#0", "image", 1), ("set.npz#1", "image", 1),
    ]  # fmt: skip


def test_a_run_has_one_row_an_item_and_stays_so(tmp_path: Path) -> None:
    for series in range(6):
        for number in range(4):
            slice_of(tmp_path / "in" / f"{series}" / f"{number}.dcm", 10 * series + number, series=str(series))
    broken = tmp_path / "in" / "0" / "3.dcm"
    broken.write_bytes(broken.read_bytes()[:-100])
    annotator = Annotator(["chest CT", "brain MRI"], student="none", cache=tmp_path / "cache")
    run = annotator.label(tmp_path / "in")
    assert list(run.table["path"]) == [str(series) for series in range(6)]
    assert set(run.table["item"]) == {"series"}
    assert set(run.table["slices"]) == {"4"}
    for path, telling in zip(run.table["path"], run.table["telling_slice"], strict=True):
        assert telling.startswith(f"{path}/")
        assert telling.endswith(".dcm")
    assert "1 of 4 slices could not be read" in run.table["note"][0]
    assert list(run.unreadable["path"]) == ["0/3.dcm"]
    run.save(tmp_path / "run")
    again = Annotations.load(tmp_path / "run")
    assert again.read_image("2").size == (16, 16)
    assert list(again.table["telling_slice"]) == list(run.table["telling_slice"])
    updated = Annotator.from_run(again).update(again)
    assert list(updated.table["label"]) == list(run.table["label"])
    assert list(updated.unreadable["path"]) == ["0/3.dcm"]
    for file in (tmp_path / "run").iterdir():
        assert b"MARKER-4711" not in file.read_bytes()


def test_the_volumes_of_a_medmnist_file_are_items_of_slices(tmp_path: Path) -> None:
    stacks = np.zeros((3, 4, 8, 6), dtype=np.uint8)
    stacks += np.arange(3, dtype=np.uint8)[:, None, None, None] * 50 + np.arange(4, dtype=np.uint8)[:, None, None] * 10
    np.savez(
        tmp_path / "set3d.npz",
        train_images=stacks[:2],
        val_images=stacks[2:],
        train_labels=[[0], [1]],
        val_labels=[[1]],
    )
    refs = find_images(tmp_path)
    assert len(refs) == 12
    items = items_of(refs)
    assert [(item.path, item.kind, len(item.refs)) for item in items] == [
        (f"set3d.npz#{number}", "series", 4) for number in range(3)
    ]
    assert [part.path for part in items[1].refs] == [f"set3d.npz#1/{i}" for i in range(4)]
    shades = [[int(np.asarray(read_image(part))[0, 0, 0]) for part in item.refs] for item in items]
    assert shades == (np.arange(3)[:, None] * 50 + np.arange(4) * 10).tolist()
    assert len(items_of(refs, "image")) == 12
    from autoannotate.evaluation.datasets import read_labelled

    assert read_labelled([str(tmp_path / "set3d.npz")]).labels.tolist() == [0, 1, 1]


def test_the_report_shows_the_middle_and_the_telling_slice_of_a_doubtful_item(tmp_path: Path) -> None:
    import base64
    import io
    import re

    import nibabel
    from made_runs import make_run

    (tmp_path / "in").mkdir()
    values = np.broadcast_to(20 * np.arange(10, dtype=np.int16), (24, 24, 10)).copy()
    values[:2, :2] = 255
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 4, 1])), tmp_path / "in" / "a.nii.gz")
    run = make_run(tmp_path / "in", ["a.nii.gz"], draw=False)
    run.run["arguments"] = {"images": str(tmp_path / "in"), "item": "auto"}
    type(run)(run.table.assign(telling_slice="a.nii.gz#9"), run.suspects, run.unreadable, run.run).save(
        tmp_path / "run"
    )
    report = (tmp_path / "run" / "report.html").read_text()
    telling = re.search(r'<img src="data:image/jpeg;base64,([^"]+)"[^>]+alt="The telling slice of a.nii.gz"', report)
    middle = re.search(r'<img src="data:image/jpeg;base64,([^"]+)"[^>]+alt="Suspect 1', report)
    assert telling
    assert middle
    shades = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))[12, 12].mean() for found in (middle, telling)
    ]
    assert shades[0] < shades[1] - 30


def test_an_audit_takes_the_items_that_its_labels_name(tmp_path: Path) -> None:
    import nibabel

    from autoannotate.annotator.audit_items import to_audit

    for name in "abcd":
        values = np.random.default_rng(ord(name)).random((16, 16, 4), dtype=np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 4, 1])), tmp_path / f"{name}.nii.gz")
    volumes, slices = tmp_path / "volumes.csv", tmp_path / "slices.csv"
    volumes.write_text("path,label\na.nii.gz,x\nb.nii.gz,y\nc.nii.gz,x\nd.nii.gz,y\n")
    slices.write_text(
        "path,label\n" + "".join(f"{name}.nii.gz#{i},{'xy'[i % 2]}\n" for name in "abcd" for i in range(4))
    )
    assert [ref.path for ref in to_audit(tmp_path, volumes, "auto", False).refs] == [f"{n}.nii.gz" for n in "abcd"]
    assert len(to_audit(tmp_path, slices, "auto", False).refs) == 16
    assert len(to_audit(tmp_path, volumes, "image", False).refs) == 16
    run = Annotator(["x", "y"], student="none", cache=tmp_path / "cache").audit(tmp_path, volumes)
    assert run.table[["path", "given_label", "item", "slices"]].to_numpy().tolist() == [
        [f"{name}.nii.gz", label, "series", "4"] for name, label in zip("abcd", "xyxy", strict=True)
    ]  # fmt: skip
    assert run.record.items.startswith("4 items of 16 images")
    assert [group["kind"] for group in run.record.passed_over] == ["tables"]
