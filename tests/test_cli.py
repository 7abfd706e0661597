"""The command line: plain sentences, the right exit status, results on stdout, all else on stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest
import typer
from made_runs import draw_images, make_run
from typer.testing import CliRunner, Result

from autoannotate import exports
from autoannotate.answers import importers
from autoannotate.cli.app import plainly
from autoannotate.cli.commands.label import parse_prior
from autoannotate.cli.main import COMMANDS, app, loaded
from autoannotate.cli.print_run import lines
from autoannotate.errors import UsageError
from autoannotate.evaluation.baselines import baselines
from autoannotate.evaluation.noise_injection import NOISES
from autoannotate.evaluation.protocols import protocols
from autoannotate.labelling.queries.spot_checks import UNSEEN
from autoannotate.labelling.queries.strategies import STRATEGIES


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autoannotate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=120)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return draw_images(tmp_path / "scans", ["1.png", "2.png"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    make_run(tmp_path / "scans").save(tmp_path / "run")
    return tmp_path / "run"


EXAMPLES = [["pretrain", "clip"], *([name] for name in COMMANDS if name != "pretrain")]


@pytest.mark.parametrize("command", EXAMPLES, ids=" ".join)
def test_the_help_of_each_command_teaches_with_an_example(command: list[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: autoannotate {' '.join(command)}" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        ("export", exports.formats()),
        ("apply", importers.formats()),
        ("update", STRATEGIES),
        ("evaluate", [*protocols(), *baselines(), *NOISES]),
    ],
)
def test_help_names_all_that_is_registered(command: str, kinds: Collection[str]) -> None:
    told = call(command, "--help").stdout
    assert [name for name in kinds if name not in told] == []


def test_help_wraps_to_the_terminal() -> None:
    told = start("certify", "--help", COLUMNS="80").stdout.splitlines()
    first = next(i for i, line in enumerate(told) if "The first call draws" in line)
    assert all(len(line.rstrip()) > 60 for line in told[first : first + 5])


@pytest.mark.parametrize("width", [60, 100])
def test_help_tells_every_command_as_the_command_itself_does(width: int) -> None:
    result = start("--help", COLUMNS=str(width))
    assert result.returncode == 0
    assert {len(line) for line in result.stdout.splitlines() if line.startswith(("╭", "│", "╰"))} == {width}
    told = " ".join(result.stdout.replace("│", " ").split())
    every = loaded(COMMANDS).commands
    for name, command in every.items():
        assert f"{name} {' '.join((command.help or '').split(chr(10) * 2)[0].split())}" in told
    assert set(every) == set(COMMANDS)


def test_a_misspelt_command_is_put_right() -> None:
    result = call("labl")
    assert result.exit_code == 2
    assert "'label'" in result.stderr


def test_help_needs_nothing_heavy() -> None:
    code = "import sys\nfrom autoannotate.cli.main import app\ntry:\n    app()\nfinally:\n    print(*sys.modules)"
    command = [sys.executable, "-c", code, "--help"]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split()
    heavy = {"torch", "numpy", "pandas", "PIL", "sklearn", "cleanlab", "jinja2", "open_clip", "rich.console"}
    assert not heavy & set(modules)
    assert "autoannotate.cli.app" in modules


def test_the_version_is_one_line() -> None:
    assert call("--version").stdout.split()[0] == "autoannotate"


# Wrong usage is 2, what cannot be done is 1, and each is one sentence on stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--classes", "chest"], "two classes or more"),
        (["--classes", "chest,chest"], "given twice"),
        (["--classes", "chest,=1"], "formula"),
        (["--classes", "chest,breast", "--prior", "chest=0.7"], "'breast' has none"),
        (["--classes", "chest,breast", "--cache", "x", "--no-cache"], "contradict"),
        (["--classes", "chest,breast", "--student", "vgg"], "vgg"),
        (["--classes", "chest,breast", "--seed", "-1"], "--seed"),
        (["--classes", "chest,breast", "--colour"], "--colour"),
        ([], "--classes"),
    ],
)
def test_wrong_usage_is_2(scans: Path, tmp_path: Path, options: list[str], says: str) -> None:
    result = call("label", scans, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_done_is_1_and_one_line(scans: Path, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for arguments, says in [
        (["label", tmp_path / "nowhere", "--classes", "a,b"], "There is no folder or file"),
        (["label", scans, "--classes", "a,b", "--prompts", "no.yaml"], "no file no.yaml"),
        (["label", scans, "--classes", "a,b", "--out", saved], "Its classes are chest,breast; yours are a,b."),
        (["label", scans, "--classes", "a,b", "--out", scans, "--overwrite"], "not a run of autoannotate"),
        (["label", scans, "--classes", "a,b", "--out", tmp_path / "file"], "is a file"),
        (["export", tmp_path], "There is no run"),
        (["pretrain", "clip", "--images", "no", "--pairs", "no.csv", "--out", "x"], "no folder no"),
        (["pretrain", "clip", "--images", scans, "--pairs", "no.csv", "--out", "x"], "no table no.csv"),
    ]:
        result = call(*arguments)
        assert result.exit_code == 1, arguments
        assert says in result.stderr
        assert result.stderr.startswith("autoannotate: ")
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


def test_the_status_and_the_streams_are_those_of_a_real_process(tmp_path: Path) -> None:
    result = start("export", tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("autoannotate: There is no run")
    assert "\x1b" not in result.stderr  # colour is for terminals


def test_an_output_that_cannot_be_written_is_found_out_before_any_work(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code = (
        "import sys, typer\nfrom autoannotate.cli.main import app\n"
        "try:\n    app()\nexcept SystemExit as end:\n    print(end.code, 'torch' in sys.modules)\n"
    )
    options = ["label", scans, "--classes", "a,b", "--out", tmp_path / "file" / "run"]
    result = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True)
    assert result.stdout == "1 False\n"


@plainly("Stopped. Run it again.")
def fail(how: str) -> None:
    raise {"bug": ValueError("shape\n(3,)"), "ctrl-c": KeyboardInterrupt(), "usage": UsageError("No.")}[how]


@pytest.mark.parametrize(
    ("how", "status", "says"),
    [("bug", 1, "did not foresee (ValueError: shape (3,))"), ("ctrl-c", 130, "Run it again"), ("usage", 2, "No.")],
)
def test_whatever_goes_wrong_is_one_sentence(
    how: str, status: int, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTOANNOTATE_TRACE", raising=False)
    with pytest.raises(typer.Exit) as ended:
        fail(how)
    said = capsys.readouterr()
    assert ended.value.exit_code == status
    assert says in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_trace_is_there_for_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOANNOTATE_TRACE", "1")
    with pytest.raises(ValueError, match="shape"):
        fail("bug")


# export


def test_export_says_what_it_wrote_where(saved: Path, tmp_path: Path) -> None:
    result = call("export", saved, "--format", "jsonl", "--what", "all", "--out", tmp_path / "all.jsonl")
    assert result.exit_code == 0
    assert result.stdout == f"4 labels written to {tmp_path / 'all.jsonl'}\n"
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 4


def test_export_has_a_place_of_its_own_and_says_what_to_do_with_it(saved: Path) -> None:
    result = call("export", saved, "--what", "suspects", "--format", "csv")
    assert result.exit_code == 0
    assert f"autoannotate apply {saved}" in result.stdout
    queue = (saved / "suspects.csv").read_text().splitlines()
    exported = (saved / "exports" / "suspects.csv").read_text().splitlines()
    assert exported == [queue[0] + ",answer,note", *(f"{line},," for line in queue[1:])]


def test_an_export_that_may_hold_answers_is_replaced_only_when_asked(saved: Path) -> None:
    call("export", saved)
    again = call("export", saved)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert call("export", saved, "--overwrite").exit_code == 0


def test_export_to_a_pipe(saved: Path) -> None:
    result = start("export", saved, "--out", "-")
    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == "rank,path,label,suggested_label,suspect_score,reason,answer,note"
    assert result.stderr == ""


def test_an_unknown_format_is_wrong_usage(saved: Path) -> None:
    result = call("export", saved, "--format", "xml")
    assert result.exit_code == 2
    assert "choose one of chexpert, coco, csv" in result.stderr


def test_a_damaged_run_is_a_plain_sentence(saved: Path) -> None:
    (saved / "run.json").write_text("{")
    result = call("export", saved)
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


# prompts, models


def test_prompts_shows_the_sentences() -> None:
    result = call("prompts", "chest,breast")
    assert result.exit_code == 0
    assert "X-ray of the chest" in result.stdout
    assert "\nbreast" in result.stdout


def test_models_lists_the_names() -> None:
    result = call("models")
    assert result.exit_code == 0
    for name in ("embedded", "biomedclip", "licence"):
        assert name in result.stdout


# --prior


def test_a_prior_is_read_in_the_order_of_the_classes() -> None:
    assert parse_prior("b=0.3, a=0.7", ["a", "b"]) == {"a": 0.7, "b": 0.3}
    assert parse_prior(None, ["a", "b"]) is None
    assert parse_prior("a=b=0.5,c=0.5", ["a=b", "c"]) == {"a=b": 0.5, "c": 0.5}


@pytest.mark.parametrize(
    "text", ["a", "a=0.7", "a=0.7,c=0.3", "a=x,b=0.3", "a=0.9,b=0.9", "a=1,b=0", "a=0.5,a=0.5", "a=nan,b=0.5"]
)
def test_a_prior_that_cannot_be_meant_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match=r"as in a=0\.5,b=0\.5"):
        parse_prior(text, ["a", "b"])


def test_an_empty_queue_says_what_else_can_be_exported(saved: Path) -> None:
    queue = saved / "suspects.csv"
    queue.write_text(queue.read_text().splitlines()[0] + "\n")
    result = call("export", saved)
    assert result.exit_code == 0, result.output
    assert "--what all" in result.stdout
    assert "Fill in" not in result.stdout


def test_labels_that_were_taken_unseen_are_told(tmp_path: Path) -> None:
    group = {"group": 1, "given": "chest", "proposed": "breast", "support": ["clusters"], "images": 16, "ask": []}
    counts = {"estimated_right": 15.0, "answers": 0, "right": 0, "wrong": 0, "bound": None, "readers": []}
    made = make_run(tmp_path / "scans", proposals=[{**group, **counts, "state": UNSEEN}])
    assert ("proposed", "applied unseen: 16 labels from chest to breast") in lines(made)
