"""Formats that carry pictures: what travels as it is, what is rendered, under which names, and what never leaves."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import draw_images, make_run
from PIL import Image
from pydicom.data import get_testdata_file

from autoannotate import Annotations, exports
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.exports._names import file_stems
from autoannotate.runs import tables

WITH_PICTURES = ("imagefolder", "label-studio", "cvat", "coco", "fiftyone", "huggingface")
DIFFERENT = ("a.png", "A.jpg", "deep.png", "page.tif", "scan.dcm", "b/a.png", "b__a.png", "stack.npz#0", "stack.npz#1")
SECRET = ("Mueller^Anna", "PAT-4711", "19700102")


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    """Pictures of all kinds, one of them a DICOM file that says who the patient is."""
    from pydicom import dcmread

    scans = draw_images(tmp_path / "scans", ["a.png", "A.jpg", "b/a.png", "b__a.png", "page.tif"])
    deep = np.linspace(0, 60000, 40 * 30).reshape(30, 40).astype(np.uint16)
    Image.fromarray(deep).save(scans / "deep.png")
    np.savez(scans / "stack.npz", train_images=np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28))
    scan = dcmread(str(get_testdata_file("CT_small.dcm")))
    scan.PatientName, scan.PatientID, scan.PatientBirthDate = SECRET
    scan.save_as(scans / "scan.dcm")
    return make_run(scans, DIFFERENT, draw=False)


def made(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def suffixes(folder: Path) -> dict[str, str]:
    return {path.stem: path.suffix for path in made(folder)}


# a structured report is about its patient, and chexpert is of runs with several findings
@pytest.mark.parametrize("what", ["suspects", "all"])
@pytest.mark.parametrize("format", sorted(set(exports.formats()) - {"dicom-sr", "chexpert"}))
def test_nothing_that_identifies_a_patient_leaves(run: Annotations, tmp_path: Path, format: str, what: str) -> None:
    run.suspects.loc[0, "path"] = "scan.dcm"
    run.export(format, tmp_path / "out" / "it", what=what)  # type: ignore[arg-type]
    files = made(tmp_path / "out")
    assert files
    for file in files:
        content = file.read_bytes()
        assert not any(secret.encode() in content for secret in SECRET), file
        assert content[128:132] != b"DICM"
    assert not any(path.is_symlink() for path in files)


@pytest.mark.parametrize("link", ["copy", "hard", "sym"])
def test_a_dicom_file_is_rendered_however_pictures_travel(run: Annotations, tmp_path: Path, link: str) -> None:
    run.export("imagefolder", tmp_path / "out", what="all", link=link)
    (scan,) = [path for path in made(tmp_path / "out") if path.stem == "scan"]
    assert not scan.is_symlink()
    assert scan.stat().st_nlink == 1
    with Image.open(scan) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(run.read_image("scan.dcm")))


def test_training_gets_files_as_they_are_and_viewers_what_they_can_show(run: Annotations, tmp_path: Path) -> None:
    run.export("imagefolder", tmp_path / "train", what="all")
    run.export("fiftyone", tmp_path / "view", what="all")
    training, viewing = suffixes(tmp_path / "train"), suffixes(tmp_path / "view" / "data")
    assert training["page"] == ".tif"
    assert viewing["page"] == ".png"
    train = {path.stem: path for path in made(tmp_path / "train")}
    assert train["page"].read_bytes() == run.image("page.tif").file.read_bytes()
    for deep in (train["deep"], tmp_path / "view" / "data" / "deep.png"):
        with Image.open(deep) as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), np.asarray(run.read_image("deep.png"))[..., 0])
    for name in ("stack-frame-0000", "stack-frame-0001", "scan"):
        assert training[name] == viewing[name] == ".png"


@pytest.mark.parametrize("format", ["cvat", "coco", "fiftyone", "huggingface"])
def test_names_do_not_clash_whatever_their_case_or_folder(run: Annotations, tmp_path: Path, format: str) -> None:
    run.export(format, tmp_path / "out", what="all")
    pictures = [path for path in made(tmp_path / "out") if path.suffix in (".png", ".jpg", ".tif")]
    assert len(pictures) == len(DIFFERENT)
    assert len({path.stem.casefold() for path in pictures}) == len(DIFFERENT)


def test_links_lead_to_the_file(run: Annotations, tmp_path: Path) -> None:
    original = run.image("a.png").file
    run.export("imagefolder", tmp_path / "sym", what="all", link="sym")
    run.export("imagefolder", tmp_path / "hard", what="all", link="hard")
    run.export("imagefolder", tmp_path / "copy", what="all")
    sym, hard, copy = (tmp_path / way / "chest" / "a.png" for way in ("sym", "hard", "copy"))
    assert sym.is_symlink()
    assert sym.resolve() == original.resolve()
    assert hard.stat().st_ino == original.stat().st_ino
    assert copy.stat().st_ino != original.stat().st_ino
    assert copy.read_bytes() == original.read_bytes()


def test_a_way_that_a_format_does_not_know_is_wrong_usage(run: Annotations, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"choose one of copy \(copies\), hard \(hard links\), sym"):
        run.export("imagefolder", tmp_path / "out", link="embed")
    with pytest.raises(UsageError, match="carries no pictures: leave --link out"):
        run.export("csv", tmp_path / "out.csv", link="copy")
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]


@pytest.mark.parametrize("format", WITH_PICTURES)
def test_a_picture_that_is_gone_or_damaged_is_left_out_and_named(run: Annotations, tmp_path: Path, format: str) -> None:
    (tmp_path / "scans" / "page.tif").unlink()
    (tmp_path / "scans" / "scan.dcm").write_bytes(b"no picture any more")
    written = run.export(format, tmp_path / "out" / "it", what="all")
    left_out = tables.read(tmp_path / "out" / "it-left-out.csv", ("path", "reason"))
    assert list(left_out["path"]) == ["page.tif", "scan.dcm"]
    assert "no longer where the run found it" in left_out["reason"][0]
    assert written[1:].count(tmp_path / "out" / "it-left-out.csv") == 1
    names = " ".join(str(path) for path in made(tmp_path / "out"))
    if format != "label-studio":
        assert "deep" in names
        assert not {"page.tif", "page.png", "scan.png"} & {path.name for path in made(tmp_path / "out")}


def test_what_is_left_out_of_the_pictures_is_counted_by_kind(run: Annotations, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = SECRET[0]
    with Image.open(tmp_path / "scans" / "A.jpg") as picture:
        picture.load()
        picture.save(tmp_path / "scans" / "A.jpg", exif=exif, comment=SECRET[1])
    made_now = exports.export(run, "imagefolder", tmp_path / "out", "all")
    assert made_now.removed == {"DICOM headers": 1, "EXIF": 1, "comments": 1}
    assert not made_now.lost
    assert not exports.export(run, "csv", tmp_path / "out.csv", "all").removed


def test_an_export_of_no_picture_is_a_plain_sentence_and_nothing_is_left(run: Annotations, tmp_path: Path) -> None:
    for file in made(tmp_path / "scans"):
        file.unlink()
    with pytest.raises(InputError, match=r"None of the 9 pictures can be exported.*--images"):
        run.export("coco", tmp_path / "out" / "it", what="all")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_image_folder_has_a_folder_for_each_class(tmp_path: Path) -> None:
    run = make_run(tmp_path / "scans", ["1.png", "2.png", "3.png"], classes=("benign/early", "benign:early", "CON"))
    run.export("imagefolder", tmp_path / "out")
    assert made(tmp_path / "out") == [tmp_path / "out" / "benign_early" / "1.png"]
    run.export("imagefolder", tmp_path / "all", what="all")
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["_CON", "benign_early", "benign_early-2"]


@pytest.fixture
def odd(tmp_path: Path) -> Annotations:
    """Pictures that programs show otherwise than people see them: 16 bits, numbers with a point, turned, transparent."""
    scans = tmp_path / "odd"
    scans.mkdir()
    ramp = np.linspace(0, 1, 40 * 30).reshape(30, 40)
    Image.fromarray((500 + 3000 * ramp).astype(np.uint16)).save(scans / "deep.png")
    Image.fromarray(ramp.astype(np.float32)).save(scans / "float.tif")
    turned = Image.fromarray((255 * ramp).astype(np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(scans / "turned.jpg", exif=exif)
    alpha = np.dstack([np.full((30, 40, 3), 200, np.uint8), (255 * ramp).astype(np.uint8)])
    Image.fromarray(alpha, "RGBA").save(scans / "clear.png")
    Image.fromarray((255 * ramp).astype(np.uint8)).save(scans / "plain.png")
    paths = ("clear.png", "deep.png", "float.tif", "plain.png", "turned.jpg")
    return make_run(scans, paths, classes=("chest", "breast", "retina", "hand", "foot", "unused"), draw=False)


def test_torchvision_reads_the_image_folder_as_the_run_saw_the_pictures(odd: Annotations, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    odd.export("imagefolder", tmp_path / "out", what="all")
    found = ImageFolder(str(tmp_path / "out"))
    assert set(found.classes) == {"chest", "breast", "retina", "hand", "foot"}
    seen = {
        Path(file).stem: (image, found.classes[label])
        for (file, _), (image, label) in zip(found.samples, found, strict=True)
    }
    for path, label in zip(odd.table["path"], odd.table["label"], strict=True):
        image, folder = seen[Path(path).stem]
        assert folder == label
        assert np.array_equal(np.asarray(image), np.asarray(odd.read_image(path))), path
    assert seen["turned"][0].size == (30, 40)


@pytest.mark.parametrize("format", ["coco", "cvat"])
def test_sizes_that_are_stated_are_those_of_the_upright_picture(odd: Annotations, tmp_path: Path, format: str) -> None:
    odd.export(format, tmp_path / "out", what="all")
    for file in made(tmp_path / "out"):
        if file.suffix in (".png", ".jpg", ".tif"):
            with Image.open(file) as image:
                assert image.getexif().get(0x0112, 1) == 1
                assert (image.mode, image.size) == ("L" if file.stem != "clear" else image.mode, image.size)
    if format == "coco":
        content = json.loads((tmp_path / "out" / "annotations" / "labels_all.json").read_text())
        sizes = {one["path"]: (one["width"], one["height"]) for one in content["images"]}
    else:
        root = ElementTree.parse(tmp_path / "out" / "annotations.xml").getroot()
        sizes = {
            one.get("name", ""): (int(one.get("width", 0)), int(one.get("height", 0))) for one in root.iter("image")
        }
    assert {Path(path).stem: size for path, size in sizes.items()}["turned"] == (30, 40)


def test_label_studio_tasks_hold_picture_doubt_and_prediction(run: Annotations, tmp_path: Path) -> None:
    files = run.export("label-studio", tmp_path / "tasks.json", what="all")
    assert files == [tmp_path / "tasks.json", tmp_path / "tasks.config.xml"]
    tasks = {task["data"]["path"]: task for task in json.loads((tmp_path / "tasks.json").read_text())}
    assert list(tasks) == list(DIFFERENT)
    data = tasks["a.png"]["data"]
    assert data["question"].startswith("The machine says chest. Perhaps breast: looks like its 8 nearest")
    (prediction,) = tasks["a.png"]["predictions"]
    assert prediction["score"] == 0.912346
    assert prediction["result"][0]["value"] == {"choices": ["chest"]}
    for path in DIFFERENT:
        kind, content = re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", tasks[path]["data"]["image"]).groups()  # type: ignore[union-attr]
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert image.format == kind.upper()
            assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(run.read_image(path)))


def test_a_label_studio_folder_has_all_that_belongs_together(run: Annotations, tmp_path: Path) -> None:
    assert run.export("label-studio", tmp_path / "out", link="copy") == [tmp_path / "out"]
    names = [path.relative_to(tmp_path / "out").as_posix() for path in made(tmp_path / "out")]
    assert names == ["tasks-images/a.png", "tasks.config.xml", "tasks.json"]
    (task,) = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=tasks-images/a.png"


def test_the_labelling_config_offers_the_classes_and_the_other_verdicts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "scans", classes=('a "quoted" & <odd> one', "breast"))
    run.export("label-studio", tmp_path / "tasks.json")
    config = ElementTree.parse(tmp_path / "tasks.config.xml").getroot()
    choices = [(one.get("value"), one.get("hotkey")) for one in config.iter("Choice")]
    others = [("none-of-these", None), ("not-usable", None), ("unsure", None)]
    assert choices == [('a "quoted" & <odd> one', "1"), ("breast", "2"), *others]
    (control,) = config.iter("Choices")
    assert (control.get("name"), control.get("toName")) == ("answer", "image")


def test_cvat_holds_the_machines_labels_as_untouched_tags(run: Annotations, tmp_path: Path) -> None:
    run.export("cvat", tmp_path / "out", what="all")
    root = ElementTree.parse(tmp_path / "out" / "annotations.xml").getroot()
    images = root.findall("image")
    names = [image.get("name", "") for image in images]
    assert names == sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert [image.get("id") for image in images] == [str(i) for i in range(len(DIFFERENT))]
    assert {tag.get("source") for tag in root.iter("tag")} == {"auto"}
    for image in images:
        with Image.open(tmp_path / "out" / "images" / image.get("name", "")) as picture:
            assert picture.size == (int(image.get("width", 0)), int(image.get("height", 0)))
    labels = [one["name"] for one in json.loads((tmp_path / "out" / "labels.json").read_text())]
    assert labels == ["chest", "breast", "none-of-these", "not-usable", "unsure"]
    assert [name.text for name in root.iterfind("meta/task/labels/label/name")] == labels


def test_a_cvat_or_coco_file_alone_names_the_images_by_their_paths(run: Annotations, tmp_path: Path) -> None:
    assert run.export("cvat", tmp_path / "a.xml", what="all") == [tmp_path / "a.xml"]
    assert run.export("coco", tmp_path / "a.json", what="all") == [tmp_path / "a.json"]
    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    assert {image.get("name") for image in root.iter("image")} == set(DIFFERENT)
    content = json.loads((tmp_path / "a.json").read_text())
    assert [image["file_name"] for image in content["images"]] == list(DIFFERENT)


def test_coco_has_a_box_around_each_image_with_its_class_and_score(run: Annotations, tmp_path: Path) -> None:
    run.export("coco", tmp_path / "out")
    content = json.loads((tmp_path / "out" / "annotations" / "labels_all.json").read_text())
    (image,), (annotation,) = content["images"], content["annotations"]
    assert (tmp_path / "out" / "images" / "all" / image["file_name"]).is_file()
    assert annotation["bbox"] == [0, 0, 48, 48]
    assert annotation["score"] == 0.912346
    names = {one["id"]: one["name"] for one in content["categories"]}
    assert names[annotation["category_id"]] == "chest"
    assert annotation["attributes"]["suggested_label"] == "breast"


def test_hugging_face_metadata_is_a_line_a_picture(run: Annotations, tmp_path: Path) -> None:
    run.export("huggingface", tmp_path / "out")
    (row,) = (json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines())
    assert (tmp_path / "out" / row["file_name"]).is_file()
    assert (row["path"], row["label"], row["suggested_label"]) == ("a.png", "chest", "breast")


def test_parquet_has_the_columns_and_types_of_the_table(run: Annotations, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    run.export("parquet", tmp_path / "all.parquet", what="all")
    found = pd.read_parquet(tmp_path / "all.parquet")
    assert list(found.columns) == list(run.table.columns)
    assert found.to_dict("records") == run.table.to_dict("records")


def test_a_file_beside_the_export_is_not_replaced_unasked(run: Annotations, tmp_path: Path) -> None:
    (tmp_path / "tasks.config.xml").write_text("mine")
    with pytest.raises(OutputError, match=r"tasks\.config\.xml is there already"):
        run.export("label-studio", tmp_path / "tasks.json")
    assert not (tmp_path / "tasks.json").exists()
    assert (tmp_path / "tasks.config.xml").read_text() == "mine"
    run.export("label-studio", tmp_path / "tasks.json", overwrite=True)
    assert (tmp_path / "tasks.json").exists()


PATHS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, unique=True)


@given(PATHS)
def test_every_path_has_a_name_of_its_own_that_every_system_takes(paths: list[str]) -> None:
    stems = file_stems(paths)
    assert list(stems) == paths
    assert len({stem.casefold() for stem in stems.values()}) == len(paths)
    for stem in stems.values():
        assert len(stem.encode()) < 200
        assert not re.search(r'[/\\:*?"<>|\x00-\x1f=+@]', stem)
        assert stem[0] not in ".- "
    assert file_stems(paths) == stems
