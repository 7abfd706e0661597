"""What is known of images before they are labelled: labels that exist, groups and trusted labels, kept in a run's labels.csv.

A run keeps them in three columns, so that updates start from them, and images that join later find theirs in the same files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np

from autoannotate.answers.given_labels import GivenLabels, Problem, read_given_labels
from autoannotate.answers.groups import read_groups
from autoannotate.errors import AutoannotateError
from autoannotate.runs import history
from autoannotate.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from autoannotate.images import ImageRef

Value = TypeVar("Value")

GIVEN, GROUP, TRUSTED = "given_label", "group", "trusted_label"


@dataclass(frozen=True)
class Supervision(Generic[Value]):
    """What is known, by path; a value is a label, or what is said of each finding.

    Attributes
    ----------
    given : values that exist, of every image of an audit; None where there were none
    groups : numbers, images of one patient or lesion share one
    trusted : values that are right
    without : why an image cannot take part, where it cannot
    skipped : rows of trusted values and of groups that do not fit, as sentences
    """

    given: Mapping[str, Value] | None = None
    groups: Mapping[str, int] | None = None
    trusted: Mapping[str, Value] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    def renamed(self, paths: Mapping[str, str]) -> Self:
        """The same of images that are called otherwise. paths: the new path by the old."""
        return replace(
            self,
            given=None if self.given is None else {paths[path]: value for path, value in self.given.items()},
            groups=None if self.groups is None else {paths[path]: number for path, number in self.groups.items()},
            trusted={paths[path]: value for path, value in self.trusted.items()},
            without={paths[path]: why for path, why in self.without.items() if path in paths},
        )


class LabelSupervision(Supervision[str]):
    """What is known of images with one label each."""

    def arguments(self, paths: Sequence[str], classes: Sequence[str], keep: bool = True) -> dict[str, Any]:
        """As arguments of `labelling.task.Task`. keep: given labels are never changed."""
        number = {name: k for k, name in enumerate(classes)}
        told: dict[str, Any] = {}
        if self.given is not None:
            told |= {"given": np.array([number[self.given[path]] for path in paths], dtype=np.int64), "keep": keep}
        if self.groups is not None:
            told["groups"] = np.array([self.groups[path] for path in paths], dtype=np.int64)
        if self.trusted:
            told["answers"] = np.array([number.get(self.trusted.get(path, ""), -1) for path in paths], dtype=np.int64)
        return told

    def kept_in(self, run: Run) -> Run:
        """The run with a column of labels.csv for each thing that is known."""
        return replace(run, table=self.columns(run.table))

    def columns(self, table: pd.DataFrame) -> pd.DataFrame:
        """labels.csv with a column for each thing that is known."""
        paths, more = table["path"].tolist(), {}
        if self.given is not None:
            more[GIVEN] = [self.given[path] for path in paths]
        if self.groups is not None:
            more[GROUP] = [str(self.groups[path]) for path in paths]
        if self.trusted:
            more[TRUSTED] = [self.trusted.get(path, "") for path in paths]
        return table.assign(**more)


def read_supervision(
    refs: Sequence[ImageRef],
    *,
    given: GivenLabels | None = None,
    groups: str | None = None,
    trusted: str | Path | None = None,
    classes: Sequence[str] = (),
    skip_problems: bool = False,
) -> LabelSupervision:
    """What is known of images that are labelled or audited for the first time.

    Parameters
    ----------
    given : labels that exist
    groups : see `answers.groups.read_groups`
    trusted : a table of labels that are right, see `answers.given_labels.read_given_labels`
    skip_problems : go on without the rows that do not fit

    Raises
    ------
    InputError
        Where the groups or trusted labels do not fit the images or the classes.
    """
    paths = [ref.path for ref in refs]
    ids = None if groups is None else read_groups(groups, refs, given, skip_problems)
    gold = (
        None
        if trusted is None
        else read_given_labels(trusted, refs, skip_problems, partial=True, classes=classes, agreed=True)
    )
    unlabelled = set() if given is None else set(given.unlabelled(paths))
    return LabelSupervision(
        None if given is None else dict(zip(paths, given.labels, strict=True)),
        None if ids is None else dict(zip(paths, ids.numbers.tolist(), strict=True)),
        {} if gold is None else {path: label for path, label in zip(paths, gold.labels, strict=True) if label},
        {} if given is None else {each.path: each.problem for each in given.problems if each.path in unlabelled},
        skipped_rows(trusted, () if gold is None else gold.problems)
        + skipped_rows(groups, () if ids is None else ids.problems),
    )


def skipped_rows(source: str | Path | None, problems: Sequence[Problem]) -> tuple[str, ...]:
    """The rows of a table that do not fit, a sentence each.

    >>> from autoannotate.answers.given_labels import Problem
    >>> skipped_rows("gold.csv", [Problem("row 3", "a.png", "no such image")])
    ('gold.csv, row 3: a.png: no such image',)
    """
    return tuple(
        f"{', '.join(filter(None, (str(source), each.where)))}: {each.path}: {each.problem}" for each in problems
    )


def supervision_of(run: Run, refs: Sequence[ImageRef]) -> LabelSupervision:
    """What a run knows of its images, and of those that joined since: theirs is looked up in the files that the run names.

    A new image without a given label cannot take part in an audit; one without a group is a group of its own.
    """
    table, arguments = run.table, run.record.arguments
    here, classes = [ref.path for ref in refs], set(run.record.classes)
    new = [path for path in here if path not in set(table["path"])]
    source, without = str(arguments.get("labels") or ""), {}
    found = _read(source, refs) if new and run.record.given and source else None
    given: dict[str, str] | None = None
    if run.record.given:
        given = _column(run, GIVEN) or _first_labels(run)
        labels = {} if found is None else dict(zip(here, found.labels, strict=True))
        for path in (each for each in here if each not in given):
            label = labels.get(path, "")
            if label in classes:
                given[path] = label
            else:
                without[path] = (
                    f"is {label!r} in {source}, none of the classes" if label else f"has no label in {source}"
                )
    groups: dict[str, int] | None = None
    if GROUP in table:
        groups = groups_joined(run, refs, found, bool(new))
    trusted = _column(run, TRUSTED) if TRUSTED in table else {}
    if new and arguments.get("trusted"):
        gold = _read(str(arguments["trusted"]), refs, agreed=True)
        said = {} if gold is None else dict(zip(here, gold.labels, strict=True))
        trusted |= {path: said[path] for path in new if said.get(path) in classes}
    return LabelSupervision(given, groups, trusted, without)


def groups_joined(run: Run, refs: Sequence[ImageRef], given: GivenLabels | None, new: bool) -> dict[str, int]:
    """The groups of a run's images, and of those that joined since. given: the labels' table, where it was read again."""
    groups = {path: int(number) for path, number in _column(run, GROUP).items()}
    fresh = _groups(str(run.record.arguments.get("groups") or ""), refs, given) if new else None
    return groups | _joined(groups, [ref.path for ref in refs], fresh)


def _column(run: Run, name: str) -> dict[str, str]:
    if name not in run.table:
        return {}
    return {path: cell for path, cell in zip(run.table["path"], run.table[name].astype(str), strict=True) if cell}


def _first_labels(run: Run) -> dict[str, str]:
    """Runs before `given_label` was a column: the labels of the first round."""
    assert run.folder is not None
    first = history.load_round(run.folder, 0).table
    return dict(zip(first["path"], first["label"], strict=True))


def _read(source: str, refs: Sequence[ImageRef], agreed: bool = False) -> GivenLabels | None:
    try:
        return read_given_labels(source, refs, skip_problems=True, partial=True, agreed=agreed)
    except AutoannotateError:  # the file is gone, or says nothing of these images
        return None


def _groups(source: str, refs: Sequence[ImageRef], given: GivenLabels | None) -> list[int] | None:
    try:
        return read_groups(source, refs, given, skip_problems=True).numbers.tolist() if source else None
    except AutoannotateError:
        return None


def _joined(groups: Mapping[str, int], paths: Sequence[str], fresh: Sequence[int] | None) -> dict[str, int]:
    """Numbers for the paths that have none: that of the group they share with one that has, by the fresh numbers."""
    fresh = list(range(len(paths))) if fresh is None else fresh
    same = {new: groups[path] for path, new in zip(paths, fresh, strict=True) if path in groups}
    free, joined = max(groups.values(), default=-1) + 1, {}
    for path, new in zip(paths, fresh, strict=True):
        if path not in groups:
            joined[path] = same.setdefault(new, free)
            free = max(free, joined[path] + 1)
    return joined
