"""Answers from other tools: checked whole, kept once, put in the place of the labels."""

from __future__ import annotations

import csv
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_runs import make_run, replace_picture, stamped
from typer.testing import CliRunner

from autoannotate import Annotations
from autoannotate.answers import importers
from autoannotate.answers.apply import NothingAppliedError, apply, merge
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.main import app
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.images import fingerprint
from autoannotate.runs import history
from autoannotate.runs.save import contents

PATHS = ("a/1.png", "a/2.png", "a/10.png", "b/3.png")


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    annotations = make_run(tmp_path / "scans", PATHS)
    annotations.save(tmp_path / "run")
    return Annotations.load(tmp_path / "run")


def table(tmp_path: Path, *rows: str, header: str = "path,label", encoding: str = "utf-8") -> Path:
    file = tmp_path / "answers.csv"
    file.write_text("\n".join((header, *rows)) + "\n", encoding=encoding)
    return file


def labels(annotations: Annotations) -> dict[str, tuple[str, str]]:
    rows = zip(annotations.table["path"], annotations.table["label"], annotations.table["source"], strict=True)
    return {path: (label, source) for path, label, source in rows}


def report(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "run" / "apply-report.csv").open(newline="") as rows:
        return list(csv.DictReader(rows))


def kept(tmp_path: Path) -> list[tuple[str, str, str, str | None]]:
    with AnswerStore(tmp_path / "run") as store:
        return [(one.path, one.reader, one.verdict, one.label) for one in store.everything()]


# what an answer does


def test_an_answer_is_the_label_and_leaves_the_queue(run: Annotations, tmp_path: Path) -> None:
    new = run.apply(table(tmp_path, "a/1.png,breast"), reader="Ana")
    assert labels(new)["a/1.png"] == ("breast", "clinician")
    assert labels(new)["a/2.png"] == ("breast", "clip")
    row = new.table.set_index("path").loc["a/1.png"]
    assert (row["confidence"], row["suspect"], row["suspect_score"]) == (1, 0, 0)
    assert len(new.suspects) == 0
    saved = Annotations.load(tmp_path / "run")
    pd.testing.assert_frame_equal(saved.table, new.table)
    assert "breast" in (tmp_path / "run" / "labels.csv").read_text()


def test_the_other_verdicts(run: Annotations, tmp_path: Path) -> None:
    rows = ("a/1.png,unsure", "a/2.png,None-of-these", "a/10.png,not-usable")
    new = run.apply(table(tmp_path, *rows), reader="Ana")
    assert labels(new) == {
        "a/1.png": ("chest", "student"),
        "a/2.png": ("none-of-these", "clinician"),
        "a/10.png": ("not-usable", "clinician"),
        "b/3.png": ("breast", "clip"),
    }
    assert list(new.suspects["path"]) == ["a/1.png"]
    assert new.classes == ["chest", "breast"]
    assert {verdict for _, _, verdict, _ in kept(tmp_path)} == {"unsure", "none", "discard"}


def test_applying_a_file_twice_changes_nothing(run: Annotations, tmp_path: Path) -> None:
    file = table(tmp_path, "a/1.png,breast", "b/3.png,chest")
    once = run.apply(file, reader="Ana")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.csv") if "report" not in path.name}
    again = apply(once, file, reader="Ana")
    assert list(again.report["outcome"]) == ["known already"] * 2
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.csv") if "report" not in path.name}
    assert before == after
    assert len(kept(tmp_path)) == 2


def test_each_apply_is_a_round_that_can_be_restored(run: Annotations, tmp_path: Path) -> None:
    run.apply(table(tmp_path, "a/1.png,breast"), reader="Ana")
    label, applied = history.rounds(tmp_path / "run")
    assert (label.what, applied.what, len(applied.new)) == ("label", "apply", 1)
    assert [(change.path, change.before, change.after, change.why) for change in applied.changes] == [
        ("a/1.png", "chest", "breast", "Ana answered")
    ]
    history.restore(tmp_path / "run", 0)
    assert labels(Annotations.load(tmp_path / "run"))["a/1.png"] == ("chest", "student")


def test_two_readers_are_kept_apart_and_agree_on_a_label(run: Annotations, tmp_path: Path) -> None:
    file = table(tmp_path, "a/1.png,breast,Ana", "a/1.png,breast,Ben", "a/1.png,chest,Cem", header="path,label,reader")
    new = run.apply(file)
    assert labels(new)["a/1.png"] == ("breast", "clinician")
    assert [reader for _, reader, _, _ in kept(tmp_path)] == ["Ana", "Ben", "Cem"]
    with pytest.raises(UsageError, match=r"3 readers .*leave --reader out"):
        run.apply(file, reader="Dan")


def test_a_tie_settles_nothing_until_a_third_reader_does(run: Annotations, tmp_path: Path) -> None:
    rows = ("a/1.png,breast,Ana", "a/1.png,chest,Ben", "a/2.png,chest,Ana")
    applied = apply(run, table(tmp_path, *rows, header="path,label,reader"))
    assert applied.report["outcome"].tolist() == ["waits", "waits", "applied"]
    assert applied.account == {"taken": 1, "tie": 2}
    new = applied.annotations
    assert labels(new)["a/1.png"] == ("chest", "student")
    assert list(new.suspects["path"]) == ["a/1.png"]
    third = apply(run, table(tmp_path, "a/1.png,breast"), reader="Cem")
    assert labels(third.annotations)["a/1.png"] == ("breast", "clinician")
    assert third.account == {"taken": 3, "outvoted": 1}
    assert len(third.annotations.suspects) == 0
    assert history.rounds(tmp_path / "run")[-1].account == third.account


def test_ties_alone_are_a_round_of_the_history(run: Annotations, tmp_path: Path) -> None:
    file = table(tmp_path, "a/1.png,breast,Ana", "a/1.png,chest,Ben", header="path,label,reader")
    applied = apply(run, file)
    last = history.rounds(tmp_path / "run")[-1]
    assert (last.number, last.what, last.account, last.changes) == (1, "apply", {"tie": 2}, ())
    assert labels(applied.annotations)["a/1.png"] == ("chest", "student")
    assert history.rounds(tmp_path / "run")[-1] == last
    apply(applied.annotations, file)
    assert len(history.rounds(tmp_path / "run")) == 2, "the same file again changes nothing"


def test_a_label_that_an_update_made_of_a_tie_stays(run: Annotations, tmp_path: Path) -> None:
    file = table(tmp_path, "a/1.png,breast,Ana", "a/1.png,chest,Ben", header="path,label,reader")
    tied = run.apply(file)
    tied.table.loc[tied.table["path"] == "a/1.png", "label"] = "breast"
    last = replace(history.rounds(tmp_path / "run")[-1], number=2, what="update")
    history.keep(tmp_path / "run", contents(replace(tied, run=tied.run | {"round": 2})), last)
    again = Annotations.load(tmp_path / "run").apply(file)
    assert labels(again)["a/1.png"][0] == "breast"
    assert len(history.rounds(tmp_path / "run")) == 3


def test_what_became_of_each_answer_adds_up(tmp_path: Path) -> None:
    run = stamped(make_run(tmp_path / "scans", PATHS))
    run.save(tmp_path / "run")
    answers = [
        Answer("a/1.png", "Ana", "label", "chest"), Answer("a/1.png", "Ben", "label", "breast"),
        Answer("a/2.png", "Ana", "label", "breast", fingerprint=fingerprint(run.image("a/2.png"))),
        Answer("a/10.png", "Ana", "unsure"), Answer("a/broken.png", "Ana", "label", "chest"),
        Answer("never/there.png", "Ana", "label", "chest"), Answer("b/3.png", "Ben", "label", "skin"),
    ]  # fmt: skip
    with AnswerStore(tmp_path / "run") as store:
        store.add(answers)
    replace_picture(tmp_path / "scans", "a/2.png")
    applied = apply(run, table(tmp_path, "b/3.png,chest"), reader="Ana")
    assert applied.account == {"unsure": 1, "tie": 3, "replaced picture": 1, "picture gone": 1, "unknown": 2}
    assert sum(applied.account.values()) == len(answers) + 1


def test_a_later_answer_of_a_reader_replaces_the_earlier_one(run: Annotations, tmp_path: Path) -> None:
    run.apply(table(tmp_path, "a/1.png,breast"), reader="Ana")
    applied = apply(run, table(tmp_path, "a/1.png,chest"), reader="Ana")
    assert labels(applied.annotations)["a/1.png"] == ("chest", "clinician")
    assert applied.report["problem"].tolist() == ["instead of breast"]


def test_what_a_reader_said_since_is_not_undone_by_an_old_file(run: Annotations, tmp_path: Path) -> None:
    old = table(tmp_path, "a/1.png,breast,2026-01-01T00:00:00Z", header="path,label,answered_at")
    with AnswerStore(tmp_path / "run") as store:
        store.add([Answer("a/1.png", "Ana", "label", "chest", answered_at="2026-01-02T00:00:00.000+00:00")])
    applied = apply(run, old, reader="Ana")
    assert applied.report["outcome"].tolist() == ["older"]
    assert labels(applied.annotations)["a/1.png"] == ("chest", "clinician")


def test_an_applied_file_does_not_overrule_the_page_afterwards(run: Annotations, tmp_path: Path) -> None:
    file = table(tmp_path, "a/1.png,breast")
    run.apply(file, reader="Ana")
    with AnswerStore(tmp_path / "run") as store:
        store.add([Answer("a/1.png", "Ana", "label", "chest")])
    assert labels(run.apply(file, reader="Ana"))["a/1.png"] == ("chest", "clinician")


def test_an_answer_to_a_replaced_picture_is_new_though_it_says_what_was_said_of_the_picture_before(
    tmp_path: Path,
) -> None:
    run = stamped(make_run(tmp_path / "scans", PATHS))
    run.save(tmp_path / "run")
    file = table(tmp_path, "a/2.png,chest")
    run.apply(file, reader="Ana")
    with AnswerStore(tmp_path / "run") as store:
        store.add([Answer("a/2.png", "Ana", "label", "breast", fingerprint=fingerprint(run.image("a/2.png")))])
    replace_picture(tmp_path / "scans", "a/2.png")
    old = table(tmp_path, "a/2.png,breast,2026-01-01T00:00:00Z", header="path,label,answered_at")
    assert apply(run, old, reader="Ana").report["outcome"].tolist() == ["older"]
    file = table(tmp_path, "a/2.png,breast")
    applied = apply(run, file, reader="Ana")
    assert applied.report[["outcome", "problem"]].to_numpy().tolist() == [["applied", ""]]
    assert labels(applied.annotations)["a/2.png"] == ("breast", "clinician")
    assert apply(run, file, reader="Ana").report["outcome"].tolist() == ["known already"]
    assert len(kept(tmp_path)) == 3


def test_merge_leaves_the_rest_alone(run: Annotations) -> None:
    merged = merge(run, [Answer("b/3.png", "Ana", "label", "chest"), Answer("gone.png", "Ana", "label", "chest")])
    assert labels(merged)["b/3.png"] == ("chest", "clinician")
    rest = [path for path in PATHS if path != "b/3.png"]
    pd.testing.assert_frame_equal(
        merged.table.set_index("path").loc[rest], run.table.set_index("path").loc[rest], check_dtype=True
    )
    assert labels(run)["b/3.png"] == ("breast", "clip")


# what does not fit


def test_any_problem_and_nothing_is_applied(run: Annotations, tmp_path: Path) -> None:
    file = table(tmp_path, "a/1.png,breast", "a/2.png,breats", "zz.png,chest")
    before = (tmp_path / "run" / "labels.csv").read_bytes()
    with pytest.raises(NothingAppliedError, match=r"2 of the 3 answers .*--skip-problems") as caught:
        run.apply(file, reader="Ana")
    assert kept(tmp_path) == []
    assert (tmp_path / "run" / "labels.csv").read_bytes() == before
    assert caught.value.report["outcome"].tolist() == ["not applied", "problem", "problem"]
    assert [row["problem"] for row in report(tmp_path)] == [
        "",
        "no class of the run is called 'breats': did you mean breast?",
        "the run has no such image",
    ]


def test_the_rest_is_applied_when_asked(run: Annotations, tmp_path: Path) -> None:
    file = table(tmp_path, "a/1.png,breast", "a/2.png,breats")
    new = run.apply(file, reader="Ana", skip_problems=True)
    assert labels(new)["a/1.png"] == ("breast", "clinician")
    assert labels(new)["a/2.png"] == ("breast", "clip")
    assert [row["outcome"] for row in report(tmp_path)] == ["applied", "problem"]


def test_the_same_answer_twice_counts_once_and_contradictory_ones_are_problems(
    run: Annotations, tmp_path: Path
) -> None:
    rows = ("a/1.png,breast", "a/1.png,breast", "a/2.png,chest", "a/2.png,breast", "b/3.png,chest")
    with pytest.raises(NothingAppliedError):
        run.apply(table(tmp_path, *rows), reader="Ana")
    outcomes = ["not applied", "repeated", "problem", "problem", "not applied"]
    assert [row["outcome"] for row in report(tmp_path)] == outcomes
    assert report(tmp_path)[1]["problem"] == "the same answer in row 2"
    assert report(tmp_path)[2]["problem"] == "Ana gives another answer to this image in row 5"
    new = run.apply(table(tmp_path, *rows), reader="Ana", skip_problems=True)
    assert [path for path, _, _, _ in kept(tmp_path)] == ["a/1.png", "b/3.png"]
    assert labels(new)["a/2.png"] == ("breast", "clip")


def test_in_a_file_too_a_later_answer_replaces_the_earlier_one(run: Annotations, tmp_path: Path) -> None:
    rows = ("a/1.png,chest,2026-01-01 09:00", "a/1.png,breast,2026-01-01 10:00", "a/1.png,chest,2026-01-01 08:00")
    applied = apply(run, table(tmp_path, *rows, header="path,answer,answered_at"), reader="Ana")
    assert applied.report["outcome"].tolist() == ["older", "applied", "older"]
    assert applied.report["problem"][0] == "replaced by the later answer in row 3"
    assert labels(applied.annotations)["a/1.png"] == ("breast", "clinician")
    assert len(kept(tmp_path)) == 1


def test_a_formula_in_an_answer_cannot_fire_in_the_report(run: Annotations, tmp_path: Path) -> None:
    with pytest.raises(NothingAppliedError):
        run.apply(table(tmp_path, '"=HYPERLINK(1)",chest', "a/1.png,@SUM(A1)"))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in report(tmp_path) for cell in row.values())


def test_answers_are_safe_where_the_labels_cannot_be_written(run: Annotations, tmp_path: Path) -> None:
    file = table(tmp_path, "a/1.png,breast", "b/3.png,chest")
    (tmp_path / "run" / "rounds").write_text("in the way")
    with pytest.raises(OutputError, match="rounds"):
        run.apply(file, reader="Ana")
    assert len(kept(tmp_path)) == 2
    (tmp_path / "run" / "rounds").unlink()
    assert labels(run.apply(file, reader="Ana"))["a/1.png"] == ("breast", "clinician")
    assert len(kept(tmp_path)) == 2


# tables


def test_the_exported_queue_comes_back_with_its_answers(tmp_path: Path) -> None:
    paths = ("=1.png", "b.png", "ä.png", "d.png")
    make_run(tmp_path / "scans", paths).save(tmp_path / "run")
    run = Annotations.load(tmp_path / "run")
    run.export("csv", tmp_path / "queue.csv")
    rows = list(csv.DictReader((tmp_path / "queue.csv").open(newline="", encoding="utf-8")))
    rows[0] |= {"answer": "Breast ", "note": "a second look"}
    with (tmp_path / "queue.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    new = run.apply(tmp_path / "queue.csv", reader="Ana")
    assert labels(new)["=1.png"] == ("breast", "clinician")
    with AnswerStore(tmp_path / "run") as store:
        (answer,) = store.current()
    assert (answer.note, answer.source, answer.reader) == ("a second look", "csv", "Ana")


def test_ok_means_the_label_that_the_row_shows(run: Annotations, tmp_path: Path) -> None:
    new = run.apply(table(tmp_path, "a/1.png,chest,OK", header="path,label,answer"))
    assert labels(new)["a/1.png"] == ("chest", "clinician")
    run = make_run(tmp_path / "more", PATHS, classes=("ok", "bad"))
    run.save(tmp_path / "other")
    new = run.apply(table(tmp_path, "a/1.png,bad,ok", header="path,label,answer"))
    assert labels(new)["a/1.png"] == ("ok", "clinician")


def test_a_row_that_was_not_answered_is_no_answer(run: Annotations, tmp_path: Path) -> None:
    file = table(tmp_path, "a/1.png,chest,", "a/2.png,breast,chest", header="path,label,answer")
    applied = apply(run, file)
    assert labels(applied.annotations)["a/1.png"] == ("chest", "student")
    assert applied.unseen == 1


@pytest.mark.parametrize("name", ["labels.csv", "suspects.csv"])
def test_the_machines_own_labels_are_no_answers_unless_someone_says_so(
    run: Annotations, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=r"holds no answers: .*column answer.*--all-checked"):
        run.apply(tmp_path / "run" / name)
    new = run.apply(tmp_path / "run" / name, all_checked=True)
    assert labels(new)["a/1.png"] == ("chest", "clinician")


@pytest.mark.parametrize(
    ("separator", "encoding"), [(";", "cp1252"), ("\t", "utf-16"), (",", "utf-8-sig"), (";", "utf-8")]
)
def test_tables_are_read_as_spreadsheets_save_them(tmp_path: Path, separator: str, encoding: str) -> None:
    make_run(tmp_path / "scans", ("ä.png", "b.png")).save(tmp_path / "run")
    run = Annotations.load(tmp_path / "run")
    header, row = separator.join(("Path", "Answer")), separator.join(("ä.png", "breast"))
    new = run.apply(table(tmp_path, row, "", header=header, encoding=encoding))
    assert labels(new)["ä.png"] == ("breast", "clinician")


def test_windows_paths_and_exported_names_are_found(run: Annotations, tmp_path: Path) -> None:
    new = run.apply(table(tmp_path, "a\\1.png,breast", "images/b__3.png,chest"))
    assert labels(new)["a/1.png"] == ("breast", "clinician")
    assert labels(new)["b/3.png"] == ("chest", "clinician")


# Label Studio and CVAT as they write (checked against the real thing in test_tools.py and test_label_studio.py)


def annotation(*choices: str, **known: Any) -> dict[str, Any]:
    result = [{"from_name": "answer", "to_name": "image", "type": "choices", "value": {"choices": list(choices)}}]
    note = {"from_name": "note", "to_name": "image", "type": "textarea", "value": {"text": ["see the corner"]}}
    return {
        "result": [*result, note],
        "completed_by": 1,
        "updated_at": "2026-01-01T10:00:00.5Z",
        "lead_time": 2.5,
    } | known


def tasks(tmp_path: Path, *entries: tuple[str, list[dict[str, Any]]]) -> Path:
    said = [{"label": "chest"}]
    content = [
        {"id": i, "data": {"path": path, "label": "chest"}, "annotations": given, "predictions": said}
        for i, (path, given) in enumerate(entries)
    ]
    (tmp_path / "export.json").write_text(json.dumps(content))
    return tmp_path / "export.json"


def test_label_studio_annotations_count_and_predictions_do_not(run: Annotations, tmp_path: Path) -> None:
    who = {"id": 2, "email": "ana@example.org"}
    file = tasks(
        tmp_path,
        ("a/1.png", [annotation("breast", completed_by=who)]),
        ("a/2.png", []),
        ("b/3.png", [annotation("chest", was_cancelled=True)]),
    )
    new = run.apply(file)
    assert [path for path, (_, source) in labels(new).items() if source == "clinician"] == ["a/1.png"]
    with AnswerStore(tmp_path / "run") as store:
        (answer,) = store.current()
    assert answer.reader == "ana@example.org"
    assert answer.answered_at == "2026-01-01T10:00:00.500+00:00"
    assert (answer.source, answer.note, answer.seconds) == ("label-studio", "see the corner", 2.5)


def test_two_choices_for_one_image_contradict(run: Annotations, tmp_path: Path) -> None:
    with pytest.raises(NothingAppliedError):
        run.apply(tasks(tmp_path, ("a/1.png", [annotation("breast", "chest")])))
    assert "annotator 1 gives another answer" in report(tmp_path)[0]["problem"]


def test_label_studio_json_min(run: Annotations, tmp_path: Path) -> None:
    entry = {"id": 1, "path": "a/1.png", "label": "chest", "answer": "breast", "annotator": 3, "lead_time": 1.5}
    (tmp_path / "min.json").write_text(json.dumps([entry]))
    run.apply(tmp_path / "min.json")
    assert kept(tmp_path) == [("a/1.png", "annotator 3", "label", "breast")]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("path,label,id,diagnosis,annotator,annotation_id", "a/1.png,chest,1,breast,3,9"),
        ("path,label,diagnosis,annotator,lead_time,updated_at", "a/1.png,chest,breast,3,1.5,2026-01-01T08:00:00Z"),
        ("image,label,diagnosis,annotator,created_at", "/data/upload/1/1a2b3c4d-a__1.png,chest,breast,3,2026-01-01"),
    ],
)
def test_label_studio_tables_are_known_by_their_columns(
    run: Annotations, tmp_path: Path, header: str, row: str
) -> None:
    run.apply(table(tmp_path, row, header=header))
    assert [(path, label) for path, _, _, label in kept(tmp_path)] == [("a/1.png", "breast")], "the machine said chest"


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><job><owner><username>boss</username><email></email></owner><assignee><username>ana</username></assignee></job>
<dumped>2026-01-01 10:00:00.000000+00:00</dumped></meta>
<image id="0" name="a__1.png" width="48" height="48">
  <tag label="chest" source="file"></tag>
  <tag label="breast" source="manual"><attribute name="note">clear</attribute></tag></image>
<image id="1" name="a/2.png" width="48" height="48"><tag label="breast" source="file"></tag></image>
<image id="2" name="a__10.png" width="48" height="48"></image>
<image id="3" name="b__3.png" width="48" height="48">
  <box label="chest" source="manual" occluded="0" xtl="1" ytl="1" xbr="9" ybr="9" z_order="0"></box>
  <polygon label="chest" source="manual" occluded="0" points="1,1;2,2;3,1" z_order="0"></polygon></image>
</annotations>
"""


@pytest.mark.parametrize("zipped", [False, True])
def test_cvat_tags_that_a_person_touched_are_answers(run: Annotations, tmp_path: Path, zipped: bool) -> None:
    file = tmp_path / ("export.zip" if zipped else "annotations.xml")
    if zipped:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("annotations.xml", CVAT)
            archive.writestr("images/a__1.png", b"")
    else:
        file.write_text(CVAT)
    applied = apply(run, file)
    assert kept(tmp_path) == [("a/1.png", "ana", "label", "breast"), ("b/3.png", "ana", "label", "chest")]
    assert applied.unseen == 1
    everything = run.apply(file, all_checked=True)
    assert labels(everything)["a/2.png"] == ("breast", "clinician")


def test_a_cvat_export_for_video_is_told(run: Annotations, tmp_path: Path) -> None:
    (tmp_path / "v.xml").write_text("<annotations><version>1.1</version><track id='0' label='chest'/></annotations>")
    with pytest.raises(InputError, match="choose CVAT for images"):
        run.apply(tmp_path / "v.xml")


# finding out the format


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"some words\n", "holds no answers that are known"),
        (b"PK\x03\x04 xl/workbook.xml", "save it as CSV"),
        (b'[{"id": 1, "data": ', "cannot be read as label-studio"),
        (b"<annotations><image", "cannot be read as cvat"),
        (b"\xff\xfe\x00", "holds no answers"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><annotations>&a;</annotations>', "declares entities"),
        (b"path,label\n", "holds no answers"),
    ],
)
def test_other_files_are_a_plain_sentence(run: Annotations, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=said):
        run.apply(tmp_path / "file")
    assert not (tmp_path / "run" / "answers.sqlite").exists()


def test_a_format_can_be_forced_and_an_unknown_one_is_wrong_usage(run: Annotations, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as cvat"):
        run.apply(table(tmp_path, "a/1.png,breast"), format="cvat")
    with pytest.raises(UsageError, match="choose one of chexpert, csv, cvat, fiftyone, label-studio"):
        run.apply(table(tmp_path, "a/1.png,breast"), format="xlsx")
    with pytest.raises(InputError, match="There is no file"):
        run.apply(tmp_path / "missing.json")


def test_every_format_says_what_it_reads() -> None:
    for name in importers.formats():
        module = importers.find_format(name)
        assert module.__doc__
        assert module.HINT
        assert not module.recognises(b"")


# the command


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_says_what_it_did_and_what_comes_next(run: Annotations, tmp_path: Path) -> None:
    result = call("apply", tmp_path / "run", table(tmp_path, "a/1.png,breast"), "--reader", "Ana")
    assert result.exit_code == 0, result.output
    assert "1 answer of Ana applied" in result.stdout
    assert "suspects 1 → 0" in result.stdout
    assert "autoannotate update" in result.stdout


def test_the_command_shows_the_problems_and_fails(run: Annotations, tmp_path: Path) -> None:
    result = call("apply", tmp_path / "run", table(tmp_path, "a/1.png,breats", "a/2.png,breast"))
    assert result.exit_code == 1
    assert "did you mean breast?" in " ".join(result.stdout.split())
    assert "1 answer would fit" in result.stdout
    assert "--skip-problems" in result.stderr
    for _ in range(2):
        applied = call("apply", tmp_path / "run", tmp_path / "answers.csv", "--skip-problems")
        assert applied.exit_code == 0
        assert "would fit" not in applied.stdout


def test_a_run_that_was_never_saved_has_no_place_for_answers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="save it first"):
        make_run(tmp_path / "scans").apply(table(tmp_path, "a/1.png,breast"))
