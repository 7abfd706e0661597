"""A run of findings as a labeller: a saved folder, new images, and rules that hold in what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_findings import draw, run

from autoannotate.annotator.findings_labeller import FindingsLabeller
from autoannotate.annotator.predict import labeller_of, load_labeller
from autoannotate.errors import InputError


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    truth = draw(folder / "scans", 40)
    lines = [f"{path},{b},{s * (1 - b)},0" for path, (b, s) in truth.items()]
    (folder / "l.csv").write_text("\n".join(["path,bright,striped,cyst", *lines]) + "\n")
    (folder / "rules.txt").write_text("bright excludes striped\n")
    run("audit", str(folder / "scans"), "--labels", str(folder / "l.csv"), "--rules", str(folder / "rules.txt"), "--findings",
        "bright,striped,cyst", "--out", str(folder / "run"))  # fmt: skip
    return folder


@pytest.mark.slow
def test_new_images_get_findings_and_rules_hold(audited: Path, tmp_path: Path) -> None:
    truth = draw(tmp_path / "new", 60)
    said = run("predict", str(audited / "run"), str(tmp_path / "new"), "--out", str(tmp_path / "out"))
    assert "cyst was not learned: the same in every image" in said
    findings = pd.read_csv(tmp_path / "out" / "findings.csv")
    values = findings.pivot(index="path", columns="finding", values="value")
    assert list(values.columns) == ["bright", "striped"]
    assert np.mean([values.loc[path, "bright"] == b for path, (b, _) in truth.items()]) > 0.9
    assert not ((values["bright"] == 1) & (values["striped"] == 1)).any()
    wide = findings.pivot(index="path", columns="finding", values="probability")
    assert (wide["bright"] + wide["striped"] <= 1 + 1e-5).all()
    labels = pd.read_csv(tmp_path / "out" / "labels.csv", keep_default_na=False)
    shown = {path: "|".join(name for name in ("bright", "striped") if values.loc[path, name]) for path in values.index}
    assert dict(zip(labels["path"], labels["label"], strict=True)) == shown


@pytest.mark.slow
def test_a_labeller_of_findings_is_kept_and_loads_as_it_was(audited: Path) -> None:
    made = labeller_of(audited / "run")
    kept = load_labeller(audited / "run" / "labeller")
    assert isinstance(kept, FindingsLabeller)
    points = np.random.default_rng(0).normal(size=(3, made.of_each["bright"].model.n_features_in_))
    embeddings = np.ones((3, made.of_each["bright"].texts.shape[1]))
    paths = ["a", "b", "c"]
    for one, other in zip(
        made.predict(paths, points, embeddings, 100.0), kept.predict(paths, points, embeddings, 100.0), strict=True
    ):
        pd.testing.assert_frame_equal(one, other)
    card = (audited / "run" / "labeller" / "CARD.md").read_text()
    assert "| bright | 20 | 20 |" in card
    assert "Not learned: cyst" in card
    (audited / "run" / "labeller" / "finding-01" / "labeller.json").write_text("{}")
    with pytest.raises(InputError, match="is broken"):
        load_labeller(audited / "run" / "labeller")
