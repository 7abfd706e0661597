"""Other people's tools read what is exported, each in an environment of its own, named by a variable.

AUTOANNOTATE_DATUMARO, AUTOANNOTATE_FIFTYONE, AUTOANNOTATE_DATASETS and AUTOANNOTATE_LABEL_STUDIO hold the path of the
Python in which that library is installed (as in `python3 -m venv V && V/bin/pip install datumaro`, then V/bin/python).
CVAT is a server of many containers that does not install here: its files are checked by datumaro, which reads and writes
its format. FiftyOne is asked through its importer, which needs no MongoDB.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import draw_images, make_run

from autoannotate import Annotations

pytestmark = pytest.mark.slow
PATHS = ("a/1.png", "a/2.png", "b/1.png", "b/=3.png", "stack.npz#0", "stack.npz#1")
STEMS = ("a__1", "a__2", "b__1", "b___3", "stack-frame-0000", "stack-frame-0001")
LABELS = ["chest", "breast", "chest", "breast", "chest", "breast"]


def tool(name: str) -> str:
    """The Python that has the tool, else the test is skipped."""
    python = os.environ.get(f"AUTOANNOTATE_{name}")
    if not python:
        pytest.skip(f"set AUTOANNOTATE_{name} to the Python of an environment with it")
    return python


def ask(python: str, script: str, *arguments: str | Path) -> Any:
    """What the script prints as JSON on its last line."""
    command = [python, "-c", script, *map(str, arguments)]
    environment = {"HOME", "PATH", "LANG", "TMPDIR"} & os.environ.keys()
    env = {name: os.environ[name] for name in environment} | {"HF_HUB_OFFLINE": "1", "FIFTYONE_DO_NOT_TRACK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=env, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    """Six images, two of them frames of an array."""
    scans = draw_images(tmp_path / "scans", PATHS[:4])
    frames = np.random.default_rng(0).integers(0, 255, (2, 28, 28), dtype=np.uint8)
    np.savez(scans / "stack.npz", train_images=frames)
    annotations = make_run(scans, PATHS, draw=False)
    annotations.save(tmp_path / "run")
    return annotations


DATUMARO = """
import json, sys
import datumaro as dm
found = dm.Dataset.import_from(sys.argv[1], sys.argv[2])
names = [one.name for one in found.categories()[dm.AnnotationType.label]]
print(json.dumps({item.id: [names[one.label] for one in item.annotations] for item in found}))
"""


@pytest.mark.parametrize(("format", "reads"), [("coco", "coco_labels"), ("cvat", "cvat")])
def test_datumaro_reads(run: Annotations, tmp_path: Path, format: str, reads: str) -> None:
    run.export(format, tmp_path / "out", what="all")
    found = ask(tool("DATUMARO"), DATUMARO, tmp_path / "out", reads)
    assert found == {stem: [label] for stem, label in zip(STEMS, LABELS, strict=True)}


def test_datumaro_reads_the_image_folder(run: Annotations, tmp_path: Path) -> None:
    run.export("imagefolder", tmp_path / "out", what="all")
    found = ask(tool("DATUMARO"), DATUMARO, tmp_path / "out", "imagenet")
    assert found == {f"{label}:{stem}": [label] for stem, label in zip(STEMS, LABELS, strict=True)}


DATUMARO_ANSWERS = """
import sys
import datumaro as dm
found = dm.Dataset.import_from(sys.argv[1], "cvat")
for item in found:
    for one in item.annotations:
        one.label = 1 - one.label
found.export(sys.argv[2], "cvat", save_media=False)
print("true")
"""


def test_what_datumaro_writes_for_cvat_is_applied(run: Annotations, tmp_path: Path) -> None:
    run.export("cvat", tmp_path / "out", what="all")
    ask(tool("DATUMARO"), DATUMARO_ANSWERS, tmp_path / "out", tmp_path / "back")
    (answers,) = (tmp_path / "back").glob("*.xml")
    applied = run.apply(answers, reader="Ana")
    assert list(applied.table["label"]) == ["breast", "chest"] * 3
    assert set(applied.table["source"]) == {"clinician"}


FIFTYONE = """
import json, sys
from fiftyone.utils.data.importers import FiftyOneImageClassificationDatasetImporter as Importer
with Importer(sys.argv[1]) as importer:
    found = {path: (one.label, one.confidence, one["path"]) for path, _, one in importer}
print(json.dumps(found))
"""


def test_fiftyone_reads_its_format(run: Annotations, tmp_path: Path) -> None:
    run.export("fiftyone", tmp_path / "out", what="all")
    found = ask(tool("FIFTYONE"), FIFTYONE, tmp_path / "out")
    assert {Path(path).stem for path in found} == set(STEMS)
    assert all(Path(path).is_file() for path in found)
    said = {path: (label, confidence) for label, confidence, path in found.values()}
    rows = zip(run.table["path"], run.table["label"], run.table["confidence"], strict=True)
    assert said == {path: (label, confidence) for path, label, confidence in rows}


DATASETS = """
import json, sys
from datasets import load_dataset
found = load_dataset("imagefolder", data_dir=sys.argv[1], cache_dir=sys.argv[2])["train"]
print(json.dumps([[row["path"], row["label"], row["image"].size, row["suspect"]] for row in found]))
"""


def test_hugging_face_reads_the_image_folder_with_its_metadata(run: Annotations, tmp_path: Path) -> None:
    run.export("huggingface", tmp_path / "out", what="all")
    found = ask(tool("DATASETS"), DATASETS, tmp_path / "out", tmp_path / "cache")
    sizes = [[48, 48]] * 4 + [[28, 28]] * 2
    assert sorted(found) == sorted(
        [path, label, size, int(i == 0)] for i, (path, label, size) in enumerate(zip(PATHS, LABELS, sizes, strict=True))
    )


NAMES = """
import json, sys
from datasets import load_dataset
found = load_dataset("imagefolder", data_dir=sys.argv[1], cache_dir=sys.argv[2])["train"]
print(json.dumps([[row["path"], row["label"], row["clip_label"]] for row in found]))
"""


@pytest.mark.parametrize("classes", [("None", "NA"), ("0", "1"), ("true", "null"), ("2020-01-01", "nan")])
def test_class_names_stay_text_in_hugging_face(tmp_path: Path, classes: tuple[str, str]) -> None:
    run = make_run(tmp_path / "scans", classes=classes)
    run.export("huggingface", tmp_path / "out", what="all")
    found = ask(tool("DATASETS"), NAMES, tmp_path / "out", tmp_path / "cache")
    assert sorted(found) == sorted(run.table[["path", "label", "clip_label"]].to_numpy().tolist())
