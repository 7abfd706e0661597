"""Answers about several findings an image: what the readers say together of each finding, and the run with it in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from autoannotate.answers.consensus import consensus
from autoannotate.answers.importers import Given
from autoannotate.answers.merge import LABEL_OF
from autoannotate.answers.store import Answer
from autoannotate.runs.finding_words import UNSURE, values_of
from autoannotate.runs.run import SEPARATOR, Run

if TYPE_CHECKING:
    import pandas as pd

OPEN = -1


@dataclass(frozen=True, eq=False)
class AnsweredFindings:
    """What the readers' answers say of N images and F findings.

    Attributes
    ----------
    answers : (N, F) 1, 0, or -1 where nobody said
    quality : (N, F) in [0, 1], of the consensus, 1 where readers agree
    unsure : (N, F) bool, looked at, and nobody could tell, or readers are tied
    excluded : (N,) bool, not usable
    read : (N,) bool, somebody answered
    """

    answers: np.ndarray
    quality: np.ndarray
    unsure: np.ndarray
    excluded: np.ndarray
    read: np.ndarray


def answered_findings(standing: Sequence[Answer], paths: Sequence[str], names: Sequence[str]) -> AnsweredFindings:
    """The consensus of the readers on each finding: a vote a finding, as `answers.consensus` counts those of classes."""
    row_of = {path: i for i, path in enumerate(paths)}
    shape = len(paths), len(names)
    answers, quality, unsure = np.full(shape, OPEN), np.ones(shape), np.zeros(shape, dtype=bool)
    excluded, read = np.zeros(len(paths), dtype=bool), np.zeros(len(paths), dtype=bool)
    here = [answer for answer in standing if answer.path in row_of]
    for f, name in enumerate(names):
        votes = [vote_about(answer, name, names) for answer in here]
        for path, one in consensus([vote for vote in votes if vote is not None], ("0", "1")).images.items():
            row = row_of[path]
            if one.tied or one.verdict == "unsure":
                unsure[row, f] = True
            elif one.verdict == "discard":
                excluded[row] = True
            elif one.label is not None:
                answers[row, f] = int(one.label)
                quality[row, f] = 1.0 if one.agreed or one.quality is None else one.quality
    read[[row_of[answer.path] for answer in here]] = True
    return AnsweredFindings(answers, quality, unsure, excluded, read)


def vote_about(answer: Answer, name: str, names: Sequence[str]) -> Answer | None:
    """What an answer says of one finding, as an answer with the class 1 or 0; None where it leaves it open."""
    if answer.verdict == "discard":
        return answer
    value = values_of(answer.verdict, answer.label, names).get(name)
    if value is None:
        return None
    return replace(
        answer, verdict="unsure" if value == UNSURE else "label", label=None if value == UNSURE else str(value)
    )


def merge_findings(run: Run, standing: Sequence[Answer]) -> Run:
    """The run with the clinicians' answers in the place of its values, and the queue without the images they settled."""
    assert run.findings is not None
    paths, names = run.table["path"].tolist(), list(run.record.classes)
    said = answered_findings(standing, paths, names)
    findings = run.findings.copy()
    row = findings["path"].map({path: i for i, path in enumerate(paths)}).to_numpy()
    column = findings["finding"].map({name: f for f, name in enumerate(names)}).to_numpy()
    answer, unsure, gone = said.answers[row, column], said.unsure[row, column], said.excluded[row]
    settled = answer != OPEN
    findings.loc[settled, "value"] = answer[settled]
    findings.loc[settled, "probability"] = np.where(
        answer == 1, said.quality[row, column], 1.0 - said.quality[row, column]
    )[settled]
    findings.loc[unsure | gone, "value"] = UNSURE
    findings.loc[settled | unsure | gone, "source"] = "clinician"
    findings.loc[settled | gone, ["suspect", "suspect_score"]] = 0
    table = run.table.copy()
    here = findings["path"].isin(table.loc[said.read, "path"])
    table.loc[said.read] = _with_findings(
        table[said.read], findings[here], names, set(np.array(paths, dtype=object)[said.excluded])
    )
    done = set(table.loc[(said.answers != OPEN).all(axis=1) | said.excluded, "path"])
    queue = run.suspects[~run.suspects["path"].isin(done)].sort_values("rank", kind="stable")
    about = {name: {**run.record.findings[name], **count} for name, count in counts_of(findings, names).items()}
    queue = queue.assign(rank=range(1, len(queue) + 1))
    return replace(run, table=table, findings=findings, suspects=queue, run={**run.run, "findings": about})


def counts_of(findings: pd.DataFrame, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many images show each finding, do not, are undecided, are asked about and were answered."""
    counts = {}
    for name in names:
        rows = findings[findings["finding"] == name]
        counts[name] = {
            what: int((rows["value"] == value).sum()) for what, value in (("present", 1), ("absent", 0), ("undecided", UNSURE))
        } | {"suspects": int(rows["suspect"].sum()), "answered": int((rows["source"] == "clinician").sum())}  # fmt: skip
    return counts


def _with_findings(
    table: pd.DataFrame, findings: pd.DataFrame, names: Sequence[str], excluded: set[str]
) -> pd.DataFrame:
    """The table of images with the labels that its findings make, and what clinicians said of all findings as theirs."""
    values: dict[str, list[str]] = {path: [] for path in table["path"]}
    by_clinician = findings["source"] == "clinician"
    there = findings[findings["value"] == 1]
    for path, name in zip(there["path"], there["finding"], strict=True):
        values[path].append(name)
    order = {name: i for i, name in enumerate(names)}
    all_answered = by_clinician.groupby(findings["path"]).all()
    score = findings.groupby("path")["suspect_score"].max()
    doubted = findings.groupby("path")["suspect"].max()
    table = table.copy()
    table["label"] = [SEPARATOR.join(sorted(values[path], key=order.__getitem__)) for path in table["path"]]
    mine = table["path"].map(all_answered).to_numpy(dtype=bool)
    table.loc[mine, "source"] = "clinician"
    table["suspect_score"] = table["path"].map(score).to_numpy()
    table.loc[mine, "suspect"] = table["path"].map(doubted).to_numpy()[mine]
    sure = np.where(findings["value"] == 1, findings["probability"], 1.0 - findings["probability"])
    table.loc[mine, "confidence"] = (
        table["path"].map(findings.assign(sure=sure).groupby("path")["sure"].min()).to_numpy()[mine]
    )
    gone = table["path"].isin(excluded)
    table.loc[gone, "label"] = LABEL_OF["discard"]
    table.loc[gone, ["source"]] = "clinician"
    table.loc[gone, ["suspect", "suspect_score"]] = 0
    return table


def together(given: Sequence[Given]) -> list[Given]:
    """The choices that one reader made for one image at once, as one answer with several findings."""
    found: dict[tuple[str, str, str, str], Given] = {}
    for one in given:
        key = one.where, one.image, one.reader, one.answered_at
        known = found.get(key)
        found[key] = one if known is None else replace(known, word=f"{known.word}{SEPARATOR}{one.word}")
    return list(found.values())
