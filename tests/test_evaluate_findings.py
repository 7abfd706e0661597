"""The protocol findings: several findings an image, after answers or among values that were left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from test_findings import draw, run

from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation.findings_sets import read_findings_set
from autoannotate.evaluation.protocols.findings import (
    METHODS,
    Asked,
    answered,
    check,
    measured,
    omitted,
    precision,
    recall,
)
from autoannotate.evaluation.study import Options
from autoannotate.labelling.features import Features
from autoannotate.labelling.task import Task


@pytest.fixture
def data(tmp_path: Path) -> Path:
    truth = draw(tmp_path / "data" / "images", 60)
    lines = [f"images/{path},P{n // 2},{b},{s},{int(n == 0)}" for n, (path, (b, s)) in enumerate(truth.items())]
    (tmp_path / "data" / "labels.csv").write_text("\n".join(["path,patient,bright,striped,rare", *lines]) + "\n")
    return tmp_path / "data"


def test_a_set_of_findings_is_read_with_its_patients(data: Path) -> None:
    found = read_findings_set([str(data)])
    assert found.class_names == ["bright", "striped", "rare"]
    assert found.values is not None
    assert found.counts() == {"bright": 30, "striped": 30, "rare": 1}
    assert measured(found.values) == [0, 1]
    assert found.groups is not None
    assert len(np.unique(found.groups)) == 30
    assert found.digest() != read_findings_set([str(data)], ["bright"]).digest()
    with pytest.raises(InputError, match="nothing can be measured"):
        check(read_findings_set([str(data)], ["rare"]), Options())
    for wrong in (Options(omitted=1.5), Options(answers=10, omitted=0.2)):
        with pytest.raises(UsageError):
            check(found, wrong)


def test_measures_are_those_of_the_field() -> None:
    rng = np.random.default_rng(0)
    score, truth = rng.integers(0, 7, 60) / 7, rng.integers(0, 2, 60)
    assert precision(score, truth) == pytest.approx(average_precision_score(truth, score))
    assert recall(np.array([0.9, 0.8, 0.1, 0.2]), np.array([1, 0, 0, 1])) == 0.5


def test_answers_and_omissions_leave_enough_to_judge_by() -> None:
    truth = np.repeat([1, 0], [14, 80])
    said = answered(truth, 40, np.random.default_rng(0))
    assert ((said == 1).sum(), (said == 0).sum()) == (4, 20)
    given = omitted(truth, 0.5, np.random.default_rng(0))
    assert ((given == 0) & (truth == 1)).sum() == 7
    assert (given <= truth).all()


@pytest.mark.parametrize("known", ["given", "answers"])
def test_every_method_says_something_of_every_finding(known: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (80, 2))
    features = Features(np.concatenate([4.0 * truth, rng.normal(size=(80, 6))], axis=1) + rng.normal(size=(80, 8)))
    make = {"given": lambda f: omitted(truth[:, f], 0.2, rng), "answers": lambda f: answered(truth[:, f], 20, rng)}[
        known
    ]
    tasks = [
        Task(
            features, np.full((80, 2), 0.5), [f"no {n}", n], trust=0.0, meaningful=False, groups=np.arange(80),
            **{known: make(f)},
        )
        for f, n in enumerate("ab")
    ]  # fmt: skip
    asked = Asked(tasks, truth, np.arange(80), truth >= 0, 0)
    for name, method in METHODS.items():
        told = method(asked)
        assert told.probability.shape == told.values.shape == truth.shape
        assert set(np.unique(told.values)) <= {0, 1}
        if name in ("probe", "cleanlab", "knn", "ours"):
            assert (told.values == truth).mean() > 0.65
        assert (told.doubt is not None) == (known == "given" and name in ("cleanlab", "knn", "ours"))


@pytest.mark.slow
def test_the_command_measures_with_intervals(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = run("evaluate", "findings", "--data", str(data), "--omitted", "0.2", "--runs", "1", "--out", str(out))
    assert "AUROC %" in said
    table = pd.read_csv(out / "runs.csv").set_index("method")
    assert {"auroc of bright", "auroc of striped"} <= set(table.columns)
    ours = table.loc["ours"]
    for metric in ("auroc", "average_precision", "f1", "recall_of_wrong"):
        assert ours[f"{metric}_low"] <= ours[metric] + 1e-9
        assert ours[metric] <= ours[f"{metric}_high"] + 1e-9
