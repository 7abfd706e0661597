"""The console never costs an answer: whatever a path or a terminal is like, the command ends as its work did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import make_run

from autoannotate import Annotations
from autoannotate.answers.store import AnswerStore

PATHS = ("größe/Ω→1.png", "[b]2.png", "c:smile:.png", "d.png")


def call(*arguments: str | Path, encoding: str = "utf-8") -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "COLUMNS": "200"}
    command = [sys.executable, "-m", "autoannotate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=environment, timeout=300, check=False)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_the_terminal_cannot_show_is_replaced(tmp_path: Path, encoding: str) -> None:
    make_run(tmp_path / "scans", PATHS).save(tmp_path / "run")
    (tmp_path / "a.csv").write_text("path,answer,reader\ngröße/Ω→1.png,breast,Жанна\n", encoding="utf-8")
    done = call("apply", tmp_path / "run", tmp_path / "a.csv", encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert b"suspects 1 ? 0" in done.stdout
    told = call("history", tmp_path / "run", "--round", "1", encoding=encoding)
    assert told.returncode == 0, told.stderr
    (tmp_path / "b.csv").write_text("path,answer\n→.png,breast\n", encoding="utf-8")
    failed = call("apply", tmp_path / "run", tmp_path / "b.csv", encoding=encoding)
    assert failed.returncode == 1
    assert b"did not foresee" not in failed.stderr


@pytest.mark.parametrize("name", ["[b]un", "a[/r]", "[red]", "x:smile:y", "[link=x]", "back\\\\[b]slash"])
def test_a_folder_is_printed_as_it_is_called(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    make_run(tmp_path / "scans", PATHS).save(folder)
    (tmp_path / "a.csv").write_text("path,answer\n[b]2.png,chest\nd.png,[b]chest[/b]\n")
    done = call("apply", folder, tmp_path / "a.csv", "--skip-problems")
    assert done.returncode == 0, done.stderr
    assert str(folder) in done.stdout.decode()
    assert "[b]chest[/b]" in done.stdout.decode()
    with AnswerStore(folder) as store:
        assert [one.path for one in store.current()] == ["[b]2.png"]
    for arguments in (["history", folder], ["history", folder, "--round", "1"]):
        told = call(*arguments)
        assert told.returncode == 0, told.stderr
    assert "[b]2.png" in told.stdout.decode()
    assert Annotations.load(folder).table["source"].tolist()[1] == "clinician"
