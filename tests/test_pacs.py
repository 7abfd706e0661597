"""A PACS as the place that images come from, and as the place that labels go to: against a real Orthanc on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from flaky_proxy import Fault, flaky
from made_runs import make_run
from orthanc import Orthanc, running
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import find, find_images, fingerprint, read_image
from autoannotate.images.sources import dicomweb

PATIENT = "MARKER^NAME"
MARKERS = ("MARKER", "PID-4711", "ACC-0815", "1.2.826.0.1.3680043")


def cr(image: Image.Image, number: int, *, description: str = "Thorax", modality: str = "CR") -> bytes:
    """A radiograph as DICOM, with identifiers in its header."""
    pixels = np.asarray(image.convert("L"))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    prefix = "1.2.826.0.1.3680043.8.498."
    dataset.StudyInstanceUID = generate_uid(prefix, [f"study {number // 2}"])
    dataset.SeriesInstanceUID = generate_uid(prefix, [f"series {number}"])
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid(prefix, [f"instance {number}"])
    dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = PATIENT, "PID-4711", "ACC-0815"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.ReferringPhysicianName = "19500101", "O", "MARKER^DOCTOR"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200101", "120000", "MARKER"
    dataset.Modality, dataset.StudyDescription, dataset.SeriesNumber, dataset.InstanceNumber = (
        modality,
        description,
        1,
        1,
    )
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 7, 0, pixels.tobytes()
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def flat(value: int) -> Image.Image:
    """A grey picture whose median is the value, and that is not all of one grey."""
    values = np.full((40, 40), value, np.uint8)
    values[0, :2] = 0, 255
    return Image.fromarray(values)


@pytest.fixture(autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AUTOANNOTATE_KEY_FILE", str(tmp_path_factory.mktemp("key") / "hash.key"))
    dicomweb.server_at.cache_clear()
    yield
    dicomweb.server_at.cache_clear()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Twelve radiographs in six studies, one of them of another modality, and a report."""
    with running(tmp_path_factory.mktemp("orthanc")) as server:
        for number in range(12):
            server.upload(cr(flat(20 * number), number, modality="DX" if number == 11 else "CR"))
        yield server


def test_a_query_finds_instances_under_hashed_names_and_streams_them(pacs: Orthanc) -> None:
    found = find(f"{pacs.place}?Modality=CR")
    assert len(found.refs) == 11
    assert not any(marker in ref.path for ref in found.refs for marker in MARKERS)
    assert sorted(int(np.median(read_image(ref))) for ref in found.refs) == [20 * number for number in range(11)]
    again = find_images(f"{pacs.place}?Modality=CR")
    assert [(ref.path, fingerprint(ref)) for ref in again] == [(ref.path, fingerprint(ref)) for ref in found.refs]
    assert len(find_images(pacs.place)) == 12
    assert len(find_images(f"{pacs.place}?Modality=DX")) == 1
    assert len(find_images(f"{pacs.place}?Modality=CR&StudyDate=20200101-20201231&limit=2")) in (3, 4)
    with pytest.raises(InputError, match="No images"):
        find_images(f"{pacs.place}?Modality=MR")


def test_another_key_gives_other_names(pacs: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {ref.path for ref in find_images(pacs.place)}
    monkeypatch.setenv("AUTOANNOTATE_KEY_FILE", str(tmp_path / "other.key"))
    assert not names & {ref.path for ref in find_images(pacs.place)}
    assert (tmp_path / "other.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("query", "says"),
    [("PatientID=1", "identifies people"), ("Nonsense=1", "no attribute"), ("limit=many", "no number of studies")],
)
def test_a_query_that_cannot_be_kept_is_refused(query: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        find_images(f"dicomweb://127.0.0.1:1/dicom-web?{query}")


def test_no_server_and_a_wrong_path_are_a_sentence(pacs: Orthanc) -> None:
    with pytest.raises(InputError, match="cannot be reached"):
        find_images("dicomweb://127.0.0.1:9/dicom-web")
    with pytest.raises(InputError, match="status 404"):
        find_images(f"dicomweb://127.0.0.1:{pacs.port}/elsewhere")
    with pytest.raises(InputError, match="AUTOANNOTATE_DICOMWEB_USER"):
        find_images("dicomweb://me:secret@127.0.0.1/dicom-web")


def test_tls_with_a_name_and_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, tls=True, user=("reader", "s3cret")) as server:
        server.upload(cr(flat(77), 1))
        with pytest.raises(InputError, match="AUTOANNOTATE_DICOMWEB_CA"):
            find_images(server.place)
        dicomweb.server_at.cache_clear()
        monkeypatch.setenv("AUTOANNOTATE_DICOMWEB_CA", str(server.certificate))
        with pytest.raises(InputError, match="does not let you in"):
            find_images(server.place)
        dicomweb.server_at.cache_clear()
        monkeypatch.setenv("AUTOANNOTATE_DICOMWEB_USER", "reader:s3cret")
        (ref,) = find_images(server.place)
        assert np.median(read_image(ref)) == 77


def test_a_server_that_is_busy_late_or_breaks_off_costs_no_more_than_what_it_keeps(
    pacs: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(fault: Callable[[str, int], Fault]) -> tuple[int, set[str], int]:
        """How many images were found, what reading them said, and how many series were not told of."""
        monkeypatch.setenv(
            "AUTOANNOTATE_KEY_FILE", str(tmp_path / f"{len(list(tmp_path.iterdir()))}.key")
        )  # nothing is kept
        with flaky(pacs.rest, fault) as server:
            found, said = find(f"{server.place}?Modality=CR"), set()
            for ref in found.refs:
                try:
                    read_image(ref)
                except UnreadableImageError as error:
                    said.add(str(error).partition("/dicom-web ")[2])
            return len(found.refs), said, sum(group.count for group in found.passed_over)

    is_instance = re.compile(r"/instances/[0-9.]+$").search
    every = [series["MainDicomTags"] for series in pacs.get("/series?expand")]
    one = next(tags["SeriesInstanceUID"] for tags in every if tags["Modality"] == "CR")
    assert outcome(lambda path, before: 429 if "studies" in path and not before and one in path else None) == (
        11,
        set(),
        0,
    )
    assert outcome(lambda path, before: "half" if is_instance(path) and one in path and not before else None) == (
        11,
        set(),
        0,
    )
    assert outcome(lambda path, before: "slow" if is_instance(path) and one in path else None) == (11, set(), 0)
    found, said, _ = outcome(lambda path, before: 500 if is_instance(path) and one in path else None)
    assert (found, len(said)) == (11, 1)
    assert "answered with status 500" in said.pop()
    assert outcome(lambda path, before: 403 if path.endswith("metadata") and one in path else None) == (10, set(), 1)
    with pytest.raises(InputError, match=r"too busy \(503\), and was after three tries"):
        outcome(lambda path, before: 503)


def test_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, token="t0ken") as server:
        with pytest.raises(InputError, match="AUTOANNOTATE_DICOMWEB_TOKEN"):
            find_images(server.place)
        dicomweb.server_at.cache_clear()
        monkeypatch.setenv("AUTOANNOTATE_DICOMWEB_TOKEN", "t0ken")
        with pytest.raises(InputError, match="No images"):
            find_images(server.place)
        with pytest.raises(InputError, match="dicomwebs"):  # never in clear over a network
            find_images("dicomweb://pacs.invalid/dicom-web")


def autoannotate(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autoannotate", *map(str, arguments)], capture_output=True, text=True, check=False,
        env=os.environ | environment, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_from_a_pacs_holds_no_identifier_and_goes_on_from_the_cache(tmp_path: Path, pacs: Orthanc) -> None:
    cache = {"AUTOANNOTATE_CACHE": str(tmp_path / "cache")}
    place = f"{pacs.place}?Modality=CR"
    done = autoannotate(
        "label", place, "--classes", "dark,bright", "--out", tmp_path / "run", "--student", "none", **cache
    )
    assert done.returncode == 0, done.stderr
    assert "11 instances" in done.stderr
    again = autoannotate("label", place, "--classes", "a,b", "--out", tmp_path / "two", "--student", "none", **cache)
    assert again.returncode == 0, again.stderr
    assert "encoding" not in again.stderr  # every embedding was kept, by SOP instance: none was encoded again
    assert " 11/11 " in done.stderr
    updated = autoannotate("update", tmp_path / "run", **cache)
    assert updated.returncode == 0, updated.stderr
    written = [file for folder in ("run", "two", "cache") for file in (tmp_path / folder).rglob("*") if file.is_file()]
    assert len(written) > 8
    for text in [done.stdout, done.stderr, updated.stdout, *(file.read_bytes().decode("latin1") for file in written)]:
        assert not any(marker in text for marker in MARKERS)


@pytest.mark.slow
def test_reports_are_stored_beside_their_images_and_only_when_asked(pacs: Orthanc, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="highdicom is not here: pip install 'autoannotate[sr]'")
    place = f"{pacs.place}?Modality=CR"
    refs = find_images(place)
    run = make_run(Path(), [ref.path for ref in refs], ("pneumonia", "normal"), draw=False)
    run.run["arguments"] = {"images": place, "item": "auto"}
    run.save(tmp_path / "run")
    before = len(pacs.get("/instances"))
    asked = ["export", tmp_path / "run", "--format", "dicom-sr", "--what", "all"]
    done = autoannotate(*asked, "--out", tmp_path / "kept")
    assert done.returncode == 0, done.stderr
    assert "belong in the PACS" in done.stdout
    assert len(pacs.get("/instances")) == before
    done = autoannotate(*asked, "--out", tmp_path / "sent", "--store", pacs.place)
    assert done.returncode == 0, done.stderr
    assert "11 structured reports stored" in done.stdout
    series = pacs.get("/series?expand")
    reports = [one for one in series if one["MainDicomTags"]["Modality"] == "SR"]
    assert sum(len(one["Instances"]) for one in reports) == 11
    studies = {one["ParentStudy"] for one in series if one["MainDicomTags"]["Modality"] == "CR"}
    assert {one["ParentStudy"] for one in reports} == studies  # of the same patients and studies, not of new ones
    again = autoannotate(*asked, "--out", tmp_path / "again", "--store", pacs.place)
    assert again.returncode == 0, again.stderr
    assert len(pacs.get("/instances")) == before + 11  # the same reports are the same instances
    dicomweb.server_at.cache_clear()
    found = find(pacs.place)  # a report is no picture
    assert len(found.refs) == 12
    assert sum(group.count for group in found.passed_over) == 11
    wrong = autoannotate(*asked, "--out", tmp_path / "wrong", "--store", "https://elsewhere")
    assert wrong.returncode == 1
    assert "is no PACS: write dicomweb://" in wrong.stderr
    assert not (tmp_path / "wrong").exists()
    assert autoannotate("export", tmp_path / "run", "--store", pacs.place).returncode == 2
