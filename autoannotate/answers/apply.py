"""Answers that clinicians gave in other tools: checked against the run, kept, and put in the place of the labels.

All of a file is checked before anything is kept. Where something does not fit (an unknown class, an image that the run does
not have, an image answered twice by one reader), nothing of it is applied unless the rest is asked for; either way each row
is in DIR/apply-report.csv. Applying a file again changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate._internal.files import write_files
from autoannotate.answers import importers
from autoannotate.answers.importers import Given
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError, UsageError
from autoannotate.exports._names import file_stems
from autoannotate.runs import history, tables
from autoannotate.runs.run import Run
from autoannotate.runs.save import contents
from autoannotate.runs.verdict_words import understand

if TYPE_CHECKING:
    import pandas as pd

REPORT = "apply-report.csv"
COLUMNS = ("where", "path", "reader", "answer", "outcome", "problem")
NEW, KNOWN, OLDER, PROBLEM, LEFT = "applied", "known already", "older", "problem", "not applied"
"""The outcomes of a row: LEFT is a row that was fine, in a file of which nothing was applied."""
AGREE = ("ok", "yes")
"""What says in a table that the machine's label is right."""
READER_CHARACTERS = 80


@dataclass(frozen=True)
class Row:
    """An answer and what becomes of it. answer: None where there is a problem."""

    given: Given
    path: str
    answer: Answer | None
    outcome: str = NEW
    problem: str = ""


@dataclass(frozen=True)
class Applied:
    """What applying a file did. report: the columns `COLUMNS`, a row an answer. unseen: labels left as they were."""

    annotations: Run
    report: pd.DataFrame
    format: str
    unseen: int

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
) -> Applied:
    """Keep the answers of a file in the folder of the run, and give the images these labels, as a new round.

    format: one of `importers.formats()`; None finds out. reader: whose answers they are, where the file names one or none.
    skip_problems: apply the rest. all_checked: a label of the machine that the file leaves as it was is an answer too.

    Raises `NothingAppliedError` where answers have problems, `InputError` where the file cannot be read or holds none, and
    `OutputError` where the disk is full: all answers of the file are kept then, or none.
    """
    from autoannotate.answers.standing import about_replaced

    folder, file = annotations.folder, Path(file)
    if folder is None:
        raise InputError("The run has no folder to keep answers in: save it first.")
    history.settle(folder)
    annotations = replace(Run.load(folder), images=annotations.images)  # others may have changed it meanwhile
    name, found = importers.read(file, format)
    given = [one for one in found if one.by_person or all_checked]
    if not given:
        raise InputError(f"{file} holds no answers: {importers.find_format(name).HINT}.")
    given = _read_by(given, reader, name)
    with AnswerStore(folder) as store:
        replaced = about_replaced(store.current(), folder, annotations.refs)
        rows = _compared(checked(given, annotations, name), store, replaced)
        problems = sum(row.outcome == PROBLEM for row in rows)
        if problems and not skip_problems:
            rows = [row if row.outcome != NEW else replace(row, outcome=LEFT) for row in rows]
        report = _report(rows)
        write_files({folder / REPORT: tables.to_csv(report)})
        if problems and not skip_problems:
            raise NothingAppliedError(
                f"Nothing was applied: {problems:,} of the {len(rows):,} answers in {file.name} have a problem (see "
                f"{folder / REPORT}). Mend them and apply the file again, or apply the rest with --skip-problems.",
                report,
            )
        number = int(annotations.run.get("round") or 0)
        store.add([replace(row.answer, round=number) for row in rows if row.answer and row.outcome == NEW])
    return Applied(_kept(annotations, folder), report, name, len(found) - len(given))


def checked(given: Sequence[Given], annotations: Run, source: str) -> list[Row]:
    """What each answer means for the run, or what is wrong with it; in the order given."""
    images = _Images(annotations)
    classes = annotations.classes
    rows = [_understood(one, images, classes, source) for one in given]
    same: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row.answer is not None:
            same[row.path, row.given.reader].append(i)
    for (_, who), places in same.items():
        meant = {(rows[i].answer.verdict, rows[i].answer.label) for i in places}  # type: ignore[union-attr]
        for i in places if len(meant) > 1 else places[1:]:
            others = ", ".join(rows[j].given.where for j in places if j != i)
            said = "another answer" if len(meant) > 1 else "the same answer"
            problem = f"{who} gives {said} to this image in {others}"
            rows[i] = replace(rows[i], answer=None, outcome=PROBLEM, problem=problem)
    return rows


def merge(annotations: Run, answers: Iterable[Answer], only: Container[str] | None = None) -> Run:
    """The labels with the clinicians' answers in their place, and the queue without the images they settled.

    only: the paths of the images to change; None is all. Where several readers answered it is their consensus. An image that
    nobody could tell keeps its label and its place in the queue. Answers about images that the run does not have are passed
    over.
    """
    from autoannotate.answers.consensus import consensus
    from autoannotate.answers.merge import merge_answers

    settled = {
        path: one
        for path, one in consensus(answers, annotations.classes).images.items()
        if one.verdict != "unsure" and (only is None or path in only)
    }
    queue = annotations.suspects
    queue = queue[~queue["path"].isin(list(settled))].sort_values("rank", kind="stable")
    queue = queue.assign(rank=range(1, len(queue) + 1))
    return replace(annotations, table=merge_answers(annotations.table, settled), suspects=queue)


class _Images:
    """Which image of the run a file means: its path, or the name under which its picture was exported."""

    def __init__(self, annotations: Run) -> None:
        self.paths = set(annotations.table["path"])
        self.stems = {stem.casefold(): path for path, stem in file_stems(annotations.table["path"]).items()}

    def find(self, name: str) -> str | None:
        for path in (name, name.replace("\\", "/").removeprefix("./")):
            if path in self.paths:
                return path
        stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
        return self.stems.get(stem.casefold())


def _understood(given: Given, images: _Images, classes: Sequence[str], source: str) -> Row:
    path = images.find(given.image)
    if path is None:
        return Row(given, given.image, None, PROBLEM, "the run has no such image")
    try:
        known = {name.casefold() for name in classes}
        agrees = given.word.casefold() in AGREE and given.machine and given.word.casefold() not in known
        verdict, label = understand(given.machine if agrees else given.word, classes)
    except InputError as error:
        return Row(given, path, None, PROBLEM, str(error).rstrip("."))
    answer = Answer(
        path, given.reader, verdict, label, note=given.note, source=source, seconds=given.seconds,
        answered_at=given.answered_at,
    )  # fmt: skip
    return Row(given, path, answer)


def _read_by(given: Sequence[Given], reader: str | None, format: str) -> list[Given]:
    """The answers with a reader each: the one asked for, the one in the file, or the name of the format."""
    named = sorted({one.reader for one in given if one.reader})
    if reader is not None and len(named) > 1:
        raise UsageError(f"The file holds answers of {len(named)} readers ({', '.join(named)}): leave --reader out.")
    everyone = (reader or (named[0] if len(named) == 1 else "")).strip()
    if reader is not None and (not everyone or tables.could_fire(everyone) or not everyone.isprintable()):
        raise UsageError(f"A reader's name begins with a letter or a digit: {reader!r} will not do.")
    plain = [everyone if reader is not None or not one.reader else one.reader for one in given]
    return [
        replace(one, reader="".join(c for c in who if c.isprintable()).strip()[:READER_CHARACTERS] or format)
        for one, who in zip(given, plain, strict=True)
    ]


def _compared(rows: Sequence[Row], store: AnswerStore, replaced: Container[int | None]) -> list[Row]:
    """The rows, those that are kept already or were overtaken marked so.

    replaced: the ids of answers to pictures that are no longer there; what repeats them is new, unless it is older.
    """
    current = {(one.path, one.reader): one for one in store.current()}
    by_source: dict[tuple[str, str, str], Answer] = {}
    for one in store.everything():
        if one.undone_at is None:
            by_source[one.path, one.reader, one.source] = one
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    result = []
    for row in rows:
        answer = row.answer
        if answer is None:
            result.append(row)
            continue
        last = current.get((answer.path, answer.reader))
        stands = last is not None and last.id not in replaced
        same = (last, by_source.get((answer.path, answer.reader, answer.source))) if stands else ()
        if any(one is not None and _content(one) == _content(answer) for one in same):
            row = replace(row, outcome=KNOWN)
        elif last is not None and last.answered_at > (answer.answered_at or now):
            said = f"{answer.reader} answered {last.label or last.verdict} since"
            row = replace(row, outcome=OLDER, problem=said)
        elif last is not None and stands:
            row = replace(row, problem=f"instead of {last.label or last.verdict}")
        result.append(row)
    return result


def _content(answer: Answer) -> tuple[str, str | None, str]:
    return answer.verdict, answer.label, answer.note


def _report(rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    known = [
        (row.given.where, row.path, row.given.reader, row.given.word, row.outcome, row.problem)
        for row in rows
    ]  # fmt: skip
    return pd.DataFrame(known, columns=list(COLUMNS), dtype=object)


def _kept(annotations: Run, folder: Path) -> Run:
    """The run with all answers that stand, as a new round in its folder; as it is where that changes nothing."""
    from autoannotate.answers.standing import standing_answers

    standing, _ = standing_answers(folder, list(annotations.refs.values()))
    last = history.rounds(folder)[-1]
    used = {answer.id for answer in standing if answer.id is not None}
    fresh = {answer.path for answer in standing if answer.id not in last.answers}
    merged = merge(annotations, standing, fresh)
    pairs = (merged.table, annotations.table), (merged.suspects, annotations.suspects)
    if all(tables.to_csv(new) == tables.to_csv(old) for new, old in pairs):
        return annotations
    changes = _changes(annotations.table, merged.table, standing)
    number = last.number + 1
    merged = replace(merged, run={**merged.run, "round": number, "counts": _counts(merged)}, folder=folder)
    record = history.Round(
        number, "apply", datetime.now(UTC).isoformat(timespec="seconds"), tuple(sorted(used)),
        tuple(sorted(used - set(last.answers))), tuple(sorted(set(last.answers) - used)), changes,
        before=history.numbers_of(annotations), after=history.numbers_of(merged),
    )  # fmt: skip
    history.keep(folder, contents(merged), record)
    return merged


def _changes(before: pd.DataFrame, after: pd.DataFrame, standing: Sequence[Answer]) -> tuple[history.Change, ...]:
    from autoannotate._internal.wording import listed

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
        counts["per_class"] = {name: int((table["label"] == name).sum()) for name in counts["per_class"]}
    return counts
