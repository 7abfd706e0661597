"""Labels for other programs: found by name, written whole or not at all, nothing replaced unasked."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from made_runs import REASON, make_run

from autoannotate import Annotations, exports
from autoannotate.errors import OutputError, UsageError


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    return make_run(tmp_path / "scans")


def test_csv_holds_the_queue(run: Annotations, tmp_path: Path) -> None:
    run.export("csv", tmp_path / "to-check.csv")
    with (tmp_path / "to-check.csv").open(newline="") as rows:
        assert list(csv.DictReader(rows)) == [
            {
                "rank": "1",
                "path": "a/1.png",
                "label": "chest",
                "suggested_label": "breast",
                "suspect_score": "0.875000",
                "reason": REASON,
                "answer": "",
                "note": "",
            }
        ]


def test_csv_of_everything_is_labels_csv(run: Annotations, tmp_path: Path) -> None:
    run.save(tmp_path / "out")
    run.export("csv", tmp_path / "all.csv", what="all")
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "out" / "labels.csv").read_bytes()


def test_jsonl_holds_names_as_they_are(tmp_path: Path) -> None:
    run = make_run(tmp_path / "scans", paths=["=1.png", "ä.png"])
    run.export("jsonl", tmp_path / "all.jsonl", what="all")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["path"] for line in lines] == ["=1.png", "ä.png"]
    assert lines[0]["suspect"] == 1
    assert lines[0]["confidence"] == 0.912346
    assert list(lines[0]) == list(run.table.columns)


def test_an_unknown_format_is_wrong_usage_with_the_names_there_are(run: Annotations, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no format 'jsonlines': choose one of .*csv.*Did you mean jsonl\?"):
        run.export("jsonlines", tmp_path / "x")
    with pytest.raises(UsageError, match="choose suspects or all"):
        run.export("csv", tmp_path / "x", what="some")  # type: ignore[arg-type]
    assert [item.name for item in tmp_path.iterdir()] == ["scans"]


def test_a_file_that_may_hold_answers_is_replaced_only_when_asked(run: Annotations, tmp_path: Path) -> None:
    file = tmp_path / "to-check.csv"
    file.write_text("answered")
    with pytest.raises(OutputError, match=r"may hold answers.*--overwrite"):
        run.export("csv", file)
    assert file.read_text() == "answered"
    run.export("csv", file, overwrite=True)
    assert file.read_text().startswith("rank,path")


def test_a_folder_in_the_way_stays(run: Annotations, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        run.export("csv", tmp_path / "scans", overwrite=True)
    assert (tmp_path / "scans" / "a").is_dir()


def test_missing_folders_are_made_and_nothing_else_is_left(run: Annotations, tmp_path: Path) -> None:
    run.export("csv", tmp_path / "new" / "deep" / "q.csv")
    assert [item.name for item in (tmp_path / "new" / "deep").iterdir()] == ["q.csv"]


def test_every_format_says_what_it_is() -> None:
    assert {"csv", "jsonl"} <= set(exports.formats())
    for name in exports.formats():
        module = exports.find_format(name)
        assert module.__doc__
        assert callable(module.write)


def test_a_format_is_added_by_adding_one_file(
    run: Annotations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "path_list.py").write_text(
        '"""The paths, one a line."""\nSUFFIX = ".txt"\n'
        "def write(order):\n"
        "    order.path.write_text('\\n'.join(order.annotations.rows(order.what)['path']))\n"
    )
    monkeypatch.setattr(exports, "__path__", [*exports.__path__, str(folder)])
    try:
        run.export("path-list", tmp_path / "list.txt", what="all")
    finally:
        sys.modules.pop("autoannotate.exports.path_list", None)
    assert (tmp_path / "list.txt").read_text().split("\n") == ["a/1.png", "a/2.png", "a/10.png", "b/3.png"]
