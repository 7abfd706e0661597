"""Whether `autoannotate certify` keeps its promise: a method's labels, a perfect clinician, and the truth of what was promised.

Each run draws its own sample of labels, the clinician answers it, and the certified set is compared with the truth. Labels are
made anew every 20 runs only, without a student, because what is tested is the draw: the promise is one over its randomness.

`promise kept` is the share of runs in which at most `--max-error` of the certified set was wrong. `certified` and `reviewed`
are shares of all labels. `set error` is the share wrong in the certified set, `error` in all labels before, and `found` in the
sample that was reviewed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from autoannotate.answers.certification.sample import certify, draw_sample, fingerprint
from autoannotate.answers.store import Answer
from autoannotate.errors import UsageError
from autoannotate.evaluation.protocols import noise
from autoannotate.evaluation.study import Outcome
from autoannotate.runs.run import LABELS, SUSPECTS, UNREADABLE, Run

if TYPE_CHECKING:
    from autoannotate.evaluation.labelled_set import LabelledSet
    from autoannotate.evaluation.study import Options, Study
    from autoannotate.evaluation.task import Solution

BASELINE = "given"
DEFAULT = ("given", "knn", "ours")
HEADLINE = ("promise_kept", "certified", "reviewed")
LOWER = frozenset({"reviewed", "set_error", "error", "found"})
OPTIONS = frozenset({"count", "noise", "pixels", "model", "fast", "max_error"})
CURVE = None
LEAST = noise.LEAST
REUSE = 20
CLINICIAN = "simulated"


def methods() -> tuple[str, ...]:
    return noise.methods()


def check(data: LabelledSet, options: Options) -> None:
    if not 0 < options.max_error < 1:
        raise UsageError(f"--max-error is a share between 0 and 1, as in 0.02 for 2%; {options.max_error:g} is not.")
    noise.check(data, options)


def run_once(study: Study, seed: int, method: str) -> Outcome:
    """One sample of one method's labels: is at most `max_error` of the certified set wrong, and how large is it?

    promise_kept: 1 or 0. certified, reviewed: shares of all labels. set_error: share wrong in the certified set. error: of
    all labels before. found: share wrong in the sample.
    """
    first = min(study.samples)
    labelled = first + (seed - first) // REUSE * REUSE
    annotations, truth, name = study.once(method, labelled, lambda: make_annotations(study, labelled, method))
    sample = draw_sample(annotations, max_error=study.options.max_error, seed=seed, labels_sha256=name)
    answers = [Answer(path, CLINICIAN, "label", truth[path]) for path in sample.paths]
    certificate = certify(annotations, sample, answers, labels_sha256=name)

    table = certificate.table
    wrong = int((table["label"] != table["path"].map(truth)).sum())
    before = annotations.table["label"] != annotations.table["path"].map(truth)
    return Outcome(
        {
            "promise_kept": float(wrong <= study.options.max_error * len(table) + 1e-9),
            "certified": len(table) / len(before),
            "reviewed": len(sample.paths) / len(before),
            "set_error": wrong / max(len(table), 1),
            "error": float(before.mean()),
            "found": certificate.found / len(sample.paths),
        }
    )


def make_annotations(study: Study, seed: int, method: str) -> tuple[Run, dict[str, str], str]:
    """What a method makes of noisy labels, as a run would have it; the true class of each path; the labels' fingerprint."""
    from autoannotate.evaluation.methods import solve

    problem, truth = noise.make_problem(study, seed)
    solution = solve(method, replace(problem, student="none"))
    names = np.array(problem.class_names, dtype=object)
    known = dict(zip(problem.image_names, names[truth], strict=True))
    annotations = as_annotations(solution, list(problem.image_names), names, problem.given)
    return annotations, known, fingerprint(annotations)


def as_annotations(solution: Solution, paths: list[str], names: np.ndarray, given: np.ndarray) -> Run:
    """Labels and confidences as a run keeps them; where a method gives no probabilities, by its doubt."""
    import pandas as pd

    labels = solution.labels
    if solution.probabilities is not None:
        confidence = solution.probabilities[np.arange(len(labels)), labels]
    elif solution.doubt is not None:
        confidence = 1 - solution.doubt.argsort().argsort() / len(labels)
    else:
        confidence = np.ones(len(labels))
    table = pd.DataFrame(
        {
            "path": paths,
            "label": names[labels],
            "confidence": confidence,
            "source": "student",
            "suspect": 0,
            "suspect_score": 1 - confidence,
            "clip_label": names[given],
            "clip_confidence": 1.0,
        },
        columns=LABELS,
    )
    return Run(table, pd.DataFrame(columns=SUSPECTS), pd.DataFrame(columns=UNREADABLE), {"classes": list(names)})
