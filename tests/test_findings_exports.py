"""Several findings an image in other programs' formats, there and back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_findings import NAMES, PATHS, VALUES, make_findings_run

from autoannotate import Annotations
from autoannotate.answers.given_findings import holds_findings, read_given_findings
from autoannotate.errors import UsageError
from autoannotate.images import find_images
from autoannotate.runs.tables import read

ABSENT = [[max(value, 0) for value in of] for of in VALUES]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_findings_run(tmp_path / "images").save(tmp_path / "run")
    return tmp_path / "run"


def written(run: Path, format: str, file: Path) -> Path:
    Annotations.load(run).export(format, file, "all")
    return file


def values(run: Path) -> list[list[int]]:
    table = read(run / "findings.csv", ("path", "finding", "value")).pivot(
        index="path", columns="finding", values="value"
    )
    return [[int(table.loc[path, name]) for name in NAMES] for path in PATHS]


def test_a_table_as_chexpert_has_it(run: Path, tmp_path: Path) -> None:
    file = written(run, "chexpert", tmp_path / "labels.csv")
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[2] == {"path": PATHS[2], "effusion": "1", "mass": "0", "old fracture": ""}
    given = read_given_findings(file, find_images(tmp_path / "images"))
    assert given.names == list(NAMES)[:2]  # nobody has a fracture for sure
    rows[2]["old fracture"] = "1"
    rows[0]["mass"] = "-1"
    with file.open("w", newline="") as stream:
        table = csv.DictWriter(stream, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    applied = Annotations.load(run).apply(file)
    assert values(run) == [[1, -1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert set(applied.table["source"]) == {"clinician"}


def test_coco_has_an_annotation_a_finding(run: Path, tmp_path: Path) -> None:
    file = written(run, "coco", tmp_path / "labels.json")
    told = json.loads(file.read_text())
    names = {each["id"]: each["name"] for each in told["categories"]}
    paths = {each["id"]: each["file_name"] for each in told["images"]}
    pairs = [(paths[each["image_id"]], names[each["category_id"]]) for each in told["annotations"]]
    assert sorted(pairs) == [(PATHS[0], "effusion"), (PATHS[0], "mass"), (PATHS[2], "effusion"), (PATHS[3], "mass")]
    assert len({each["id"] for each in told["annotations"]}) == 4
    assert holds_findings(file)
    given = read_given_findings(file, find_images(tmp_path / "images"), ["effusion", "mass"])
    assert given.values.tolist() == [of[:2] for of in ABSENT]


def test_fiftyone_has_a_list_an_image(run: Path, tmp_path: Path) -> None:
    folder = written(run, "fiftyone", tmp_path / "fiftyone")
    told = json.loads((folder / "labels.json").read_text())
    labels = {stem: [told["classes"][each["label"]] for each in found] for stem, found in told["labels"].items()}
    assert labels == {"scans__0": ["effusion", "mass"], "scans__1": [], "scans__2": ["effusion"], "scans__3": ["mass"]}
    (tmp_path / "again.json").write_text(
        json.dumps({"classes": told["classes"], "labels": dict(zip(PATHS, told["labels"].values(), strict=True))})
    )
    given = read_given_findings(tmp_path / "again.json", find_images(tmp_path / "images"), ["effusion", "mass"])
    assert given.values.tolist() == [of[:2] for of in ABSENT]


def test_cvat_has_a_tag_a_finding_and_a_person_adds_one(run: Path, tmp_path: Path) -> None:
    file = written(run, "cvat", tmp_path / "annotations.xml")
    root = ElementTree.parse(file).getroot()
    tags = [[tag.get("label") for tag in image.findall("tag")] for image in root.iter("image")]
    assert tags == [["effusion", "mass"], ["none-of-these"], ["effusion"], ["mass"]]
    ElementTree.SubElement(next(root.iter("image")), "tag", {"label": "old fracture", "source": "manual"})
    ElementTree.ElementTree(root).write(file)
    Annotations.load(run).apply(file)
    assert values(run)[0] == [1, 1, 1]
    assert values(run)[1:] == [list(of) for of in VALUES[1:]]  # nobody touched them


def test_label_studio_offers_several_choices_and_they_come_back_as_one_answer(run: Path, tmp_path: Path) -> None:
    file = written(run, "label-studio", tmp_path / "tasks.json")
    assert 'choice="multiple"' in (tmp_path / "tasks.config.xml").read_text()
    tasks = json.loads(file.read_text())
    chosen = [task["predictions"][0]["result"][0]["value"]["choices"] for task in tasks]
    assert chosen == [["effusion", "mass"], ["none-of-these"], ["effusion"], ["mass"]]
    for number, (task, said) in enumerate(zip(tasks, (["effusion", "old fracture"], ["none-of-these"]), strict=False)):
        result = dict(task["predictions"][0]["result"][0], value={"choices": said})
        task.update(id=number, annotations=[{"id": number, "completed_by": {"email": "ana@x"}, "result": [result]}])
    (tmp_path / "export.json").write_text(json.dumps(tasks[:2]))
    Annotations.load(run).apply(tmp_path / "export.json")
    assert values(run)[:2] == [[1, 0, 1], [0, 0, 0]]


def test_what_cannot_hold_several_says_so(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose chexpert, coco or fiftyone"):
        written(run, "imagefolder", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    for format in ("csv", "jsonl", "huggingface"):
        written(run, format, tmp_path / format)
