"""What a run keeps: the tables of the contract, the same bytes each time, and nobody's work written over."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import make_run

from autoannotate import Annotations
from autoannotate.errors import InputError, OutputError, UnreadableImageError, UsageError
from autoannotate.runs import tables
from autoannotate.runs.run import check_classes
from autoannotate.runs.save import FILES, ensure_writable


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    return make_run(tmp_path / "scans")


def test_a_run_is_its_files_with_the_columns_of_the_contract(run: Annotations, tmp_path: Path) -> None:
    run.save(tmp_path / "out")
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == sorted(FILES)
    heading = {name: (tmp_path / "out" / name).read_text().split("\n")[0] for name in FILES[:4]}
    assert heading == {
        "labels.csv": "path,label,confidence,source,suspect,suspect_score,clip_label,clip_confidence",
        "suspects.csv": "rank,path,label,suggested_label,suspect_score,reason",
        "unreadable.csv": "path,reason",
        "probabilities.csv": "path,chest,breast",
    }


def test_a_saved_run_loads_as_it_was(run: Annotations, tmp_path: Path) -> None:
    run.save(tmp_path / "out")
    again = Annotations.load(tmp_path / "out")
    pd.testing.assert_frame_equal(again.table, run.table)
    pd.testing.assert_frame_equal(again.suspects, run.suspects)
    pd.testing.assert_frame_equal(again.unreadable, run.unreadable)
    assert again.run == run.run


def test_probabilities_come_back_and_a_run_of_an_earlier_version_has_none(run: Annotations, tmp_path: Path) -> None:
    run.save(tmp_path / "out")
    pd.testing.assert_frame_equal(Annotations.load(tmp_path / "out").probabilities, run.probabilities)
    (tmp_path / "out" / "probabilities.csv").unlink()
    assert Annotations.load(tmp_path / "out").probabilities is None


def test_the_probability_of_a_label_is_its_confidence(run: Annotations) -> None:
    assert run.probabilities is not None
    rows = run.probabilities.set_index("path")
    for path, label, confidence in zip(run.table["path"], run.table["label"], run.table["confidence"], strict=True):
        assert rows.loc[path, label] == pytest.approx(confidence, abs=1e-6)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-5)


def test_a_run_of_a_newer_format_is_refused_with_a_way_out(run: Annotations, tmp_path: Path) -> None:
    run.save(tmp_path / "out")
    file = tmp_path / "out" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    with pytest.raises(InputError, match="newer autoannotate"):
        Annotations.load(tmp_path / "out")


def test_pictures_that_were_moved_are_found_where_they_are_now(run: Annotations, tmp_path: Path) -> None:
    run.save(tmp_path / "out")
    (tmp_path / "scans").rename(tmp_path / "elsewhere")
    path = run.table["path"][0]
    with pytest.raises(UnreadableImageError):
        Annotations.load(tmp_path / "out").read_image(path)
    assert Annotations.load(tmp_path / "out", images=tmp_path / "elsewhere").read_image(path).size
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        Annotations.load(tmp_path / "out", images=tmp_path / "empty")


def test_the_same_run_has_the_same_bytes(run: Annotations, tmp_path: Path) -> None:
    run.save(tmp_path / "one")
    make_run(tmp_path / "scans").save(tmp_path / "two")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_tables_have_lf_line_ends_and_six_decimals(run: Annotations, tmp_path: Path) -> None:
    run.save(tmp_path / "out")
    text = (tmp_path / "out" / "labels.csv").read_bytes()
    assert b"\r" not in text
    assert text.split(b"\n")[1] == b"a/1.png,chest,0.912346,student,1,0.875000,breast,0.333333"


def test_numpy_values_and_what_is_not_finite_fit_into_run_json(tmp_path: Path) -> None:
    facts = {"n": np.int64(3), "list": np.arange(2), "nan": float("nan"), "path": Path("a/b")}
    make_run(tmp_path / "scans", facts=facts).save(tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "run.json").read_text())["facts"]
    assert kept == {"n": 3, "list": [0, 1], "nan": None, "path": "a/b"}


def test_classes_without_images_are_still_classes(tmp_path: Path) -> None:
    run = make_run(tmp_path, paths=["1.png"], classes=["chest", "breast", "brain"])
    assert run.classes == ["chest", "breast", "brain"]


def test_an_image_has_one_label(run: Annotations) -> None:
    with pytest.raises(InputError, match=r"a/1\.png has two labels"):
        Annotations(pd.concat([run.table, run.table[:1]]), run.suspects, run.unreadable, run.run)


def test_the_picture_of_a_row_is_read_when_asked_for(run: Annotations) -> None:
    image = run.read_image("a/10.png")
    assert (image.mode, image.size) == ("RGB", (48, 48))
    with pytest.raises(UnreadableImageError):
        run.read_image("gone.png")


# Cells that a spreadsheet would run


def test_a_file_name_cannot_fire_as_a_formula_and_still_joins_with_its_file(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    run = make_run(scans, paths=["=cmd.png", "+1.png", "-2.png", "@x/3.png"])
    run.save(tmp_path / "out")
    with (tmp_path / "out" / "labels.csv").open(newline="") as rows:
        written = [row["path"] for row in csv.DictReader(rows)]
    assert written == ["./=cmd.png", "./+1.png", "./-2.png", "./@x/3.png"]
    assert all((scans / path).is_file() for path in written)
    assert list(Annotations.load(tmp_path / "out").table["path"]) == ["=cmd.png", "+1.png", "-2.png", "@x/3.png"]


def test_a_reason_cannot_fire_as_a_formula(tmp_path: Path) -> None:
    run = make_run(tmp_path / "scans", reason='=HYPERLINK("http://example.org")')
    run.save(tmp_path / "out")
    with (tmp_path / "out" / "suspects.csv").open(newline="") as rows:
        assert next(csv.DictReader(rows))["reason"] == '\'=HYPERLINK("http://example.org")'
    assert Annotations.load(tmp_path / "out").suspects["reason"][0] == '=HYPERLINK("http://example.org")'


texts = st.text(max_size=12) | st.sampled_from(
    ["NA", "nan", "None", "", "=1", " @x", "'", "./a", "a\r\nb", "\t-", "\udcff"]
)


@given(st.lists(st.tuples(texts, texts), max_size=6))
def test_any_text_comes_back_as_it_was_and_none_can_fire(cells: list[tuple[str, str]]) -> None:
    cells = [(a.replace("\0", ""), b.replace("\0", "")) for a, b in cells]
    try:
        table = pd.DataFrame(cells, columns=["path", "reason"], dtype="object")
        content = tables.to_csv(table)
    except UnicodeEncodeError:
        return  # surrogates that stand for no byte are in no file name
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.csv"
        file.write_bytes(content)
        assert tables.read(file, ("path", "reason")).values.tolist() == [list(row) for row in cells]
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as rows:
            assert not any(tables.could_fire(cell) for row in csv.reader(rows) for cell in row)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("path\nx.png\n", "lacks the column reason"),
        ("path,reason\nx.png\n", "row 2: 1 cells where the heading has 2"),
        ("", "lacks the column path"),
    ],
)
def test_a_table_that_somebody_damaged_is_a_plain_sentence(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "unreadable.csv").write_text(content)
    with pytest.raises(InputError, match=says):
        tables.read(tmp_path / "unreadable.csv", ("path", "reason"))


def test_a_number_that_is_none_is_a_plain_sentence(run: Annotations, tmp_path: Path) -> None:
    run.save(tmp_path / "out")
    labels = tmp_path / "out" / "labels.csv"
    labels.write_text(labels.read_text().replace("0.912346", "high"))
    with pytest.raises(InputError, match="row 2: confidence is 'high', not a number"):
        Annotations.load(tmp_path / "out")


def test_a_folder_without_a_run_is_a_plain_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no run in"):
        Annotations.load(tmp_path)


# Nobody's work is written over


def test_a_new_and_an_empty_folder_take_a_run_and_nothing_is_left_behind(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "new" / "deep")
    ensure_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_run_is_replaced_only_when_asked(run: Annotations, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run.save(out)
    before = {item.name: item.read_bytes() for item in out.iterdir()}
    with pytest.raises(OutputError, match=r"--out.*--overwrite"):
        run.save(out)
    assert {item.name: item.read_bytes() for item in out.iterdir()} == before
    make_run(tmp_path / "scans", seed=7).save(out, overwrite=True)
    assert Annotations.load(out).run["seed"] == 7


def test_what_else_lies_in_the_folder_of_a_run_stays(run: Annotations, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run.save(out)
    (out / "notes.txt").write_text("mine")
    run.save(out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_folder_that_is_not_a_run_is_left_alone_even_when_asked(run: Annotations, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="not a run of autoannotate"):
            run.save(tmp_path, overwrite=overwrite)
    assert (tmp_path / "labels.csv").read_text() == "mine"


def test_answers_by_clinicians_are_never_written_over(run: Annotations, tmp_path: Path) -> None:
    answered = run.table.assign(source=["clinician", *run.table["source"][1:]])
    Annotations(answered, run.suspects, run.unreadable, run.run).save(tmp_path / "table")
    run.save(tmp_path / "store")
    (tmp_path / "store" / "answers.sqlite").touch()
    for out in (tmp_path / "table", tmp_path / "store"):
        with pytest.raises(OutputError, match="answers by clinicians"):
            run.save(out, overwrite=True)


@pytest.mark.parametrize("out", ["file.txt", "file.txt/run"])
def test_a_file_in_the_way_is_a_plain_sentence(tmp_path: Path, out: str) -> None:
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(OutputError, match="--out"):
        ensure_writable(tmp_path / out)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can write")
def test_a_folder_in_which_nobody_can_write_is_found_out_first() -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        ensure_writable(Path("/proc/autoannotate-run"))


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_full_disk_leaves_the_earlier_run_whole(run: Annotations, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run.save(out)
    before = {item.name: item.read_bytes() for item in out.iterdir()}
    code = (
        "import resource, sys\n"
        "from autoannotate.annotator.annotations import Annotations\n"
        "from autoannotate.errors import OutputError\n"
        "run = Annotations.load(sys.argv[1])\n"
        "run.run['seed'] = 5\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try:\n    run.save(sys.argv[1], overwrite=True)\n"
        "except OutputError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code, out], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Cannot write")
    assert {item.name: item.read_bytes() for item in out.iterdir()} == before


# Class names


def test_class_names_are_trimmed_and_kept_in_order() -> None:
    assert check_classes([" chest X-ray", "breast "]) == ["chest X-ray", "breast"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["chest"], "two classes or more"),
        (["chest", ""], "two classes or more"),
        (["", ""], "two classes or more"),
        (["chest", "breast", ""], "stray comma"),
        (["chest", "breast", "Chest"], "given twice"),
        (["=1+1", "breast"], "formula"),
        (["+", "-"], "formula"),
    ],
)
def test_class_names_that_cannot_be_used_are_wrong_usage(names: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_classes(names)
