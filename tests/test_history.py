"""The rounds of a run: kept whole, told, restored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import make_run
from typer.testing import CliRunner

from autoannotate import Annotations
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.main import app
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.runs import history
from autoannotate.runs.save import FILES, contents, ensure_writable

WHEN = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path / "scans").save(tmp_path / "run")
    return tmp_path / "run"


def add_round(run: Path, path: str = "a/2.png", label: str = "chest", number: int = 1) -> Annotations:
    """What an update would leave: one label changed by one answer."""
    with AnswerStore(run) as store:
        given = store.add([Answer(path, "Ana", "label", label, note="see the rib", answered_at=WHEN, round=number - 1)])
    before = Annotations.load(run)
    table = before.table.copy()
    old = table.loc[table["path"] == path, "label"].item()
    table.loc[table["path"] == path, ["label", "source"]] = [label, "clinician"]
    after = replace(before, table=table, run={**before.run, "round": number})
    record = history.Round(
        number, "update", WHEN, answers=(given[0].id,), new=(given[0].id,),
        changes=(history.Change(path, old, label, "Ana answered"),), before=history.numbers_of(before),
        after=history.numbers_of(after),
    )  # fmt: skip
    history.keep(run, contents(after), record)
    return after


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_a_run_that_was_never_updated_has_one_round(run: Path) -> None:
    (only,) = history.rounds(run)
    assert (only.number, only.what, only.changes) == (0, "label", ())
    assert not (run / "rounds").exists()
    assert history.load_round(run, 0).table.equals(Annotations.load(run).table)


def test_the_first_round_kept_keeps_the_run_itself_too(run: Path) -> None:
    before = files(run)
    add_round(run)
    assert files(run / "rounds" / "0000") == before
    assert files(run / "rounds" / "0001") == files(run) != before
    assert [(one.number, one.what) for one in history.rounds(run)] == [(0, "label"), (1, "update")]


def test_any_round_can_be_restored_and_that_is_a_round_of_its_own(run: Path) -> None:
    before = files(run)
    add_round(run)
    add_round(run, "a/10.png", "breast", number=2)
    made = history.restore(run, 0)
    assert (made.number, made.what, made.restored) == (3, "restore", 0)
    assert {change.path for change in made.changes} == {"a/2.png", "a/10.png"}
    assert (run / "labels.csv").read_bytes() == before["labels.csv"]
    assert (run / "suspects.csv").read_bytes() == before["suspects.csv"]
    assert Annotations.load(run).run["round"] == 3
    assert len(history.rounds(run)) == 4
    history.restore(run, 2)
    assert Annotations.load(run).table.query("path == 'a/10.png'")["label"].item() == "breast"


def test_a_restore_loses_no_answer(run: Path) -> None:
    add_round(run)
    history.restore(run, 0)
    with AnswerStore(run) as store:
        assert [(one.path, one.label) for one in store.current()] == [("a/2.png", "chest")]


def test_the_current_round_and_rounds_that_are_not_there_cannot_be_restored(run: Path) -> None:
    with pytest.raises(UsageError, match="only round 0"):
        history.restore(run, 1)
    with pytest.raises(UsageError, match="current one"):
        history.restore(run, 0)
    add_round(run)
    with pytest.raises(UsageError, match="rounds 0 to 1"):
        history.load_round(run, 7)


def test_a_round_that_could_not_be_written_leaves_everything_as_it_was(run: Path) -> None:
    add_round(run)
    before, rounds = files(run), sorted((run / "rounds").iterdir())
    with pytest.raises(OutputError, match="Another update"):
        history.keep(run, files(run), history.Round(1, "update", WHEN))
    with pytest.raises(KeyError):
        history.keep(run, {"labels.csv": b""}, history.Round(2, "update", WHEN))
    assert files(run) == before
    assert sorted((run / "rounds").iterdir()) == rounds


def test_an_update_killed_while_files_were_put_in_place_is_finished_later(run: Path) -> None:
    before = files(run)
    add_round(run)
    after = files(run)
    for name in FILES[1:]:  # labels.csv was new already, the others were not
        (run / name).write_bytes(before[name])
    history.settle(run)
    assert files(run) == after


def test_no_run_is_written_over_one_with_rounds(run: Path) -> None:
    add_round(run)
    (run / "answers.sqlite").unlink()
    with pytest.raises(OutputError, match="never written over"):
        ensure_writable(run, overwrite=True)


def test_a_damaged_round_is_told_plainly(run: Path) -> None:
    add_round(run)
    (run / "rounds" / "0001" / "round.json").write_text("{}")
    with pytest.raises(InputError, match=r"round\.json cannot be read"):
        history.rounds(run)


def test_the_command_tells_who_answered_what_when_and_what_changed_why(run: Path) -> None:
    add_round(run)
    told = CliRunner().invoke(app, ["history", str(run)])
    assert told.exit_code == 0
    assert "Ana 1" in told.stdout
    one = CliRunner().invoke(app, ["history", str(run), "--round", "1"])
    assert "2026-01-02 03:04:05  Ana  a/2.png  chest  “see the rib”" in one.stdout
    assert "a/2.png  breast → chest  Ana answered" in one.stdout


def test_the_command_restores_and_says_that_answers_stay(run: Path) -> None:
    add_round(run)
    done = CliRunner().invoke(app, ["history", str(run), "--restore", "0"])
    assert done.exit_code == 0
    assert "All answers are still there" in done.stdout
    assert Annotations.load(run).table.query("path == 'a/2.png'")["label"].item() == "breast"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--restore", "9"], 2, "no round 9"),
        (["--restore", "0", "--round", "0"], 2, "give one of them"),
    ],
)
def test_wrong_rounds_are_told_plainly(run: Path, arguments: list[str], status: int, words: str) -> None:
    result = CliRunner().invoke(app, ["history", str(run), *arguments])
    assert result.exit_code == status
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_without_a_run_is_told_plainly(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["history", str(tmp_path)])
    assert result.exit_code == 1
    assert "There is no run" in result.stderr


def test_round_json_is_readable_by_others(run: Path) -> None:
    add_round(run)
    known = json.loads((run / "rounds" / "0001" / "round.json").read_text())
    assert known["changes"] == [{"path": "a/2.png", "before": "breast", "after": "chest", "why": "Ana answered"}]
    assert known["before"]["answered"] == 0
    assert known["after"]["answered"] == 1
