"""Who finds images of no class: what the methods score, what is refused, and a whole evaluation on pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from autoannotate.cli.main import app
from autoannotate.errors import UsageError
from autoannotate.evaluation.labelled_set import LabelledSet
from autoannotate.evaluation.protocols import ood
from autoannotate.evaluation.report import without_baseline
from autoannotate.evaluation.study import Options
from autoannotate.images import ImageRef
from autoannotate.labelling.features import Features
from autoannotate.labelling.task import Task
from autoannotate.labelling.zero_shot.image_kinds import ImageKinds


def mixed() -> ood.Mixed:
    """Two classes of forty, and three images of another kind, far away."""
    rng = np.random.default_rng(0)
    truth, foreign = np.repeat([0, 1], 40), np.arange(83) >= 80
    points = rng.normal(size=(83, 12))
    points[:80] += 6.0 * np.eye(2, 12)[truth]
    points[80:] += 20.0 * np.eye(12)[5]
    zero_shot = np.full((83, 2), 0.5)
    zero_shot[:80] = 0.1 + 0.8 * np.eye(2)[truth]
    chances = np.tile([0.97, 0.03], (83, 1)) + rng.uniform(-0.01, 0.01, (83, 1)) * [1, -1]
    chances[80:] = [0.01, 0.99]
    kinds = ImageKinds(chances, ("chest X-ray", "dermoscopy"), ("x-ray", "dermoscopy"), frozenset({"x-ray"}))
    return ood.Mixed(Task(Features(points), zero_shot, ["clear", "ill"], image_kinds=kinds), foreign)


@pytest.mark.parametrize("method", ood.methods())
def test_every_method_scores_images_far_from_all_classes_highest(method: str) -> None:
    found = ood.METHODS[method](mixed())
    assert set(np.argsort(-found.score)[:3]) == {80, 81, 82}


def test_only_ours_sets_a_threshold_and_flags_no_image_of_the_set() -> None:
    flagged = {method: ood.METHODS[method](mixed()).flagged for method in ood.methods()}
    assert [name for name, flags in flagged.items() if flags is not None] == ["ours"]
    assert np.flatnonzero(flagged["ours"]).tolist() == [80, 81, 82]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(), "needs --foreign"),
        (Options(foreign="sking"), "the class 'sking', and there is none"),
        (Options(foreign="skin,eye"), "fewer than two classes"),
        (Options(foreign="skin", share=0.9), "0 to 0.5"),
    ],
)
def test_what_makes_no_sense_is_refused(options: Options, message: str) -> None:
    refs = [ImageRef(f"{i}.png", Path(f"{i}.png")) for i in range(60)]
    data = LabelledSet(refs, np.repeat(np.arange(3), 20), ["chest", "skin", "eye"])
    with pytest.raises(UsageError, match=message):
        ood.check(data, options)


@pytest.mark.slow
def test_dermatoscopies_among_chests_and_breasts_are_found(data_dir: Path, tmp_path: Path) -> None:
    sets = {"chest": "chest_nih", "breast": "breast_busi", "skin": "skin_ham10000"}
    words = ["evaluate", "ood", "--foreign", "skin", "--share", "0.1", "--count", "12", "--runs", "1"]
    for name, folder in sets.items():
        words += ["--data", f"{name}={data_dir / 'eval' / folder}"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")])
    assert result.exit_code == 0, result.output
    ours = pd.read_csv(tmp_path / "out" / "runs.csv").set_index("method").loc["ours"]
    assert ours["auroc"] == ours["recall_at_foreign"] == ours["flagged"] == 1.0
    assert ours["false_flags"] == 0.0


def test_a_baseline_that_measures_nothing_here_has_not_failed() -> None:
    summary = {"baseline": "cleanlab", "methods": {"cleanlab": {}, "ours": {}}, "failed": {"cleanlab": 0}, "runs": 3}
    assert "failed" not in without_baseline(summary)
    assert "failed in every run" in without_baseline({**summary, "failed": {"cleanlab": 3}})
