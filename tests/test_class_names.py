"""Class names as people give them, and folders that two runs want at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoannotate import Annotator
from autoannotate.errors import OutputError, UsageError
from autoannotate.runs.class_names import class_list, class_names
from autoannotate.runs.lock import reserved


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("chest,breast", ["chest", "breast"]),
        ('"chest, PA",breast', ["chest, PA", "breast"]),
        ('breast, "chest, PA"', ["breast", "chest, PA"]),
        ('["chest", "breast, left"]', ["chest", "breast, left"]),
        ("'chest,breast'", ["chest", "breast"]),
    ],
)
def test_names_as_they_are_typed(typed: str, names: list[str]) -> None:
    assert class_list(typed) == names


def test_names_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("# ours\nchest, PA\n\n größe \n", encoding="cp1252")
    assert class_list(f"@{tmp_path / 'names.txt'}") == ["chest, PA", "größe"]
    with pytest.raises(UsageError, match="cannot be read"):
        class_list(f"@{tmp_path / 'none.txt'}")
    assert class_names(None, tmp_path / "names.txt") == ["chest, PA", "größe"]
    (tmp_path / "quoted.txt").write_text('"chest, PA"\nbreast\n')
    assert class_names(None, tmp_path / "quoted.txt") == ["chest, PA", "breast"]
    (tmp_path / "line.txt").write_text('"chest, PA",breast')
    assert class_names(None, tmp_path / "line.txt") == ["chest, PA", "breast"]
    for both in ((None, None), ("a,b", tmp_path / "names.txt")):
        with pytest.raises(UsageError, match="--classes-file"):
            class_names(*both)


@pytest.mark.parametrize("typed", ['["chest", 1]', '["chest", "breast"', '{"chest": 1}', '"chest,breast'])
def test_what_is_no_list_of_names_is_said_to_be_none(typed: str) -> None:
    with pytest.raises(UsageError, match="as in --classes"):
        class_list(typed)


@pytest.mark.parametrize("classes", ["CT", "chest,breast", {"chest": "a chest X-ray", "breast": []}, [0, 1]])
def test_what_is_no_list_is_refused_in_python(classes: object) -> None:
    with pytest.raises(UsageError):
        Annotator(classes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="share for each class"):
        Annotator(["a", "b"], prior=[0.5, 0.5])  # type: ignore[arg-type]


def test_a_folder_is_one_runs_until_it_is_done(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    with reserved(out), pytest.raises(OutputError, match="Another run is being made"), reserved(out):
        pass
    assert list(tmp_path.iterdir()) == []
    with reserved(out):
        (out / "run.json").write_text("{}")
    with reserved(out):
        pass
    assert (out / "run.json").exists()
