"""What an audit adds to a run: its labels are the given ones, and `issues` says what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.progress import Track
from autoannotate.images import read_image
from autoannotate.images.quality import Appearance, measure
from autoannotate.labelling.label_errors.issues import find_issues
from autoannotate.runs.build import told_of_none
from autoannotate.runs.issues import audit_record, audited, issues_table

if TYPE_CHECKING:
    from autoannotate.answers.given_labels import GivenLabels
    from autoannotate.images import ImageRef
    from autoannotate.labelling.pipeline import Labelled
    from autoannotate.labelling.task import Task
    from autoannotate.runs.run import Run


def appearance(refs: Sequence[ImageRef], track: Track) -> Appearance:
    """What is measured of each picture for its quality and its copies."""
    return measure(read_image(ref) for ref in track(refs, "looking at the pictures", len(refs)))


def cells_of(columns: Mapping[str, Sequence[str]], rows: np.ndarray) -> dict[str, list[str]]:
    """The columns of the labels' table for some of its images."""
    return {name: [cells[row] for row in rows] for name, cells in columns.items()}


def with_problems(run: Run, problems: Mapping[str, str], source: Any) -> Run:
    """The run with a row of `unreadable` for each image whose label could not be used. problems: by path, what is wrong."""
    unreadable = run.unreadable.copy()
    for path, why in problems.items():
        unreadable.loc[len(unreadable)] = [path, f"{why} in {source}"]
    return replace(run, unreadable=unreadable)


def audited_run(
    made: Run, task: Task, labelled: Labelled, look: Appearance, given: GivenLabels, rows: np.ndarray, seed: int
) -> Run:
    """The run of an audit of one label an image.

    Parameters
    ----------
    made : the run as after `label`
    rows : (N,) int, by image of the run its row in `given`
    """
    state = audited(task, labelled, look, cells_of(given.columns, rows))
    issues = find_issues(state)
    number = {"": -1} | {name: k for k, name in enumerate(task.class_names)}
    votes = {who: np.array([number[each[row]] for row in rows], dtype=np.int64) for who, each in given.votes.items()}
    wrong = 1.0 - labelled.corrected.probabilities[np.arange(len(rows)), state.labels]
    contradicted = [each.row for each in issues if each.kind == "contradiction" and each.row is not None]
    wrong[contradicted] = np.maximum(wrong[contradicted], 0.5)  # of two copies with different labels one is wrong
    audit = audit_record(issues, state, wrong, votes, seed, labelled.corrected.probabilities)
    rate, low, high = audit["error_rates"]["all"]
    verdict = (
        f"An estimated {rate:.1%} of the given labels are wrong (95% interval {low:.1%} to {high:.1%})."
        f"{told_of_none(labelled.none_of_these)}"
    )
    record = {
        **made.run,
        "given": True,
        "audit": audit,
        "estimated_error_rate": rate,
        "reliability": {**made.run["reliability"], "verdict": verdict},
    }
    return replace(made, run=record, issues=issues_table(issues, state))
