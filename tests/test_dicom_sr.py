"""Labels as DICOM structured reports: TID 1500, codes, what they point at, and what cannot have one."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from made_runs import make_run
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.sr._concepts_dict import concepts
from pydicom.uid import ComprehensiveSRStorage

from autoannotate import Annotations
from autoannotate.errors import InputError, UsageError
from autoannotate.labelling.zero_shot.vocabulary_file import load_library

highdicom = pytest.importorskip("highdicom", reason="highdicom is not here: pip install 'autoannotate[sr]'")


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    (tmp_path / "scans").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(str(get_testdata_file(name)), tmp_path / "scans" / name)
    Image.fromarray(np.eye(32, dtype=np.uint8) * 255).save(tmp_path / "scans" / "photo.png")
    paths = ["CT_small.dcm", "MR_small.dcm", "photo.png"]
    return make_run(tmp_path / "scans", paths, classes=("pneumonia", "a finding of ours with a long name"), draw=False)


def test_a_report_names_the_finding_and_points_at_the_image(run: Annotations, tmp_path: Path) -> None:
    made = run.export("dicom-sr", tmp_path / "reports", "all")
    report = highdicom.sr.srread(tmp_path / "reports" / "CT_small.dcm")
    image = dcmread(tmp_path / "scans" / "CT_small.dcm", stop_before_pixels=True)
    assert report.SOPClassUID == ComprehensiveSRStorage
    assert (report.StudyInstanceUID, report.PatientID) == (image.StudyInstanceUID, image.PatientID)
    assert report.SeriesInstanceUID != image.SeriesInstanceUID
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    (group,) = report.content.get_image_measurement_groups()
    assert (group.finding_type.value, group.finding_type.scheme_designator) == ("233604007", "SCT")
    (sure,) = group.get_measurements()
    assert (sure.name.value, sure.value) == ("111012", 91.23)
    assert [source.referenced_sop_instance_uid for source in group.source_images] == [image.SOPInstanceUID]
    other = highdicom.sr.srread(tmp_path / "reports" / "MR_small.dcm")
    finding = other.content.get_image_measurement_groups()[0].finding_type
    assert finding.scheme_designator == "99AUTOANNOTATE"
    assert finding.meaning == "a finding of ours with a long name"
    assert len(finding.value) <= 16
    left_out = (tmp_path / "reports-left-out.csv").read_text()
    assert 'photo.png,"It is no DICOM file' in left_out
    assert made[0] == tmp_path / "reports"


def test_the_same_label_is_the_same_instance_and_another_is_another(run: Annotations, tmp_path: Path) -> None:
    run.export("dicom-sr", tmp_path / "one", "all")
    run.export("dicom-sr", tmp_path / "two", "all")
    run.table.loc[1, "label"] = run.classes[0]
    run.export("dicom-sr", tmp_path / "changed", "all")
    uid = [dcmread(tmp_path / name / "MR_small.dcm").SOPInstanceUID for name in ("one", "two", "changed")]
    assert uid[0] == uid[1] != uid[2]


def test_frames_of_one_file_are_named_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    shutil.copy(str(get_testdata_file("emri_small.dcm")), tmp_path / "scans" / "mr.dcm")
    run = make_run(tmp_path / "scans", ["mr.dcm#2", "mr.dcm#5"], draw=False)
    run.export("dicom-sr", tmp_path / "out", "all")
    report = highdicom.sr.srread(tmp_path / "out" / "mr-frame-0002.dcm")
    (source,) = report.content.get_image_measurement_groups()[0].source_images
    assert source.referenced_frame_numbers == [3]


def test_labels_that_are_no_finding_and_runs_without_dicom_have_no_report(run: Annotations, tmp_path: Path) -> None:
    run.table.loc[1, "label"] = "none-of-these"
    run.export("dicom-sr", tmp_path / "out", "all")
    assert "none-of-these, is no finding" in (tmp_path / "out-left-out.csv").read_text()
    flat = make_run(tmp_path / "flat", ["a.png"])
    with pytest.raises(InputError, match=r"No structured report can be made.*no DICOM file"):
        flat.export("dicom-sr", tmp_path / "none", "all")
    with pytest.raises(UsageError, match="carries no pictures"):
        run.export("dicom-sr", tmp_path / "linked", "all", link="copy")


def test_the_codes_of_the_prompts_mean_what_dicom_says_they_mean(tmp_path: Path) -> None:
    codes = load_library().codes
    assert len(codes) > 40
    meanings: defaultdict[str, str] = defaultdict(str)
    for concept in concepts["SCT"].values():
        for value, (text, _) in concept.items():
            meanings[value] += f" {text}"
    known = [code for code in codes.values() if code.value in meanings]
    assert len(known) > 25
    for code in known:  # a code copied wrongly would mean something without a word in common
        words = {word.strip("(),").lower() for word in meanings[code.value].split()}
        mine = {word.lower() for word in code.meaning.split()}
        assert words & mine or any(m[:5] == w[:5] for m in mine for w in words), (code, meanings[code.value])
    own = tmp_path / "own.yaml"
    own.write_text("codes: {pneumonia: RADLEX RID5350 pneumonia}\n")
    code = load_library(own).code("Pneumonia")
    assert code is not None
    assert (code.scheme, code.value) == ("RADLEX", "RID5350")
    own.write_text("codes: {pneumonia: '233604007'}\n")
    with pytest.raises(InputError, match="a scheme, a value and a meaning"):
        load_library(own)


def test_a_damaged_header_costs_its_own_report_alone_and_is_not_shown(
    run: Annotations, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import logging

    scan = tmp_path / "scans" / "MR_small.dcm"
    whole = scan.read_bytes()
    scan.write_bytes(whole.replace(b"DA\x08\x002004", b"DA\x08\x002\x0e04"))
    assert scan.read_bytes() != whole
    heard = logging.StreamHandler()  # as a library that calls logging.basicConfig adds one
    logging.getLogger().addHandler(heard)
    try:
        run.export("dicom-sr", tmp_path / "reports", "all")
    finally:
        logging.getLogger().removeHandler(heard)
    assert [file.name for file in (tmp_path / "reports").glob("*.dcm")] == ["CT_small.dcm"]
    assert 'MR_small.dcm,"Its header is damaged' in (tmp_path / "reports-left-out.csv").read_text()
    assert not any(word in text for word in ("Invalid value", "2\x0e04") for text in capfd.readouterr())
