"""Images of none of the classes: found whatever their share, said what they look like, and no image of the set among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autoannotate import Annotator
from autoannotate.labelling.neighbours import nearest
from autoannotate.labelling.zero_shot.image_kinds import ImageKinds, none_of_these

NAMES = ("chest X-ray", "hand X-ray", "breast ultrasound", "lung ultrasound", "dermoscopy")
MODALITIES = ("x-ray", "x-ray", "ultrasound", "ultrasound", "dermoscopy")


def looking_like(*columns: int, asked: tuple[str, ...] = (), anything: bool = False, sure: float = 0.96) -> ImageKinds:
    """Images that look like these kinds, by column."""
    chances = np.full((len(columns), len(NAMES)), (1.0 - sure) / (len(NAMES) - 1))
    chances[np.arange(len(columns)), columns] = sure
    chances *= np.random.default_rng(0).uniform(0.9, 1.1, chances.shape)
    chances /= chances.sum(axis=1, keepdims=True)
    return ImageKinds(chances, NAMES, MODALITIES, frozenset(asked), anything)


@given(own=st.integers(20, 60), share=st.floats(0.0, 0.3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_another_modality_is_found_whatever_its_share(own: int, share: float, seed: int) -> None:
    foreign = round(own * share / (1.0 - share))
    order = np.random.default_rng(seed).permutation(own + foreign)
    found = none_of_these(looking_like(*([0] * own + [4] * foreign), asked=("x-ray",), sure=0.97).take(order))
    assert np.array_equal(np.flatnonzero(found.flagged), np.flatnonzero(order >= own))
    assert {found.looks_like[i] for i in np.flatnonzero(found.flagged)} <= {"dermoscopy"}


def test_another_body_part_of_a_modality_of_the_set_is_not_of_another_kind() -> None:
    found = none_of_these(looking_like(*[0] * 30, 1, 1, asked=("x-ray",)))
    assert not found.flagged.any()


def test_what_a_class_names_is_of_the_set_however_rare() -> None:
    rare = looking_like(*[0] * 40, 2, asked=("x-ray", "ultrasound"))
    assert not none_of_these(rare).flagged.any()
    assert none_of_these(looking_like(*[0] * 40, 2, asked=("x-ray",))).flagged.sum() == 1


def test_what_a_third_of_the_images_look_like_is_of_the_set_whatever_the_classes_are_called() -> None:
    assert not none_of_these(looking_like(*[0] * 20, *[2] * 12)).flagged.any()


def test_labels_that_exist_say_what_a_class_is_made_of() -> None:
    kinds = looking_like(*[0] * 40, *[2] * 5)
    given = np.repeat([0, 1], [40, 5])
    assert none_of_these(kinds).flagged.sum() == 5
    assert not none_of_these(kinds, given).flagged.any()


def test_a_class_for_all_the_rest_takes_them() -> None:
    assert not none_of_these(looking_like(*[0] * 40, 4, asked=("x-ray",), anything=True)).flagged.any()


def test_the_modality_is_said_where_no_kind_of_it_stands_out() -> None:
    kinds = looking_like(*[0] * 40, 2, asked=("x-ray",))
    kinds.probabilities[-1] = [0.01, 0.01, 0.49, 0.48, 0.01]
    assert none_of_these(kinds).looks_like[-1] == "breast ultrasound"
    kinds.probabilities[-1] = [0.01, 0.01, 0.485, 0.485, 0.01]
    assert none_of_these(kinds).looks_like[-1] == "ultrasound"


def test_no_image_and_one_image_are_of_no_other_kind() -> None:
    assert none_of_these(looking_like()).flagged.shape == (0,)
    assert not none_of_these(looking_like(0)).flagged.any()


@pytest.mark.slow
def test_skin_among_chests_and_breasts_is_a_suspect_that_says_skin(tmp_path: Path, data_dir: Path) -> None:
    """On real pictures: two dermatoscopies and a brain MRI among X-rays and ultrasounds, in labels.csv, queue and verdict."""
    scans = tmp_path / "scans"
    scans.mkdir()
    wanted = {"chest_nih": 15, "breast_busi": 15, "skin_ham10000": 2, "brain_mri": 1}
    for name, many in wanted.items():
        for i, file in enumerate(sorted((data_dir / "eval" / name / "images").rglob("*.*"))[:many]):
            Image.open(file).save(scans / f"{name}-{i}.png")
    made = Annotator(["chest", "breast"], student="none", cache=tmp_path / "cache").label(scans)
    foreign = [f"skin_ham10000-{i}.png" for i in range(2)] + ["brain_mri-0.png"]
    reasons = dict(zip(made.suspects["path"], made.suspects["reason"], strict=True))
    assert all("none of the classes: looks like" in reasons[path] for path in foreign)
    assert "looks like dermoscopy" in reasons[foreign[0]]
    assert set(made.suspects["path"][:3]) == set(foreign)
    table = made.table.set_index("path")
    assert (table.loc[foreign, "confidence"] <= 0.05).all()
    assert made.run["counts"]["none_of_these"] == 3
    assert made.run["estimated_error_rate"] >= 3 / 33
    assert "3 images are of none of the classes: they look like dermoscopy (2)" in made.run["reliability"]["verdict"]


@given(seed=st.integers(0, 99), foreign=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_an_image_that_words_mistake_and_that_lies_among_the_others_is_of_the_set(seed: int, foreign: int) -> None:
    rng = np.random.default_rng(seed)
    own, elsewhere = (
        rng.normal(size=(41, 12)) + 4.0 * np.eye(12)[0],
        rng.normal(size=(foreign, 12)) - 8.0 * np.eye(12)[0],
    )
    own[40] = own[:40].mean(axis=0)
    points = np.concatenate([own, elsewhere])
    near = nearest(points / np.linalg.norm(points, axis=1, keepdims=True), 20)
    kinds = looking_like(*[0] * 40, *[4] * (1 + foreign), asked=("x-ray",))
    assert none_of_these(kinds).flagged.sum() == 1 + foreign
    assert np.flatnonzero(none_of_these(kinds, neighbours=near).flagged).tolist() == list(range(41, 41 + foreign))
