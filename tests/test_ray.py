"""`--engine ray`: the same encodings and labels as on one machine, whoever is killed; and what is wrong, in a sentence."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_scans import write_scans

from autoannotate import Annotator
from autoannotate.errors import AutoannotateError, UsageError

CLASSES = ["CT scan", "photograph"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    return folder


def test_the_local_engine_imports_no_ray() -> None:
    code = "import sys, autoannotate.annotator.annotator, autoannotate.models.encoding; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_engine_that_is_none_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="There is no engine 'spark': choose one of local, ray"):
        Annotator(CLASSES, engine="spark")


def test_what_only_this_machine_can_read_is_one_sentence(scans: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.write(next(scans.rglob("*.png")), "scan.png")
    with pytest.raises(AutoannotateError, match=r"scan\.png is in an archive or at a URL"):
        Annotator(CLASSES, engine="ray", cache=tmp_path).label(tmp_path / "scans.zip")


@pytest.mark.slow
class TestCluster:
    """With Ray itself, on this machine."""

    @pytest.fixture(autouse=True)
    def _ray(self) -> None:
        pytest.importorskip("ray", reason="the extra `ray` is not installed")

    def test_labels_are_those_of_one_machine_and_nothing_is_encoded_again(self, scans: Path, tmp_path: Path) -> None:
        local = Annotator(CLASSES, student="none", cache=tmp_path / "local").label(scans)
        store = str(tmp_path / "store")
        settings = {"student": "none", "engine": "ray", "store": store}
        ray = Annotator(CLASSES, cache=tmp_path / "ray", **settings).label(scans)
        same = ["path", "label", "clip_label", "note"]
        assert ray.table[same].equals(local.table[same])
        np.testing.assert_allclose(ray.table["clip_confidence"], local.table["clip_confidence"], atol=1e-3)
        assert ray.unreadable["path"].tolist() == local.unreadable["path"].tolist() == ["broken.jpg"]
        written = sorted(Path(store).rglob("*.parquet"))
        assert written
        # a driver that was killed before it had folded anything: the store has it all
        again = Annotator(CLASSES, cache=tmp_path / "again", **settings).label(scans)
        assert again.table.equals(ray.table)
        assert sorted(Path(store).rglob("*.parquet")) == written

    def test_a_cluster_that_is_not_there_is_one_sentence(
        self, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
        with pytest.raises(AutoannotateError, match=r"The Ray cluster at 127\.0\.0\.1:1 cannot be reached"):
            Annotator(CLASSES, engine="ray", cache=tmp_path).label(scans)
