"""The simulated clinician: what is measured when labels are reviewed from the top of a ranking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoannotate.errors import InputError, UsageError
from autoannotate.evaluation import plots
from autoannotate.evaluation.labelled_set import LabelledSet
from autoannotate.evaluation.protocols import clinician, find_protocol
from autoannotate.evaluation.study import Options, Study
from autoannotate.images import ImageRef
from autoannotate.labelling.duplicates import spread_answers
from autoannotate.labelling.label_errors.from_answers import FEWEST, basis, generalise
from autoannotate.labelling.label_errors.noise_estimate import NoiseEstimate, estimate_noise, weighed


def study_of(count: int = 40, classes: int = 3, spread: float = 1.5, seed: int = 0, **options: object) -> Study:
    """Clouds of points as features, one a class, and no pictures, so no student."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), count)
    features = rng.normal(size=(classes, 12))[labels] * 2 + rng.normal(0, spread, (len(labels), 12))
    refs = [ImageRef(f"{i}.png", Path(f"{i}.png")) for i in range(len(labels))]
    data = LabelledSet(refs, labels, [f"class {k}" for k in range(classes)], name="clouds")
    features = features.astype(np.float32)
    return Study(
        data,
        Options(count=count, **{"student": "none", **options}),
        features,
        features,
        {s: np.arange(len(labels)) for s in range(9)},
    )


@pytest.mark.slow
def test_every_ranking_ends_with_all_images_reviewed_and_all_labels_right() -> None:
    study = study_of(25, noise="symmetric:0.4")
    for method in clinician.RAW:
        found = clinician.run_once(study, 0, method)
        assert [point["reviewed"] for point in (found.curve[0], found.curve[-1])] == [0.0, 1.0]
        assert found.curve[-1]["accuracy"] == 1.0
        assert found.curve[-1]["relative"] == pytest.approx(1.0)
        assert 0 <= found.metrics["reviewed_to_99"] <= 1


def test_an_oracle_asks_about_wrong_labels_and_nothing_else_until_none_is_left() -> None:
    found = clinician.run_once(study_of(25, noise="symmetric:0.4"), 0, "oracle")
    wrong = 1 - found.curve[0]["accuracy"]
    for point in found.curve:
        assert 1 - point["accuracy"] == pytest.approx(max(0.0, wrong - point["reviewed"]), abs=1e-9)
    assert not {"oracle", "corrected-oracle"} & set(clinician.DEFAULT), "no method of a table, unless asked for"


def test_ours_ends_there_too_and_needs_fewer_reviews_than_chance() -> None:
    study = study_of(30, noise="symmetric:0.4")
    ours, random = (clinician.run_once(study, 0, name) for name in ("ours", "random"))
    assert ours.curve[-1]["accuracy"] == 1.0
    assert ours.metrics["reviewed_to_99"] <= random.metrics["reviewed_to_99"]
    assert ours.metrics["label_area"] > random.metrics["label_area"]


@pytest.mark.slow
def test_methods_meet_the_same_set_the_same_noise_and_the_same_clinician() -> None:
    study = study_of(25, noise="symmetric:0.4", error=0.1)
    setups = [clinician.make_setup(study, 0) for _ in range(2)]
    assert (setups[0].given == setups[1].given).all()
    assert (setups[0].says == setups[1].says).all()
    starts = {clinician.run_once(study, 0, name).curve[0]["accuracy"] for name in clinician.RAW}
    assert len(starts) == 1


def test_a_clinician_who_errs_leaves_that_share_wrong() -> None:
    study = study_of(100, noise="symmetric:0.4", error=0.1)
    found = clinician.run_once(study, 0, "random")
    assert 1 - found.curve[-1]["accuracy"] == pytest.approx(0.1, abs=0.05)


def test_fast_stops_once_the_goal_is_reached() -> None:
    slow, fast = (clinician.run_once(study_of(25, noise="symmetric:0.4", fast=f), 0, "random") for f in (False, True))
    assert len(fast.curve) <= len(slow.curve)
    assert fast.metrics["reviewed_to_99"] == slow.metrics["reviewed_to_99"]
    assert np.isnan([fast.metrics["area"], fast.metrics["label_area"]]).all(), "curves that ended early don't compare"


def test_no_two_methods_look_alike_and_ours_has_the_colour_of_its_box() -> None:
    looks = plots.look_of(clinician.methods())
    assert len(set(looks.values())) == len(clinician.methods())
    assert [name for name, (colour, _) in looks.items() if colour == plots.ACCENT] == ["ours"]


def test_one_wrong_label_of_a_hundred_moves_downstream_less_than_what_it_is_asked_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = clinician.make_setup(study_of(130, spread=4.0), 0)
    rng = np.random.default_rng(0)

    def moved() -> float:
        """How far from the true labels' number those of labels with 1% wrong lie, as a standard deviation."""
        truth, found = setup.downstream(setup.truth), []
        for _ in range(20):
            labels = setup.truth.copy()
            rows = rng.permutation(len(labels))[: len(labels) // 100]
            labels[rows] = (labels[rows] + 1) % 3
            found.append(setup.downstream(labels) / truth - 1)
        return float(np.sqrt(np.mean(np.square(found))))

    many = moved()
    monkeypatch.setattr(clinician, "PROBES", 1)
    assert many < 1 - clinician.GOAL
    assert many < moved()


def test_many_test_images_need_one_probe_only(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = clinician.make_setup(study_of(40, spread=4.0), 0)
    monkeypatch.setattr(clinician, "TESTED", len(setup.test_truth))
    once = setup.downstream(setup.given)
    monkeypatch.setattr(clinician, "TESTED", 0)
    assert setup.downstream(setup.given) == once
    assert once * len(setup.test_truth) == pytest.approx(round(once * len(setup.test_truth)))


@given(count=st.integers(3, 3000))
@settings(max_examples=50, deadline=None)
def test_batches_review_every_image_once(count: int) -> None:
    sizes = clinician.batches(count)
    assert sum(sizes) == count
    assert min(sizes) >= 1


def test_what_was_never_reached_counts_as_the_whole_set() -> None:
    points = [{"reviewed": r, "accuracy": 0.5, "downstream": 0.5, "relative": 0.5} for r in (0.0, 0.5, 1.0)]
    found = clinician.summary(points)
    assert (found["reviewed_to_99"], found["area"], found["label_area"]) == (1.0, 0.5, 0.5)


def test_wrong_options_are_said_before_the_first_run() -> None:
    protocol = find_protocol("clinician")
    data = study_of(30).data
    with pytest.raises(UsageError, match="--error"):
        protocol.check(data, Options(error=1.0))
    with pytest.raises(UsageError, match="symmetric"):
        protocol.check(data, Options(noise="salt:0.2"))
    with pytest.raises(InputError, match="at least 20"):
        protocol.check(study_of(10).data, Options())


def test_answers_teach_what_the_given_labels_hide() -> None:
    """Half of one class was called the other, all in one corner: labels agree there and are wrong; a few answers tell."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 150)
    features = rng.normal(size=(300, 8)) + 4 * np.eye(2, 8)[truth]
    corner = (truth == 1) & (features[:, 2] > 0)
    labels = np.where(corner, 0, truth)
    answers = np.full(300, -1)
    asked = rng.choice(np.flatnonzero(features[:, 2] > 0), 12, replace=False)
    answers[asked] = truth[asked]
    learned = generalise(basis(features), labels, answers, 2)
    assert learned is not None
    assert (learned.posterior.argmax(1) == truth).mean() > (labels == truth).mean() + 0.1
    assert (learned.posterior.argmax(1)[asked] == truth[asked]).all()
    assert learned.posterior.sum(1) == pytest.approx(1.0)


def test_too_few_answers_teach_nothing() -> None:
    features = np.random.default_rng(0).normal(size=(40, 5))
    answers = np.full(40, -1)
    answers[: FEWEST - 1] = 0
    assert generalise(basis(features), np.arange(40) % 2, answers, 2) is None


def test_opinions_are_weighed_by_how_well_they_foretell_the_answers() -> None:
    """One opinion is mostly right, one is nonsense: with answers to tell them apart, the first is heard."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 80)
    features = rng.normal(size=(240, 8))  # say nothing
    labels = np.where(rng.random(240) < 0.4, rng.integers(0, 3, 240), truth)
    right = np.where(rng.random(240) < 0.9, truth, rng.integers(0, 3, 240))
    opinions = [0.85 * np.eye(3)[said] + 0.05 for said in (right, rng.integers(0, 3, 240))]
    answers = np.full(240, -1)
    asked = rng.permutation(240)[:30]
    answers[asked] = truth[asked]
    alone = generalise(basis(features), labels, answers, 3)
    learned = generalise(basis(features), labels, answers, 3, predictions=opinions)
    assert alone is not None
    assert learned is not None
    found = learned.posterior.argmax(1)
    assert (found == truth).mean() > (alone.posterior.argmax(1) == truth).mean() + 0.05
    assert (found[asked] == truth[asked]).all()


def test_a_few_answers_about_the_hardest_images_do_not_undo_what_is_believed() -> None:
    """Labels were corrected before anyone answered; then come answers that are all of one class, where nobody is sure."""
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 150)
    features = rng.normal(size=(300, 8))  # say nothing
    labels = np.where(rng.random(300) < 0.4, 1 - truth, truth)
    hard = rng.random(300) < 0.1
    says = np.where(hard, 0.5, np.where(truth == 1, 0.95, 0.05))
    opinion = np.stack([1 - says, says], axis=1)
    clean, noise, posterior, error = weighed(opinion, labels, 0.4)
    known = np.ones(2, dtype=bool)
    believed = NoiseEstimate(opinion, clean, posterior, noise, 0.4, error, "symmetric", True, known)
    opinions = [0.3 + 0.4 * np.eye(2)[np.where(rng.random(300) < 0.3, 1 - truth, truth)]]
    answers = np.full(300, -1)
    asked = np.flatnonzero(hard & (truth == 1))[:FEWEST]
    answers[asked] = 1
    assert len(asked) == FEWEST
    without = generalise(basis(features), labels, answers, 2, predictions=opinions)
    learned = generalise(basis(features), labels, answers, 2, predictions=opinions, estimate=believed)
    assert without is not None
    assert learned is not None
    assert (without.posterior.argmax(1) == truth)[~hard].mean() < 0.7
    assert (learned.posterior.argmax(1) == truth)[~hard].mean() > 0.9


def test_labels_are_trusted_no_more_than_they_were_believed_before() -> None:
    """Answers about the images in doubt teach that opinions err, and would have wrong labels stand where nobody was asked."""
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], 300)
    features = rng.normal(size=(600, 8))  # say nothing
    labels = np.where(rng.random(600) < 0.3, 1 - truth, truth)
    doubtful = rng.random(600) < 0.2
    right = rng.random(600) < np.where(doubtful, 0.5, 0.97)
    sure = np.where(doubtful, 0.6, 0.9)[:, None]
    opinion = np.where(np.eye(2)[np.where(right, truth, 1 - truth)] == 1, sure, 1 - sure)
    believed = estimate_noise([opinion], labels)
    answers = np.full(600, -1)
    asked = rng.permutation(np.flatnonzero(doubtful))[:30]
    answers[asked] = truth[asked]
    learned = generalise(basis(features), labels, answers, 2, predictions=[opinion], estimate=believed)
    assert learned is not None
    others = answers < 0
    before = (believed.corrected(labels) == truth)[others].mean()
    assert (learned.posterior.argmax(1) == truth)[others].mean() > before - 0.02


def test_one_answer_settles_near_identical_images_unless_another_contradicts_it() -> None:
    groups = np.array([0, 0, 0, 1, 1, 2])
    assert spread_answers(np.array([2, -1, -1, -1, -1, -1]), groups).truth.tolist() == [2, 2, 2, -1, -1, -1]
    assert spread_answers(np.array([2, 1, -1, 0, -1, -1]), groups).truth.tolist() == [2, 1, -1, 0, 0, -1]
