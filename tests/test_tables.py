"""Tables as spreadsheets and programs save them are read alike everywhere: answers, labelled sets, a run's own files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import draw_images, make_run

from autoannotate import Annotations
from autoannotate.answers.apply import apply
from autoannotate.errors import InputError
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.runs import tables
from autoannotate.runs.delimited import parse, read_delimited

PATHS = ("größe/1.png", "größe/2.png", "b/3.png", "b/4.png")
ROWS = [(path, "chest" if path < "c" else "breast", "a, b; c") for path in PATHS]


def saved(separator: str = ",", encoding: str = "utf-8", head: str = "", end: str = "\n") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    writer.writerows([("path", "label", "note"), *ROWS])
    return (head + text.getvalue()).encode(encoding)


def quoted_as_a_whole() -> bytes:
    lines = saved().decode().splitlines()
    return "".join('"{}"\r\n'.format(line.replace('"', '""')) for line in lines).encode()


SPELLINGS: dict[str, bytes] = {
    "commas": saved(),
    "semicolons": saved(";", end="\r\n"),
    "tabs": saved("\t"),
    "bars": saved("|"),
    "a byte order mark": saved(encoding="utf-8-sig"),
    "a mark and semicolons": saved(";", "utf-8-sig", end="\r\n"),
    "Windows-1252": saved(encoding="cp1252"),
    "UTF-16": saved("\t", "utf-16"),
    "UTF-16 without a mark": saved("\t", "utf-16-le"),
    "UTF-16, big end first": saved("\t", "utf-16-be"),
    "UTF-32": saved(encoding="utf-32"),
    "a sep line": saved(";", head="sep=;\r\n", end="\r\n"),
    "a sep line in quotes, with a mark": saved("|", "utf-8-sig", head='"sep=|"\r\n'),
    "a sep line that spells a tab": saved("\t", head="sep=\\t\n"),
    "blank first lines": saved(head="\n  \n,,\n"),
    "blank lines between": saved().replace(b"\n", b"\n\n,,\n"),
    "ends of lines of old Macintoshes": saved(end="\r"),
    "capitals": saved().replace(b"path,label", b" Path , LABEL"),
    "back-slashes": saved().replace("größe/".encode(), "größe\\".encode()),
    "each line in quotes": quoted_as_a_whole(),
}


@pytest.fixture
def as_saved(tmp_path: Path) -> Callable[[str], Path]:
    draw_images(tmp_path, PATHS)

    def write(spelling: str) -> Path:
        file = tmp_path / "table.csv"
        file.write_bytes(SPELLINGS[spelling])
        return file

    return write


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_labelled_set_is_read(as_saved: Callable[[str], Path], spelling: str) -> None:
    found = read_labelled([as_saved(spelling)])
    assert [(ref.path, found.class_names[label]) for ref, label in zip(found.refs, found.labels, strict=True)] == [
        row[:2] for row in ROWS
    ]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_answers_are_applied(as_saved: Callable[[str], Path], tmp_path: Path, spelling: str) -> None:
    make_run(tmp_path, PATHS, draw=False).save(tmp_path / "run")
    file = as_saved(spelling)
    applied = apply(Annotations.load(tmp_path / "run"), file, reader="Ana")
    assert applied.report[["path", "answer", "outcome"]].to_numpy().tolist() == [
        [path, label, "applied"] for path, label, _ in ROWS
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_run_whose_tables_a_spreadsheet_saved_still_loads(tmp_path: Path, separator: str, encoding: str) -> None:
    run = make_run(tmp_path / "scans", ("größe/1.png", "=2.png", "c, d/3.png"), reason='\'=1; of "2"')
    run.save(tmp_path / "run")
    for file in (
        (tmp_path / "run" / name) for name in ("labels.csv", "suspects.csv", "unreadable.csv", "probabilities.csv")
    ):
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"))))
        if separator == ";":  # such countries have decimal commas
            rows = [[cell.replace(".", ",") if cell[:2] in ("0.", "1.") else cell for cell in row] for row in rows]
        if file.name != "probabilities.csv":  # whose columns are the classes
            rows[0] = [name.capitalize() for name in rows[0]]
        text = io.StringIO()
        csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows([*rows, [""] * len(rows[0])])
        file.write_bytes(text.getvalue().encode(encoding))
    loaded = Annotations.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.table, run.table)
    pd.testing.assert_frame_equal(loaded.suspects, run.suspects)
    pd.testing.assert_frame_equal(loaded.probabilities, run.probabilities)


def test_rows_keep_the_number_that_a_spreadsheet_gives_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\n\npath;label\n\nx.png;chest\n")
    table = read_delimited(tmp_path / "a.csv")
    assert (table.header, table.rows, table.separator) == (["path", "label"], [(5, ["x.png", "chest"])], ";")


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('path,label\nx.png,"chest\ny.png,breast\n')
    with pytest.raises(InputError, match="a quote is never closed"):
        read_delimited(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text('path,label\nx.png,"big" one\n')
    assert read_delimited(tmp_path / "a.csv").rows == [(2, ["x.png", "big one"])]


def test_a_workbook_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"PK\x03\x04 xl/workbook.xml")
    with pytest.raises(InputError, match="save it as CSV"):
        read_delimited(tmp_path / "a.csv")


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff"), max_size=8)


@given(st.lists(st.tuples(CELLS.filter(str.strip), CELLS), max_size=5), st.sampled_from(",;\t|"))
def test_what_the_csv_module_writes_comes_back(rows: list[tuple[str, str]], separator: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows([("path", "label"), *rows])
    assert [tuple(row) for _, row in parse(text.getvalue()).rows] == rows


def test_a_large_run_is_saved_exported_and_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_images(tmp_path / "pictures", [f"{i}.png" for i in range(7)])
    run = make_run(tmp_path / "pictures", [f"{i}.png" for i in range(7)])
    run.save(tmp_path / "whole")
    run.export("jsonl", tmp_path / "whole.jsonl", what="all")
    for rows in (1, 2, 7):
        monkeypatch.setattr(tables, "ROWS", rows)
        assert len([*tables.csv_parts(run.table)]) == 1 + -(-7 // rows)
        run.save(tmp_path / str(rows))
        run.export("jsonl", tmp_path / f"{rows}.jsonl", what="all")
        for name in ("labels.csv", "suspects.csv"):
            assert (tmp_path / str(rows) / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / f"{rows}.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        assert Annotations.load(tmp_path / str(rows)).table.equals(run.table)
