"""docs/how-to/pacs.md is true: its commands run against a real Orthanc, a clinician's answers between them."""

from __future__ import annotations

import contextlib
import csv
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from orthanc import running
from test_docs import DOCS, blocks
from test_pacs import cr

from autoannotate.images import find_images, read_image

DEMO = DOCS.parent / "autoannotate" / "images" / "demo_data"


def fill_in(sample: Path, labels: Path) -> None:
    """What the clinician does between two commands: agrees with every label of the sample."""
    with sample.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    label = pd.read_csv(labels).set_index("path")["label"]
    with sample.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"answer": label[row["path"]]} for row in rows)


@pytest.mark.slow
def test_the_commands_from_a_pacs_to_certified_reports_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("highdicom", reason="highdicom is not here: pip install 'autoannotate[sr]'")
    (commands,) = [text for language, text in blocks(DOCS / "how-to" / "pacs.md") if language == "console"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")]),
        "AUTOANNOTATE_KEY_FILE": str(tmp_path / "hash.key"),
        "AUTOANNOTATE_CACHE": str(tmp_path / "cache"),
    }
    (tmp_path / "orthanc").mkdir()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(tmp_path / "orthanc"))
        for kind in ("pneumoniamnist", "breastmnist"):
            for number, ref in enumerate(find_images(DEMO / f"{kind}.npz")[:24]):
                server.upload(cr(read_image(ref), number + (1000 if kind == "breastmnist" else 0)))
        images = len(server.get("/instances"))
        lines = commands.splitlines()
        assert len(lines) == 5
        for line in lines:
            asked = line.removeprefix("$ ").replace("dicomweb://pacs:8042", f"dicomweb://127.0.0.1:{server.port}")
            done = subprocess.run(
                [sys.executable, "-m", *shlex.split(asked)],
                capture_output=True,
                text=True,
                env=environment,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            sample = tmp_path / "from-pacs" / "certify" / "sample.csv"
            if "certify" in line and sample.exists():
                fill_in(sample, tmp_path / "from-pacs" / "labels.csv")
        certified = len(pd.read_csv(tmp_path / "from-pacs" / "certified.csv"))
        assert certified > 20
        assert f"{certified} structured reports stored" in done.stdout
        assert len(server.get("/instances")) == images + certified
