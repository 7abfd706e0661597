"""Runs with findings: trusted values and examples, images that join, and issues.csv made again from the answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_findings import NAMES, PATHS, make_findings_run
from test_findings import draw, run

from autoannotate import Annotations
from autoannotate.answers.examples import example_findings
from autoannotate.answers.findings_supervision import findings_supervision_of, read_findings_supervision
from autoannotate.answers.given_boxes import read_boxes
from autoannotate.answers.given_findings import read_given_findings
from autoannotate.answers.given_labels import read_given_labels
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.images import find_images
from autoannotate.labelling.examples import Examples
from autoannotate.labelling.features import Features
from autoannotate.labelling.findings import label_findings, label_findings_with_examples
from autoannotate.labelling.task import Task
from autoannotate.runs.findings_issues import told_apart


def table(name: str = "findings.csv", folder: Path | str = "run") -> pd.DataFrame:
    return pd.read_csv(Path(folder) / name, keep_default_na=False)


def test_what_is_known_is_kept_in_the_run_and_found_again(tmp_path: Path) -> None:
    made = make_findings_run(tmp_path / "images")
    (tmp_path / "gold.csv").write_text(f"path,mass,effusion\n{PATHS[0]},1,\n{PATHS[3]},0,1\n")
    refs = find_images(tmp_path / "images")
    known = read_findings_supervision(refs, NAMES, trusted=tmp_path / "gold.csv")
    assert known.arguments(list(PATHS), NAMES)["answers"].tolist() == [[-1, 1, -1], [-1] * 3, [-1] * 3, [1, 0, -1]]
    known.kept_in(made).save(tmp_path / "run")
    again = findings_supervision_of(Annotations.load(tmp_path / "run"), refs)
    assert (again.trusted, again.given, again.groups) == (known.trusted, None, None)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["path,findings", "00.png,bright|efusion"], "efusion.*none of the findings bright, striped"),
        (["path,bright", "00.png,1", "00.png,0"], "contradicts an earlier row about bright"),
        (["path,bright", "77.png,1"], "not there: 77.png .row 2."),
        (["path,cyst", "00.png,1"], "has no column bright"),
    ],
)
def test_trusted_values_that_do_not_fit_are_a_sentence(lines: list[str], said: str, tmp_path: Path) -> None:
    draw(tmp_path / "scans", 4)
    (tmp_path / "gold.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=said):
        read_findings_supervision(find_images(tmp_path / "scans"), ["bright", "striped"], trusted=tmp_path / "gold.csv")


def test_a_table_of_blanks_says_what_to_do(tmp_path: Path) -> None:
    draw(tmp_path / "scans", 2)
    (tmp_path / "l.csv").write_text("path,bright\n00.png,\n01.png,-1\n")
    with pytest.raises(InputError, match=r"blank or uncertain, which counts as unknown.*--blank zeros"):
        read_given_findings(tmp_path / "l.csv", find_images(tmp_path / "scans"), ["bright"])


def test_trusted_values_may_be_written_over_and_answers_may_not(tmp_path: Path) -> None:
    made = make_findings_run(tmp_path)
    known = made.findings
    known["given_value"] = known["value"]
    known["trusted_value"] = -1
    known.loc[1, ["source", "trusted_value"]] = ["clinician", known.loc[1, "value"]]
    made.save(tmp_path / "run")
    made.save(tmp_path / "run", overwrite=True)
    known.loc[2, "source"] = "clinician"
    made.save(tmp_path / "run", overwrite=True)
    with pytest.raises(OutputError, match="answers by clinicians, which are never written over"):
        made.save(tmp_path / "run", overwrite=True)


def test_a_finding_that_is_never_absent_says_that_a_blank_may_mean_so() -> None:
    count = 20
    points = np.random.default_rng(0).normal(size=(count, 8))

    def verdict(given: list[int]) -> str:
        task = Task(Features(points), np.full((count, 2), 0.5), ["no mass", "mass"], given=np.array(given), keep=True)
        return str(told_apart([task], label_findings([task]))["mass"]["verdict"])

    assert "where it means absent, say --blank zeros" in verdict([1] * 8 + [-1] * 12)
    assert "--blank" not in verdict([1] * 8 + [0] * 2 + [-1] * 10)  # absence is written
    assert "--blank" not in verdict([1] * count)  # nothing is blank


def test_examples_say_which_findings_they_show(tmp_path: Path) -> None:
    for name in ("bright", "no bright", "none", "Striped"):
        draw(tmp_path / "all" / name, 1)
    found = {ref.path: values for ref, values in example_findings(tmp_path / "all", ["bright", "striped"])}
    assert found == {
        "bright/00.png": (1, -1), "no bright/00.png": (0, -1), "none/00.png": (0, 0), "Striped/00.png": (-1, 1),
    }  # fmt: skip
    draw(tmp_path / "all" / "spots", 1)
    with pytest.raises(UsageError, match="a folder 'spots', which is none of the findings"):
        example_findings(tmp_path / "all", ["bright", "striped"])


def test_each_finding_learns_from_the_examples_that_show_it_or_do_not() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, (160, 2))
    points = np.concatenate([3.0 * truth, rng.normal(size=(160, 6))], axis=1) + rng.normal(size=(160, 8))
    half = np.full((120, 2), 0.5)
    features = Features(points[:120])
    tasks = [Task(features, half, [f"no {name}", name], trust=0.0, meaningful=False) for name in "ab"]
    shown = truth[120:].copy()
    shown[:, 1] = -1  # of the second finding nothing is known
    made = label_findings_with_examples(tasks, Examples(points[120:], points[120:], shown), [half[:40], half[:40]])
    assert made.values.shape == (120, 2)
    assert (made.values[:, 0] == truth[:120, 0]).mean() > 0.8
    assert (made.values[:, 1] == -1).all()
    assert made.queue.rows.max(initial=0) < 120


@pytest.mark.slow
def test_an_audit_of_findings_grows_and_its_issues_follow_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    truth = draw(tmp_path / "scans", 44)
    Path("late").mkdir()
    late = [shutil.move(f"scans/{n}.png", "late") for n in (40, 41, 42, 43)]
    lines = {path: f"{path},{1 - b if path in ('05.png', '12.png') else b},{s}" for path, (b, s) in truth.items()}
    Path("l.csv").write_text("\n".join(["path,bright,striped", *list(lines.values())[:40]]) + "\n")
    Path("gold.csv").write_text("path,bright\n12.png,0\n")
    run("audit", "scans", "--labels", "l.csv", "--trusted", "gold.csv", "--out", "run")
    first = table().set_index(["path", "finding"])
    assert (first.loc[("12.png", "bright"), ["value", "given_value", "trusted_value"]] == [0, 1, 0]).all()
    issues = table("issues.csv").query("issue == 'label'")
    assert issues.iloc[0][["path", "label", "suggested_label"]].tolist() == ["12.png", "bright", "no bright"]
    assert "by an answer" in issues.iloc[0]["detail"]
    assert "labels are the same" in run("update", "run")

    with AnswerStore("run") as store:
        store.add(
            [Answer("05.png", "Ana", "label", "striped=0|bright=1"), Answer("06.png", "Ana", "label", "bright=0")]
        )
    run("update", "run")
    told = table("issues.csv").query("issue == 'label'").set_index("path")
    assert told.loc["05.png", "score"] == 1.0
    assert (table("issues.csv", "run/rounds/0000").query("path == '05.png'")["score"] < 1).all()

    for file in late:
        shutil.move(file, "scans")
    said = run("update", "run")
    assert "4 images are new" in said
    assert "has no row" in table("unreadable.csv").set_index("path").loc["40.png", "reason"]
    Path("l.csv").write_text("\n".join(["path,bright,striped", *lines.values()]) + "\n")
    run("update", "run")
    joined = table().set_index(["path", "finding"])
    assert joined.loc[("41.png", "bright"), "given_value"] == truth["41.png"][0]
    assert joined.loc[("05.png", "bright"), "source"] == "clinician"


@pytest.mark.slow
def test_the_same_command_lets_images_join_a_run_of_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    truth = draw(tmp_path / "scans", 24)
    Path("late").mkdir()
    shutil.move("scans/23.png", "late")
    for name, wanted in (("bright", 1), ("no bright", 0)):
        Path("shown", name).mkdir(parents=True)
        for path in [path for path, (b, _) in truth.items() if b == wanted][:5]:
            shutil.copy(f"scans/{path}", f"shown/{name}")
    asked = ["label", "scans", "--findings", "bright,striped", "--examples", "shown", "--out", "run"]
    run(*asked)
    of_bright = table().query("finding == 'bright'").set_index("path")["value"]
    assert np.mean([of_bright[path] == truth[path][0] for path in of_bright.index]) > 0.8
    shutil.move("late/23.png", "scans")
    assert "1 image is new" in run(*asked)
    assert len(table("labels.csv")) == 24
    assert "made with other --examples" in run(*asked[:-4], "--out", "run", exit_code=1)


@pytest.mark.parametrize("what", ["labels", "findings", "boxes"])
def test_a_category_that_coco_does_not_list_is_a_sentence(what: str, tmp_path: Path) -> None:
    draw(tmp_path / "scans", 2)
    refs = find_images(tmp_path / "scans")
    about = {"image_id": 1, "category_id": 9, "bbox": [1, 1, 20, 20]}
    told = {
        "images": [{"id": 1, "file_name": "00.png"}, {"id": 2, "file_name": "01.png"}],
        "categories": [{"id": 1, "name": "cyst"}], "annotations": [about | {"category_id": 1}, about],
    }  # fmt: skip
    file = tmp_path / "coco.json"
    file.write_text(json.dumps(told))
    read = {"labels": read_given_labels, "findings": read_given_findings, "boxes": read_boxes}[what]
    with pytest.raises(InputError, match="categories that it does not list"):
        read(file, refs)
    if what == "labels":
        told["annotations"].append({"image_id": 2, "category_id": 1})
        file.write_text(json.dumps(told))
        refs = find_images(tmp_path / "scans")
        assert (
            "unknown category 9" in read_given_labels(file, refs, skip_problems=True, partial=True).problems[0].problem
        )
    if what == "findings":
        told["categories"].append({"id": 2, "name": "mass"})
        told["annotations"].append({"image_id": 2, "category_id": 2})
        file.write_text(json.dumps(told))
        made = read_given_findings(file, refs, skip_problems=True)
        assert made.names == ["cyst", "mass"]
        assert [problem.path for problem in made.problems] == ["00.png"]
    if what == "boxes":
        assert read_boxes(file, refs, skip_problems=True).labels == ["cyst", "unknown category 9"]
        del told["annotations"][0]["bbox"]
        file.write_text(json.dumps(told))
        with pytest.raises(InputError, match="lacks 'bbox'"):
            read_boxes(file, refs)


def test_a_folder_as_labels_says_which_word_is_meant(tmp_path: Path) -> None:
    draw(tmp_path / "scans" / "cyst", 2)
    with pytest.raises(InputError, match="as in --labels folders"):
        read_given_labels(tmp_path / "scans", find_images(tmp_path / "scans"))
