"""What is known of several findings an image before they are labelled: `answers.supervision`, finding by finding.

A run keeps given and trusted values in columns of findings.csv, and groups in one of labels.csv.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoannotate.answers.given_findings import GivenFindings, read_given_findings
from autoannotate.answers.given_labels import GivenLabels
from autoannotate.answers.groups import read_groups
from autoannotate.answers.supervision import GROUP, Supervision, groups_joined, skipped_rows
from autoannotate.errors import AutoannotateError
from autoannotate.runs import history

if TYPE_CHECKING:
    import pandas as pd

    from autoannotate.images import ImageRef
    from autoannotate.runs.run import Run

GIVEN, TRUSTED = "given_value", "trusted_value"
UNKNOWN = -1
Values = tuple[int, ...]  # of each finding, 1, 0 or -1


class FindingsSupervision(Supervision[Values]):
    """What is known of images with several findings each."""

    def arguments(self, paths: Sequence[str], findings: Sequence[str], keep: bool = True) -> dict[str, Any]:
        """As arguments of `FindingsAnnotator.tasks`. keep: given values are never changed."""
        told: dict[str, Any] = {}
        if self.given is not None:
            told |= {"given": _stacked(self.given, paths, len(findings)), "keep": keep}
        if self.groups is not None:
            told["groups"] = np.array([self.groups[path] for path in paths], dtype=np.int64)
        if self.trusted:
            told["answers"] = _stacked(self.trusted, paths, len(findings))
        return told

    def kept_in(self, run: Run) -> Run:
        """The run with a column for each thing that is known."""
        assert run.findings is not None
        table, findings, names = run.table, run.findings, list(run.record.classes)
        if self.groups is not None:
            table = table.assign(**{GROUP: [str(self.groups[path]) for path in table["path"]]})
        for name, values in ((GIVEN, self.given), (TRUSTED, self.trusted or None)):
            if values is not None:
                findings = findings.assign(**{name: _column(findings, values, names)})
        return replace(run, table=table, findings=findings)


def read_findings_supervision(
    refs: Sequence[ImageRef],
    findings: Sequence[str],
    *,
    given: GivenFindings | None = None,
    groups: str | None = None,
    trusted: str | Path | None = None,
    skip_problems: bool = False,
) -> FindingsSupervision:
    """What is known of images that are labelled or audited for the first time.

    Parameters
    ----------
    given : values that exist
    groups : see `answers.groups.read_groups`
    trusted : a table of values that are right, of some images and findings, see `answers.given_findings`
    skip_problems : go on without the rows that do not fit

    Raises
    ------
    InputError
        Where the groups or trusted values do not fit the images or the findings.
    """
    paths = [ref.path for ref in refs]
    ids = None if groups is None else read_groups(groups, refs, _listed(given), skip_problems)
    gold = None if trusted is None else read_given_findings(
        trusted, refs, findings, partial=True, skip_problems=skip_problems
    )  # fmt: skip
    return FindingsSupervision(
        None if given is None else _by_path(paths, given.values),
        None if ids is None else dict(zip(paths, ids.numbers.tolist(), strict=True)),
        {} if gold is None else _told(_by_path(paths, gold.values)),
        {} if given is None else {each.path: each.problem for each in given.problems},
        skipped_rows(trusted, () if gold is None else gold.problems)
        + skipped_rows(groups, () if ids is None else ids.problems),
    )


def findings_supervision_of(run: Run, refs: Sequence[ImageRef]) -> FindingsSupervision:
    """What a run knows of its images, and of those that joined since: theirs is looked up in the files that the run names.

    A new image without a row in the table of an audit cannot take part; one without a group is a group of its own.
    """
    here, names, arguments = [ref.path for ref in refs], list(run.record.classes), run.record.arguments
    known = set(run.table["path"])
    new = [path for path in here if path not in known]
    source, without = str(arguments.get("labels") or ""), {}
    found = _read(source, refs, names, arguments) if new and run.record.given else None
    given: dict[str, Values] | None = None
    if run.record.given:
        given = _values(run.findings, GIVEN, names) or _first_values(run, names)
        said = {} if found is None else _by_path(here, found.values)
        listed = set() if found is None else {path for path, there in zip(here, found.listed, strict=True) if there}
        for path in (each for each in here if each not in given):
            if path in listed:
                given[path] = said[path]
            else:
                without[path] = f"has no row in {source}"
    groups = None
    if GROUP in run.table:
        groups = groups_joined(run, refs, _listed(found), bool(new))
    trusted = _values(run.findings, TRUSTED, names)
    if new and arguments.get("trusted"):
        gold = _read(str(arguments["trusted"]), refs, names, {}, partial=True)
        said = {} if gold is None else _by_path(here, gold.values)
        trusted |= {path: said[path] for path in new if path in said}
    return FindingsSupervision(given, groups, _told(trusted), without)


def _read(
    source: str, refs: Sequence[ImageRef], names: Sequence[str], policies: Mapping[str, Any], partial: bool = False
) -> GivenFindings | None:
    wanted = {name: str(policies[name]) for name in ("blank", "uncertain") if policies.get(name)}
    try:
        return read_given_findings(source, refs, names, skip_problems=True, partial=partial, **wanted)
    except AutoannotateError:  # the file is gone, or says nothing of these images
        return None


def _listed(given: GivenFindings | None) -> GivenLabels | None:
    """The rows of a table of findings as `read_groups` wants them."""
    if given is None:
        return None
    return GivenLabels(["listed" if there else "" for there in given.listed], columns=given.columns, where=given.where)


def _by_path(paths: Sequence[str], values: NDArray[np.int64]) -> dict[str, Values]:
    return {path: tuple(row) for path, row in zip(paths, values.tolist(), strict=True)}


def _told(values: Mapping[str, Values]) -> dict[str, Values]:
    """Those of which anything is known."""
    return {path: row for path, row in values.items() if any(value != UNKNOWN for value in row)}


def _stacked(values: Mapping[str, Values], paths: Sequence[str], count: int) -> NDArray[np.int64]:
    unknown = (UNKNOWN,) * count
    return np.array([values.get(path, unknown) for path in paths], dtype=np.int64).reshape(len(paths), count)


def _column(findings: pd.DataFrame, values: Mapping[str, Values], names: Sequence[str]) -> list[int]:
    unknown, number = (UNKNOWN,) * len(names), {name: f for f, name in enumerate(names)}
    return [
        values.get(path, unknown)[number[name]]
        for path, name in zip(findings["path"], findings["finding"], strict=True)
    ]


def _values(findings: pd.DataFrame | None, column: str, names: Sequence[str]) -> dict[str, Values]:
    """A column of findings.csv by path; nothing where the run has none."""
    if findings is None or column not in findings:
        return {}
    wide = findings.assign(**{column: findings[column].astype(int)}).pivot(
        index="path", columns="finding", values=column
    )
    return {
        str(path): tuple(int(value) for value in row)
        for path, row in zip(wide.index, wide[list(names)].to_numpy(), strict=True)
    }


def _first_values(run: Run, names: Sequence[str]) -> dict[str, Values]:
    """Runs before `given_value` was a column: the values of the first round."""
    assert run.folder is not None
    return _values(history.load_round(run.folder, 0).findings, "value", names)
