"""`autoannotate demo`: real images with a known truth, two stories, no network."""

from __future__ import annotations

import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from autoannotate import Annotations
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.commands import demo as command
from autoannotate.cli.main import app
from autoannotate.errors import InputError, OutputError
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.images import demo, find_images, read_image


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


@pytest.fixture(scope="module")
def no_network() -> Iterator[None]:
    """Every attempt to reach another machine fails."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


# The images


def test_the_shipped_images_are_the_official_ones(data_dir: Path) -> None:
    for name in demo.SETS:
        sample = demo.read_medmnist(demo.DATA / f"{name}.npz")
        official = {one.name: one for one in demo.read_medmnist(data_dir / "eval" / "medmnist" / f"{name}.npz")}
        assert len({one.name for one in sample}) == len(sample)
        assert all((one.pixels == official[one.name].pixels).all() for one in sample)
        assert all(one.label == official[one.name].label for one in sample)


def test_the_package_ships_150_of_each_class_in_less_than_3_megabytes(tmp_path: Path) -> None:
    assert sum(file.stat().st_size for file in demo.DATA.iterdir()) < 3e6
    for make, classes in (
        (demo.chest_or_breast, ("chest", "breast")),
        (demo.normal_or_pneumonia, ("normal", "pneumonia")),
    ):
        made = make(tmp_path / classes[0])
        assert made.classes == classes
        assert Counter(made.truth.values()) == dict.fromkeys(classes, 150)
        images = {ref.path: read_image(ref) for ref in find_images(made.images)}
        assert images.keys() == made.truth.keys()
        assert all(np.asarray(image).std() > 5 for image in images.values())


def test_an_evaluation_reads_the_table_of_the_truth(tmp_path: Path) -> None:
    made = demo.normal_or_pneumonia(tmp_path)
    labelled = read_labelled([str(made.folder / demo.TRUTH)])
    assert labelled.counts() == {"normal": 150, "pneumonia": 150}


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "precious.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        demo.chest_or_breast(tmp_path)
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["precious.txt"]


def test_a_folder_that_cannot_be_made_and_a_damaged_set_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        demo.chest_or_breast(tmp_path / "file")
    (tmp_path / "pneumoniamnist.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="get it again"):
        demo.normal_or_pneumonia(tmp_path / "out", source=tmp_path)


# The stories


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, no_network: None) -> tuple[Path, str]:
    """Where the demo went, and what it printed."""
    out = tmp_path_factory.mktemp("told") / "demo"
    result = call("--out", out)
    assert result.exit_code == 0, result.stderr
    return out, result.stdout


def right(run: Path, column: str) -> float:
    truth = pd.read_csv(run.parent / "truth.csv")
    table = Annotations.load(run).table
    return float((table[column].to_numpy() == truth["label"].to_numpy()).mean())


@pytest.mark.slow
def test_clip_knows_chests_from_breasts_and_guesses_pneumonia_until_40_answers_teach_it(told: tuple[Path, str]) -> None:
    out, _ = told
    known, guessed = (out / name / "run" for name in command.STORIES)
    assert right(known, "clip_label") >= 0.99
    assert right(known, "label") >= 0.99
    assert Annotations.load(known).run["reliability"]["meaningful"]
    assert right(guessed, "clip_label") < 0.7
    assert not Annotations.load(guessed).history[0].before.get("answered")
    assert right(guessed, "label") >= 0.85
    answered = Annotations.load(guessed).table.query("source == 'clinician'")
    assert len(answered) == command.ANSWERS
    with AnswerStore(guessed) as store:
        assert {(answer.reader, answer.source) for answer in store.current()} == {("known truth", "demo")}


@pytest.mark.slow
def test_what_is_printed_is_what_the_runs_hold(told: tuple[Path, str]) -> None:
    out, printed = told
    assert "no, and says so" in printed
    assert "answered here from the known truth" in printed
    after = next(line for line in printed.splitlines() if line.startswith("labels right after 40 answers"))
    assert after.split()[-1] == f"{right(out / command.STORIES[1] / 'run', 'label'):.0%}"
    for name in command.STORIES:
        assert f"{out / name / 'run' / 'report.html'}" in printed
        assert (out / name / "run" / "report.html").is_file()


@pytest.mark.slow
def test_a_second_demo_replaces_its_own_run_and_never_a_persons(told: tuple[Path, str], tmp_path: Path) -> None:
    out = shutil.copytree(told[0], tmp_path / "demo")
    run = out / command.STORIES[1] / "run"
    with AnswerStore(run) as store:
        store.add([Answer(Annotations.load(run).table["path"][0], "Ana", "label", "normal")])
    before = (run / "labels.csv").read_bytes()
    result = call("--out", out)
    assert result.exit_code == 1
    assert "answers by clinicians" in result.stderr
    assert (run / "labels.csv").read_bytes() == before
    with AnswerStore(run) as store:
        store.undo("Ana")
        assert len(store.everything()) == command.ANSWERS + 1  # taken back, and still a person's
    assert call("--out", out).exit_code == 1
    assert call("--out", told[0]).stdout == told[1]


@pytest.mark.slow
def test_a_person_gives_the_answers_with_review(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is tested elsewhere; here somebody answers ten images in it and closes it, then nobody does."""
    from autoannotate.review import server

    def served(folder: Path) -> int:
        run = Annotations.load(folder)
        truth = pd.read_csv(folder.parent / "truth.csv").set_index("path")["label"]
        with AnswerStore(folder) as store:
            store.add([Answer(path, "Ana", "label", truth[f"images/{path}"]) for path in run.suspects["path"][:10]])
            return len(store.current())

    monkeypatch.setattr(server, "serve", served)
    result = call("--out", tmp_path / "demo", "--review")
    assert result.exit_code == 0, result.stderr
    assert "after 10 answers" in result.stdout
    monkeypatch.setattr(server, "serve", lambda folder: 0)
    result = call("--out", tmp_path / "idle", "--review")
    assert result.exit_code == 0
    assert "answers" not in result.stdout.partition("Report")[0]


def test_a_download_without_a_network_is_one_sentence(
    no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOANNOTATE_CACHE", str(tmp_path / "cache"))
    result = call("--out", tmp_path / "demo", "--download")
    assert result.exit_code == 1
    assert "is there a network?" in result.stderr
    assert "without --download" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_download_takes_all_images_of_the_official_files(data_dir: Path, tmp_path: Path) -> None:
    made = demo.chest_or_breast(tmp_path, data_dir / "eval" / "medmnist", None)
    assert Counter(made.truth.values()) == {"chest": 5856, "breast": 780}
