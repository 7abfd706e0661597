"""What an audit adds to a run: its labels are the given ones, and `issues` says what is wrong with them."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.progress import Track
from autoannotate.answers.given_findings import read_given_findings
from autoannotate.answers.given_labels import read_given_labels
from autoannotate.errors import AutoannotateError
from autoannotate.images import read_image
from autoannotate.images.quality import Appearance, measure
from autoannotate.labelling.label_errors.error_rates import given_errors
from autoannotate.labelling.label_errors.issues import find_issues
from autoannotate.labelling.zero_shot.image_kinds import none_of_these
from autoannotate.runs.build import told_of_none
from autoannotate.runs.build_findings import overall
from autoannotate.runs.findings_issues import findings_audit, told_apart
from autoannotate.runs.issues import audit_record, audited, issues_table, wrong_labels_in_words
from autoannotate.runs.tables import DECIMALS

if TYPE_CHECKING:
    import pandas as pd

    from autoannotate.annotator.rounds import Reopened
    from autoannotate.answers.given_labels import GivenLabels
    from autoannotate.images import ImageRef
    from autoannotate.labelling.findings import LabelledFindings
    from autoannotate.labelling.pipeline import Labelled
    from autoannotate.labelling.rules import Rules
    from autoannotate.labelling.task import Task
    from autoannotate.labelling.zero_shot.image_kinds import ImageKinds
    from autoannotate.runs.run import Run

OF_LABELS = ("label", "class", "rule")
"""Issues that answers change; the others are of the pictures and of the labels that came with them."""
SETTLED = ("contradiction", "none-of-these")  # issues that an answer about the image settles
OF_PICTURES = ("pairs", "leaks")


def appearance(refs: Sequence[ImageRef], track: Track) -> Appearance:
    """What is measured of each picture for its quality and its copies."""
    return measure(read_image(ref) for ref in track(refs, "looking at the pictures", len(refs)))


def cells_of(columns: Mapping[str, Sequence[str]], rows: Sequence[int] | np.ndarray) -> dict[str, list[str]]:
    """The columns of the labels' table for some of its images."""
    return {name: [cells[row] for row in rows] for name, cells in columns.items()}


def with_problems(run: Run, problems: Mapping[str, str], source: Any) -> Run:
    """The run with a row of `unreadable` for each image whose label could not be used. problems: by path, what is wrong."""
    unreadable = run.unreadable.copy()
    for path, why in problems.items():
        unreadable.loc[len(unreadable)] = [path, f"{why} in {source}"]
    return replace(run, unreadable=unreadable)


def audited_run(
    made: Run,
    task: Task,
    labelled: Labelled,
    look: Appearance | None,
    given: GivenLabels | None,
    rows: np.ndarray,
    seed: int,
    before: Run | None = None,
) -> Run:
    """The run of an audit of one label an image.

    Parameters
    ----------
    made : the run as after `label`
    look : of the pictures; None where they are as they were in `before`, whose issues of pictures then stay
    given : the labels' table, None where it cannot be read any more
    rows : (N,) int, by image of the run its row in `given`
    before : the run that is updated
    """
    rows, task = rows[labelled.rows], task.take(labelled.rows)
    state = audited(task, labelled, look, {} if given is None else cells_of(given.columns, rows))
    issues = find_issues(state)
    number = {"": -1} | {name: k for k, name in enumerate(task.class_names)}
    votes = {
        who: np.array([number[each[row]] for row in rows], dtype=np.int64)
        for who, each in ({} if given is None else given.votes).items()
    }
    copies = [each.row for each in issues if each.kind == "contradiction" and each.row is not None]
    assert labelled.corrected.estimate is not None  # every correction has one
    errors = given_errors(labelled.corrected.estimate, state.labels, task.truth, copies)
    audit = audit_record(issues, state, errors, votes, seed)
    rate = audit["error_rates"]["all"][0]
    verdict = f"{wrong_labels_in_words(audit['error_rates']['all'])}.{told_of_none(labelled.none_of_these)}"
    table, settled = issues_table(issues, state), {task.names[i] for i in np.flatnonzero(task.answered).tolist()}
    if before is not None:
        table, audit = _together(table, audit, before, look is not None, settled, made)
        verdict += "" if task.keep else _as_they_are(made.record.estimated_error_rate)
    record = {
        **made.run,
        "given": True,
        "audit": audit,
        "estimated_error_rate": made.record.estimated_error_rate if before is not None and not task.keep else rate,
        "reliability": {**made.run["reliability"], "verdict": verdict},
    }
    return replace(made, run=record, issues=_worst_first(table))


def audited_again(
    made: Run, task: Task, labelled: Labelled, before: Run, now: Reopened, refs: Sequence[ImageRef], track: Track
) -> Run:
    """The run of an audit that is updated: its given labels doubted anew, by what the answers say.

    Pictures are looked at again only where some are new, gone or changed.

    Parameters
    ----------
    refs : of the images that are labelled
    """
    look, given = None, None
    if now.files or before.issues is None:
        look = appearance(refs, track)
        with contextlib.suppress(AutoannotateError):  # the table is gone: nothing is known beside the labels
            given = read_given_labels(
                str(before.record.arguments.get("labels") or ""), refs, skip_problems=True, partial=True
            )
    return audited_run(made, task, labelled, look, given, np.arange(len(refs)), before.record.seed, before)


def audited_findings_run(
    made: Run,
    tasks: Sequence[Task],
    labelled: LabelledFindings,
    look: Appearance | None,
    columns: Mapping[str, Sequence[str]],
    foreign: ImageKinds | None,
    rules: Rules | None,
    before: Run | None = None,
) -> Run:
    """The run of an audit of several findings an image. Parameters are as for `audited_run`, columns: of the labels' table."""
    none = None if foreign is None else none_of_these(foreign, neighbours=tasks[0].features.wide_neighbours)
    table, audit = findings_audit(tasks, labelled, look, none, columns, tasks[0].seed, rules)
    rates = audit["error_rates"]
    about = {
        name: {**each, **told, "estimated_error_rate": rates[name][0] if name in rates else None}
        for (name, each), told in zip(made.run["findings"].items(), told_apart(tasks, labelled).values(), strict=True)
    }
    settled = {tasks[0].names[i] for i in np.flatnonzero(np.all([task.answered for task in tasks], axis=0)).tolist()}
    if before is not None:
        table, audit = _together(table, audit, before, look is not None, settled, made)
    now = made.record.estimated_error_rate
    record = {
        **made.run,
        "given": True,
        "audit": audit,
        "findings": about,
        "estimated_error_rate": (rates["all"] and rates["all"][0]) if tasks[0].keep else now,
        "reliability": overall(about, given=True),
    }
    return replace(made, run=record, issues=_worst_first(table))


def audited_findings_again(
    made: Run,
    tasks: Sequence[Task],
    labelled: LabelledFindings,
    before: Run,
    now: Reopened,
    refs: Sequence[ImageRef],
    foreign: ImageKinds | None,
    rules: Rules | None,
    track: Track,
) -> Run:
    """The same of several findings an image, see `audited_again`."""
    look, columns = None, {}
    if now.files or before.issues is None:
        look = appearance(refs, track)
        with contextlib.suppress(AutoannotateError):
            source = str(before.record.arguments.get("labels") or "")
            columns = read_given_findings(source, refs, list(labelled.names), skip_problems=True).columns
    return audited_findings_run(made, tasks, labelled, look, columns, foreign, rules, before)


def _as_they_are(rate: float | None) -> str:
    return "" if rate is None else f" Of the labels as they are now an estimated {rate:.1%} are."


def _together(
    table: pd.DataFrame, audit: dict[str, Any], before: Run, looked: bool, settled: Container[str], made: Run
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The issues of an update: those of pictures stay where these did, and what clinicians have settled is none any more.

    settled: paths that clinicians answered, or whose near duplicate they did.
    """
    import pandas as pd

    previous = before.record.audit or {}
    if not looked and before.issues is not None:
        table = table[table["issue"].isin(OF_LABELS)]
        old = before.issues[~before.issues["issue"].isin(OF_LABELS)]
        table = pd.concat([table, old[old["path"].isin({"", *made.table["path"]})]], ignore_index=True)
        audit = {**audit, **{name: previous[name] for name in OF_PICTURES if name in previous}}
    if previous.get("annotators") and not audit["annotators"]:
        audit = {**audit, **{name: previous[name] for name in ("annotators", "tied") if name in previous}}
    done = table["issue"].isin(SETTLED) & table["path"].map(lambda path: path in settled).astype(bool)
    table = table[~done]
    return table, {**audit, "issues": dict(Counter(table["issue"]))}


def _worst_first(table: pd.DataFrame) -> pd.DataFrame:
    """The issues by score, to the decimals that are saved, so that an update of nothing leaves them as they are."""
    order = table.assign(score=table["score"].round(DECIMALS)).sort_values(
        ["score", "path", "issue", "detail"], ascending=[False, True, True, True], kind="stable"
    )
    return order.assign(rank=np.arange(1, len(order) + 1)).reset_index(drop=True)
