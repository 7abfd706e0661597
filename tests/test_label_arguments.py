"""What a call may be given: sentences by class, some files of a folder, names without meaning, copies of a picture."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from autoannotate import Annotations, Annotator
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.print_run import print_summary
from autoannotate.errors import InputError, UsageError

SENTENCES = {"disc": ["a bright disc", "a round spot"], "noise": "random noise"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures, four discs and four of noise, and three copies of each."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    for i in range(8):
        pixels = rng.integers(0, 255, (64, 64))
        if i % 2:
            pixels = 40 + pixels // 16 + 150 * ((rows - 20 - 4 * i) ** 2 + (columns - 30) ** 2 < (8 + 2 * i) ** 2)
        (folder / f"p{i}").mkdir()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"p{i}" / "first.png")
        for copy in range(3):
            shutil.copyfile(folder / f"p{i}" / "first.png", folder / f"p{i}" / f"copy{copy}.png")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_sentences_by_class_are_the_prompts_and_an_update_knows_them(images: Path, cache: Path, tmp_path: Path) -> None:
    made = Annotator(SENTENCES, student="none", cache=cache).label(images)
    assert made.run["prompts"] == {"disc": ["a bright disc", "a round spot"], "noise": ["random noise"]}
    assert made.classes == ["disc", "noise"]
    made.save(tmp_path / "run")
    again = Annotator.from_run(Annotations.load(tmp_path / "run"))
    assert again.prompts == {"disc": ["a bright disc", "a round spot"], "noise": ["random noise"]}
    with pytest.raises(UsageError, match="none of the classes"):
        Annotator(["disc", "noise"], prompts={"lung": "a lung"})


def test_copies_are_said(images: Path, cache: Path, tmp_path: Path) -> None:
    made = Annotator(["disc", "noise"], student="none", cache=cache).label(images)
    made.save(tmp_path / "run")
    console = Console(width=200, record=True, file=(tmp_path / "out.txt").open("w"))
    print_summary(made, tmp_path / "run", console)
    assert "24 of 32 images are (nearly) the same picture as another" in console.export_text()


def test_some_files_of_a_folder_are_labelled_and_found_again(images: Path, cache: Path, tmp_path: Path) -> None:
    some = [images / f"p{i}" / "first.png" for i in range(6)]
    made = Annotator(["disc", "noise"], student="none", cache=cache).label(some)
    assert list(made.table["path"]) == [f"p{i}/first.png" for i in range(6)]
    made.save(tmp_path / "run")
    loaded = Annotations.load(tmp_path / "run")
    assert loaded.read_image("p3/first.png").size == (64, 64)
    with pytest.raises(InputError, match="There is no file"):
        Annotator(["disc", "noise"], cache=cache).label([*some, images / "none.png"])
    with pytest.raises(InputError, match="is empty"):
        Annotator(["disc", "noise"], cache=cache).label([])


@pytest.mark.parametrize("names", [["0", "1"], ["A", "B"], ["class 1", "class 2"]])
def test_names_without_meaning_are_never_called_trustworthy(images: Path, cache: Path, names: list[str]) -> None:
    found = Annotator(names, student="none", cache=cache).label(images).run["reliability"]
    assert not found["meaningful"]
    assert f"The names {names[0]} and {names[1]} say nothing about a picture" in found["verdict"]
    assert "--prompts" in found["advice"]


def test_a_cache_or_disk_that_takes_nothing_more_leaves_the_run_as_it_was(
    images: Path, cache: Path, tmp_path: Path
) -> None:
    Annotator(["disc", "noise"], student="none", cache=cache).label(images).save(tmp_path / "run")
    with AnswerStore(tmp_path / "run") as store:
        store.add([Answer(f"p{i}/first.png", "Ana", "label", "disc" if i % 2 else "noise") for i in range(8)])
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir() if file.suffix == ".csv"}
    code = (
        "import resource, sys\n"
        "from autoannotate import Annotations, Annotator\n"
        "from autoannotate.errors import OutputError\n"
        "run = Annotations.load(sys.argv[1])\n"
        "try:\n    Annotator.from_run(run, cache='/proc/nowhere').update(run)\n"
        "except OutputError as error:\n    print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try:\n    Annotator.from_run(run).update(run)\n"
        "except OutputError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True, check=True)
    first, second = told.stdout.splitlines()
    assert "AUTOANNOTATE_CACHE" in first
    for said in (first, second):
        assert said.endswith("The run is as it was.")
        assert "--out" not in said
        assert "--cache" not in said
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir() if file.suffix == ".csv"} == before
