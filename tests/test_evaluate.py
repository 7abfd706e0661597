"""Repeated runs, methods side by side: the same numbers however they are run, and nothing dropped or made up."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_processes import hears_ctrl_c
from PIL import Image
from typer.testing import CliRunner

from autoannotate._internal.progress import silent
from autoannotate.cli.commands.evaluate import print_results
from autoannotate.cli.main import app
from autoannotate.errors import InputError, ModelError, UsageError
from autoannotate.evaluation import methods as registry
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.labelled_set import LabelledSet
from autoannotate.evaluation.protocols import noise, pair
from autoannotate.evaluation.report import story, summarised, write_results
from autoannotate.evaluation.runner import RECORDS, Evaluation, Record, evaluate, prepare
from autoannotate.evaluation.study import Options, Study
from autoannotate.evaluation.task import Problem, Solution

FEW = {"count": 12, "noise": "symmetric:0.25"}
SAME = ("runs.csv", "summary.json", "report.html", "accuracy_difference.png", "macro_f1_difference.png")


@pytest.fixture(scope="module")
def folders(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """NAME=PATH of sixty real images of each class: few, so that an evaluation is soon past encoding them."""
    made = []
    for name, folder in {"chest": "chest_nih", "breast": "breast_busi"}.items():
        copies = tmp_path_factory.mktemp(name)
        for file in sorted((data_dir / "eval" / folder / "images").rglob("*.*"))[:60]:
            shutil.copy(file, copies)
        made.append(f"{name}={copies}")
    return made


@pytest.fixture(scope="module")
def organs(folders: list[str]) -> LabelledSet:
    return read_labelled(folders)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def measure(data: LabelledSet, out: Path, cache: Path, protocol: str = "noise", **settings: Any) -> dict[str, Any]:
    options = Options(**(FEW if protocol == "noise" else {"count": 20}) | settings.pop("options", {}))
    arguments: dict[str, Any] = {"runs": 2, "methods": ("given", "knn"), "cache": cache, "options": options} | settings
    return write_results(evaluate(protocol, data, out, **arguments), out)


@pytest.fixture(scope="module")
def measured(organs: LabelledSet, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measured")
    measure(organs, out, cache)
    return out


def test_every_promised_file_is_there_and_the_noise_is_exact(measured: Path) -> None:
    assert {*SAME, RECORDS, "timings.csv"} <= {file.name for file in measured.iterdir()}
    runs = pd.read_csv(measured / "runs.csv")
    assert runs[["run", "seed", "method"]].to_numpy().tolist() == [
        [run, run, method] for run in range(2) for method in ("given", "knn")
    ]
    assert (runs.loc[runs["method"] == "given", "accuracy"] == 0.75).all()  # 6 of 24 labels, in every run
    assert runs["failed"].isna().all()


def test_the_summary_has_the_shape_that_was_promised(measured: Path) -> None:
    summary = json.loads((measured / "summary.json").read_text())
    runs = pd.read_csv(measured / "runs.csv")
    assert summary["protocol"] == "noise"
    accuracy = summary["methods"]["knn"]["accuracy"]
    of_knn = runs.loc[runs["method"] == "knn", "accuracy"]
    assert accuracy["mean"] == pytest.approx(of_knn.mean(), abs=1e-6)
    assert accuracy["min"] == pytest.approx(of_knn.min(), abs=1e-6)
    assert accuracy["ci95"][0] <= accuracy["mean"] <= accuracy["ci95"][1]
    difference = summary["differences"]["given"]["knn"]["accuracy"]
    assert difference["mean"] == pytest.approx(of_knn.mean() - 0.75, abs=1e-6)
    assert 0 <= difference["wilcoxon_p"] <= 1
    assert summary["failed"] == {"given": 0, "knn": 0}


def test_the_report_holds_its_pictures_and_loads_nothing(measured: Path) -> None:
    page = (measured / "report.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("data:image/png;base64,") == 3
    for file in measured.glob("*.png"):
        assert min(Image.open(io.BytesIO(file.read_bytes())).size) > 200


def test_a_stopped_evaluation_goes_on_and_gives_the_same_bytes(
    organs: LabelledSet, cache: Path, tmp_path: Path, measured: Path
) -> None:
    done: list[int] = []

    def stopping(items: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
        for i, item in enumerate(items):
            if description.startswith("evaluating"):
                if i == 3:
                    raise KeyboardInterrupt
                done.append(i)
            yield item

    def counting(items: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
        if description.startswith("evaluating"):
            done.append(total or 0)
        yield from items

    with pytest.raises(KeyboardInterrupt):
        measure(organs, tmp_path, cache, track=stopping)
    with (tmp_path / RECORDS).open("a") as handle:
        handle.write('{"run": 1, "seed": 1, "meth')  # the line that a kill cut short
    measure(organs, tmp_path, cache, track=counting)
    assert done == [0, 1, 2, 1]
    for name in SAME:
        assert (tmp_path / name).read_bytes() == (measured / name).read_bytes()


def test_more_runs_and_methods_are_added_to_what_is_there(organs: LabelledSet, cache: Path, tmp_path: Path) -> None:
    measure(organs, tmp_path, cache, runs=1, methods=("given",))
    before = (tmp_path / RECORDS).read_text().splitlines()
    measure(organs, tmp_path, cache, runs=2)
    after = (tmp_path / RECORDS).read_text().splitlines()
    assert after[:2] == before
    assert len(after) == 1 + 4


def test_runs_of_an_older_code_are_kept_and_said(organs: LabelledSet, cache: Path, tmp_path: Path) -> None:
    measure(organs, tmp_path, cache, runs=1)
    first, _, rest = (tmp_path / RECORDS).read_text().partition("\n")
    (tmp_path / RECORDS).write_text(json.dumps(json.loads(first) | {"code": "older"}) + "\n" + rest)
    assert measure(organs, tmp_path, cache, runs=1)["notes"] == []  # nothing was added
    assert "Some runs were made before the code" in measure(organs, tmp_path, cache, runs=2)["notes"][0]


def test_an_evaluation_with_other_settings_is_not_mixed_in(measured: Path, organs: LabelledSet, cache: Path) -> None:
    with pytest.raises(InputError, match=r"noise 'symmetric:0\.25', not 'symmetric:0\.1'.*--overwrite"):
        measure(organs, measured, cache, options={"noise": "symmetric:0.1"})
    with pytest.raises(InputError, match="other images or labels"):
        measure(organs.take(np.arange(0, len(organs), 2)), measured, cache)


@pytest.mark.slow
def test_two_jobs_give_the_bytes_of_one(organs: LabelledSet, cache: Path, tmp_path: Path, measured: Path) -> None:
    measure(organs, tmp_path, cache, jobs=2)
    for name in SAME:
        assert (tmp_path / name).read_bytes() == (measured / name).read_bytes()


@pytest.mark.slow
def test_a_killed_evaluation_leaves_no_process_and_goes_on(
    organs: LabelledSet, folders: list[str], cache: Path, tmp_path: Path, measured: Path
) -> None:
    data = [part for folder in folders for part in ("--data", folder)]
    command = [sys.executable, "-m", "autoannotate", "evaluate", "noise", *data, "--count", "12", "--jobs", "2"]
    command += ["--noise", "symmetric:0.25", "--methods", "given,knn", "--out", str(tmp_path), "--cache", str(cache)]
    process = subprocess.Popen([*command, "--runs", "200"], start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and (not (tmp_path / RECORDS).exists() or _lines(tmp_path) < 4):
        time.sleep(0.1)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _group_is_alive(process.pid):
        time.sleep(0.2)
    assert not _group_is_alive(process.pid)
    measure(organs, tmp_path, cache)
    for name in SAME:
        assert (tmp_path / name).read_bytes() == (measured / name).read_bytes()


def _lines(folder: Path) -> int:
    return (folder / RECORDS).read_text().count("\n")


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ctrl_c_is_one_sentence(folders: list[str], cache: Path, tmp_path: Path) -> None:
    data = [part for folder in folders for part in ("--data", folder)]
    command = [sys.executable, "-m", "autoannotate", "evaluate", "noise", *data, "--count", "12", "--runs", "2000"]
    command += ["--methods", "given,knn", "--out", str(tmp_path), "--cache", str(cache), "--jobs", "2"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hears_ctrl_c
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and (not (tmp_path / RECORDS).exists() or _lines(tmp_path) < 3):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command to go on" in said
    assert "Traceback" not in said


@pytest.fixture
def broken_methods() -> Iterator[None]:
    """Two methods that fail: one with a sentence for the user, one with a bug."""

    def no_weights(problem: Problem) -> Solution:
        raise ModelError("The weights are not on this machine: fetch them.")

    def buggy(problem: Problem) -> Solution:
        raise IndexError("list index out of range")

    added = {"no-weights": no_weights, "buggy": buggy}
    registry.METHODS.update(added)
    yield
    for name in added:
        del registry.METHODS[name]


def test_a_failing_run_is_a_row_and_is_counted(
    organs: LabelledSet, cache: Path, tmp_path: Path, broken_methods: None
) -> None:
    summary = measure(organs, tmp_path, cache, methods=("given", "no-weights", "buggy"))
    runs = pd.read_csv(tmp_path / "runs.csv").set_index(["run", "method"])
    assert len(runs) == 6
    assert runs.loc[(1, "no-weights"), "failed"] == "The weights are not on this machine: fetch them."
    assert runs.loc[(0, "buggy"), "failed"] == "IndexError: list index out of range"
    assert runs["accuracy"].isna().sum() == 4
    assert summary["failed"] == {"given": 0, "no-weights": 2, "buggy": 2}
    assert summary["methods"]["buggy"] == {}
    assert "4 runs failed" in (tmp_path / "report.html").read_text()


def made(protocol: str, values: dict[str, list[dict[str, float]]]) -> Evaluation:
    """An evaluation by its metrics: by method, one dictionary a run; an empty one is a run that failed."""
    runs = len(next(iter(values.values())))
    records = [
        Record(run, run, method, values[method][run], [], "" if values[method][run] else "It broke.", "", 1.0)
        for run in range(runs)
        for method in values
    ]
    about = {"runs": runs, "seed": 0, "images": {"a": 9}, "options": {}, "data": "made", "version": "0"}
    return Evaluation(protocol, tuple(values), records, about | {"data_sha256": "ab"}, ())


def test_where_less_is_better_the_lower_number_wins() -> None:
    found = {
        name: [{"reviewed_to_99": share, "area": 1 - share} for share in shares]
        for name, shares in {"random": [0.5, 0.6], "margin": [0.2, 0.3], "ours": [0.1, 0.2]}.items()
    }
    evaluation = made("clinician", found)
    summary = summarised(evaluation)
    against = summary["differences"]["random"]["ours"]
    assert [against["reviewed_to_99"][name] for name in ("wins", "ties", "losses")] == [2, 0, 0]
    assert against["reviewed_to_99"]["mean"] == pytest.approx(-0.4)
    assert against["area"]["wins"] == 2
    assert "It is 10.0 points better than the best of the others, “margin”" in story(evaluation, summary)
    assert "less is better" in story(evaluation, summary)


def test_what_reads_the_same_is_equally_good(tmp_path: Path) -> None:
    found = {name: [{"accuracy": share}] * 2 for name, share in {"given": 0.5, "knn": 0.90001, "ours": 0.90003}.items()}
    summary = write_results(made("noise", found), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count('class="best"') == 2
    assert "It is as good as the best of the others, “knn” (90.0%)" in page
    assert summary["methods"]["ours"]["accuracy"]["mean"] > summary["methods"]["knn"]["accuracy"]["mean"]


def test_a_metric_that_never_applies_is_in_no_table(tmp_path: Path) -> None:
    found = {name: [{"reviewed_to_99": 0.5, "area": math.nan}] * 2 for name in ("random", "ours")}
    summary = write_results(made("clinician", found), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert ">reviewed to 99%</th>" in page
    assert ">area</th>" not in page
    assert "area" not in summary["methods"]["ours"]
    assert not (tmp_path / "area_difference.png").exists()


def test_the_page_explains_its_metrics_in_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shares = {"reviewed_to_99": 0.5, "area": 0.8, "label_area": 0.7}
    summary = write_results(made("clinician", {"random": [shares], "ours": [shares]}), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<em>Downstream</em>" in page
    assert "<code>label area</code>" in page
    assert "`" not in page.partition("What was measured")[2]
    print_results(summary, tuple(shares), tmp_path)
    assert "% %" not in " ".join(capsys.readouterr().out.split())


def test_the_report_on_labels_leads_with_what_each_method_saves() -> None:
    found = {"scratch": [{"area": 0.8}], "scratch-simclr": [{"area": 0.7, "saving": -0.353}]}
    evaluation = made("labels", found)
    said = story(evaluation, summarised(evaluation))
    assert said == "Saving on average: “scratch-simclr” −35.3% against “scratch”."


def test_files_of_an_earlier_evaluation_go_and_others_stay(tmp_path: Path) -> None:
    for name in ("curves.png", "curves.csv", "area_difference.png", "macro_f1_difference.png", "mine_difference.png"):
        (tmp_path / name).write_bytes(b"old")
    write_results(made("noise", {"given": [{"accuracy": 0.5}], "ours": [{"accuracy": 0.75}]}), tmp_path)
    there = {file.name for file in tmp_path.iterdir()}
    assert not {"curves.png", "curves.csv", "area_difference.png", "macro_f1_difference.png"} & there
    assert {"mine_difference.png", "accuracy_difference.png", "report.html"} <= there


def test_the_report_says_that_all_runs_of_ours_failed(tmp_path: Path) -> None:
    write_results(made("noise", {"given": [{"accuracy": 0.5}] * 2, "ours": [{}, {}]}), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "“ours” failed in every run: what follows is about “given”." in page
    assert "Compared in pairs with" not in page


def test_a_baseline_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = write_results(made("noise", {"knn": [{"accuracy": 0.5}], "ours": [{"accuracy": 0.75}]}), tmp_path)
    said = "“given”, which the others are compared with, is not among the methods"
    assert said in (tmp_path / "report.html").read_text()
    print_results(summary, noise.HEADLINE, tmp_path)
    assert said in capsys.readouterr().out


def test_an_evaluation_of_which_nothing_succeeded_exits_with_1(
    folders: list[str], cache: Path, tmp_path: Path, broken_methods: None
) -> None:
    data = [part for folder in folders for part in ("--data", folder)]
    command = ["evaluate", "noise", *data, "--methods", "buggy", "--runs", "1", "--count", "12"]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out"), "--cache", str(cache)])
    assert result.exit_code == 1
    assert "No run of any method succeeded" in " ".join(result.output.split())


def study(data: LabelledSet, out: Path, cache: Path, options: Options) -> Study:
    return prepare(data, options, [0, 1], out, "auto", cache, silent)[0]


def test_the_pair_protocol_shows_no_truth_and_holds_a_share_of_each_class_for_testing(
    organs: LabelledSet, cache: Path, tmp_path: Path
) -> None:
    problem, truth = pair.make_problem(study(organs, tmp_path, cache, Options(count=20)), 1)
    assert [int(problem.train[truth == k].sum()) for k in (0, 1)] == [14, 14]
    assert np.array_equal(problem.given, problem.probabilities.argmax(axis=1))
    assert problem.start == "clip"
    assert problem.texts is not None
    assert problem.texts.shape == (2, problem.embeddings.shape[1])


def test_bare_words_are_one_name_a_class(organs: LabelledSet, cache: Path, tmp_path: Path) -> None:
    bare = study(organs, tmp_path, cache, Options(count=20, prompts="bare"))
    problem, _ = pair.make_problem(bare, 0)
    names = bare.annotator.encoder.encode_texts(["chest", "breast"])
    assert problem.texts is not None
    assert np.allclose(problem.texts, names, atol=1e-5)


def test_images_can_be_squashed_to_the_size_of_medmnist(organs: LabelledSet, cache: Path, tmp_path: Path) -> None:
    small = study(organs, tmp_path, cache, Options(count=10, pixels=28))
    problem, _ = noise.make_problem(small, 0)
    assert problem.images(3).size == (28, 28)
    large, _ = noise.make_problem(study(organs, tmp_path, cache, Options(count=10)), 0)
    assert problem.image_names == large.image_names
    assert not np.allclose(problem.features, large.features)


def test_squashed_images_are_those_of_the_data_at_hand(folders: list[str], cache: Path, tmp_path: Path) -> None:
    chest, breast = (folder.partition("=")[2] for folder in folders)
    grey = []
    for first, second in ((chest, breast), (breast, chest)):
        data = read_labelled([f"a={first}", f"b={second}"])
        problem, _ = noise.make_problem(study(data, tmp_path, cache, Options(count=10, pixels=28)), 0)
        grey.append(np.asarray(problem.images(0)).mean())
    assert grey[0] != grey[1]


def test_other_words_in_the_same_file_are_another_evaluation(organs: LabelledSet, cache: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.yaml"
    words.write_text("classes:\n  chest: [a chest X-ray]\n  breast: [a breast ultrasound]\n")
    asked: dict[str, Any] = {"protocol": "pair", "methods": ("clip",), "options": {"prompts": str(words)}}
    measure(organs, tmp_path / "out", cache, runs=1, **asked)
    measure(organs, tmp_path / "out", cache, runs=2, **asked)
    words.write_text("classes:\n  chest: [a breast ultrasound]\n  breast: [a chest X-ray]\n")
    with pytest.raises(InputError, match="other prompts or weights in the same place"):
        measure(organs, tmp_path / "out", cache, runs=3, **asked)


def test_lesions_are_on_one_side_of_the_split(data_dir: Path, cache: Path, tmp_path: Path) -> None:
    skin = data_dir / "eval" / "skin_ham10000"
    data = read_labelled([f"mel={skin}:mel", f"nv={skin}:nv"])
    problem, _ = pair.make_problem(study(data, tmp_path, cache, Options(count=40)), 0)
    assert problem.groups is not None
    assert not set(problem.groups[problem.train]) & set(problem.groups[~problem.train])


def real_readers(folder: Path, organs: LabelledSet) -> LabelledSet:
    lines = ["path,label,given"]
    for k in (0, 1):
        for i, row in enumerate(np.flatnonzero(organs.labels == k)[:12]):
            lines.append(f"{organs.refs[row].file},{'ab'[k]},{'ab'[k if i > 2 else 1 - k]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return read_labelled([folder])


def test_a_second_reader_takes_the_place_of_noise(organs: LabelledSet, cache: Path, tmp_path: Path) -> None:
    data = real_readers(tmp_path, organs)
    summary = measure(data, tmp_path / "out", cache, options={"noise": "given"})
    assert summary["methods"]["given"]["accuracy"]["mean"] == 0.75
    with pytest.raises(UsageError, match="a column `given`"):
        measure(organs, tmp_path / "other", cache, options={"noise": "given"})


def test_an_unreadable_image_is_replaced_and_said(organs: LabelledSet, cache: Path, tmp_path: Path) -> None:
    rows = np.concatenate([np.flatnonzero(organs.labels == k)[:15] for k in (0, 1)])
    for n, row in enumerate(rows):
        copy = tmp_path / "set" / organs.class_names[organs.labels[row]] / f"{n}.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"no picture" if n in (2, 20) else organs.refs[row].file.read_bytes())
    summary = measure(read_labelled([tmp_path / "set"]), tmp_path / "out", cache, runs=3)
    assert summary["notes"] == ["2 images could not be read, and others of the class were drawn where it has more."]
    assert summary["methods"]["given"]["accuracy"] == {
        "mean": 0.75,
        "min": 0.75,
        "max": 0.75,
        "n": 3,
        "ci95": [0.75, 0.75],
    }


def test_a_class_of_which_too_few_images_can_be_read_is_named(organs: LabelledSet, cache: Path, tmp_path: Path) -> None:
    for k, name in enumerate(organs.class_names):
        (tmp_path / "set" / name).mkdir(parents=True)
        for n, row in enumerate(np.flatnonzero(organs.labels == k)[:12]):
            picture = b"no picture" if k == 1 and n >= 9 else organs.refs[row].file.read_bytes()
            (tmp_path / "set" / name / f"{n}.png").write_bytes(picture)
    with pytest.raises(
        InputError, match=rf"The class '{organs.class_names[1]}' has 9 images.*can be read.*at least 10"
    ):
        measure(read_labelled([tmp_path / "set"]), tmp_path / "out", cache)


def test_records_of_something_else_are_refused(organs: LabelledSet, cache: Path, tmp_path: Path) -> None:
    measure(organs, tmp_path, cache, runs=1)
    with (tmp_path / RECORDS).open("a") as handle:
        handle.write('{"epoch": 3}\n')
    with pytest.raises(InputError, match=r"lines that no evaluation wrote.*--overwrite"):
        measure(organs, tmp_path, cache, runs=2)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nois"], 2, "There is no protocol 'nois': choose one of .* Did you mean noise"),
        (["noise", "--methods", "given,knm"], 2, "There is no method 'knm': choose one of .* Did you mean knn"),
        (["noise", "--methods", ","], 2, "--methods names no method"),
        (["noise", "--noise", "salt:0.2"], 2, "There is no noise 'salt'"),
        (["noise", "--noise", "symmetric:1.5"], 2, "needs a rate"),
        (
            ["noise", "--noise", "symmetric:0.0001"],
            2,
            "makes none of the .* labels of a run wrong: its rate is at least",
        ),
        (["noise", "--test", "0.5"], 2, "The protocol noise has no option --test"),
        (["pair", "--prompts", "nowhere.yaml"], 2, "there is no file nowhere.yaml"),
        (["pair", "--count", "3"], 2, "--count is at least 20 images of each class for the protocol pair"),
        (["noise", "--student", "nosuch"], 2, "There is no student 'nosuch': choose embedded"),
    ],
)
def test_what_there_is_not_is_one_plain_sentence(
    data_dir: Path, tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    data = str(data_dir / "eval" / "breast_busi")
    result = CliRunner().invoke(app, ["evaluate", *arguments, "--data", data, "--out", str(tmp_path / "out")])
    assert result.exit_code == status
    assert "Traceback" not in result.output

    assert re.search(said, " ".join(result.output.split()))
    assert not (tmp_path / "out").exists()


def test_a_small_class_is_named_before_anything_runs(organs: LabelledSet, tmp_path: Path) -> None:
    chest, breast = (np.flatnonzero(organs.labels == k) for k in (0, 1))
    with pytest.raises(
        InputError, match=r"The class 'breast' has 7 images, too few: the protocol pair needs at least 20"
    ):
        evaluate("pair", organs.take(np.concatenate([chest[:30], breast[:7]])), tmp_path / "out")
    assert not (tmp_path / "out").exists()
