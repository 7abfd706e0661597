"""A promise in numbers: what a reviewed random sample says of all labels, and the certificate of a run."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import make_run, replace_picture, stamped
from typer.testing import CliRunner

from autoannotate import Annotations
from autoannotate.answers.certification import error_bounds as bounds_module
from autoannotate.answers.certification.certificate_files import certify_run, read_sample
from autoannotate.answers.certification.error_bounds import (
    Bounds,
    crossing,
    largest_set,
    sample_size,
    simultaneous_bounds,
)
from autoannotate.answers.certification.sample import certify, draw_sample, ranking
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.cli.main import app
from autoannotate.errors import InputError, UsageError
from autoannotate.images import fingerprint
from autoannotate.runs import tables

OTHER = {"chest": "breast", "breast": "chest"}


# The bounds


def fails(wrong: np.ndarray, sample: int, bounds: Bounds) -> float:
    """The exact chance that some bound is broken for these labels, over every sample there is."""
    draws = list(itertools.combinations(range(len(wrong)), sample))
    broken = 0
    for drawn in draws:
        sampled = np.isin(np.arange(len(wrong)), drawn)
        found, missed = np.cumsum(wrong & sampled), np.cumsum(wrong & ~sampled)
        broken += bool((missed > bounds.at(found)).any())
    return broken / len(draws)


@given(
    st.lists(st.booleans(), min_size=2, max_size=9),
    st.integers(1, 8),
    st.integers(0, 4),
    st.sampled_from([0.5, 0.6, 0.8, 0.9, 0.95]),
)
@settings(deadline=None, max_examples=50)
def test_whatever_is_wrong_and_wherever_all_bounds_hold_together_with_the_confidence(
    wrong: list[bool], sample: int, most: int, confidence: float
) -> None:
    bounds = simultaneous_bounds(len(wrong), min(sample, len(wrong)), confidence, most)
    assert fails(np.array(wrong), bounds.sample, bounds) <= 1 - confidence + 1e-12


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 8))
@settings(deadline=None, max_examples=40)
def test_the_chance_of_failure_is_exact_where_every_label_is_wrong(steps: list[int], sample: int) -> None:
    missed = np.cumsum(steps)
    bounds = Bounds(9, sample, 0.5, missed, crossing(9, sample, missed))
    assert fails(np.ones(9, dtype=bool), sample, bounds) == pytest.approx(bounds.risk, abs=1e-12)


def test_one_step_is_the_exact_bound_of_clopper_and_pearson_without_replacement() -> None:
    from scipy.stats import hypergeom

    bounds = simultaneous_bounds(2000, 150, 0.95, 39)
    (missed,) = bounds.missed
    assert hypergeom.cdf(0, 2000, missed + 1, 150) == pytest.approx(bounds.risk)
    assert hypergeom.cdf(0, 2000, missed + 1, 150) <= 0.05 < hypergeom.cdf(0, 2000, missed, 150)


def test_in_a_huge_set_149_right_answers_promise_two_per_cent() -> None:
    """0.98 to the power of 149 is the first below 0.05: the binomial limit."""
    assert sample_size(1_000_000, 0.95, 20_000, errors=0) == 149
    assert sample_size(500, 0.95, 10, errors=0) < 149  # a small set needs less


@given(st.integers(20, 3000), st.floats(0.02, 0.6), st.floats(0.005, 0.2), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@settings(deadline=None, max_examples=40)
def test_bounds_rise_with_errors_found_and_are_never_above_what_is_of_use(
    images: int, share: float, max_error: float, confidence: float
) -> None:
    sample, most = max(1, int(share * images)), int(max_error * images)
    bounds = simultaneous_bounds(images, sample, confidence, most)
    assert (np.diff(bounds.missed) >= 0).all()
    assert (bounds.missed <= most).all()
    assert bounds.risk <= 1 - confidence
    assert (np.diff(bounds.at(np.arange(len(bounds.missed) + 3))) >= 0).all()
    assert bounds.at(np.array([len(bounds.missed)]))[0] == images - sample


@given(st.integers(30, 2000), st.floats(0.01, 0.1), st.integers(0, 2))
@settings(deadline=None, max_examples=25)
def test_the_default_sample_is_the_least_that_does(images: int, max_error: float, errors: int) -> None:
    most = int(max_error * images)
    size = sample_size(images, 0.95, most, errors)

    def does(sample: int) -> bool:
        return most >= images - sample or len(simultaneous_bounds(images, sample, 0.95, most).missed) > errors

    assert does(size)
    assert size == 1 or not does(size - 1)


@given(st.integers(0, 10**6), st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_another_error_found_never_makes_the_set_larger(seed: int, errors: int) -> None:
    rng = np.random.default_rng(seed)
    bounds = simultaneous_bounds(600, 250, 0.95, 12)
    known, wrong, nothing = np.zeros((3, 600), dtype=bool)
    sampled = rng.permutation(600)[:250]
    known[sampled] = True
    kept = []
    for row in sampled[:errors]:
        kept.append(largest_set(wrong, known, nothing, bounds, 0.02)[0])
        wrong[row] = True
    assert kept == sorted(kept, reverse=True)


def one_by_one(images: int, sample: int, most: int) -> Bounds:
    """Bounds of which each holds at 95%, but not all together: what this project must not do."""
    tails = bounds_module._tails(images, sample, most, 500)
    return Bounds(images, sample, 0.95, bounds_module._staircase(tails, 0.05), 0.0)


def test_where_everything_is_wrong_simulated_failures_are_as_many_as_computed() -> None:
    """The worst case there is: 20,000 samples of 400 out of 2,000 wrong labels."""
    together, alone = simultaneous_bounds(2000, 400, 0.95, 40), one_by_one(2000, 400, 40)
    rng = np.random.default_rng(0)
    found, broken = np.zeros(20_000, dtype=int), np.zeros((2, 20_000), dtype=bool)
    for seen in range(200):  # wrong labels in order: was this one among those sampled?
        found = found + (rng.random(20_000) < (400 - found) / (2000 - seen))
        for bounds, any_broken in zip((together, alone), broken, strict=True):
            any_broken |= seen + 1 - found > bounds.at(found)
    assert broken[0].mean() == pytest.approx(together.risk, abs=0.005)
    assert together.risk <= 0.05 < 0.1 < broken[1].mean()


def promises_broken(wrong: np.ndarray, sample: int, bounds: Bounds, max_error: float, runs: int) -> float:
    """The share of simulated runs, each with its own sample, in which more of the certified set is wrong than promised.

    Less three standard errors of a share of 5%, so that chance alone does not fail a test.
    """
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(runs):
        sampled = np.zeros(len(wrong), dtype=bool)
        sampled[rng.permutation(len(wrong))[:sample]] = True
        kept, _ = largest_set(wrong & sampled, sampled, np.zeros_like(sampled), bounds, max_error)
        unreviewed = ~sampled & (np.arange(len(wrong)) < kept)
        broken += (wrong & unreviewed).sum() > max_error * (unreviewed.sum() + sample)
    return broken / runs - 3 * (0.05 * 0.95 / runs) ** 0.5


def evenly_wrong(images: int, rate: float) -> np.ndarray:
    """Labels of which every set is about as wrong as all are: the confidence says nothing."""
    return np.isin(np.arange(images), np.floor(np.arange(0, images, 1 / rate)))


@pytest.mark.parametrize("rate", [0.021, 0.023, 0.025, 0.03])
@pytest.mark.parametrize(("images", "sample"), [(600, 191), (2000, 235)])
def test_labels_just_too_wrong_break_the_promise_in_fewer_than_one_run_of_twenty(
    images: int, sample: int, rate: float
) -> None:
    bounds = simultaneous_bounds(images, sample, 0.95, int(0.02 * images))
    assert promises_broken(evenly_wrong(images, rate), sample, bounds, 0.02, 2000) <= 0.05


@pytest.mark.slow
def test_the_same_simulation_finds_out_bounds_that_hold_only_one_by_one() -> None:
    """Choosing the best of many thresholds, each tested at 5%, breaks the promise more often than it may."""
    wrong = evenly_wrong(5000, 0.025)
    assert promises_broken(wrong, 1000, one_by_one(5000, 1000, 100), 0.02, 3000) > 0.05
    assert promises_broken(wrong, 1000, simultaneous_bounds(5000, 1000, 0.95, 100), 0.02, 3000) <= 0.05


# The run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 400 labels; those with a confidence below 0.1 are wrong."""
    annotations = make_run(tmp_path / "images", [f"{i:04}.png" for i in range(400)], draw=False)
    annotations.table["confidence"] = np.random.default_rng(5).random(400).round(6)
    annotations.table["suspect"] = 0
    annotations.save(tmp_path / "run")
    return tmp_path / "run"


def truth_of(annotations: Annotations) -> dict[str, str]:
    rows = annotations.table
    return {
        path: label if confidence >= 0.1 else OTHER[label]
        for path, label, confidence in zip(rows["path"], rows["label"], rows["confidence"], strict=True)
    }


def answer(run: Path, most: int = 10**6, **verdicts: str) -> None:
    """Answer the sample truthfully, but for paths with another verdict."""
    sample, truth = read_sample(run), truth_of(Annotations.load(run))
    assert sample is not None
    with AnswerStore(run) as store:
        done = {one.path for one in store.current()}
        todo = [path for path in sample.paths if path not in done][:most]
        store.add(
            [
                Answer(path, "Ana", verdicts[path]) if path in verdicts else Answer(path, "Ana", "label", truth[path])
                for path in todo
            ]
        )


def command(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["certify", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_first_call_draws_a_sample_and_a_second_makes_the_certificate(run: Path) -> None:
    code, said, _ = command(run)
    sample = pd.read_csv(run / "certify" / "sample.csv", keep_default_na=False)
    assert code == 0
    assert f"{len(sample)} of 400 labels are drawn" in said
    assert "no answer yet" not in said
    assert f"autoannotate review {run}" in said
    assert list(sample.columns) == ["path", "answer"]
    assert set(sample["answer"]) == {""}
    assert not (run / "certified.csv").exists()

    answer(run, most=30)
    _, said, _ = command(run)
    assert f"{len(sample) - 30} of the {len(sample)} images have no answer yet" in said
    assert not (run / "certified.csv").exists()

    answer(run)
    code, said, _ = command(run)
    certified = pd.read_csv(run / "certified.csv")
    facts = json.loads((run / "certificate.json").read_text())
    assert code == 0
    assert f"Among the {len(certified)} labels in certified.csv, at most 2% are wrong, with 95% confidence" in said
    assert said.splitlines()[0] == facts["statement"] == (run / "certificate.txt").read_text().splitlines()[0]
    assert list(certified.columns) == ["path", "label", "confidence", "source"]
    truth = truth_of(Annotations.load(run))
    wrong = (certified["label"] != certified["path"].map(truth)).sum()
    assert wrong <= facts["labels"]["wrong_at_most"] <= 0.02 * len(certified)
    assert len(certified) > 300
    by_clinician = certified[certified["source"] == "clinician"]
    assert set(by_clinician["path"]) == set(sample["path"])
    assert (by_clinician["label"] == by_clinician["path"].map(truth)).all()


def test_the_certificate_says_what_it_rests_on(run: Path) -> None:
    certify_run(run)
    answer(run)
    certify_run(run)
    facts = json.loads((run / "certificate.json").read_text())
    text = (run / "certificate.txt").read_text()
    assert facts["labels_sha256"] == hashlib.sha256((run / "labels.csv").read_bytes()).hexdigest()
    assert facts["certified_sha256"] == hashlib.sha256((run / "certified.csv").read_bytes()).hexdigest()
    assert facts["sample"]["drawn_from"] == 400
    assert facts["bounds"]["chance_that_any_bound_fails"] <= 0.05
    for said in (
        "2110.01052",
        "without replacement",
        facts["labels_sha256"],
        facts["date"],
        "If the machine's labels change",
    ):
        assert said in " ".join(text.split())


def test_answers_typed_into_the_sample_and_applied_leave_it_the_sample(run: Path) -> None:
    """`apply` puts the answers into labels.csv; the labels that were judged are those of the draw."""
    progress = certify_run(run)
    file = run / "certify" / "sample.csv"
    truth = truth_of(Annotations.load(run))
    labels_then = (run / "labels.csv").read_bytes()
    wrong = sum(
        Annotations.load(run).table.set_index("path").loc[path, "label"] != truth[path] for path in progress.left
    )
    rows = [f"{path},{truth[path]}" for path in progress.left]
    file.write_text("\n".join(["path,answer", *rows]) + "\n")
    applied = CliRunner().invoke(app, ["apply", str(run), str(file), "--reader", "Ana"])
    assert applied.exit_code == 0, applied.stderr
    assert (run / "labels.csv").read_bytes() != labels_then
    done = certify_run(run)
    assert (done.voided, done.drawn, done.left) == ("", False, ())
    assert done.certificate is not None
    assert done.certificate.found == wrong > 0
    facts = json.loads((run / "certificate.json").read_text())
    assert facts["labels_sha256"] == hashlib.sha256((run / "labels.csv").read_bytes()).hexdigest()
    assert facts["sample"]["labels_sha256"] == hashlib.sha256(labels_then).hexdigest()


def test_a_certificate_is_void_once_the_labels_change(run: Path) -> None:
    certify_run(run)
    answer(run)
    certify_run(run)
    annotations = Annotations.load(run)
    table = annotations.table.copy()
    table.loc[3, "label"] = OTHER[table.loc[3, "label"]]
    (run / "labels.csv").write_bytes(tables.to_csv(table))

    code, _, warned = command(run)
    assert code == 0
    assert "no longer holds, because the labels have changed" in warned
    assert not any((run / name).exists() for name in ("certified.csv", "certificate.json", "certificate.txt"))
    assert (run / "certify" / "void-1" / "certificate.json").exists()
    fresh, old = read_sample(run), json.loads((run / "certify" / "void-1" / "sample.json").read_text())
    assert fresh is not None
    assert not set(fresh.paths) & set(old["paths"])  # what was answered is known, and not asked again
    assert fresh.earlier == 1
    answer(run)
    certify_run(run)
    assert "2 samples were answered in this run" in " ".join((run / "certificate.txt").read_text().split())


def test_the_sample_is_the_same_for_the_same_labels_and_a_larger_one_holds_the_smaller(run: Path) -> None:
    annotations = Annotations.load(run)
    first, again = (draw_sample(annotations, budgets=[60]) for _ in range(2))
    assert first == again
    assert draw_sample(annotations, budgets=[90]).paths[:60] == first.paths
    assert draw_sample(annotations, budgets=[60], seed=1).paths != first.paths


def test_a_sample_without_answers_may_change_its_size_and_one_with_answers_may_not(run: Path) -> None:
    certify_run(run)
    certify_run(run, budgets=[70])
    assert len(certify_run(run).left) == 70
    certify_run(run, confidence=0.9, max_error=0.05)
    sample = certify_run(run, budgets=[80]).sample
    assert (sample.confidence, sample.max_error, sample.budgets) == (0.9, 0.05, (80,))
    answer(run, most=1)
    for code, said, warned in (
        command(run, "--budget", 100),
        command(run, "--confidence", 0.95),
        command(run, "--seed", 1),
    ):
        assert (code, said) == (2, "")
        assert "break the promise" in warned or "has answers" in warned
    assert len(certify_run(run, max_error=0.04).left) == 79


def test_planned_looks_stay_where_only_the_error_or_the_confidence_is_another(run: Path) -> None:
    certify_run(run, budgets=[100, 160])
    assert certify_run(run, confidence=0.9).sample.budgets == (100, 160)
    sample = certify_run(run, max_error=0.05).sample
    assert (sample.budgets, sample.confidence, len(sample.paths)) == ((100, 160), 0.9, 100)
    assert certify_run(run, budgets=[120]).sample.budgets == (120,)


def test_an_answer_taken_back_counts_as_known_and_takes_the_certificate_with_it(run: Path) -> None:
    certify_run(run, budgets=[120])
    answer(run, most=119)
    answer(run)
    certify_run(run)
    with AnswerStore(run) as store:
        store.undo("Ana")
    progress = certify_run(run)
    assert len(progress.left) == 1
    assert "taken back" in progress.voided
    assert not (run / "certified.csv").exists()
    with pytest.raises(UsageError, match="has answers"):
        certify_run(run, budgets=[150])


def test_a_sample_grows_only_to_sizes_said_before_and_pays_for_each(run: Path) -> None:
    code, _, _ = command(run, "--budget", "100,160")
    assert code == 0
    code, _, warned = command(run, "--grow")
    assert (code, "grows once all are answered" in warned) == (2, True)
    answer(run)
    first = certify_run(run)
    assert first.certificate is not None
    assert first.sample.bounds.confidence == pytest.approx(0.975)
    second = certify_run(run, grow=True)
    assert second.sample.paths[:100] == first.sample.paths
    assert len(second.left) == 60
    assert (run / "certified.csv").exists()  # the promise of the first look still stands
    assert certify_run(run).voided == ""
    answer(run)
    last = certify_run(run).certificate
    assert last is not None
    assert len(last.table) >= len(first.certificate.table)
    assert "2 of 2 that were planned" in (run / "certificate.txt").read_text()
    code, _, warned = command(run, "--grow")
    assert (code, "cannot grow" in warned) == (2, True)


@pytest.mark.parametrize("verdict", ["unsure", "none", "discard"])
def test_a_sampled_label_that_is_not_confirmed_counts_as_wrong_and_is_left_out(run: Path, verdict: str) -> None:
    sample = certify_run(run).sample
    annotations = Annotations.load(run)
    confidence = annotations.table.set_index("path")["confidence"]
    sure = max(sample.paths, key=lambda path: confidence[path])
    answer(run, **{sure: verdict})
    certificate = certify_run(run).certificate
    assert certificate is not None
    truthful = sum(confidence[path] < 0.1 for path in sample.paths)
    assert (certificate.found, certificate.unsettled) == (truthful + 1, 1)
    assert sure not in set(certificate.table["path"])


def test_readers_who_disagree_leave_a_label_unconfirmed(run: Path) -> None:
    sample = certify_run(run).sample
    answer(run)
    alone = certify_run(run).certificate
    disputed = next(path for path in sample.paths if truth_of(Annotations.load(run))[path] == "chest")
    with AnswerStore(run) as store:
        store.add([Answer(disputed, "Ben", "label", "breast")])
    both = certify_run(run).certificate
    assert alone is not None
    assert both is not None
    assert both.unsettled == alone.unsettled + 1
    assert disputed not in set(both.table["path"])


def test_answers_from_before_the_draw_are_not_drawn_and_count_as_right(run: Path) -> None:
    annotations = Annotations.load(run)
    truth = truth_of(annotations)
    before = list(annotations.table["path"][:50])
    with AnswerStore(run) as store:
        store.add([Answer(path, "Ana", "label", truth[path]) for path in before])
    sample = certify_run(run).sample
    assert sample.images == 350
    assert not set(sample.paths) & set(before)
    answer(run)
    certificate = certify_run(run).certificate
    assert certificate is not None
    certified = certificate.table.set_index("path")
    assert set(before) <= set(certified.index)
    assert (certified.loc[before, "label"] == [truth[path] for path in before]).all()
    assert (certified.loc[before, "source"] == "clinician").all()


def test_the_answer_to_a_picture_that_was_replaced_is_no_truth(tmp_path: Path) -> None:
    run, scans, paths = tmp_path / "run", tmp_path / "scans", [f"{i:02}.png" for i in range(40)]
    annotations = stamped(make_run(scans, paths))
    annotations.save(run)
    truth = dict(zip(annotations.table["path"], annotations.table["label"], strict=True))

    def say(*paths: str) -> None:
        marks = {path: fingerprint(Annotations.load(run).image(path)) for path in paths}
        with AnswerStore(run) as store:
            store.add([Answer(path, "Ana", "label", truth[path], fingerprint=mark) for path, mark in marks.items()])

    say("03.png", "04.png")
    replace_picture(scans, "03.png")
    progress = certify_run(run, max_error=0.2, budgets=[15])
    assert progress.sample.before == ("04.png",)
    say(*progress.left)
    certificate = certify_run(run).certificate
    assert certificate is not None
    by_clinician = set(certificate.table.query("source == 'clinician'")["path"])
    assert by_clinician == {"04.png", *progress.sample.paths}

    replace_picture(scans, progress.left[0])  # of the sample: it is asked again
    again = certify_run(run)
    assert again.left == progress.left[:1]
    assert "pictures replaced" in again.voided
    assert not (run / "certified.csv").exists()


def test_a_label_by_a_clinician_whose_picture_was_replaced_waits_for_an_update(tmp_path: Path) -> None:
    annotations = stamped(make_run(tmp_path / "scans"))
    with_label = annotations.table.assign(source=["clinician", "clip", "clip", "clip"])
    replace(annotations, table=with_label).save(tmp_path / "run")
    with AnswerStore(tmp_path / "run") as store:
        mark = fingerprint(annotations.image("a/1.png"))
        store.add([Answer("a/1.png", "Ana", "label", "chest", fingerprint=mark)])
    assert certify_run(tmp_path / "run").sample.before == ("a/1.png",)
    replace_picture(tmp_path / "scans", "a/1.png")
    code, said, warned = command(tmp_path / "run")
    assert (code, said) == (1, "")
    assert "replaced after clinicians labelled them: run `autoannotate update` first" in warned


def test_answers_outside_the_sample_correct_the_file_and_never_the_count(run: Path) -> None:
    sample = certify_run(run).sample
    answer(run)
    plain = certify_run(run).certificate
    annotations = Annotations.load(run)
    truth = truth_of(annotations)
    outside = next(p for p, label in annotations.table[["path", "label"]].itertuples(index=False) if
                   p not in sample.paths and truth[p] != label)  # fmt: skip
    with AnswerStore(run) as store:
        store.add([Answer(outside, "Ana", "label", truth[outside])])
    more = certify_run(run).certificate
    assert plain is not None
    assert more is not None
    assert (more.found, more.in_set) == (plain.found, plain.in_set)
    assert more.table.set_index("path").loc[outside, "label"] == truth[outside]


def test_another_error_rate_may_be_asked_of_the_same_answers(run: Path) -> None:
    certify_run(run)
    answer(run)
    sizes = []
    for max_error in (0.005, 0.01, 0.02, 0.05, 0.2):
        certificate = certify_run(run, max_error=max_error).certificate
        assert certificate is not None
        sizes.append(len(certificate.table))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] <= 400


def test_where_nothing_can_be_promised_only_what_clinicians_answered_is_certified(run: Path) -> None:
    code, said, _ = command(run, "--budget", 10)
    assert code == 0
    assert "too few" in said
    answer(run)
    _, said, _ = command(run)
    assert "The 10 labels in certified.csv were all given by clinicians" in said
    assert len(pd.read_csv(run / "certified.csv")) == 10


def test_reviewing_everything_certifies_everything(run: Path) -> None:
    certify_run(run, budgets=[5000])
    answer(run)
    certificate = certify_run(run).certificate
    assert certificate is not None
    assert (len(certificate.table), certificate.unreviewed, certificate.wrong_at_most) == (400, 0, 0)
    _, _, warned = command(run, "--max-error", "2")
    assert "share between 0 and 1" in warned


def test_the_certificate_is_not_written_again_where_nothing_changed(run: Path) -> None:
    certify_run(run)
    answer(run)
    certify_run(run)
    files = [run / name for name in ("certified.csv", "certificate.json", "certificate.txt")]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    certify_run(run)
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before


def test_what_was_typed_into_the_sample_is_never_written_over(run: Path) -> None:
    certify_run(run, budgets=[5])
    file = run / "certify" / "sample.csv"
    file.write_text(file.read_text().replace(".png,\n", ".png,chest\n"))
    certify_run(run, budgets=[6])
    kept = run / "certify" / "void-1" / "sample.csv"
    assert kept.read_text().count("chest") == 5
    assert file.read_text().count("png") == 6


def test_a_damaged_sample_a_missing_run_and_senseless_numbers_get_a_plain_sentence(run: Path) -> None:
    for arguments, code in (
        ((run, "--budget", "many"), 2),
        ((run, "--budget", "0"), 2),
        ((run, "--max-error", "0"), 2),
        ((run, "--confidence", "95"), 2),
        ((run / "nowhere",), 1),
    ):
        status, said, warned = command(*arguments)
        assert (status, said) == (code, "")
        assert warned.startswith("autoannotate: ")
        assert "Traceback" not in warned
    certify_run(run)
    (run / "certify" / "sample.json").write_text("{")
    status, _, warned = command(run)
    assert status == 1
    assert "cannot be read" in warned


def test_python_makes_a_certificate_without_files(run: Path) -> None:
    annotations = Annotations.load(run)
    truth = truth_of(annotations)
    sample = draw_sample(annotations, max_error=0.05)
    answers = [Answer(path, "Ana", "label", truth[path]) for path in sample.paths]
    with pytest.raises(InputError, match="have no answer"):
        certify(annotations, sample, answers[1:])
    certificate = certify(annotations, sample, answers)
    assert (certificate.table["label"] != certificate.table["path"].map(truth)).mean() <= 0.05
    assert certificate.statement.startswith(f"Among the {len(certificate.table)} labels")


def test_sets_grow_by_confidence_and_by_doubt_where_that_is_equal(run: Path) -> None:
    table = Annotations.load(run).table.copy()
    table["confidence"] = table["confidence"].round(1)
    table["suspect_score"] = np.random.default_rng(2).random(400)
    order = ranking(table)
    assert sorted(order) == list(range(400))
    ranked = table.iloc[order]
    assert ranked["confidence"].is_monotonic_decreasing
    assert all(rows["suspect_score"].is_monotonic_increasing for _, rows in ranked.groupby("confidence"))


# The evaluation


@pytest.mark.slow
def test_evaluate_certify_counts_how_often_the_promise_was_kept(data_dir: Path, tmp_path: Path) -> None:
    arguments = [
        "evaluate",
        "certify",
        "--data",
        str(data_dir / "eval" / "breast_busi"),
        "--count",
        "40",
        "--runs",
        "25",
    ]
    arguments += ["--methods", "given,knn", "--max-error", "0.1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert len(runs) == 50
    assert set(runs["promise_kept"]) <= {0.0, 1.0}
    for _, of_method in runs.groupby("method"):
        assert (
            of_method["promise_kept"].mean() >= 0.8
        )  # 25 runs of at least 95%: fewer than 20 would be one in a thousand
        assert (of_method["certified"] >= of_method["reviewed"]).all()
        assert of_method["error"].nunique() <= 2  # labels are made anew every 20 runs, samples in every run
        assert of_method["found"].nunique() > 2
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["methods"]["knn"]["promise_kept"]["mean"] == runs.query("method == 'knn'")["promise_kept"].mean()
