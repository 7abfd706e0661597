"""Runs that grow, groups and trusted labels: what is known stays known, and new images find theirs in the same files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_runs import draw_images, make_run, replace_picture, stamped
from made_scans import CLASSES, write_scans
from typer.testing import CliRunner, Result

from autoannotate import Annotations
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.main import app
from autoannotate.images import find_images
from autoannotate.runs import history
from autoannotate.runs.growth import file_changes


@pytest.fixture(scope="module")
def all_scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder)
    for name in CLASSES:  # few are enough here
        for file in sorted((folder / name).glob("*.png"))[12:]:
            file.unlink()
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def scans(all_scans: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(all_scans, tmp_path / "scans"))


@pytest.fixture(autouse=True)
def _one_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOANNOTATE_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


def test_changes_are_counted_in_words(tmp_path: Path) -> None:
    make_run(tmp_path / "pictures", ("1.png", "2.png", "3.png", "5.png")).save("run")
    run = stamped(Annotations.load("run"))
    run.save("run", overwrite=True)
    draw_images(tmp_path / "pictures", ["4.png"])
    (tmp_path / "pictures" / "1.png").unlink()
    replace_picture(tmp_path / "pictures", "2.png")
    found = file_changes(Annotations.load("run"), find_images(tmp_path / "pictures"))
    assert (found.new, found.gone, found.changed) == (("4.png",), ("1.png",), ("2.png",))
    assert str(found) == "1 image is new, 1 is gone, 1 is changed since"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def label(*more: object) -> Result:
    return call("label", "scans", "--classes", ",".join(CLASSES), "--student", "none", "--out", "run", *more)


def table() -> dict[str, dict[str, str]]:
    rows = Annotations.load("run").table
    return {row["path"]: row for row in rows.to_dict(orient="records")}


def answer(path: str, label: str) -> None:
    with AnswerStore("run") as store:
        store.add([Answer(path, "Ana", "label", label)])


@pytest.mark.slow
def test_images_that_join_are_labelled_and_every_answer_is_kept(scans: Path, tmp_path: Path) -> None:
    late = sorted((scans / "CT").glob("*.png"))[:3]
    aside = [file.rename(tmp_path / file.name) for file in late]
    assert label().exit_code == 0
    first = table()
    gone, answered = [path for path in first if path.startswith("MRI/")][:2]
    answer(answered, "CT")
    assert call("update", "run").exit_code == 0
    (scans / gone).unlink()
    for file in aside:
        file.rename(scans / "CT" / file.name)

    done = call("update", "run")
    assert done.exit_code == 0, done.output
    assert "3 images are new, 1 is gone" in done.stdout
    now = table()
    assert set(now) == set(first) - {gone} | {f"CT/{file.name}" for file in late}
    assert (now[answered]["label"], now[answered]["source"]) == ("CT", "clinician")
    assert [now[f"CT/{file.name}"]["label"] for file in late] == ["CT"] * 3
    assert history.rounds("run")[-1].files == {"new": 3, "gone": 1, "changed": 0}
    assert "1 is gone" in call("history", "run").stdout
    assert "the labels are the same" in call("update", "run").stdout
    assert set(Annotations.load("run").unreadable["path"]) == {gone}


@pytest.mark.slow
def test_label_again_grows_the_run_and_other_arguments_do_not(scans: Path, tmp_path: Path) -> None:
    late = sorted((scans / "CT").glob("*.png"))[0]
    aside = late.rename(tmp_path / late.name)
    assert label().exit_code == 0
    first = Annotations.load("run").table
    path = str(first["path"][0])
    answer(path, "MRI")
    aside.rename(late)
    done = label()
    assert done.exit_code == 0, done.output
    assert "1 image is new" in done.stdout
    now = table()
    assert (len(now), now[path]["label"]) == (len(first) + 1, "MRI")
    other = call("label", "scans", "--classes", "a,b", "--out", "run")
    assert other.exit_code == 1
    assert "made with other --classes and --student" in other.stderr


@pytest.mark.slow
def test_a_replaced_picture_is_said_and_read_anew(scans: Path) -> None:
    assert label().exit_code == 0
    ct, mri = (next(path for path in table() if path.startswith(name)) for name in ("CT/", "MRI/"))
    (scans / ct).write_bytes((scans / mri).read_bytes())
    done = call("update", "run")
    assert "1 image is changed since" in done.stdout
    assert table()[ct]["label"] == "MRI"
    assert "the labels are the same" in call("update", "run").stdout


@pytest.mark.slow
def test_trusted_labels_anchor_every_round_and_are_never_asked(scans: Path, tmp_path: Path) -> None:
    late = sorted((scans / "CT").glob("*.png"))[0]
    aside = late.rename(tmp_path / late.name)
    paths = [f"{file.parent.name}/{file.name}" for file in sorted(scans.rglob("*.png"))][::4]
    rows = [
        f"{path},{'MRI' if path == paths[0] else path.partition('/')[0]}" for path in paths
    ]  # one against all evidence
    gold = tmp_path / "gold.csv"
    gold.write_text("\n".join(["path,label", *rows]) + "\n")
    assert label("--trusted", "gold.csv").exit_code == 0
    for _ in range(2):
        now = Annotations.load("run")
        assert not set(paths) & set(now.suspects["path"])
        trusted = now.table[now.table["trusted_label"] != ""]
        assert set(trusted["path"]) == set(paths)
        assert (trusted["label"] == trusted["trusted_label"]).all()
        assert (trusted["confidence"] == 1).all()
        answer(str(now.table["path"][1]), str(now.table["label"][1]))
        assert call("update", "run").exit_code == 0
    aside.rename(late)
    gold.write_text("\n".join(["path,label", *rows, f"CT/{late.name},X-ray"]) + "\n")
    assert call("update", "run").exit_code == 0
    assert (table()[f"CT/{late.name}"]["label"], table()[f"CT/{late.name}"]["trusted_label"]) == ("X-ray", "X-ray")
    answer(paths[0], "CT")  # a clinician who looks again has the last word
    assert call("update", "run").exit_code == 0
    assert table()[paths[0]]["label"] == "CT"


def test_trusted_labels_that_do_not_fit_are_named(scans: Path, tmp_path: Path) -> None:
    one, two = [f"CT/{file.name}" for file in sorted((scans / "CT").glob("*.png"))][:2]
    gold = tmp_path / "gold.csv"
    gold.write_text(f"path,label\n{one},CT\n{one},MRI\n{two},kidney\nnowhere.png,CT\n")
    done = label("--trusted", "gold.csv")
    assert done.exit_code == 1
    for said in (
        f"gives two labels to: {one} (row 3 is 'MRI' here and 'CT' in row 2)",
        f"{two} (row 4, kidney)",
        "not there: nowhere.png (row 5)",
    ):
        assert said in done.stderr
    assert done.stderr.count("\n") == 1
    gold.write_text(f"path,label\n{one},CT\n{two},kidney\n")
    assert label("--trusted", "gold.csv", "--skip-problems").exit_code == 0
    assert [path for path, row in table().items() if row["trusted_label"]] == [one]


@pytest.mark.slow
def test_groups_are_kept_through_updates_and_new_images_join_theirs(scans: Path, tmp_path: Path) -> None:
    files = [f"{file.parent.name}/{file.name}" for file in sorted(scans.rglob("*.png"))]
    late = scans / files[1]
    (tmp_path / "groups.csv").write_text("\n".join(["path,patient", *(f"{p},P{i // 2}" for i, p in enumerate(files))]))
    aside = late.rename(tmp_path / "late.png")
    assert label("--groups", "groups.csv").exit_code == 0
    aside.rename(late)
    assert call("update", "run").exit_code == 0
    group = {path: row["group"] for path, row in table().items()}
    assert all((group[files[i]] == group[files[i + 1]]) == (i % 2 == 0) for i in range(len(files) - 1))
    assert "P0" not in (tmp_path / "run" / "labels.csv").read_text()  # what a patient is called is not kept
    out = call("export", "run", "--what", "all", "--split", "70,15,15", "--format", "csv", "--out", "split.csv")
    assert out.exit_code == 0, out.output
    parts = pd.read_csv("split.csv", dtype=str).groupby("group")["split"].nunique()
    assert (parts == 1).all()


@pytest.fixture
def examples(scans: Path, tmp_path: Path) -> Path:
    """Every other image, whole, mirrored and cropped, as an example, under names that say nothing."""
    for number, name in enumerate(CLASSES):
        place = tmp_path / "examples" / f"kind {number}"
        place.mkdir(parents=True)
        stems = sorted({file.stem.split("-")[0] for file in (scans / name).glob("*.png")})
        for file in (scans / name).glob("*.png"):
            if file.stem.split("-")[0] in stems[::2]:
                file.rename(place / file.name)
    return tmp_path / "examples"


@pytest.mark.slow
def test_classes_are_given_by_example_alone(scans: Path, examples: Path) -> None:
    done = call("label", "scans", "--examples", "examples", "--student", "none", "--out", "run")
    assert done.exit_code == 0, done.output
    right = [row["label"] == f"kind {CLASSES.index(path.partition('/')[0])}" for path, row in table().items()]
    assert sum(right) > 0.7 * len(right)
    assert "given by example, and the labels were learned from" in done.stdout
    first = table()
    assert call("update", "run").exit_code == 0
    assert table() == first
    assert (
        "none of the classes"
        in call("label", "scans", "--examples", "examples", "--classes", "a,b", "--out", "b").stderr
    )


def test_folders_of_examples_are_checked(tmp_path: Path) -> None:
    draw_images(tmp_path / "flat", ["1.png"])
    draw_images(tmp_path / "one", ["cyst/1.png"])
    for folder, said in (
        ("nowhere", "There is no folder"),
        ("flat", "holds no folders"),
        ("one", "two classes or more"),
    ):
        done = call("label", "flat", "--examples", folder, "--out", "run")
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


@pytest.mark.slow
def test_paths_that_look_like_patients_are_said_in_the_summary(scans: Path) -> None:
    for number, file in enumerate(sorted(scans.rglob("*.png"))):
        place = scans / f"patient{number // 3:03}" / file.name
        place.parent.mkdir(exist_ok=True)
        file.rename(place)
    done = label()
    assert "name them with --groups folder" in done.stdout
    assert "name them" not in call("label", "scans", "--classes", "CT,MRI", "--groups", "folder", "--out", "two").stdout
