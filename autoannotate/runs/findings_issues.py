"""issues.csv of an audit of several findings an image: each finding's labels, and what is wrong with the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoannotate.labelling.findings import BROKEN, PRESENT, UNDECIDED, area_of_given, can_be_told, doubted
from autoannotate.labelling.label_errors.error_rates import GivenErrors, given_errors, together
from autoannotate.labelling.label_errors.issues import Audited, Issue, find_issues
from autoannotate.runs.build_findings import joined
from autoannotate.runs.delimited import column_key
from autoannotate.runs.issues import SITES, SPLIT, quality_of, rounded
from autoannotate.runs.run import ISSUES

if TYPE_CHECKING:
    from autoannotate.images.quality import Appearance
    from autoannotate.labelling.findings import LabelledFindings
    from autoannotate.labelling.pipeline import Labelled
    from autoannotate.labelling.rules import Rules
    from autoannotate.labelling.task import Task
    from autoannotate.labelling.zero_shot.image_kinds import NoneOfThese

OF_CLASSES = ("label", "class")  # issues that are told of each finding instead


def findings_audit(
    tasks: Sequence[Task],
    labelled: LabelledFindings,
    look: Appearance | None,
    foreign: NoneOfThese | None,
    columns: Mapping[str, Sequence[str]],
    seed: int,
    rules: Rules | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The issues with the columns of issues.csv, worst first, and what run.json keeps of the audit.

    An issue of a finding has the given value as its label, `effusion` or `no effusion`; one of an image all its findings.

    Parameters
    ----------
    tasks, labelled : of F findings, as `labelling.findings` has them; the values given with the tasks are doubted
    look, columns : as for `runs.issues.audited`
    foreign : which images look like no kind of image that the findings are seen on
    """
    rows: list[tuple[float, str, str, str, str, str]] = [*_wrong_values(tasks, labelled)]
    audited = _of_images(tasks, labelled, look, foreign, columns)
    for each in find_issues(audited):
        if each.kind not in OF_CLASSES and not (each.row is None and each.label is not None):
            rows.append((each.score, *_row(each, audited)))
    rows += _broken(tasks, labelled, rules)
    rows.sort(key=lambda row: (-row[0], row[1], row[4]))
    table = pd.DataFrame(rows, columns=["score", "path", "label", "suggested_label", "issue", "detail"])
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    errors = {
        name: found
        for name, task, part, about in zip(
            labelled.names, tasks, labelled.of_each, told_apart(tasks, labelled).values(), strict=True
        )
        if about["meaningful"] and (found := _errors(task, part)) is not None
    }
    rates: dict[str, list[float | None] | None] = {"all": None}  # unknown where no finding can be told
    rates |= {name: rounded(found.share(np.arange(len(found.wrong)), seed)) for name, found in errors.items()}
    if errors:
        rates["all"] = rounded(together(list(errors.values()), seed))
    told = {"issues": dict(Counter(table["issue"])), "error_rates": rates, "annotators": {}}
    return table[list(ISSUES)], told


def given_values(tasks: Sequence[Task]) -> NDArray[np.int64]:
    """(N, F), the values that came with the tasks, -1 unknown."""
    return np.stack([np.full(len(task), UNDECIDED) if task.given is None else task.given for task in tasks], axis=1)


def _broken(
    tasks: Sequence[Task], labelled: LabelledFindings, rules: Rules | None
) -> Iterator[tuple[float, str, str, str, str, str]]:
    """Images whose values, given or answered since, break a rule, with the nearest values that keep it."""
    if rules is None or labelled.likeliest is None:
        return
    names, paths = labelled.names, tasks[0].names
    known = given_values(tasks)
    known = np.where(np.stack([task.answered for task in tasks], axis=1), labelled.values, known)
    for row in np.flatnonzero(rules.breaks(known) & ~labelled.excluded).tolist():
        values = dict(zip(names, known[row].tolist(), strict=True))
        given, rather = (joined(names, each[row] == PRESENT) for each in (known, labelled.likeliest))
        yield BROKEN, paths[row], given, rather, "rule", f"breaks the rule: {'; '.join(rules.broken(values))}"


def told_apart(tasks: Sequence[Task], labelled: LabelledFindings) -> dict[str, dict[str, Any]]:
    """Of each finding whether its given values can be predicted from the images at all: the area under the ROC curve of
    out-of-sample probabilities, with a 95% interval, as words and numbers for run.json."""
    found: dict[str, dict[str, Any]] = {}
    values = given_values(tasks)
    for f, (name, part) in enumerate(zip(labelled.names, labelled.of_each, strict=True)):
        measured = area_of_given(values[:, f], part)
        if measured is None:
            ours, theirs = ((values[part.rows, f] == value).sum() for value in (1, 0))
            there = f"{ours:,} images with it and {theirs:,} without"
            if not theirs and (values[part.rows, f] != UNDECIDED).sum() < len(values):
                there += ", and a blank counts as unknown: where it means absent, say --blank zeros"
            found[name] = {"meaningful": False, "trust": 0.0, "verdict": f"Too few to say: {there}."}
            continue
        (area, low, high), told = measured, can_be_told(measured)
        verdict = f"AUROC {area:.2f} (95% interval {low:.2f} to {high:.2f}) of the other images for the given values"
        found[name] = {
            "meaningful": told, "trust": round(max(0.0, 2 * area - 1), 4), "auroc": [round(x, 4) for x in (area, low, high)],
            "verdict": f"{verdict}{'' if told else ': they cannot be told from the images, and doubts are guesses'}.",
        }  # fmt: skip
    return found


def _errors(task: Task, part: Labelled) -> GivenErrors | None:
    """What is known of the errors of a finding's known values; None where there is none.

    Answers tell no share: that of models they teach is mostly not held by its interval, see `eval/findings/error_rate.md`, and
    answers to suspects are no random sample. They count in the bounds as what they are; a random sample is `certify`'s.
    """
    assert task.given is not None
    given, truth = task.given[part.rows], task.truth[part.rows]
    known = given != UNDECIDED
    noise = part.corrected.estimate
    if noise is None or not known.any():
        return None
    found = given_errors(noise, np.where(known, given, 0), truth)
    return replace(
        found,
        told=found.told and noise.explanation != "answers",
        wrong=found.wrong[known],
        certain=found.certain[known],
        contradicted=found.contradicted[known],
    )


def _wrong_values(tasks: Sequence[Task], labelled: LabelledFindings) -> Iterator[tuple[float, str, str, str, str, str]]:
    """Values that an answer contradicts; and those that the images do, as many as were flagged, and all that are rather wrong
    than right."""
    names, told = tasks[0].names, told_apart(tasks, labelled)
    for f, (task, part) in enumerate(zip(tasks, labelled.of_each, strict=True)):
        assert task.given is not None
        name, about = labelled.names[f], told[labelled.names[f]]
        for row in np.flatnonzero(task.answered & (task.given >= 0) & (task.truth != task.given)).tolist():
            given, rather = (task.class_names[int(each[row])] for each in (task.given, task.truth))
            yield 1.0, names[row], given, rather, "label", f"{name}: {rather}, by an answer"
        if not about["meaningful"]:  # what cannot be predicted cannot be doubted either
            yield 0.25, "", name, "", "class", f"{name}: {about['verdict']}"
            continue
        doubt, reasons = np.zeros(len(task)), [""] * len(task)
        doubt[part.rows] = part.corrected.doubt
        for row, why in zip(part.rows.tolist(), part.corrected.queue.reasons, strict=True):
            reasons[row] = why
        for row in doubted(np.where(task.answered, UNDECIDED, task.given), part).tolist():
            value = int(task.given[row])
            given, rather = task.class_names[value], task.class_names[1 - value]
            why = reasons[row] if part.labels[row] == value else ""  # else it is of the value that was put there
            yield (
                float(doubt[row]),
                names[row],
                given,
                rather,
                "label",
                f"{name}: {why or f'rather {rather}, by the other images'}",
            )


def _of_images(
    tasks: Sequence[Task],
    labelled: LabelledFindings,
    look: Appearance | None,
    foreign: NoneOfThese | None,
    columns: Mapping[str, Sequence[str]],
) -> Audited:
    """What is known of the images, the class of each being all of its findings together; no label is doubted here."""
    first, present = tasks[0], labelled.values == PRESENT
    together, labels = np.unique(present, axis=0, return_inverse=True)
    labels = labels.reshape(-1).astype(np.int64)
    logs = np.log(np.clip(np.stack([1.0 - labelled.probability, labelled.probability]), 1e-6, 1.0))
    likely = np.exp(logs[0] @ (~together.T) + logs[1] @ together.T)
    cells = {column_key(name): np.array(values) for name, values in columns.items()}
    split = next((cells[name] for name in SPLIT if name in cells), None)
    count = len(first)
    return Audited(
        labels, [joined(labelled.names, row) for row in together], first.names, np.zeros(count), np.zeros(count, dtype=bool),
        labels, likely, first.features.neighbours, (),
        None if look is None else look.thumbnails, quality_of(look), foreign, None,
        first.groups, split, {name: cells[name] for name in SITES if name in cells},
    )  # fmt: skip


def _row(each: Issue, audited: Audited) -> tuple[str, str, str, str, str]:
    names = [*audited.class_names, ""]
    return (
        "" if each.row is None else audited.image_names[each.row],
        names[-1 if each.label is None else each.label],
        names[-1 if each.suggested is None else each.suggested],
        each.kind,
        each.detail,
    )
