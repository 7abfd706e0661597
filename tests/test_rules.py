"""Rules between findings: in words, in probabilities, in answers; and soft ones, learned only where they help."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_findings import PATHS, make_findings_run
from review_browser import open_browser, said, served, shown, tab

from autoannotate import Annotations
from autoannotate.answers.apply import NothingAppliedError
from autoannotate.errors import InputError
from autoannotate.labelling.features import Features
from autoannotate.labelling.findings import label_findings
from autoannotate.labelling.rules import Rules
from autoannotate.labelling.soft_rules import learn, use
from autoannotate.labelling.task import Task
from autoannotate.runs.rules_file import read_rules

NAMES = ("normal", "abnormal", "pneumonia", "left", "right")
WRITTEN = ["pneumonia implies abnormal", "normal excludes abnormal", "exactly one of: left, right"]


def possible(names: tuple[str, ...], rules: Rules) -> list[tuple[int, ...]]:
    return [x for x in product((0, 1), repeat=len(names)) if not rules.broken(dict(zip(names, x, strict=True)))]


@pytest.mark.parametrize(
    ("rule", "broken", "kept"),
    [
        ("a implies b", {"a": 1, "b": 0}, {"a": 1, "b": 1}),
        ("a or b implies c", {"b": 1, "c": 0}, {"a": 0, "b": 0, "c": 0}),
        ("a and b implies c", {"a": 1, "b": 1, "c": 0}, {"a": 1, "b": 0, "c": 0}),
        ("A < B", {"a": 1, "b": 0}, {"a": 0, "b": 1}),
        ("a excludes b, c", {"a": 1, "c": 1}, {"a": 1, "b": 0, "c": 0}),
        ("a excludes all", {"a": 1, "d": 1}, {"a": 0, "c": 1, "d": 1}),
        ("exactly one of: a, b", {"a": 0, "b": 0}, {"a": 0, "b": 1}),
        ("Exactly one of a, b and c", {"a": 1, "c": 1}, {"a": 0, "b": 1, "c": 0}),
        ("at most one of: a, b", {"a": 1, "b": 1}, {"a": 0, "b": 0}),
        ("at least one of: a, b", {"a": 0, "b": 0}, {"a": 1, "b": 1}),
    ],
)
def test_rules_are_read_as_clinicians_write_them(rule: str, broken: dict[str, int], kept: dict[str, int]) -> None:
    rules = Rules.read([rule, "", "# a note"], ["a", "b", "c", "d"])
    assert rules.broken(broken) == [rule]
    assert rules.broken(kept) == []
    assert rules.broken({"a": -1, "b": -1}) == []  # nothing is known


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a implies z"], "names 'z', which is none of the findings a, b"),
        (["a is bad"], "is no rule that is understood"),
        (
            ["exactly one of: a, b", "a excludes b", "a implies b", "b implies a"],
            "Nothing can satisfy all of these rules: exactly",
        ),
        (["a implies b", "a excludes b"], "no image can show a"),
    ],
)
def test_rules_that_make_no_sense_are_a_sentence(texts: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Rules.read(texts, ["a", "b"])


def test_a_name_may_hold_the_words_of_rules() -> None:
    rules = Rules.read(["lines and tubes implies devices"], ["lines and tubes", "devices"])
    assert rules.broken({"lines and tubes": 1, "devices": 0})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.floats(0.01, 0.99), min_size=5, max_size=5), min_size=1, max_size=6))
def test_probabilities_are_the_nearest_that_keep_the_rules_and_values_the_likeliest_set(
    rows: list[list[float]],
) -> None:
    rules = Rules.read(WRITTEN, NAMES)
    p = np.array(rows)
    states = np.array(possible(NAMES, rules))
    made, values = rules.project(p)
    assert not rules.breaks(values).any()
    fit = np.log(np.where(states[None] == 1, p[:, None], 1 - p[:, None])).sum(axis=2)
    chosen = (states[None] == values[:, None]).all(axis=2)
    np.testing.assert_allclose(fit[chosen], fit.max(axis=1))  # the most probable possible set
    assert (made[:, 2] <= made[:, 1] + 1e-6).all()  # pneumonia is abnormal
    np.testing.assert_allclose(made[:, 3] + made[:, 4], 1.0, atol=1e-6)
    mixtures = np.random.default_rng(0).dirichlet(np.full(len(states), 0.3), 200) @ states  # these keep the rules
    apart = np.linalg.norm(p[:, None] - mixtures[None], axis=2).min(axis=1)
    assert (np.linalg.norm(p - made, axis=1) <= apart + 1e-6).all()
    again, _ = rules.project(made)
    np.testing.assert_allclose(again, made, atol=1e-6)  # what keeps the rules stays


def test_fourteen_findings_tied_together_are_counted() -> None:
    names = [f"f{i}" for i in range(14)]
    rules = Rules.read(["f0 excludes all"], names)
    assert len(rules.possible[0][1]) == 2**13 + 1
    _, values = rules.project(np.full((50, 14), 0.9))
    assert not rules.breaks(values).any()


def test_what_a_clinician_said_stands() -> None:
    rules = Rules.read(["a implies b"], ["a", "b"])
    made, values = rules.project(np.array([[1.0, 0.1], [0.9, 0.0]]), np.array([[True, False], [False, True]]))
    assert values.tolist() == [[1, 1], [0, 0]]
    assert made[0, 0] > 0.999
    assert made[1, 1] < 1e-6


def together(rng: np.random.Generator, tied: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values of two findings, and predictions from images that know the first well and the second hardly."""
    first = rng.integers(0, 2, 400)
    second = (rng.random(400) < np.where(first == 1, 0.8 if tied else 0.4, 0.1 if tied else 0.4)).astype(int)
    return np.stack([first, second], axis=1), np.stack([np.where(first == 1, 0.9, 0.1), np.full(400, 0.45)], axis=1)


def test_a_soft_rule_is_used_only_where_it_helps() -> None:
    rules = Rules.read(["edema suggests effusion"], ["edema", "effusion"])
    values, predicted = together(np.random.default_rng(0), tied=True)
    learned = learn(rules, values, predicted)
    assert learned[0].used
    assert learned[0].lift == pytest.approx(1.8, abs=0.2)
    made = use(rules, learned, predicted, np.zeros((400, 2), dtype=bool))
    assert made[values[:, 0] == 1, 1].mean() > predicted[:, 1].mean() + 0.15
    values, predicted = together(np.random.default_rng(0), tied=False)
    assert not learn(rules, values, predicted)[0].used
    assert "too few" in learn(rules, values[:20], predicted[:20])[0].words


def test_labels_keep_the_rules_and_given_ones_are_left() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, (80, 2))
    truth[:, 1] |= truth[:, 0]
    features = Features(np.concatenate([3.0 * truth, rng.normal(size=(80, 4))], axis=1) + rng.normal(size=(80, 6)))
    rules = Rules.read(["a implies b"], ["a", "b"])
    half = np.full((80, 2), 0.5)
    given = truth.copy()
    given[:4] = [1, 0]
    tasks = [Task(features, half, [f"no {n}", n], trust=0.0, given=given[:, f], keep=True) for f, n in enumerate("ab")]
    made = label_findings(tasks, rules=rules)
    assert (made.values == given).all()
    assert (made.probability[:, 0] <= made.probability[:, 1] + 1e-9).all()
    assert made.likeliest is not None
    assert not rules.breaks(made.likeliest).any()
    free = label_findings([Task(features, half, [f"no {n}", n], trust=0.0, given=given[:, f]) for f, n in enumerate("ab")],
                          rules=rules)  # fmt: skip
    assert not rules.breaks(free.values).any()


def test_rules_come_from_files_and_prompts(tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text("cardiomegaly < abnormal  # always\n\n")
    (tmp_path / "rules.yaml").write_text(
        "rules:\n- cardiomegaly implies abnormal\n- exactly one of: cardiomegaly, effusion\n"
    )
    names = ["Cardiomegaly", "Effusion", "abnormal"]
    assert [rule.text for rule in read_rules(tmp_path / "rules.txt", names).rules] == ["cardiomegaly < abnormal"]
    assert len(read_rules(tmp_path / "rules.yaml", names).rules) == 2
    (tmp_path / "prompts.yaml").write_text("rules:\n- effusion excludes abnormal\n- mass implies abnormal\n")
    assert [rule.text for rule in read_rules(None, names, tmp_path / "prompts.yaml").rules] == [
        "effusion excludes abnormal"
    ]
    with pytest.raises(InputError, match="--rules takes a file with a rule a line"):
        read_rules(tmp_path / "none.txt", names)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_findings_run(tmp_path / "images", rules=["mass implies old fracture"]).save(tmp_path / "run")
    return tmp_path / "run"


def test_an_answer_that_breaks_a_rule_is_a_problem(run: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_text(f"path,answer\n{PATHS[0]},mass\n")
    with pytest.raises(NothingAppliedError) as error:
        Annotations.load(run).apply(tmp_path / "answers.csv")
    assert error.value.report["problem"].tolist() == ["it breaks the rule: mass implies old fracture"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from open_browser()


@pytest.mark.slow
def test_the_page_says_at_once_that_findings_break_a_rule(run: Path, browser: Any) -> None:
    with served(run) as server, tab(browser) as page:
        page.goto(server.url)
        shown(page, 1, of=1)
        page.keyboard.press("2")
        page.wait_for_selector("#broken:not([hidden])")
        assert page.inner_text("#broken") == "This breaks the rule: mass implies old fracture."
        page.keyboard.press("Enter")
        page.wait_for_selector("#trouble:has-text('Nothing was kept')")
        assert said(run) == {}
        page.keyboard.press("3")
        page.wait_for_selector("#broken[hidden]", state="attached")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_no_image_is_further_from_a_truth_that_keeps_the_rules(values: list[float]) -> None:
    rules = Rules.read(WRITTEN, NAMES)
    before = np.array([values])
    after = rules.project(before)[0]
    for truth in possible(NAMES, rules):
        assert ((after - truth) ** 2).sum() <= ((before - truth) ** 2).sum() + 1e-6


def test_a_ranking_can_fall_though_every_image_is_nearer_to_its_truth() -> None:
    rules = Rules.read(["a excludes b"], ["a", "b"])
    before = np.array([[0.6, 0.8], [0.55, 0.1]])  # a is there in the first, and not in the second
    after = rules.project(before)[0]
    assert before[0, 0] > before[1, 0]
    assert after[0, 0] < after[1, 0]
