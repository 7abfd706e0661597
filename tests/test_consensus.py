"""What several readers say together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoannotate.answers.consensus import cohen_kappa, consensus, fleiss_kappa

CLASSES = ["chest", "breast", "skin"]


@dataclass(frozen=True)
class Said:
    """An answer as `autoannotate.answers.store` keeps it, as far as a consensus reads it."""

    path: str
    reader: str
    verdict: str = "label"
    label: str | None = None
    answered_at: str = "2026-01-01T09:00:00+00:00"
    undone_at: str | None = None
    id: int | None = None


def readers_of(accuracy: dict[str, float], images: int = 90, seed: int = 0) -> tuple[list[Said], dict[str, str]]:
    """Answers of readers who are right this often, and the truth."""
    rng = np.random.default_rng(seed)
    truth = {f"{i:03}.png": CLASSES[i % 3] for i in range(images)}
    said = []
    for path, label in truth.items():
        for reader, right in accuracy.items():
            wrong = [name for name in CLASSES if name != label]
            said.append(Said(path, reader, label=label if rng.random() < right else wrong[rng.integers(2)]))
    return said, truth


def test_one_reader_is_believed() -> None:
    found = consensus([Said("a.png", "ann", label="chest"), Said("b.png", "ann", "none")], CLASSES)
    assert (found.images["a.png"].verdict, found.images["a.png"].label) == ("label", "chest")
    assert (found.images["b.png"].verdict, found.images["b.png"].label) == ("none", None)
    assert found.images["a.png"].quality is None
    assert found.readers == {"ann": None}
    assert found.fleiss is None
    assert found.disagreements == ()


def test_a_bad_reader_is_found_and_outvoted() -> None:
    said, truth = readers_of({"ann": 0.97, "bob": 0.93, "cat": 0.5})
    found = consensus(said, CLASSES)
    assert found.readers["ann"] > found.readers["bob"] > found.readers["cat"]  # type: ignore[operator]
    assert np.mean([found.images[path].label == label for path, label in truth.items()]) >= 0.95
    assert found.cohen["ann", "bob"] > found.cohen["ann", "cat"]  # type: ignore[operator]


def test_the_consensus_is_always_something_that_a_reader_said() -> None:
    said = [Said("a.png", "ann", label="chest"), Said("a.png", "bob", label="breast")]
    said += [Said(f"{i}.png", reader, label="chest") for i in range(9) for reader in ("ann", "bob")]
    sure = {path: np.array([0.001, 0.001, 0.998]) for path in ("a.png", *(f"{i}.png" for i in range(9)))}
    assert consensus(said, CLASSES, sure).images["a.png"].label in ("chest", "breast")


def test_the_machine_settles_a_tie_between_equal_readers() -> None:
    said = [Said("a.png", "ann", label="chest"), Said("a.png", "bob", label="breast")]
    said += [Said(f"{i}.png", reader, label=CLASSES[i % 2]) for i in range(20) for reader in ("ann", "bob")]
    for winner in (0, 1):
        machine = {f"{i}.png": np.eye(3)[i % 2] for i in range(20)} | {"a.png": np.eye(3)[winner]}
        found = consensus(said, CLASSES, machine)
        assert found.images["a.png"].label == CLASSES[winner]
        assert found.disagreements == ("a.png",)  # and a third reader is asked all the same


def test_disagreements_wait_for_a_third_reader() -> None:
    tied = [Said("a.png", "ann", label="chest"), Said("a.png", "bob", label="breast"), Said("b.png", "ann", "unsure")]
    assert consensus(tied, CLASSES).disagreements == ("a.png", "b.png")
    solved = [*tied, Said("a.png", "cat", label="chest"), Said("b.png", "cat", label="skin")]
    found = consensus(solved, CLASSES)
    assert found.disagreements == ()
    assert found.images["b.png"].label == "skin"
    assert found.images["b.png"].readers == ("ann", "cat")


def test_none_of_these_and_not_usable_are_answers_like_others() -> None:
    said = [Said("a.png", reader, "discard") for reader in ("ann", "bob")]
    found = consensus([*said, Said("a.png", "cat", label="chest")], CLASSES)
    assert found.images["a.png"].verdict == "discard"
    assert not found.images["a.png"].agreed


def test_only_the_last_answer_of_a_reader_that_was_not_undone_counts() -> None:
    said = [
        Said("a.png", "ann", label="chest", answered_at="2026-01-01T09:00:00+00:00", id=1),
        Said("a.png", "ann", label="breast", answered_at="2026-01-01T09:01:00+00:00", id=2),
        Said("a.png", "ann", label="skin", answered_at="2026-01-01T09:02:00+00:00", id=3, undone_at="2026-01-01"),
    ]
    assert consensus(said, CLASSES).images["a.png"].label == "breast"
    assert consensus(said[::-1], CLASSES).images["a.png"].label == "breast"


def test_the_same_answers_give_the_same_consensus_in_any_order() -> None:
    said, _ = readers_of({"ann": 0.7, "bob": 0.7}, images=30)
    first = consensus(said, CLASSES)
    np.random.default_rng(1).shuffle(said)  # type: ignore[arg-type]
    again = consensus(said, CLASSES)
    assert again.disagreements == first.disagreements
    assert {p: s.label for p, s in again.images.items()} == {p: s.label for p, s in first.images.items()}


def test_kappa_is_one_for_agreement_and_none_without_shared_images() -> None:
    assert cohen_kappa([0, 1, 2], [0, 1, 2]) == 1.0
    assert cohen_kappa([0, 0], [0, 0]) == 1.0
    assert cohen_kappa([], []) is None
    assert fleiss_kappa([[0], [1]]) is None
    said = [Said("a.png", "ann", label="chest"), Said("b.png", "bob", label="chest")]
    assert consensus(said, CLASSES).cohen == {("ann", "bob"): None}


def test_fleiss_kappa_is_that_of_the_paper() -> None:
    """The worked example of ten subjects, fourteen raters and five categories: κ = 0.210."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    votes = [[code for code, n in enumerate(row) for _ in range(n)] for row in table]
    assert fleiss_kappa(votes) == pytest.approx(0.210, abs=5e-4)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_kappa_is_sklearns(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    first, second = map(list, zip(*pairs, strict=True))
    ours = cohen_kappa(first, second)
    assert ours is not None
    if len(set(first + second)) > 1:
        assert ours == pytest.approx(cohen_kappa_score(first, second))
    assert -1.0 <= ours <= 1.0


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from(["ann", "bob", "cat"])),
        st.sampled_from([*CLASSES, "none", "discard", "unsure"]),
        max_size=12,
    )
)
def test_any_answers_have_a_consensus(said: dict[tuple[str, str], str]) -> None:
    answers = [
        Said(path, reader, "label" if what in CLASSES else what, what if what in CLASSES else None)
        for (path, reader), what in said.items()
    ]
    found = consensus(answers, CLASSES)
    for path, settled in found.images.items():
        whats = {what for (where, _), what in said.items() if where == path}
        assert (settled.label or settled.verdict) in whats
        assert settled.quality is None or 0.0 <= settled.quality <= 1.0
