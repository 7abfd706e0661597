"""`audit`: labels that exist in every form, bad input in a sentence, and a run like any other with issues.csv."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_scans import CLASSES, write_scans
from PIL import Image
from typer.testing import CliRunner

from autoannotate.answers.given_findings import GivenFindings, holds_findings, rarely_several, read_given_findings
from autoannotate.answers.given_labels import read_given_labels
from autoannotate.answers.groups import look_grouped, read_groups
from autoannotate.answers.supervision import read_supervision
from autoannotate.cli.main import app
from autoannotate.errors import InputError, UsageError
from autoannotate.images import find_images
from autoannotate.runs.issues import tied
from autoannotate.runs.run import ISSUES


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    rng = np.random.default_rng(0)
    for n in range(6):
        file = folder / ("cyst" if n < 3 else "clear") / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(file)
    return folder


PATHS = ["clear/3.png", "clear/4.png", "clear/5.png", "cyst/0.png", "cyst/1.png", "cyst/2.png"]
LABELS = ["clear"] * 3 + ["cyst"] * 3


def write(file: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    file.write_text("\n".join(lines) + "\n", encoding=encoding)
    return file


def read(source: object, scans: Path, **more: bool) -> list[str]:
    return read_given_labels(source, find_images(scans), **more).labels  # type: ignore[arg-type]


@pytest.mark.parametrize("named", ["relative", "absolute", "back-slashes", "bare", "from the table's folder"])
def test_a_table_names_images_as_people_do(scans: Path, tmp_path: Path, named: str) -> None:
    name = {
        "relative": lambda path: path,
        "absolute": lambda path: str(scans / path),
        "back-slashes": lambda path: path.replace("/", "\\"),
        "bare": lambda path: path.rpartition("/")[2],
        "from the table's folder": lambda path: f"scans/{path}",
    }[named]
    rows = [f"{name(path)};{label}" for path, label in zip(PATHS, LABELS, strict=True)]
    assert read(write(tmp_path / "l.csv", ["Image;Label", *rows], "utf-16"), scans) == LABELS


def test_folders_coco_and_fiftyone_are_read(scans: Path, tmp_path: Path) -> None:
    assert read("folders", scans) == LABELS
    (tmp_path / "coco.json").write_text(json.dumps(COCO))
    assert read(tmp_path / "coco.json", scans) == LABELS
    (tmp_path / "labels.json").write_text(json.dumps(FIFTYONE))
    assert read(tmp_path / "labels.json", scans) == LABELS


CLASSIFIED = [{"_cls": "Classification", "label": label} for label in LABELS]


def samples(*said: object) -> dict:
    """FiftyOne's samples.json, the last samples with what is said."""
    named = [{"filepath": f"/x/{path}", "ground_truth": one} for path, one in zip(PATHS, CLASSIFIED, strict=True)]
    for sample, one in zip(named[len(named) - len(said) :], said, strict=True):
        sample["ground_truth"] = one
    return {"samples": named}


def task(path: str, *choices: list[str]) -> dict:
    """One of Label Studio, with the choices of each annotator."""
    results = [{"from_name": "c", "type": "choices", "value": {"choices": each}} for each in choices]
    said = [{"id": who, "completed_by": who, "result": [one]} for who, one in enumerate(results)]
    return {"id": 1 + PATHS.index(path), "data": {"image": f"/data/local-files/?d={path}"}, "annotations": said}


TASKS = [task(path, [label]) for path, label in zip(PATHS, LABELS, strict=True)]
COCO = {
    "images": [{"id": n, "file_name": path} for n, path in enumerate(PATHS)],
    "categories": [{"id": 1, "name": "cyst"}, {"id": 2, "name": "clear"}],
    "annotations": [{"image_id": n, "category_id": 1 + (label == "clear")} for n, label in enumerate(LABELS)],
}
FIFTYONE = {"classes": ["cyst", "clear"], "labels": {path: int("clear" in path) for path in PATHS}}
TOOLS = {
    "COCO whose image has no name": (COCO | {"images": [{"id": 0}]}, "as COCO: something in it lacks .file_name."),
    "COCO without images": (COCO | {"images": None}, "cannot be read as COCO"),
    "COCO of an image that it does not list": (
        COCO | {"annotations": [*COCO["annotations"], {"image_id": 99, "category_id": 1}]},
        r"names images that are not there: the image with the id 99 \(annotation 6\)",
    ),
    "FiftyOne with a number of no class": (
        FIFTYONE | {"labels": FIFTYONE["labels"] | {PATHS[0]: 7, PATHS[1]: -1, PATHS[2]: None}},
        r"clear/3.png \(unknown category 7\), clear/4.png \(unknown category -1\); it gives no label to: clear/5.png",
    ),
    "FiftyOne with a list": (FIFTYONE | {"labels": [0, 1]}, "cannot be read as FiftyOne"),
    "FiftyOne samples without a label": (samples(None, {"label": None}), "no label to: cyst/1.png .sample 4., cyst/2.png"),
    "Label Studio, unsure": ([*TASKS[:5], task(PATHS[5], ["unsure"])], r"gives no label to: cyst/2.png \(task 6\)"),
    "a list of numbers": ([1, 2], "holds no labels that are known"),
    "an object": ({"a": 1}, "is no COCO and no FiftyOne file"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOOLS)
def test_files_of_tools_that_do_not_fit_are_a_sentence(scans: Path, tmp_path: Path, case: str) -> None:
    told, said = TOOLS[case]
    (tmp_path / "labels.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match=said):
        read(tmp_path / "labels.json", scans)


def test_samples_of_fiftyone_and_annotators_of_label_studio_are_read(scans: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(samples({"classifications": [{"label": "cyst"}]})))
    assert read(file, scans) == LABELS
    file.write_text(json.dumps([*TASKS[:5], task(PATHS[5], ["cyst"], ["clear"])]))
    assert not holds_findings(file)  # two annotators who differ are no two findings
    given = read_given_labels(file, find_images(scans))
    assert {who: each[5] for who, each in given.votes.items()} == {"annotator 0": "cyst", "annotator 1": "clear"}
    file.write_text(json.dumps([*TASKS[:5], task(PATHS[5], ["cyst", "clear"])]))
    assert holds_findings(file)
    findings = read_given_findings(file, find_images(scans))
    assert "1 image of 6" not in (rarely_several(findings, PATHS) or "")  # one of six is no slip
    many = GivenFindings(["a", "b"], np.array([[1, 0]] * 29 + [[1, 1]]), np.ones(30, dtype=bool))
    assert "1 image of 30 has several labels (29)" in (rarely_several(many, [str(n) for n in range(30)]) or "")


def test_label_studio_s_table_is_no_table_of_findings(scans: Path, tmp_path: Path) -> None:
    rows = [f"{path},{label},1,{n}" for n, (path, label) in enumerate(zip(PATHS, LABELS, strict=True))]
    file = write(tmp_path / "ls.csv", ["image,choice,annotator,annotation_id", *rows])
    assert not holds_findings(file)
    assert read(file, scans) == LABELS


def test_medmnist_has_its_own_labels(tmp_path: Path) -> None:
    arrays = {f"{part}_images": np.zeros((2, 28, 28), dtype=np.uint8) for part in ("train", "val", "test")}
    arrays |= {f"{part}_labels": np.array([[0], [1]], dtype=np.uint8) for part in ("train", "val", "test")}
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    given = read_given_labels(tmp_path / "breastmnist.npz", find_images(tmp_path / "breastmnist.npz"))
    assert given.labels == ["malignant", "normal, benign"] * 3
    assert given.columns["split"] == ["train", "train", "val", "val", "test", "test"]


def test_medmnist_with_several_findings_and_damaged_arrays(tmp_path: Path) -> None:
    file = tmp_path / "chestmnist.npz"
    labels = np.eye(14, dtype=np.uint8)[[0, 1, 2, 0]]
    np.savez(file, train_images=np.zeros((4, 28, 28), dtype=np.uint8), train_labels=labels)
    refs = find_images(file)
    assert holds_findings(file)
    given = read_given_findings(file, refs, ["atelectasis", "effusion"])
    assert given.values.tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]
    with pytest.raises(InputError, match="several findings an image"):
        read_given_labels(file, refs)
    np.savez(tmp_path / "words.npz", train_labels=np.array([["a"]], dtype=object))
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "text.npz").write_bytes(b"path,label")
    np.savez(tmp_path / "none.npz", images=labels)
    for name in ("words", "cut", "text", "none"):
        with pytest.raises(InputError, match=r"MedMNIST's arrays|no arrays of labels"):
            read_given_labels(tmp_path / f"{name}.npz", refs)


@pytest.mark.parametrize("form", ["wide", "long"])
def test_several_annotators_are_kept_apart_and_the_majority_counts(scans: Path, tmp_path: Path, form: str) -> None:
    votes = {path: [label, label, "cyst"] for path, label in zip(PATHS, LABELS, strict=True)}
    if form == "wide":
        lines = ["path,label_A,label_B,label_C", *(f"{path},{','.join(three)}" for path, three in votes.items())]
    else:
        lines = ["path,annotator,label"]
        lines += [
            f"{path},{who},{vote}" for path, three in votes.items() for who, vote in zip("ABC", three, strict=True)
        ]
    given = read_given_labels(write(tmp_path / "l.csv", lines), find_images(scans))
    assert given.labels == LABELS
    assert (
        given.votes == {"A": LABELS, "B": LABELS, "C": ["cyst"] * 6} or given.votes["c" if "c" in given.votes else "C"]
    )


def test_annotators_who_always_differ_have_two_classes_and_no_shares(scans: Path, tmp_path: Path) -> None:
    other = {"clear": "cyst", "cyst": "clear"}
    lines = ["path,label_A,label_B", *(f"{p},{label},{other[label]}" for p, label in zip(PATHS, LABELS, strict=True))]
    given = read_given_labels(write(tmp_path / "l.csv", lines), find_images(scans))
    assert given.classes == ["clear", "cyst"]
    votes = {who: np.array([given.classes.index(label) for label in each]) for who, each in given.votes.items()}
    assert tied(votes).all()
    votes["C"] = np.array([0, 0, 0, 1, 1, -1])
    assert tied(votes).tolist() == [False] * 5 + [True]


def test_annotators_who_contradict_each_other_are_not_trusted(scans: Path, tmp_path: Path) -> None:
    lines = ["path,label_A,label_B", f"{PATHS[0]},clear,clear", f"{PATHS[1]},cyst,clear"]
    file, refs = write(tmp_path / "gold.csv", lines), find_images(scans)
    with pytest.raises(InputError, match=r"two labels to: clear/4\.png \(row 3 is 'cyst' by A and 'clear' by B\)"):
        read_supervision(refs, trusted=file, classes=["clear", "cyst"])
    assert read_supervision(refs, trusted=file, classes=["clear", "cyst"], skip_problems=True).trusted == {
        PATHS[0]: "clear"
    }
    with pytest.raises(InputError, match="of several annotators one label an image is read"):
        read(write(tmp_path / "l.csv", ["path,label_A,label_B", f"{PATHS[0]},cyst|clear,cyst"]), scans)


@pytest.mark.parametrize("option", [["--rules", "r.txt"], ["--blank", "zeros"], ["--uncertain", "ones"]])
def test_what_an_audit_would_not_use_is_wrong_usage(scans: Path, tmp_path: Path, option: list[str]) -> None:
    rows = [f"{path},{label}" for path, label in zip(PATHS, LABELS, strict=True)]
    labels = ["--labels", str(write(tmp_path / "l.csv", ["path,label", *rows]))]
    for source in (labels, ["--boxes", "boxes.csv"]):
        result = CliRunner().invoke(app, ["audit", str(scans), *source, *option, "--out", str(tmp_path / "run")])
        assert result.exit_code == 2, result.output
        assert f"{option[0]} is of " in result.output
    assert not (tmp_path / "run").exists()


BAD = {
    "a label of no image": (["gone.png,cyst"], "names images that are not there: gone.png (row 8)"),
    "two labels": (["cyst/0.png,clear"], "gives two labels to: cyst/0.png (row 8 is 'clear' here and 'cyst' in row 5)"),
    "a class in two ways": (
        ["cyst/0.png,Cyst"], "writes a class in two ways: cyst/0.png (row 8, writes 'cyst' as 'Cyst'). Mend it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_rows_that_do_not_fit_are_named_and_can_be_skipped(scans: Path, tmp_path: Path, case: str) -> None:
    more, told = BAD[case]
    rows = [f"{path},{label}" for path, label in zip(PATHS, LABELS, strict=True)]
    file = write(tmp_path / "l.csv", ["path,label", *rows, *more])
    with pytest.raises(InputError) as failed:
        read(file, scans)
    assert told in str(failed.value)
    assert "--skip-problems" in str(failed.value)
    assert len(read_given_labels(file, find_images(scans), skip_problems=True).problems) == 1


def test_images_without_a_label_and_one_class_are_errors(scans: Path, tmp_path: Path) -> None:
    rows = [f"{path},{label}" for path, label in zip(PATHS[1:], LABELS[1:], strict=True)]
    file = write(tmp_path / "l.csv", ["path,label", *rows])
    with pytest.raises(InputError, match=r"gives no label to: clear/3\.png"):
        read(file, scans)
    assert read(file, scans, skip_problems=True) == ["", *LABELS[1:]]
    for nothing in ("NaN", "none-of-these", "n/a"):
        with pytest.raises(InputError, match=r"gives no label to: clear/3\.png \(row 7\)"):
            read(write(tmp_path / "nan.csv", ["path,label", *rows, f"{PATHS[0]},{nothing}"]), scans)
    with pytest.raises(InputError, match=r"empty\.csv is empty"):
        read(write(tmp_path / "empty.csv", []), scans)
    with pytest.raises(InputError, match=r"one class only \(cyst\)"):
        read(write(tmp_path / "one.csv", ["path,label", *(f"{path},cyst" for path in PATHS)]), scans)


def test_groups_come_from_a_column_a_table_or_folders(scans: Path, tmp_path: Path) -> None:
    rows = [f"{path},{label},P{n // 2}" for n, (path, label) in enumerate(zip(PATHS, LABELS, strict=True))]
    refs = find_images(scans)
    given = read_given_labels(write(tmp_path / "l.csv", ["path,label,patient", *rows]), refs)
    assert read_groups("patient", refs, given).numbers.tolist() == [0, 0, 1, 1, 2, 2]
    assert read_groups("folder", refs).numbers.tolist() == [0, 0, 0, 1, 1, 1]
    table = write(tmp_path / "g.csv", ["path,case", *(f"{path},{n % 2}" for n, path in enumerate(PATHS[:5]))])
    with pytest.raises(InputError, match=r"gives no group to cyst/2\.png"):
        read_groups(str(table), refs)
    assert read_groups(str(table), refs, skip_problems=True).numbers.tolist() == [0, 1, 0, 1, 0, 7]
    write(
        table,
        ["path,case", *(f"{path},{n % 2}" for n, path in enumerate(PATHS[:5])), f"{PATHS[5]},nan", f"{PATHS[0]},9"],
    )
    with pytest.raises(
        InputError, match=rf"gives no group to {PATHS[5]} \(row 7\); it gives two groups to {PATHS[0]} \(row 8\)"
    ):
        read_groups(str(table), refs)
    assert [each.where for each in read_groups(str(table), refs, skip_problems=True).problems] == ["row 8", "row 7"]
    rows[2] = rows[2].rpartition(",")[0] + ", "
    given = read_given_labels(write(tmp_path / "l.csv", ["path,label,patient", *rows]), refs)
    with pytest.raises(InputError, match=r"patient gives no group to \S+ \(row 4\):"):
        read_groups("patient", refs, given)
    with pytest.raises(UsageError, match="no column"):
        read_groups("patients", refs, given)


def test_paths_that_look_like_patients_are_said_to() -> None:
    assert "patient000" in str(look_grouped([f"patient{n // 2:03}/{n}.png" for n in range(20)]))
    assert look_grouped([f"cyst/{n}.png" for n in range(20)]) is None


@pytest.mark.slow
def test_an_audit_says_it_all_in_its_report_and_goes_on_like_any_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scans").mkdir()
    write_scans(Path("scans"))
    for name in CLASSES:
        for file in sorted(Path("scans", name).glob("*.png"))[8:]:
            file.unlink()
    paths = [file.relative_to("scans").as_posix() for file in sorted(Path("scans").rglob("*.png"))]
    ct = next(path for path in paths if path.startswith("CT/"))
    shutil.copy(Path("scans", ct), "scans/copy.png")
    kinds = [path.partition("/")[0] for path in paths]
    rows = [
        f"{path},{kind},{'MRI' if i % 3 == 0 else kind},{kind},P{i // 2},{'ab'[i % 2]}"
        for i, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]
    head = "path,label_Ana,label_Ben,label_Cem,patient,split"
    write(Path("labels.csv"), [head, *rows, "copy.png,X-ray,X-ray,X-ray,P99,b"])
    asked = ["audit", "scans", "--labels", "labels.csv", "--groups", "patient", "--student", "none", "--out", "run"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    issues = pd.read_csv("run/issues.csv")
    assert tuple(issues.columns) == ISSUES
    first = issues.iloc[0]
    assert (first["issue"], {first["path"], *issues.iloc[:2]["path"]} >= {"copy.png"}) == ("contradiction", True)
    assert {"group", "contradiction"} <= set(issues["issue"])
    report = Path("run/report.html").read_text()
    for said in (
        "Labels estimated wrong",
        "By annotator",
        "The confident joint",
        "Nearly the same picture",
        "What leaks",
    ):
        assert said in report
    sure = pd.read_csv("run/labels.csv").set_index("path")["confidence"]
    doubted = issues.loc[issues["issue"] == "label", "path"]
    assert sure[doubted].max() < sure.drop(doubted).max()  # what is doubted is not exported as sure
    told = json.loads(Path("run/run.json").read_text())["audit"]
    assert told["annotators"]["Ben"]["wrong"][0] > told["annotators"]["Ana"]["wrong"][0]
    assert set(told["pairs"][0]["paths"]) == {ct, "copy.png"}
    again = CliRunner().invoke(app, ["update", "run"])
    assert (again.exit_code, "labels are the same" in again.stdout) == (0, True), again.output
    shutil.copy(Path("scans", paths[3]), "scans/new.png")
    grown = CliRunner().invoke(app, ["update", "run"])
    assert "1 image is new" in grown.stdout
    unreadable = pd.read_csv("run/unreadable.csv")
    assert "has no label" in str(unreadable[unreadable["path"] == "new.png"]["reason"].iloc[0])
    with Path("labels.csv").open("a") as table:
        table.write("new.png,CT,CT,CT,P1,a\n")
    assert CliRunner().invoke(app, ["update", "run"]).exit_code == 0
    now = pd.read_csv("run/labels.csv").set_index("path").loc["new.png"]
    assert now["given_label"] == "CT"


@pytest.mark.slow
def test_one_image_that_can_be_read_is_audited(scans: Path, tmp_path: Path) -> None:
    for name in PATHS[1:]:
        (scans / name).write_text("no picture")
    rows = [f"{path},{label}" for path, label in zip(PATHS, LABELS, strict=True)]
    labels = write(tmp_path / "l.csv", ["path,label", *rows])
    done = CliRunner().invoke(app, ["audit", str(scans), "--labels", str(labels), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert pd.read_csv(tmp_path / "run" / "labels.csv")["path"].tolist() == PATHS[:1]


@pytest.mark.slow
def test_examples_from_elsewhere_are_learned_from_and_are_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every CT is filed as MRI and the other way round, so that the labels agree with each other; examples know better."""
    monkeypatch.chdir(tmp_path)
    Path("scans").mkdir()
    write_scans(Path("scans"))
    for name in CLASSES:
        Path("examples", name).mkdir(parents=True)
        for number, file in enumerate(sorted(Path("scans", name).glob("*.png"))[:24]):
            if number % 2:
                file.rename(Path("examples", name, file.name))
        for file in sorted(Path("scans", name).glob("*.png"))[12:]:
            file.unlink()
    paths = [file.relative_to("scans").as_posix() for file in sorted(Path("scans").rglob("*.png"))]
    other = {"CT": "MRI", "MRI": "CT"}
    rows = [f"{path},{other.get(path.partition('/')[0], path.partition('/')[0])}" for path in paths]
    write(Path("labels.csv"), ["path,label", *rows])
    asked = ["audit", "scans", "--labels", "labels.csv", "--student", "none"]
    found = {}
    for out, more in (("plain", []), ("shown", ["--examples", "examples"])):
        done = CliRunner().invoke(app, [*asked, "--out", out, *more])
        assert done.exit_code == 0, done.output
        table = pd.read_csv(f"{out}/labels.csv")
        assert sorted(table["path"]) == sorted(paths)
        swapped = table["path"].str.match("CT/|MRI/")
        found[out] = (table["suspect_score"][swapped].mean(), table["suspect_score"][~swapped].mean())
    assert found["shown"][0] > found["plain"][0]
    assert found["shown"][0] > found["shown"][1]
    assert CliRunner().invoke(app, ["update", "shown"]).exit_code == 0
    done = CliRunner().invoke(app, [*asked, "--out", "b", "--examples", "nowhere"])
    assert (done.exit_code, "There is no folder nowhere" in done.stderr) == (2, True)


@pytest.mark.slow
def test_the_commands_of_the_page_about_audits_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[1] / "docs" / "how-to" / "audit.md"
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = ["path,label,patient,split"]
    for n in range(24):
        kind = ("dark", "pale")[n % 2]
        file = Path("scans", kind, f"{n}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.normal(60 + 100 * (n % 2), 20, (32, 32)).clip(0, 255).astype(np.uint8)).save(file)
        lines.append(f"{kind}/{n}.png,{kind},P{n // 2},{('train', 'test')[n % 3 == 0]}")
    write(Path("labels.csv"), lines)
    write(Path("gold.csv"), ["path,label", "dark/0.png,dark", "pale/1.png,pale"])
    asked = [
        line.strip().split("#")[0].split() for line in page.read_text().splitlines() if line.startswith("    auto")
    ]
    assert [words[1] for words in asked] == ["audit", "audit", "review", "update", "certify", "export"]
    for words in asked:
        if words[1] == "review":  # serves until it is stopped
            continue
        words += ["--student", "none"] if words[1] == "audit" else []
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, (words, done.output)
    trusted = pd.read_csv("folders-audit/labels.csv", keep_default_na=False).set_index("path")["trusted_label"]
    assert trusted[trusted != ""].to_dict() == {"dark/0.png": "dark", "pale/1.png": "pale"}
    assert pd.read_csv("parts.csv")["split"].nunique() == 3
