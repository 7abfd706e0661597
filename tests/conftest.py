"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

# one thread a process: tests run side by side, and small arrays gain nothing from more
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real image sets, where they are present: $AUTOANNOTATE_DATA, else ../shared/data beside the repository."""
    root = Path(os.environ.get("AUTOANNOTATE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "eval").is_dir():
        pytest.skip(f"the real image sets are not at {root}; set AUTOANNOTATE_DATA to their folder")
    return root


@pytest.fixture(scope="session", autouse=True)
def _state_of_pages(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where review pages keep their address between two starts: not the user's own folder."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
