"""Items of several slices in other people's tools: tasks and frames of one item, whose answer comes back as the item's."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
from made_runs import draw_images, make_run
from PIL import Image

from autoannotate import Annotations
from autoannotate.answers.apply import apply
from autoannotate.answers.importers import label_studio

PATHS = ("brain.nii.gz", "flat.png", "knee.nii.gz")


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    """Two volumes of six slices, each brighter than the one before, and a picture."""
    images = draw_images(tmp_path / "in", ["flat.png"])
    for name in ("brain", "knee"):
        values = np.broadcast_to(30 * np.arange(6, dtype=np.int16), (24, 24, 6)).copy()
        values[:2, :2] = 255
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 4, 1])), images / f"{name}.nii.gz")
    run = make_run(images, PATHS, draw=False)
    run.run["arguments"] = {"images": str(images), "item": "auto"}
    run.save(tmp_path / "run")
    return Annotations.load(tmp_path / "run")


def shade(picture: bytes) -> int:
    return int(np.asarray(Image.open(io.BytesIO(picture)).convert("L"))[12, 12])


def test_a_task_of_label_studio_is_an_item_with_its_slices_in_order(run: Annotations, tmp_path: Path) -> None:
    run.export("label-studio", tmp_path / "tasks.json", what="all")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert [task["data"]["path"] for task in tasks] == list(PATHS)
    assert [len(task["data"]["images"]) for task in tasks] == [6, 1, 6]
    shades = [shade(base64.b64decode(each.partition(",")[2])) for each in tasks[0]["data"]["images"]]
    assert shades == sorted(shades)
    assert shades[0] < shades[-1]
    config = ElementTree.parse(tmp_path / "tasks.config.xml").getroot()
    image = config.find("Image")
    assert image is not None
    assert image.get("valueList") == "$images"
    assert image.get("value") is None

    said = {"from_name": "answer", "to_name": "image", "type": "choices", "value": {"choices": ["breast"]}}
    answered = [{"id": 1, "data": tasks[0]["data"], "annotations": [{"id": 1, "result": [said]}]}]
    (tmp_path / "answers.json").write_text(json.dumps(answered))
    applied = apply(run, tmp_path / "answers.json", reader="Ana")
    assert applied.annotations.table["label"].tolist() == ["breast", "breast", "chest"]
    assert "images" in label_studio.OF_TASKS


def test_runs_of_single_pictures_keep_the_simple_task(tmp_path: Path) -> None:
    make_run(tmp_path / "scans").export("label-studio", tmp_path / "tasks.json", what="all")
    assert 'value="$image"' in (tmp_path / "tasks.config.xml").read_text()
    assert all("images" not in task["data"] for task in json.loads((tmp_path / "tasks.json").read_text()))


@pytest.mark.parametrize("all_checked", [False, True])
def test_frames_of_cvat_follow_each_other_and_one_changed_tag_answers_for_the_item(
    run: Annotations, tmp_path: Path, all_checked: bool
) -> None:
    run.export("cvat", tmp_path / "out", what="all")
    tree = ElementTree.parse(tmp_path / "out" / "annotations.xml")
    images = tree.findall("image")
    names = [str(image.get("name")) for image in images]
    assert names == sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert names == [
        *(f"brain-slice-{i:04d}.png" for i in range(6)), "flat.png", *(f"knee-slice-{i:04d}.png" for i in range(6))
    ]  # fmt: skip
    shades = [shade((tmp_path / "out" / "images" / name).read_bytes()) for name in names[:6]]
    assert shades == sorted(shades)
    tag = images[3].find("tag")
    assert tag is not None
    tag.set("label", "breast")
    tag.set("source", "manual")
    tree.write(tmp_path / "answers.xml")
    applied = apply(run, tmp_path / "answers.xml", reader="Ana", all_checked=all_checked)
    table = applied.annotations.table
    assert table["label"].tolist() == ["breast", "breast", "chest"]
    assert table["source"].tolist()[0] == "clinician"
    assert (table["source"] == "clinician").sum() == (3 if all_checked else 1)


def test_slices_are_a_dynamic_group_in_fiftyone_and_a_changed_one_answers_for_the_item(
    run: Annotations, tmp_path: Path
) -> None:
    from autoannotate.exports import fiftyone

    run.export("fiftyone", tmp_path / "out", what="all")
    told = json.loads((tmp_path / "out" / "labels.json").read_text())
    samples = [
        (name, one["attributes"]["path"], one["attributes"].get("slice")) for name, one in told["labels"].items()
    ]
    assert samples == [
        *((f"brain-slice-{i:04d}", "brain.nii.gz", i) for i in range(6)), ("flat", "flat.png", None),
        *((f"knee-slice-{i:04d}", "knee.nii.gz", i) for i in range(6)),
    ]  # fmt: skip
    assert {path.stem for path in (tmp_path / "out" / "data").iterdir()} == {name for name, _, _ in samples}
    assert 'group_by("ground_truth.path", order_by="ground_truth.slice")' in fiftyone.next_step(
        tmp_path / "out", "all", "copy"
    )
    told["labels"]["brain-slice-0002"]["label"] = told["classes"].index("breast")
    (tmp_path / "answers.json").write_text(json.dumps(told))
    applied = apply(run, tmp_path / "answers.json", reader="Ana")
    assert applied.format == "fiftyone"
    assert applied.annotations.table["label"].tolist() == ["breast", "breast", "chest"]
    assert applied.report["path"].tolist() == ["brain.nii.gz"]


def test_two_slices_with_different_answers_are_a_problem(run: Annotations, tmp_path: Path) -> None:
    from autoannotate.answers.apply import NothingAppliedError

    run.export("fiftyone", tmp_path / "out", what="all")
    told = json.loads((tmp_path / "out" / "labels.json").read_text())
    told["classes"].append("none-of-these")
    for number, name in enumerate(("breast", "none-of-these")):
        told["labels"][f"brain-slice-{number:04d}"]["label"] = told["classes"].index(name)
    (tmp_path / "answers.json").write_text(json.dumps(told))
    with pytest.raises(NothingAppliedError):
        apply(run, tmp_path / "answers.json", reader="Ana")


def test_a_slice_that_cannot_be_read_is_left_out_and_an_item_of_such_is_named(run: Annotations, tmp_path: Path) -> None:
    damaged = tmp_path / "in" / "knee.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:90])
    run.export("cvat", tmp_path / "out", what="all")
    assert len(list((tmp_path / "out" / "images").iterdir())) == 7
    assert "knee.nii.gz" in (tmp_path / "out-left-out.csv").read_text()
