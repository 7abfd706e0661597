"""What of a run is exported: sure, answered or certified labels, in parts for training; and what was left out is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_runs import make_run
from typer.testing import CliRunner

from autoannotate import Annotations
from autoannotate.cli.main import app
from autoannotate.errors import InputError, UsageError
from autoannotate.exports._selection import select, with_probabilities, with_split

PATHS = tuple(f"p{i // 4}/{i}.png" for i in range(40))


@pytest.fixture
def run(tmp_path: Path) -> Annotations:
    run = make_run(tmp_path / "scans", PATHS)
    run.table.loc[:9, "source"] = "clinician"
    run.table.loc[5:19, "confidence"] = 0.5
    run.save(tmp_path / "run")
    return Annotations.load(tmp_path / "run")


def test_answered_sure_and_certified_labels(run: Annotations, tmp_path: Path) -> None:
    answered, left_out = select(run, "answered")
    assert (list(answered.table["path"]), left_out) == (list(PATHS[:10]), ["30 labels not answered by a clinician"])
    sure, left_out = select(run, "all", 0.9)
    assert (len(sure.table), left_out) == (25, ["15 labels of a confidence below 90%"])
    with pytest.raises(InputError, match="autoannotate certify makes them"):
        select(run, "certified")
    run.table[:3].to_csv(tmp_path / "run" / "certified.csv", index=False)
    assert list(select(run, "certified")[0].table["path"]) == list(PATHS[:3])
    with pytest.raises(InputError, match="Nothing is left"):
        select(run, "all", 1.0)
    with pytest.raises(UsageError, match="share from 0 to 1"):
        select(run, "all", 90)


def test_a_split_keeps_groups_together_and_its_shares(run: Annotations) -> None:
    grouped = replace(run, table=run.table.assign(group=[path.partition("/")[0] for path in PATHS]))
    table = with_split(grouped, [70, 15, 15]).table
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert table["split"].value_counts().to_dict() == {"train": 28, "val": 8, "test": 4} or set(table["split"]) == {
        "train", "val", "test",
    }  # fmt: skip
    alone = with_split(run, [80, 20]).table
    counts = pd.crosstab(alone["label"], alone["split"])
    assert counts.to_numpy().tolist() == [[4, 16], [4, 16]]
    with pytest.raises(UsageError, match="two or three shares"):
        with_split(run, [1.0])


def test_probabilities_are_columns(run: Annotations) -> None:
    with pytest.raises(InputError, match="no probabilities"):
        with_probabilities(replace(run, probabilities=None))
    known = pd.DataFrame({"path": PATHS, "chest": 0.25, "breast": 0.75})
    table = with_probabilities(replace(run, probabilities=known)).table
    breast = table["label"] == "breast"  # the probability of a label is its confidence
    assert table.loc[breast, "probability of breast"].tolist() == table.loc[breast, "confidence"].tolist()


def test_the_command_says_what_it_left_out(run: Annotations, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["export", str(tmp_path / "run"), "--format", "imagefolder", "--what", "all", "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--min-confidence", "0.9", "--split", "70,15,15"])
    assert done.exit_code == 0, done.output
    assert "Left out: 15 labels of a confidence below 90%." in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["test", "train", "val"]
    assert len(list(out.rglob("*.png"))) == 25
    assert CliRunner().invoke(app, [*arguments, "--split", "x"]).exit_code == 2
