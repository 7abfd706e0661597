"""Answers that clinicians gave in other tools: checked against the run, kept, and put in the place of the labels.

All of a file is checked before anything is kept. Where something does not fit (an unknown class, an image that the run does
not have for certain, an image answered in two ways by one reader at once), nothing of it is applied unless the rest is asked
for; either way each row is in DIR/apply-report.csv. Applying a file again changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate._internal.files import OF_A_RUN, write_files
from autoannotate._internal.wording import listed
from autoannotate.answers import importers
from autoannotate.answers.account import account_of
from autoannotate.answers.checks import LEFT, NEW, PROBLEM, WAITS, Row, checked, compared, read_by
from autoannotate.answers.consensus import Consensus, consensus
from autoannotate.answers.findings import merge_findings
from autoannotate.answers.importers import Wanted
from autoannotate.answers.merge import merge_answers
from autoannotate.answers.standing import about_replaced
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError
from autoannotate.runs import history, tables
from autoannotate.runs.proposals import recounted
from autoannotate.runs.run import Run
from autoannotate.runs.save import contents

if TYPE_CHECKING:
    import pandas as pd

REPORT = "apply-report.csv"
COLUMNS = ("where", "path", "reader", "answer", "outcome", "problem")


@dataclass(frozen=True)
class Applied:
    """What applying a file did.

    Attributes
    ----------
    report : the columns `COLUMNS`, a row an answer
    unseen : labels left as they were
    account : what became of all answers that the run has, see `account.account_of`
    """

    annotations: Run
    report: pd.DataFrame
    format: str
    unseen: int
    account: Mapping[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> int:
        """How many rows of the report came out so."""
        return int((self.report["outcome"] == outcome).sum())


class NothingAppliedError(InputError):
    """Some answers do not fit the run, so that none was applied; `report` has a row for each."""

    def __init__(self, message: str, report: pd.DataFrame) -> None:
        super().__init__(message)
        self.report = report


def apply(
    annotations: Run,
    file: str | Path,
    format: str | None = None,
    reader: str | None = None,
    skip_problems: bool = False,
    all_checked: bool = False,
    control: str | None = None,
    images_in: str | None = None,
) -> Applied:
    """Keep the answers of a file in the folder of the run, and give the images these labels, as a new round.

    Parameters
    ----------
    format : one of `importers.formats()`; None finds out
    reader : whose answers they are, where the file names one or none
    skip_problems : apply the rest
    all_checked : a label of the machine that the file leaves as it was is an answer too
    control : the control or column that holds the answers, where there are several
    images_in : the folder in which the file says that the images lie, where it is called otherwise here

    Raises
    ------
    NothingAppliedError
        Where answers have problems.
    InputError
        Where the file cannot be read or holds none.
    OutputError
        Where the disk is full: all answers of the file are kept then, or none.
    """
    folder, file = annotations.folder, Path(file)
    if folder is None:
        raise InputError("The run has no folder to keep answers in: save it first.")
    history.settle(folder)
    annotations = replace(Run.load(folder), images=annotations.images)  # others may have changed it meanwhile
    name, found = importers.read(file, format, Wanted(annotations.classes, control, annotations.findings is not None))
    given = [one for one in found if one.by_person or all_checked]
    if not given:
        raise InputError(f"{file} holds no answers: {importers.find_format(name).HINT}.")
    given = read_by(given, reader, name)
    with AnswerStore(folder) as store:
        replaced = about_replaced(store.current(), folder, annotations.refs)
        rows = compared(checked(given, annotations, name, images_in), store, replaced)
        problems = sum(row.outcome == PROBLEM for row in rows)
        if problems and not skip_problems:
            rows = [row if row.outcome != NEW else replace(row, outcome=LEFT) for row in rows]
        write_files({folder / REPORT: tables.to_csv(report := _report(rows))}, OF_A_RUN)
        if problems and not skip_problems:
            raise NothingAppliedError(
                f"Nothing was applied: {problems:,} of the {len(rows):,} answers in {file.name} "
                f"{'has' if problems == 1 else 'have'} a problem (see "
                f"{folder / REPORT}). Mend them and apply the file again, or apply the rest with --skip-problems.",
                report,
            )
        number = annotations.record.round
        store.add([replace(row.answer, round=number) for row in rows if row.answer and row.outcome == NEW])
        answers = store.current()
    merged, together, account = _kept(annotations, folder, answers)
    tied = {path for path, one in together.images.items() if one.tied}
    rows = [
        replace(row, outcome=WAITS, problem="readers disagree: a third has to settle it")
        if row.outcome == NEW and row.path in tied
        else row
        for row in rows
    ]
    write_files({folder / REPORT: tables.to_csv(report := _report(rows))}, OF_A_RUN)
    return Applied(merged, report, name, len(found) - len(given), account)


def merge(annotations: Run, answers: Iterable[Answer], only: Container[str] | None = None) -> Run:
    """The labels with the clinicians' answers in their place, and the queue without the images they settled.

    Where several readers answered it is their consensus. An image that nobody could tell, or on which readers are tied, keeps
    its label and its place in the queue. Answers about images that the run does not have are passed over.

    Parameters
    ----------
    only : the paths of the images to change; None is all
    """
    return _merged(annotations, consensus(answers, annotations.classes), only)


def _merged(annotations: Run, together: Consensus, only: Container[str] | None) -> Run:
    settled = {path: one for path, one in together.images.items() if one.settled and (only is None or path in only)}
    queue = annotations.suspects
    queue = queue[~queue["path"].isin(list(settled))].sort_values("rank", kind="stable")
    queue = queue.assign(rank=range(1, len(queue) + 1))
    return replace(annotations, table=merge_answers(annotations.table, settled), suspects=queue)


def _report(rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    known = [
        (row.given.where, row.path, row.given.reader, row.given.word, row.outcome, row.problem)
        for row in rows
    ]  # fmt: skip
    return pd.DataFrame(known, columns=list(COLUMNS), dtype=object)


def _kept(annotations: Run, folder: Path, answers: Sequence[Answer]) -> tuple[Run, Consensus, dict[str, int]]:
    """The run with all answers that stand, as a new round in its folder; as it is where none of them is new.

    Answers that change nothing yet, as a tie, make a round too: the history accounts for them.

    Also what the readers say together, and what became of all answers.
    """
    replaced = about_replaced(answers, folder, annotations.refs)
    standing = [answer for answer in answers if answer.id not in replaced]
    together = consensus(standing, annotations.classes)
    account = account_of(answers, replaced, together, annotations)
    last = history.rounds(folder)[-1]
    used = {answer.id for answer in standing if answer.id is not None}
    fresh = {answer.path for answer in standing if answer.id not in last.answers}
    if annotations.findings is None:
        merged = _merged(annotations, together, fresh)
    else:
        merged = merge_findings(annotations, [answer for answer in standing if answer.path in fresh])
    pairs = [(merged.table, annotations.table), (merged.suspects, annotations.suspects)]
    if merged.findings is not None and annotations.findings is not None:
        pairs.append((merged.findings, annotations.findings))
    if used <= set(last.answers) and all(tables.same(new, old) for new, old in pairs):
        return annotations, together, account
    changes = _changes(annotations.table, merged.table, standing)
    number = last.number + 1
    labels = dict(zip(merged.table["path"], merged.table["label"], strict=True))
    groups = recounted(annotations.record.proposals, annotations.proposals, labels)
    run = {**merged.run, "round": number, "counts": _counts(merged)} | ({"proposals": groups} if groups else {})
    merged = replace(merged, run=run, folder=folder)
    record = history.Round(
        number, "apply", datetime.now(UTC).isoformat(timespec="seconds"), tuple(sorted(used)),
        tuple(sorted(used - set(last.answers))), tuple(sorted(set(last.answers) - used)), changes,
        before=history.numbers_of(annotations), after=history.numbers_of(merged), account=account,
    )  # fmt: skip
    history.keep(folder, contents(merged), record)
    return merged, together, account


def _changes(before: pd.DataFrame, after: pd.DataFrame, standing: Sequence[Answer]) -> tuple[history.Change, ...]:
    readers: dict[str, list[str]] = defaultdict(list)
    for answer in standing:
        readers[answer.path].append(answer.reader)
    return tuple(
        history.Change(path, old, new, f"{listed(sorted(readers[path]))} answered")
        for path, old, new in zip(before["path"], before["label"], after["label"], strict=True)
        if old != new
    )


def _counts(annotations: Run) -> Mapping[str, Any]:
    table, counts = annotations.table, dict(annotations.run.get("counts") or {})
    counts |= {"suspects": len(annotations.suspects), "clinician": int((table["source"] == "clinician").sum())}
    if "per_class" in counts:
        counts["per_class"] = annotations.per_class
    return counts
