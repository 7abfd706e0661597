"""How many given labels are wrong: estimated where something tells, else bounds, in words that say which."""

from __future__ import annotations

import numpy as np
from made_labels import thrown

from autoannotate.labelling.features import Features
from autoannotate.labelling.findings import label_findings
from autoannotate.labelling.label_errors.error_rates import error_rate, given_errors, together
from autoannotate.labelling.pipeline import label
from autoannotate.labelling.task import Task
from autoannotate.runs.findings_issues import findings_audit
from autoannotate.runs.issues import wrong_labels_in_words


def audited(apart: float, share: float, answers: np.ndarray | None = None, n: int = 200):
    """Errors of labels of two classes whose means lie so far apart, of which this share was thrown."""
    rng = np.random.default_rng(3)
    truth = np.arange(n) % 2
    features = rng.normal(size=(n, 24)) + apart * truth[:, None] * np.eye(24)[0]
    given = thrown(truth, share, 2)
    task = Task(Features(features.astype(np.float32)), np.full((n, 2), 0.5), ["a", "b"], given=given, keep=True)
    made = label(task if answers is None else Task(**{**vars(task), "answers": np.where(answers, truth, -1)}))
    known = np.full(n, -1) if answers is None else np.where(answers, truth, -1)
    assert made.corrected.estimate is not None
    return given_errors(made.corrected.estimate, given, known), given != truth


def test_where_classes_may_overlap_no_share_is_said_but_bounds_that_hold_it() -> None:
    for wrong_share in (0.0, 0.2):
        errors, wrong = audited(1.2, wrong_share)
        assert not errors.told
        share, low, high = errors.share(np.arange(200))
        assert share is None
        assert low <= wrong.mean() <= high < 0.6
    words = wrong_labels_in_words((share, low, high))
    assert "cannot be told from the images" in words
    assert f"{high:.1%} are contradicted" in words


def test_where_classes_lie_apart_the_share_is_said() -> None:
    errors, wrong = audited(12.0, 0.2)
    share, low, high = errors.share(np.arange(200))
    assert share is not None
    assert abs(share - wrong.mean()) < 0.05
    assert low <= share <= high
    assert "estimate that" in wrong_labels_in_words((share, low, high))
    unclear, _ = audited(1.2, 0.2)
    assert together([errors, errors])[0] is not None
    assert together([errors, unclear])[0] is None


def test_answers_make_it_a_share_and_count_as_what_they_are() -> None:
    seen = np.zeros(200, dtype=bool)
    seen[:80] = True
    errors, wrong = audited(3.0, 0.3, seen)
    assert errors.told
    assert np.array_equal(errors.wrong[:80], wrong[:80])
    share = errors.share(np.arange(200))[0]
    assert share is not None
    assert abs(share - wrong.mean()) < 0.12


def test_answers_make_bounds_of_a_finding_and_no_share() -> None:
    rng, count = np.random.default_rng(3), 200
    truth = np.arange(count) % 2
    points = rng.normal(size=(count, 24)) + 3.0 * truth[:, None] * np.eye(24)[0]
    seen = rng.permutation(count)[:80]
    answers = np.full(count, -1)
    answers[seen] = truth[seen]
    for wrong_share in (0.0, 0.3):
        given = thrown(truth, wrong_share, 2)
        task = Task(
            Features(points.astype(np.float32)), np.full((count, 2), 0.5), ["no mass", "mass"], given=given, keep=True,
            answers=answers,
        )  # fmt: skip
        made = label_findings([task])
        rates = findings_audit([task], made, None, None, {}, 0)[1]["error_rates"]
        share, low, high = rates["mass"]
        assert share is None
        assert low == round(float((given != truth)[seen].sum()) / count, 4)
        assert low <= (given != truth).mean() <= high
        assert rates["all"] == rates["mass"]


def test_an_interval_holds_its_share() -> None:
    share, low, high = error_rate(np.full(30, 0.001))
    assert low <= share <= high
