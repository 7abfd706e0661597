"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real image sets, where they are present: $AUTOANNOTATE_DATA, else ../shared/data beside the repository."""
    root = Path(os.environ.get("AUTOANNOTATE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "eval").is_dir():
        pytest.skip(f"the real image sets are not at {root}; set AUTOANNOTATE_DATA to their folder")
    return root
