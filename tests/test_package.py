"""What pip installs: the page, the pictures' templates, the words and the weights beside the code."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_installed_package_holds_every_file_that_the_source_tree_has() -> None:
    installed = {file.as_posix() for file in files("autoannotate") or ()}
    if "autoannotate/cli/main.py" not in installed:
        pytest.skip("installed in place (pip install -e): nothing was packed")
    wanted = {
        f"{packed}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, packed in (("autoannotate", "autoannotate"), ("prompts", "autoannotate/prompts_data"))
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert len(wanted) > 100
    assert wanted <= installed, sorted(wanted - installed)
