"""`audit --boxes --detector`: what detections that never saw a box say of it, and a real detector on pictures of discs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from autoannotate.cli.main import app
from autoannotate.labelling.label_errors.box_detections import Detections, detection_faults, one_each, sure_from
from autoannotate.labelling.label_errors.box_faults import Boxes, overlap
from autoannotate.labelling.label_errors.box_repairs import Repair

NAMES = ["cell", "clump"]


def made(wrong: dict[int, tuple[list[float], int]], left_out: tuple[int, ...] = ()) -> tuple[Boxes, list[Detections]]:
    """20 pictures with two things each, detected within a pixel; some of their boxes are wrong or left out."""
    rng = np.random.default_rng(0)
    true = np.array([[x, 20.0, x + 30, 50.0] for _ in range(20) for x in (10.0, 60.0)])
    labels, pictures = np.tile([0, 1], 20), np.repeat(np.arange(20), 2)
    corners, named = true.copy(), labels.copy()
    for row, (box, label) in wrong.items():
        corners[row], named[row] = box, label
    kept = np.setdiff1d(np.arange(40), left_out)
    boxes = Boxes(corners[kept], named[kept], pictures[kept], np.full((20, 2), 100.0), np.full(len(kept), 30.0), NAMES)
    seen = true + rng.normal(0, 1, true.shape)
    found = [Detections(seen[pictures == p], labels[pictures == p], np.array([0.9, 0.8])) for p in range(20)]
    return boxes, found


def test_good_boxes_have_no_fault_by_detections() -> None:
    boxes, found = made({})
    assert detection_faults(boxes, found) == ([], [])
    counted, firm = sure_from(boxes, found)
    assert counted.tolist() == [0.9, 0.8]
    assert firm.tolist() == [0.9, 0.8]


@pytest.mark.parametrize(
    ("box", "label", "kind", "change"),
    [
        ([0.0, 5.0, 60.0, 65.0], 0, "too large", "moved"),
        ([20.0, 30.0, 32.0, 42.0], 0, "too small", "moved"),
        ([25.0, 20.0, 55.0, 50.0], 0, "shifted", "moved"),
        ([10.0, 20.0, 40.0, 50.0], 1, "wrong class", "relabelled"),
        ([5.0, 70.0, 35.0, 95.0], 0, "on nothing", "added"),
    ],
)
def test_each_fault_is_found_where_it_is_and_what_it_should_be(
    box: list[float], label: int, kind: str, change: str
) -> None:
    boxes, found = made({4: (box, label)})
    faults, repairs = detection_faults(boxes, found)
    assert [(each.box, each.kind) for each in faults if each.box is not None] == [(4, kind)]
    (repair,) = repairs
    assert repair.change == change
    assert repair.picture == 2
    assert repair.label == 0
    assert overlap(repair.corners[None], np.array([[10.0, 20, 40, 50]]))[0, 0] > 0.8


def test_what_nobody_boxed_is_said_and_may_be_added() -> None:
    boxes, found = made({}, left_out=(7,))
    faults, repairs = detection_faults(boxes, found)
    assert [(each.box, each.kind, each.picture, each.suggested) for each in faults] == [(None, "not boxed", 3, 1)]
    assert [(each.box, each.change) for each in repairs] == [(None, "added")]


def test_a_detector_that_finds_hardly_anything_accuses_nobody() -> None:
    boxes, found = made({})
    nothing = Detections(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0))
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 60, (20, 2))
    anywhere = [
        Detections(np.hstack([each, each + 30])[None], np.array([0]), np.array([0.5])) for each in low
    ]  # fmt: skip
    for poor in ([nothing] * 20, anywhere):
        faults, _ = detection_faults(boxes, poor)
        assert not [each for each in faults if each.kind in ("on nothing", "not boxed")]
    assert len(found) == 20


def test_a_box_has_one_proposal() -> None:
    old = np.array([0.0, 0, 10, 10])
    cut = Repair(0, 0, "cut", old, 0, "")
    dropped = Repair(1, 0, "dropped", old, 0, "")
    moved = [Repair(i, 0, "moved", old + 5, 0, "") for i in (0, 1, 2)]
    added = Repair(None, 0, "added", old, 0, "")
    assert [(each.box, each.change) for each in one_each([cut, dropped], [*moved, added])] == [
        (0, "moved"), (1, "dropped"), (2, "moved"), (None, "added"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_real_detector_learns_from_boxes_and_finds_those_that_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 pictures of a bright disc on noise; three boxes are elsewhere, one is missing."""
    from autoannotate.models import box_detector

    monkeypatch.setattr(box_detector, "STEPS", 60)
    monkeypatch.setattr(box_detector, "FOLDS", 2)
    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    rows = ["path,x_min,y_min,x_max,y_max,label"]
    across, down = np.meshgrid(np.arange(160), np.arange(160))
    for n in range(24):
        pixels = rng.normal(70, 12, (160, 160))
        x, y = rng.uniform(35, 125, 2)
        pixels[(across - x) ** 2 + (down - y) ** 2 < 22**2] += 110
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(tmp_path / "scans" / f"{n:02}.png")
        if n < 3:
            x, y = 160 - x + (40 if abs(x - 80) < 20 else 0), 160 - y
        if n != 3:
            rows.append(f"{n:02}.png,{x - 22:.1f},{y - 22:.1f},{x + 22:.1f},{y + 22:.1f},disc")
        if n == 3:
            rows.append(f"{n:02}.png,2,2,8,8,disc")  # so that the picture takes part
    (tmp_path / "boxes.csv").write_text("\n".join(rows) + "\n")
    asked = ["audit", str(tmp_path / "scans"), "--boxes", str(tmp_path / "boxes.csv"), "--detector", "--repair"]
    done = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    issues = pd.read_csv(tmp_path / "out" / "issues.csv", keep_default_na=False)
    accused = set(issues["path"])
    assert {"00.png", "01.png", "02.png"} <= accused
    assert len(accused - {"00.png", "01.png", "02.png", "03.png"}) <= 4
    proposals = pd.read_csv(tmp_path / "out" / "proposals.csv", keep_default_na=False)
    assert {"added"} <= set(proposals["change"])
    repaired = pd.read_csv(tmp_path / "out" / "boxes-repaired.csv", keep_default_na=False)
    assert (repaired["change"] == "added").sum() == (proposals["change"] == "added").sum()
