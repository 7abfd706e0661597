"""`label` killed at random points, and while it saves, ends with the same bytes when the same command is given again.

AUTOANNOTATE_KILLS=50 pytest tests/test_interrupted.py -m slow      # eval/robustness/interrupted.md: what came of it
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autoannotate.images import find_images, read_image
from autoannotate.runs.run import Run
from autoannotate.runs.save import ensure_writable, save

DEMO = Path(__file__).parents[1] / "autoannotate" / "images" / "demo_data"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes to kill are forks")
@pytest.mark.parametrize("student", ["none", "timm:test_resnet@scratch"])
def test_a_run_that_is_killed_goes_on_to_the_same_labels(tmp_path: Path, student: str) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels.csv"
    images.mkdir()
    normal_or_not = np.load(DEMO / "pneumoniamnist.npz")["test_labels"].ravel()
    rows = ["path,label"]
    for kind in ("pneumoniamnist", "breastmnist"):
        for number, ref in enumerate(find_images(DEMO / f"{kind}.npz")[: 24 if student == "none" else 40]):
            read_image(ref).save(images / f"{kind}-{number}.png")
            rows.append(f"{kind}-{number}.png,{('normal', 'pneumonia')[normal_or_not[number]]}")
    options = ["--student", "none"]
    if student != "none":  # what trains one: labels that are not all predicted by the other images
        for file in images.glob("breast*"):
            file.unlink()
        labels.write_text("\n".join(row for row in rows if not row.startswith("breast")) + "\n")
        options = [
            "--labels",
            str(labels),
            "--fast",
            "--student",
            student,
        ]  # a small network: what is tested is the training
    script, kills = Path(__file__).with_name("interrupted.py"), os.environ.get("AUTOANNOTATE_KILLS", "6")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(DEMO.parents[2]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, str(script), str(images), str(tmp_path), kills, "0", *options],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kills} kills" in done.stdout


def test_what_a_killed_save_left_takes_the_same_run_and_other_files_do_not(tmp_path: Path) -> None:
    from made_runs import make_run

    from autoannotate.errors import OutputError

    run = make_run(tmp_path / "scans")
    folder = tmp_path / "run"
    save(run, folder)
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    for name in ("report.html", "run.json"):  # put in place last
        (folder / name).rename(folder / f".{name}.4711.partial")
    ensure_writable(folder)
    save(run, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole
    assert len(Run.load(folder).table) == 4
    (folder / "run.json").rename(folder / ".run.json.4711.partial")
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="are left alone"):
        ensure_writable(folder)
