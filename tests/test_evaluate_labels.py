"""How many labels a student needs: the draws, the curve, what is saved, and a whole run on pictures."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation.labelled_set import LabelledSet
from autoannotate.evaluation.protocols import find_protocol
from autoannotate.evaluation.protocols import labels as protocol
from autoannotate.evaluation.study import Options, Study
from autoannotate.images import ImageRef

STEPS = np.array([10.0, 20.0, 40.0, 80.0, 160.0])
RISING = np.array([0.5, 0.6, 0.7, 0.8, 0.9])


@given(sizes=st.lists(st.integers(3, 60), min_size=2, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_draws_lie_within_each_other_and_know_every_class(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    draws = protocol.nested(labels, np.arange(len(labels)), np.random.default_rng(seed))
    assert len(draws[-1]) == len(labels)
    for smaller, larger in itertools.pairwise(draws):
        assert set(smaller) < set(larger)
    for draw in draws:
        assert np.bincount(labels[draw], minlength=len(sizes)).min() >= 2


def test_the_same_curve_saves_nothing_and_one_that_is_twice_as_quick_saves_half() -> None:
    assert protocol.saving(STEPS, RISING, RISING) == pytest.approx(0.0)
    quick = np.array([0.6, 0.7, 0.8, 0.9, 0.95])
    assert protocol.saving(STEPS, quick, RISING) == pytest.approx(0.5)
    assert protocol.saving(STEPS, RISING, quick) == pytest.approx(-1.0)  # it needs twice as many


@given(mine=st.lists(st.floats(0, 1), min_size=5, max_size=5), other=st.lists(st.floats(0, 1), min_size=5, max_size=5))
@settings(max_examples=60, deadline=None)
def test_whatever_the_curves_saving_is_less_than_all_and_turns_sign_with_who_is_asked(
    mine: list[float], other: list[float]
) -> None:
    first, second = np.array(mine), np.array(other)
    saved, lost = protocol.saving(STEPS, first, second), protocol.saving(STEPS, second, first)
    assert max(saved, lost) <= 1 - STEPS[0] / STEPS[-1] + 1e-9
    assert saved * lost <= 1e-9


def test_the_area_of_a_level_curve_is_its_level() -> None:
    assert protocol.area(STEPS, np.full(5, 0.7)) == pytest.approx(0.7)
    assert protocol.area(STEPS[:1], np.array([0.4])) == pytest.approx(0.4)


def pictures(folder: Path, count: int = 24, classes: int = 2, simclr_epochs: int | None = None) -> Study:
    """Dark and bright pictures of noise; as features their mean."""
    rng = np.random.default_rng(0)
    refs, features = [], []
    labels = np.repeat(np.arange(classes), count)
    for i, label in enumerate(labels):
        pixels = np.clip(rng.normal(70 + 90 * label, 25, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        refs.append(ImageRef(f"{i}.png", folder / f"{i}.png"))
        features.append([pixels.mean() / 255, *rng.normal(0, 0.1, 7)])
    data = LabelledSet(refs, labels, [f"class {k}" for k in range(classes)], name="pictures")
    array = np.array(features, dtype=np.float32)
    options = Options(count=count, fast=True, simclr_epochs=simclr_epochs)
    return Study(data, options, array, array, {0: np.arange(len(labels))}, device="cpu")


def test_the_probe_has_a_curve_over_numbers_of_labels(tmp_path: Path) -> None:
    study = pictures(tmp_path)
    points = protocol.curve(study, 0, "probe")
    numbers = [point["labels"] for point in points]
    assert numbers == sorted(set(numbers))
    assert points[-1]["accuracy"] == 1.0


@pytest.mark.slow
def test_students_with_and_without_pretraining_run_and_repeat_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightly", reason="the ssl extra is not installed: pip install 'autoannotate[ssl]'")
    monkeypatch.setattr(protocol, "PASSES", {False: 60, True: 60})
    monkeypatch.setattr(protocol, "SHARES", (0.2, 1.0))
    study = pictures(tmp_path, simclr_epochs=1)
    first = {name: protocol.run_once(study, 0, name) for name in ("scratch", "scratch-simclr")}
    assert np.isnan(first["scratch"].metrics["saving"])
    assert np.isfinite(first["scratch-simclr"].metrics["saving"])
    study.kept.clear()
    assert protocol.run_once(study, 0, "scratch-simclr") == first["scratch-simclr"]


def test_a_class_with_too_few_images_is_said_by_name() -> None:
    labels = np.repeat([0, 1], [30, 5])
    data = LabelledSet([ImageRef(str(i), Path(str(i))) for i in range(35)], labels, ["cat", "dog"], name="few")
    module = find_protocol("labels")
    with pytest.raises(InputError, match="dog"):
        module.check(data, Options())
    with pytest.raises(UsageError, match="--test"):
        module.check(data.take(np.repeat(np.arange(35), 9)), Options(test=0.99))
