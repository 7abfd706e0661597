"""Certificates where whole groups are drawn: the bound holds whatever the sizes, and a run with groups is drawn by them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import make_run
from typer.testing import CliRunner

from autoannotate import Annotations
from autoannotate.answers.certification.certificate_files import certify_run, read_sample
from autoannotate.answers.certification.cluster_bounds import largest_set_of_groups, missed_at_most, most_groups
from autoannotate.answers.certification.error_bounds import Bounds, largest_set, simultaneous_bounds
from autoannotate.answers.certification.sample import draw_sample
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.main import app
from autoannotate.errors import UsageError


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=3, max_size=14), st.integers(1, 5), st.integers(0, 3)
)
@settings(deadline=None, max_examples=40)
def test_over_every_draw_of_groups_all_bounds_hold_together_with_the_confidence(
    images: list[tuple[int, bool]], drawn: int, most: int
) -> None:
    """Exactly: all draws are gone through, groups of any size, wrong labels anywhere."""
    groups, wrong = np.array([g for g, _ in images]), np.array([w for _, w in images])
    ids = np.unique(groups)
    draws = list(itertools.combinations(ids, min(drawn, len(ids))))
    bounds = simultaneous_bounds(len(ids), min(drawn, len(ids)), 0.8, most)
    broken = 0
    for chosen in draws:
        sampled = np.isin(groups, chosen)
        bound = missed_at_most(wrong & sampled, ~sampled, groups, bounds)
        broken += bool((np.cumsum(wrong & ~sampled) > bound).any())
    assert broken / len(draws) <= 0.2 + 1e-12


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30), st.integers(0, 4))
@settings(deadline=None, max_examples=50)
def test_the_bound_is_the_sum_of_the_largest_groups(images: list[tuple[int, bool]], allowed: int) -> None:
    groups, open_ = np.array([g for g, _ in images]), np.array([w for _, w in images])
    made = missed_at_most(
        np.zeros(len(groups), dtype=bool), open_, groups, Bounds(50, 20, 0.9, np.array([allowed]), 0.0)
    )
    for j in range(len(groups)):
        counts = np.sort(np.bincount(groups[: j + 1][open_[: j + 1]], minlength=6))[::-1]
        assert made[j] == counts[:allowed].sum()


def clustered(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """300 groups of 1 to 12 images, large ones rare; a few are wholly wrong, at random places in the order of confidence."""
    sizes = np.minimum(rng.geometric(0.4, 300), 12)
    groups = np.repeat(np.arange(300), sizes)
    wrong = np.isin(groups, rng.permutation(300)[:7])
    order = rng.permutation(len(groups))
    return groups[order], wrong[order]


def promises_broken(by_groups: bool, runs: int = 400) -> float:
    """How often more than 2% of what is promised is wrong, of labels just too wrong to be promised all, groups drawn whole."""
    rng, broken = np.random.default_rng(0), 0
    groups, wrong = clustered(np.random.default_rng(1))
    sizes = np.bincount(groups)
    most = int(0.02 * len(groups))
    assert wrong.sum() > most
    bounds = simultaneous_bounds(300, 110, 0.95, most_groups(sizes, most))
    naive = simultaneous_bounds(len(groups), int(110 * sizes.mean()), 0.95, most)
    for _ in range(runs):
        known = np.isin(groups, rng.permutation(300)[:110])
        found, nothing = wrong & known, np.zeros(len(groups), dtype=bool)
        if by_groups:
            kept, _ = largest_set_of_groups(found, known, nothing, groups, bounds, 0.02)
        else:
            kept, _ = largest_set(found, known, nothing, naive, 0.02)
        missed = (wrong & ~known)[:kept].sum()
        broken += bool(missed > 0.02 * (known | (np.arange(len(groups)) < kept)).sum() + 1e-9)
    return broken / runs


@pytest.mark.slow
def test_the_promise_holds_in_simulation_with_groups_of_unequal_size() -> None:
    assert promises_broken(by_groups=True) <= 0.05


@pytest.mark.slow
def test_the_same_simulation_finds_out_bounds_that_take_images_for_independent() -> None:
    assert promises_broken(by_groups=False) > 0.05


# The run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """400 right labels of 160 patients, with two or three images each."""
    made = make_run(tmp_path / "images", [f"{i:04}.png" for i in range(400)], draw=False)
    made.table["confidence"] = np.random.default_rng(5).random(400).round(6)
    made.table["suspect"] = 0
    made.table["group"] = [str(i * 2 // 5) for i in range(400)]
    made.save(tmp_path / "run")
    return tmp_path / "run"


def command(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["certify", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_run_with_groups_is_drawn_by_whole_groups(run: Path) -> None:
    code, said, _ = command(run, "--max-error", "0.05")
    assert code == 0
    sample = read_sample(run)
    table = Annotations.load(run).table
    assert sample is not None
    of = dict(zip(table["path"], table["group"].astype(str), strict=True))
    drawn = {of[path] for path in sample.paths}
    assert {path for path in table["path"] if of[path] in drawn} == set(sample.paths)
    assert f"all labels of {len(drawn)} of the 160 groups" in said
    places = [of[path] for path in sample.paths]
    assert len(list(itertools.groupby(places))) == len(drawn)  # a patient's images follow each other
    with AnswerStore(run) as store:
        label = dict(zip(table["path"], table["label"], strict=True))
        store.add([Answer(path, "Ana", "label", label[path]) for path in sample.paths])
    code, said, _ = command(run)
    facts = json.loads((run / "certificate.json").read_text())
    assert code == 0
    assert facts["labels"]["certified"] == 400
    assert facts["sample"]["groups"] == len(drawn)
    assert "cluster sample" in facts["theorem"]
    assert 0 < facts["labels"]["wrong_at_most"] <= 0.05 * 400
    text = " ".join((run / "certificate.txt").read_text().split())
    assert f"all of {len(drawn)} groups drawn at random without replacement from 160" in text


def test_single_images_may_be_drawn_and_the_unit_stays_once_answered(run: Path) -> None:
    first = certify_run(run, max_error=0.05).sample
    assert first.groups
    single = certify_run(run, whole_groups=False).sample
    assert not single.groups
    assert len(single.paths) < len(first.paths)
    with AnswerStore(run) as store:
        store.add([Answer(single.paths[0], "Ana", "unsure")])
    with pytest.raises(UsageError, match="leave --sample out"):
        certify_run(run, whole_groups=True)


def test_a_budget_is_of_groups_and_grows_by_groups(run: Path) -> None:
    made = Annotations.load(run)
    small = draw_sample(made, max_error=0.05, budgets=(20, 40))
    assert small.drawn == 20
    assert small.budgets == (20, 40)
    assert 40 <= len(small.paths) <= 60


def test_a_group_larger_than_what_may_be_wrong_says_what_to_do(run: Path) -> None:
    made = Annotations.load(run)
    made.table["group"] = ["0"] * 30 + [str(i) for i in range(370)]
    with pytest.raises(UsageError, match="--sample images"):
        draw_sample(made, max_error=0.02)
    del made.table["group"]
    with pytest.raises(UsageError, match="no groups"):
        draw_sample(made, whole_groups=True)
    code, _, told = command(run, "--sample", "patients")
    assert code == 2
    assert "groups or images" in told
