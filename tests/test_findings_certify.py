"""Certificates of runs with findings: one a finding, from one random order of the images; and what is exported of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from made_findings import NAMES, PATHS, make_findings_run
from test_findings import run as call

from autoannotate import Annotations
from autoannotate.answers.certification.certificate_files import read_sample
from autoannotate.answers.certification.of_findings import certify_findings, of_finding, sampled
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import UsageError
from autoannotate.exports._selection import select
from autoannotate.review.run_pages import certificate
from autoannotate.review.session import Desk


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_findings_run(tmp_path / "images").save(tmp_path / "run")
    return tmp_path / "run"


def answer(run: Path, says: dict[str, str]) -> None:
    with AnswerStore(run) as store:
        store.add(
            [Answer(path, "Ana", *(("none", None) if not label else ("label", label))) for path, label in says.items()]
        )


def test_one_finding_of_a_run_is_a_run_of_two_classes(run: Path) -> None:
    view = of_finding(Annotations.load(run), "old fracture")
    assert view.record.classes == ("no old fracture", "old fracture")
    assert dict(zip(view.table["path"], view.table["label"], strict=True)) == {
        PATHS[0]: "no old fracture", PATHS[1]: "no old fracture", PATHS[3]: "no old fracture",
    }  # fmt: skip  # the third is undecided
    assert view.table["confidence"].tolist() == pytest.approx([0.9] * 3)


def test_one_sample_serves_all_findings_and_each_has_its_promise(run: Path) -> None:
    drawn = certify_findings(run, max_error=0.34, budgets=[4])
    assert set(drawn.paths) == set(PATHS) == set(drawn.left)
    assert pd.read_csv(run / "certify" / "sample.csv")["path"].tolist() == list(drawn.paths)
    assert set(sampled(run, NAMES)) == set(PATHS)
    with AnswerStore(run) as store:
        desk = Desk(run, store, list(Annotations.load(run).refs.values()))
        assert desk.sample() == list(drawn.paths)
    answer(run, {PATHS[0]: "effusion", PATHS[1]: "", PATHS[2]: "effusion"})  # the first's mass is wrong
    assert certify_findings(run).left == (PATHS[3],)
    answer(run, {PATHS[3]: "mass=1|effusion=0"})  # nothing is said of its fracture
    found = certify_findings(run)
    assert found.left == (PATHS[3],)
    assert found.of_each["old fracture"].certificate is None
    mass, effusion = (found.of_each[name].certificate for name in ("mass", "effusion"))
    assert mass is not None
    assert effusion is not None
    assert (mass.found, effusion.found) == (1, 0)
    promised = pd.read_csv(run / "certified.csv")
    assert set(promised["finding"]) == {"effusion", "mass"}
    assert set(json.loads((run / "certificate.json").read_text())["findings"]) == {"effusion", "mass"}
    text = (run / "certificate.txt").read_text()
    assert "by itself, not all of them together" in text
    shown = certificate(run)
    assert shown is not None
    assert [line.partition(":")[0] for line in shown["statement"].split("\n")] == ["effusion", "mass"]
    assert text.startswith(shown["statement"])


def test_samples_of_two_findings_share_their_first_images(run: Path) -> None:
    first = certify_findings(run, ["effusion"], budgets=[2]).of_each["effusion"].sample
    second = certify_findings(run, ["mass"], budgets=[3]).of_each["mass"].sample
    assert first.order == second.order
    assert second.paths[:2] == first.paths
    with pytest.raises(UsageError, match="no finding 'cyst'"):
        certify_findings(run, ["cyst"])


def test_what_is_certified_is_exported_and_the_rest_is_undecided(run: Path) -> None:
    certify_findings(run, ["effusion"], max_error=0.3, budgets=[4])
    answer(run, {PATHS[0]: "effusion|mass", PATHS[1]: "", PATHS[2]: "effusion", PATHS[3]: "mass"})
    certify_findings(run)
    kept, left_out = select(Annotations.load(run), "certified")
    assert kept.findings is not None
    by = kept.findings.set_index(["path", "finding"])["value"]
    assert [by[path, "effusion"] for path in PATHS] == [1, 0, 1, 0]
    assert (by.xs("mass", level="finding") == -1).all()
    assert kept.table["label"].tolist() == ["effusion", "", "effusion", ""]
    assert "8 values of a finding not certified" in left_out[0]


def test_the_command_says_what_to_do(run: Path, tmp_path: Path) -> None:
    said = call("certify", str(run), "--max-error", "0.3", "--budget", "4", "--findings", "effusion,mass")
    assert "4 images to answer, for all findings together" in said
    assert "effusion: 4 of 4 sampled images have no answer yet" in said
    answer(run, {PATHS[0]: "effusion|mass", PATHS[1]: "", PATHS[2]: "effusion", PATHS[3]: "mass"})
    said = " ".join(call("certify", str(run)).split())
    assert "mass: The 4 labels in certified.csv were all given by clinicians" in said
    assert read_sample(run) is None
