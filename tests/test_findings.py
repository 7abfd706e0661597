"""`label --findings` and `audit` of several findings an image: what is read, what is written, and bad input in a sentence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from autoannotate import Annotations
from autoannotate.answers.given_findings import holds_findings, read_given_findings
from autoannotate.cli.main import app
from autoannotate.errors import InputError, UsageError
from autoannotate.images import find_images
from autoannotate.labelling.features import Features
from autoannotate.labelling.findings import doubted, label_findings
from autoannotate.labelling.task import Task
from autoannotate.labelling.zero_shot.prompts import finding_prompts
from autoannotate.runs.rules_file import read_rules
from autoannotate.runs.run import FINDINGS, check_findings

NAMES = ["bright", "striped"]


def draw(folder: Path, count: int = 24) -> dict[str, tuple[int, int]]:
    """Pictures that are bright, striped, both or neither, and the truth by path."""
    rng, truth = np.random.default_rng(0), {}
    folder.mkdir(parents=True)
    for n in range(count):
        bright, striped = n % 2, n // 2 % 2
        pixels = np.full((64, 64), 60.0 + 120 * bright) + rng.normal(0, 6, (64, 64))
        pixels[:: 8 - n % 3] += 60 * striped
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{n:02}.png")
        truth[f"{n:02}.png"] = (bright, striped)
    return truth


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output
    return result.output


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("label")
    draw(folder / "scans")
    run("label", str(folder / "scans"), "--findings", "cyst,mass", "--prior", "cyst=0.25", "--out", str(folder / "run"),
        "--no-cache")  # fmt: skip
    return folder / "run"


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_findings_have_a_row_an_image_and_finding(labelled: Path) -> None:
    found, labels = rows(labelled / "findings.csv"), rows(labelled / "labels.csv")
    assert tuple(found[0])[: len(FINDINGS)] == FINDINGS
    assert len(found) == 2 * len(labels) == 48
    assert {row["value"] for row in found} <= {"1", "0", "-1"}
    for label in labels:
        present = [row["finding"] for row in found if row["path"] == label["path"] and row["value"] == "1"]
        assert label["label"] == "|".join(present)
    assert all(0 <= float(row[name]) <= 1 for row in found for name in ("probability", "clip_probability"))


def test_a_prior_cuts_a_guess_and_without_one_it_is_undecided(labelled: Path) -> None:
    about = json.loads((labelled / "run.json").read_text())["findings"]
    if not about["cyst"]["meaningful"]:
        assert about["cyst"]["present"] == pytest.approx(6, abs=1)
    if not about["mass"]["meaningful"]:
        assert about["mass"]["undecided"] == 24


def test_a_run_of_findings_loads_as_it_was_saved(labelled: Path) -> None:
    loaded = Annotations.load(labelled)
    assert loaded.classes == ["cyst", "mass"]
    assert loaded.findings is not None
    assert list(loaded.findings.columns[: len(FINDINGS)]) == list(FINDINGS)
    assert loaded.per_class == json.loads((labelled / "run.json").read_text())["counts"]["per_class"]


@pytest.mark.slow
def test_an_audit_of_findings_finds_the_wrong_value(tmp_path: Path) -> None:
    truth = draw(tmp_path / "scans", 40)
    lines = ["path,bright,striped"]
    for n, (path, (bright, striped)) in enumerate(truth.items()):
        value = 1 - bright if path == "05.png" else bright
        lines.append(f"{path},{value},{'' if n == 7 else '-1' if n == 9 else striped}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    run("audit", str(tmp_path / "scans"), "--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "run"))
    wrong = [row for row in rows(tmp_path / "run" / "issues.csv") if row["issue"] == "label"]
    assert [(row["path"], row["label"], row["suggested_label"]) for row in wrong[:1]] == [
        ("05.png", "no bright", "bright")
    ]
    values = {(row["path"], row["finding"]): row for row in rows(tmp_path / "run" / "findings.csv")}
    assert values["07.png", "striped"]["value"] == values["09.png", "striped"]["value"] == "-1"
    assert values["06.png", "striped"]["source"] == "given"
    assert float(values["07.png", "striped"]["probability"]) > 0.5  # the other images tell


def test_given_values_that_break_a_rule_are_first_in_the_queue() -> None:
    rng, count = np.random.default_rng(0), 40
    given = np.stack([np.arange(count) % 2, np.arange(count) // 2 % 2], axis=1)
    given[:, 1] *= 1 - given[:, 0]
    given[3] = 1, 1
    points = rng.normal(size=(count, 8)) * 0.3
    points[:, :2] += 4 * given
    features = Features(points)
    tasks = [
        Task(features, np.full((count, 2), 0.5), [f"no {name}", name], given=given[:, f], keep=True,
             image_names=[f"{n:02}.png" for n in range(count)])
        for f, name in enumerate(NAMES)
    ]  # fmt: skip
    labelled = label_findings(tasks, rules=read_rules(["bright excludes striped"], NAMES))
    assert labelled.queue.rows[0] == 3
    assert "breaks the rule: bright excludes striped" in labelled.queue.reasons[0]
    assert labelled.values.tolist() == given.tolist()
    assert labelled.suspect[3].any()


def test_given_values_that_are_rather_wrong_are_all_in_the_queue() -> None:
    rng, count = np.random.default_rng(0), 40
    truth = np.arange(count) % 2
    given = truth.copy()
    given[[5, 8]] = 1 - given[[5, 8]]
    points = rng.normal(size=(count, 8)) * 0.3
    points[:, 0] += 4 * truth
    task = Task(
        Features(points), np.full((count, 2), 0.5), ["no bright", "bright"], given=given, keep=True,
        image_names=[f"{n:02}.png" for n in range(count)],
    )  # fmt: skip
    labelled = label_findings([task])
    doubts = doubted(given, labelled.of_each[0])
    assert {5, 8} <= set(doubts.tolist()) <= set(labelled.queue.rows.tolist())
    assert len(labelled.queue.rows) == len(labelled.queue.reasons)


TABLES = {
    "columns": ["path;Bright;Striped", "00.png;0;0", "01.png;1;", "02.png;0.0;-1", "03.png;1;1.0"],
    "bars": ["Image;Labels", "00.png;No Finding", "01.png;bright", "02.png;", "03.png;striped|Bright"],
}


@pytest.mark.parametrize("form", sorted(TABLES))
def test_both_forms_are_read(form: str, tmp_path: Path) -> None:
    draw(tmp_path / "scans", 4)
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(TABLES[form]) + "\n")
    assert holds_findings(file)
    given = read_given_findings(file, find_images(tmp_path / "scans"), ["bright", "striped"])
    expected = {"columns": [[0, 0], [1, -1], [0, -1], [1, 1]], "bars": [[0, 0], [1, 0], [-1, -1], [1, 1]]}[form]
    assert given.values.tolist() == expected


def test_a_slip_in_a_column_is_said_and_does_not_drop_the_finding(tmp_path: Path) -> None:
    truth = draw(tmp_path / "scans")
    lines = [
        "path,bright,striped",
        *(f"{path},{'2' if n == 3 else b},{s}" for n, (path, (b, s)) in enumerate(truth.items())),
    ]
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"03\.png"):
        read_given_findings(file, find_images(tmp_path / "scans"))
    given = read_given_findings(file, find_images(tmp_path / "scans"), skip_problems=True)
    assert given.names == NAMES


def test_policies_say_what_blank_and_uncertain_are(tmp_path: Path) -> None:
    draw(tmp_path / "scans", 4)
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(TABLES["columns"]) + "\n")
    refs = find_images(tmp_path / "scans")
    given = read_given_findings(file, refs, ["striped"], blank="zeros", uncertain="ones")
    assert given.values[:, 0].tolist() == [0, 0, 1, 1]
    with pytest.raises(UsageError, match="--blank takes ignore, zeros, ones"):
        read_given_findings(file, refs, ["striped"], blank="maybe")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["path,a", "00.png,1", "99.png,0", "01.png,0", "02.png,0", "03.png,0"], r"not there: 99.png \(row 3\)"),
        (["path,a", "00.png,1", "01.png,0", "02.png,x", "03.png,0"], "02.png .row 4. has 'x' for a"),
        (["path,a", "00.png,1", "01.png,0", "02.png,0"], "has no row for: 03.png"),
        (["path,b", "00.png,1", "01.png,0", "02.png,0", "03.png,0"], "has no column a"),
        (["path,findings", "00.png,b", "01.png,", "02.png,b", "03.png,b"], "names the finding a"),
        (["path,a", "00.png,1", "00.png,0", "01.png,0", "02.png,0", "03.png,0"], "contradicts an earlier row about a"),
    ],
)
def test_bad_tables_are_a_sentence(lines: list[str], said: str, tmp_path: Path) -> None:
    draw(tmp_path / "scans", 4)
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=said):
        read_given_findings(tmp_path / "labels.csv", find_images(tmp_path / "scans"), ["a"])


def test_tables_of_single_labels_are_none_of_findings(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("path,label\na.png,cyst\n")
    (tmp_path / "r.csv").write_text("path,label_ana,label_ben\na.png,1,0\n")
    assert not holds_findings(tmp_path / "l.csv")
    assert not holds_findings(tmp_path / "r.csv")
    assert not holds_findings("folders")


def test_names_that_cannot_be_findings_are_a_sentence() -> None:
    assert check_findings([" effusion"]) == ["effusion"]
    for wrong in (["a|b"], ["a=b"], [], ["a", "A"], "effusion"):
        with pytest.raises(UsageError):
            check_findings(wrong)
    assert "with --classes" in run("label", ".", exit_code=2)


def test_every_finding_has_a_negative_prompt_of_its_own() -> None:
    chexpert = ["No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
                "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
                "Support Devices"]  # fmt: skip
    nih = ["Emphysema", "Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening"]
    fundus = ["diabetic retinopathy", "glaucoma", "cataract", "AMD", "drusen", "hypertension", "pathological myopia",
              "retinal detachment", "retinal vein occlusion", "retinitis pigmentosa", "papilledema",
              "macular edema"]  # fmt: skip
    for names in (chexpert, nih, fundus):
        for each in finding_prompts(names):
            assert "not in the library" not in each.present.sense
            assert not set(each.present.texts) & set(each.absent.texts)


def test_findings_share_features_and_each_learns_from_its_own_answers() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, (120, 2))
    points = np.concatenate([3.0 * truth, rng.normal(size=(120, 6))], axis=1) + rng.normal(size=(120, 8))
    features = Features(points)
    half = np.full((120, 2), 0.5)
    answers = np.where(np.arange(120) < 60, truth[:, 0], -1)
    tasks = [
        Task(features, half, ["no a", "a"], trust=0.0, meaningful=False, answers=answers),
        Task(features, half, ["no b", "b"], trust=0.0, meaningful=False),
    ]
    made = label_findings(tasks)
    assert (made.values[60:, 0] == truth[60:, 0]).mean() > 0.8
    assert (made.values[:, 1] == -1).all()
    assert (made.probability[:60, 0] == truth[:60, 0]).all()
