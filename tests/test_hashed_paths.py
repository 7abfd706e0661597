"""`--hash-paths`: names of files and folders, which may name patients, reach no output; the run's own user finds the images."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import draw_images
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR
from typer.testing import CliRunner

from autoannotate import Annotations
from autoannotate.cli.main import app
from autoannotate.errors import InputError
from autoannotate.images import find_images
from autoannotate.images.hashed_paths import hashed, place, remember_place, renamed
from autoannotate.images.items import IDENTIFYING, items_of
from autoannotate.runs.pictures import pictures_of
from autoannotate.runs.record import RunRecord

MARKERS = ("Mueller", "mueller", "Anna", "4711")


@pytest.fixture(autouse=True)
def key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path_factory.mktemp("key") / "hash.key"
    monkeypatch.setenv("AUTOANNOTATE_KEY_FILE", str(file))
    return file


def scans(folder: Path) -> Path:
    draw_images(folder, [f"Mueller_Anna/{i}-Mueller.png" for i in range(6)] + ["Anna.4711/a.b.PNG", "x.png"])
    scan = dcmread(str(get_testdata_file("CT_small.dcm")))
    for element in scan:  # every text of the header, and one in a private group
        if element.VR in ("PN", "LO", "SH", "LT", "ST", "UT", "AE") and element.tag.group != 2:
            element.value = "Mueller^Anna" if element.VR == "PN" else "Anna 4711"
    for name in IDENTIFYING:
        if name not in scan and dictionary_VR(name) in ("PN", "LO", "SH", "LT", "ST", "UT"):
            setattr(scan, name, "Mueller^Anna" if dictionary_VR(name) == "PN" else "Mueller 4711")
    (folder / "4711.Mueller").write_bytes(bytes(range(200)))  # no ending, but a name
    scan.private_block(0x0099, "Mueller", create=True).add_new(1, "LO", "Anna")
    scan.save_as(folder / "Mueller_Anna" / "ct.dcm")
    return folder


def test_names_are_hashed_part_by_part_and_endings_stay(tmp_path: Path) -> None:
    found = find_images(scans(tmp_path / "Mueller"))
    names = hashed(found)
    assert not any(marker in ref.path for ref in names for marker in MARKERS)
    assert {Path(ref.path).suffix for ref in names} == {".png", ".dcm"}
    assert len({ref.path for ref in names}) == len(found)
    assert (
        len({ref.path.partition("/")[0] for ref in names if "/" in ref.path}) == 2
    )  # images of a folder stay together
    assert [ref.path for ref in hashed(find_images(tmp_path / "Mueller"))] == [ref.path for ref in names]


def test_items_are_known_again_under_their_new_names(tmp_path: Path) -> None:
    found = find_images(scans(tmp_path / "Mueller"))
    before, after = items_of(found), items_of(hashed(found))
    names = renamed(before, after)
    file = {item.path: item.refs[0].file for item in after}
    assert [file[names[item.path]] for item in before] == [item.refs[0].file for item in before]
    assert [item.refs[0].file for item in after] != [item.refs[0].file for item in before]  # the order is another


def test_frames_keep_their_numbers(tmp_path: Path) -> None:
    from PIL import Image

    pages = [Image.new("L", (9, 9), value) for value in (1, 2, 3)]
    pages[0].save(tmp_path / "Anna.tif", save_all=True, append_images=pages[1:])
    assert [ref.path.partition("#")[2] for ref in hashed(find_images(tmp_path))] == ["0", "1", "2"]


def test_where_the_images_are_is_kept_beside_the_key_alone(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scans(tmp_path / "Mueller")
    name = remember_place(str(folder))
    assert place(name) == str(folder)
    assert key.with_name("places.json").stat().st_mode & 0o077 == 0
    record = RunRecord.read({"arguments": {"images": "IMAGES", "place": name, "hash_paths": True}})
    paths = [ref.path for ref in hashed(find_images(folder))]
    assert {ref.path for ref in pictures_of(record, paths)} <= set(paths)
    folder.rename(tmp_path / "moved")
    assert len(pictures_of(record, paths, tmp_path / "moved")) == 9
    monkeypatch.setenv("AUTOANNOTATE_KEY_FILE", str(tmp_path / "other" / "hash.key"))
    with pytest.raises(InputError, match=r"known to the user who made it alone.*--images"):
        pictures_of(record, paths)


@pytest.mark.slow
def test_no_name_reaches_any_file_of_a_run_or_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scans(tmp_path / "Mueller" / "scans")
    asked = [
        "label",
        "Mueller/scans",
        "--classes",
        "chest,breast",
        "--student",
        "none",
        "--out",
        "out/run",
        "--hash-paths",
    ]
    done = CliRunner().invoke(app, [*asked, "--cache", "cache"])
    assert done.exit_code == 0, done.output
    run = Annotations.load("out/run")
    assert len(run.table) == 9
    run.export("imagefolder", "out/folder", "all")
    assert CliRunner().invoke(app, ["update", "out/run"]).exit_code == 0
    files = [file for place in ("out", "cache") for file in (tmp_path / place).rglob("*") if file.is_file()]
    assert len(files) > 12
    assert not any(marker in done.output for marker in MARKERS)
    for file in files:
        assert not any(marker in str(file.relative_to(tmp_path)) for marker in MARKERS)
        content = file.read_bytes()
        assert not any(marker.encode() in content for marker in MARKERS), file
    report = (tmp_path / "out" / "run" / "report.html").read_text()
    assert "PatientName (1 item)" in report
    assert "InstitutionName (1 item)" in report
    assert "autoannotate label IMAGES" in report


def test_an_audit_hashes_names_too_and_knows_the_labels_by_the_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [f"Mueller_Anna/{i}-Mueller.png" for i in range(8)]
    draw_images(tmp_path / "Mueller" / "scans", [*paths, "Anna.4711/no-label.png"])
    labels = tmp_path / "Mueller" / "labels.csv"
    labels.write_text("path,label\n" + "".join(f"{path},{'ab'[i % 2]}\n" for i, path in enumerate(paths)))
    asked = [
        "audit",
        "Mueller/scans",
        "--labels",
        str(labels),
        "--student",
        "none",
        "--out",
        "out/run",
        "--skip-problems",
    ]
    done = CliRunner().invoke(app, [*asked, "--hash-paths"])
    assert done.exit_code == 0, done.output
    run = Annotations.load("out/run")
    of = {ref.file.name: ref.path for ref in hashed(find_images("Mueller/scans"))}
    said = dict(zip(run.table["path"], run.table["given_label"], strict=True))
    assert said == {of[Path(path).name]: "ab"[i % 2] for i, path in enumerate(paths)}
    assert list(run.table["path"]) == [ref.path for ref in hashed(find_images("Mueller/scans")) if ref.path in said]
    assert run.unreadable["path"].tolist() == [of["no-label.png"]]
    assert not any(marker in done.stdout for marker in MARKERS)
    for file in (file for file in (tmp_path / "out").rglob("*") if file.is_file()):
        content = file.read_bytes()
        assert not any(marker.encode() in content for marker in MARKERS), file
    assert CliRunner().invoke(app, ["update", "out/run"]).exit_code == 0
