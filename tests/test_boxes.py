"""`audit --boxes`: boxes in every form, the faults that need no detector, and what `--repair` writes beside them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from autoannotate.annotator.boxes import audit_boxes
from autoannotate.answers.given_boxes import read_boxes
from autoannotate.cli.main import app
from autoannotate.errors import InputError
from autoannotate.images import find_images
from autoannotate.labelling.label_errors.box_faults import overlap

SIDE = 100


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Ten pictures of noise with an even right half."""
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for n in range(10):
        pixels = rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
        pixels[:, 50:] = 90
        Image.fromarray(pixels).save(tmp_path / "scans" / f"{n}.png")
    return tmp_path / "scans"


def usual() -> list[tuple[str, float, float, float, float, str]]:
    rng = np.random.default_rng(1)
    made = []
    for n in range(10):
        for top in (5, 35, 65):
            x, side = rng.uniform(3, 20), rng.uniform(18, 24)
            made.append((f"{n}.png", x, top, x + side, top + side, "cell"))
    return made


def write(file: Path, rows: list[tuple[str, float, float, float, float, str]]) -> Path:
    lines = ["path,x_min,y_min,x_max,y_max,label", *(",".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n")
    return file


FAULTY = {
    "outside": ("3.png", 5.0, 85.0, 25.0, 110.0, "cell"),
    "degenerate": ("4.png", 5.0, 5.0, 5.0, 25.0, "cell"),
    "on nothing": ("5.png", 60.0, 20.0, 80.0, 41.0, "cell"),
    "too large": ("6.png", 0.0, 0.0, 49.0, 100.0, "cell"),
    "too small": ("7.png", 30.0, 30.0, 33.0, 33.0, "cell"),
}


def test_good_boxes_have_no_fault(scans: Path, tmp_path: Path) -> None:
    assert audit_boxes(scans, write(tmp_path / "boxes.csv", usual())).issues.empty


@pytest.mark.parametrize("kind", sorted(FAULTY))
def test_each_fault_is_found_and_nothing_else(kind: str, scans: Path, tmp_path: Path) -> None:
    found = audit_boxes(scans, write(tmp_path / "boxes.csv", [*usual(), FAULTY[kind]])).issues
    assert kind in set(found["issue"])
    assert set(found["where"]) == {"row 32"}


def test_doubled_boxes_and_two_names_for_one(scans: Path, tmp_path: Path) -> None:
    first = usual()[0]
    near = (first[0], first[1] + 0.5, *first[2:])
    found = audit_boxes(scans, write(tmp_path / "boxes.csv", [*usual(), near])).issues
    assert found["issue"].tolist() == ["doubled"]
    found = audit_boxes(scans, write(tmp_path / "boxes.csv", [*usual(), (*near[:5], "clump")])).issues
    assert found["issue"].tolist() == ["contradiction"]


def test_repair_is_a_second_file_that_says_what_was_done(scans: Path, tmp_path: Path) -> None:
    tiny = ("9.png", 40.0, 40.0, 40.6, 40.6, "cell")  # less than a pixel, and not nothing: it stays
    turned = ("8.png", 25.0, 90.0, 45.0, 70.0, "cell")
    file = write(tmp_path / "boxes.csv", [*usual(), *FAULTY.values(), tiny, turned])
    before = file.read_bytes()
    result = CliRunner().invoke(
        app, ["audit", str(scans), "--boxes", str(file), "--repair", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "boxes-repaired.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    changed = {row["path"]: row for row in rows if row["change"]}
    assert {path: row["change"] for path, row in changed.items()} == {"3.png": "cut", "8.png": "turned"}
    assert float(changed["3.png"]["y_max"]) == SIDE
    assert float(changed["3.png"]["overlap"]) == pytest.approx(15 / 25)
    assert len(rows) == 36  # the degenerate one is dropped, the odd ones stay
    assert file.read_bytes() == before
    assert "1 cut, 1 turned, 1 dropped" in result.output
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/jpeg" in page
    assert "http" not in page.replace("http-equiv", "")
    again = CliRunner().invoke(app, ["audit", str(scans), "--boxes", str(file), "--out", str(tmp_path / "out")])
    assert again.exit_code == 1
    assert "--overwrite" in again.output


def test_coco_voc_and_yolo_say_the_same(scans: Path, tmp_path: Path) -> None:
    rows = usual()[:4]
    coco = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(10)],
        "categories": [{"id": 7, "name": "cell"}],
        "annotations": [
            {"id": i, "image_id": int(r[0][0]), "category_id": 7, "bbox": [r[1], r[2], r[3] - r[1], r[4] - r[2]]}
            for i, r in enumerate(rows)
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    (tmp_path / "voc").mkdir()
    (tmp_path / "yolo").mkdir()
    (tmp_path / "yolo" / "classes.txt").write_text("cell\n")
    for n in (0, 1):
        mine = [r for r in rows if r[0] == f"{n}.png"]
        parts = "".join(
            f"<object><name>cell</name><bndbox><xmin>{r[1]}</xmin><ymin>{r[2]}</ymin><xmax>{r[3]}</xmax><ymax>{r[4]}</ymax>"
            "</bndbox></object>"
            for r in mine
        )
        (tmp_path / "voc" / f"{n}.xml").write_text(f"<annotation><filename>{n}.png</filename>{parts}</annotation>")
        lines = [
            f"0 {(r[1] + r[3]) / 200} {(r[2] + r[4]) / 200} {(r[3] - r[1]) / 100} {(r[4] - r[2]) / 100}" for r in mine
        ]
        (tmp_path / "yolo" / f"{n}.txt").write_text("\n".join(lines))
    expected = audit_boxes(scans, write(tmp_path / "boxes.csv", rows)).boxes
    for source in (tmp_path / "coco.json", tmp_path / "voc", tmp_path / "yolo"):
        found = audit_boxes(scans, source).boxes
        np.testing.assert_allclose(found.iloc[:, 1:5].to_numpy(), expected.iloc[:, 1:5].to_numpy(), atol=1e-3)
        assert found["label"].tolist() == ["cell"] * 4


def test_bad_boxes_are_a_sentence(scans: Path, tmp_path: Path) -> None:
    refs = find_images(scans)
    with pytest.raises(InputError, match=r"not there: x.png \(row 2\)"):
        read_boxes(write(tmp_path / "boxes.csv", [("x.png", 0, 0, 9, 9, "cell")]), refs)
    (tmp_path / "wrong.csv").write_text("path,label\n0.png,cell\n")
    with pytest.raises(InputError, match="needs the columns path, x_min"):
        read_boxes(tmp_path / "wrong.csv", refs)
    (tmp_path / "wrong.csv").write_text("path,x,y,w,h\n0.png,1,2,z,3\n")
    with pytest.raises(InputError, match="row 2: a box needs four numbers"):
        read_boxes(tmp_path / "wrong.csv", refs)
    with pytest.raises(InputError, match="There is no file or folder"):
        read_boxes(tmp_path / "none.csv", refs)
    result = CliRunner().invoke(app, ["audit", str(scans), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "--labels FILE, or --boxes FILE" in result.output


box = st.tuples(*[st.floats(0, 90)] * 2, *[st.floats(1, 60)] * 2).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@settings(max_examples=50, deadline=None)
@given(box, box)
def test_overlap_is_symmetric_and_one_for_the_same(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    first, second = np.array([a]), np.array([b])
    assert overlap(first, second)[0, 0] == pytest.approx(overlap(second, first)[0, 0])
    assert overlap(first, first)[0, 0] == pytest.approx(1.0)
    assert 0 <= overlap(first, second)[0, 0] <= 1 + 1e-9


def test_real_boxes_of_blood_cells(data_dir: Path) -> None:
    """BCCD's own faults: a box without an inside, and boxes drawn twice."""
    found = audit_boxes(data_dir / "more" / "boxes_blood", data_dir / "more" / "boxes_blood" / "boxes.csv").issues
    kinds = found["issue"].value_counts()
    assert kinds["degenerate"] == 1
    assert kinds["doubled"] >= 3
    assert len(found) < 60  # of 2,285 boxes
