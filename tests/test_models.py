"""The table of named models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autoannotate.models import CATALOGUE, list_models


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_every_model_has_what_a_user_needs_to_choose(hub_cache: Path) -> None:
    rows = list_models()
    assert rows[0].name == "embedded"
    assert {"openai-b32", "laion-b32", "biomedclip", "pubmedclip"} <= {row.name for row in rows}
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert row.source
        assert row.licence
        assert row.good_for
        assert row.megabytes > 0


def test_a_model_is_here_once_its_weights_are_in_the_cache(hub_cache: Path) -> None:
    def here() -> dict[str, bool]:
        return {row.name: row.here for row in list_models() if row.name != "embedded"}

    assert not any(here().values())
    snapshot = hub_cache / "models--flaviagiammarino--pubmed-clip-vit-base-patch32" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text("{}")
    assert not here()["pubmedclip"]
    (snapshot / "pytorch_model.bin").write_bytes(b"")
    assert here() == {name: name == "pubmedclip" for name in here()}


def test_the_hub_repositories_are_those_of_open_clip() -> None:
    from open_clip.pretrained import get_pretrained_cfg

    for model in CATALOGUE.values():
        if model.source.startswith("hf-hub:"):
            assert model.source == f"hf-hub:{model.hub}"
        elif model.source:
            assert get_pretrained_cfg(*model.source.split("/"))["hf_hub"] == f"{model.hub}/"


def test_the_table_is_made_without_loading_torch() -> None:
    check = "import sys, autoannotate.models as m; m.list_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
