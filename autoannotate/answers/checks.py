"""What each answer of another tool means for a run, or what is wrong with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from autoannotate.answers.findings import together
from autoannotate.answers.image_names import ImageNames
from autoannotate.answers.importers import Given
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError, UsageError
from autoannotate.labelling.rules import Rules
from autoannotate.labelling.zero_shot.vocabulary import key
from autoannotate.runs import tables
from autoannotate.runs.finding_words import understand_findings, values_of
from autoannotate.runs.run import Run
from autoannotate.runs.verdict_words import understand

NEW, WAITS, KNOWN, REPEATED, OLDER = "applied", "waits", "known already", "repeated", "older"
PROBLEM, LEFT = "problem", "not applied"
"""The outcomes of a row. WAITS: kept, and tied with another reader's answer, so that a third reader has to settle it. REPEATED:
the file says so twice. OLDER: the same reader said otherwise since. LEFT: fine, in a file of which nothing was applied."""
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


def checked(given: Sequence[Given], annotations: Run, source: str, images_in: str | None = None) -> list[Row]:
    """What each answer means for the run, or what is wrong with it; in the order given.

    Parameters
    ----------
    images_in : the folder in which the file says that the images lie, see `ImageNames`
    """
    images, classes = ImageNames.of(annotations, images_in), annotations.classes
    several = annotations.findings is not None
    given = together(given) if several else given
    rules = Rules.read(annotations.record.rules, classes, key) if several else None
    unreadable = set(annotations.unreadable["path"])
    rows = [_understood(one, images, unreadable, classes, source, several, rules) for one in given]
    same: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row.answer is not None:
            same[row.path, row.given.reader].append(i)
    for places in same.values():
        if len(places := _answered(rows, places)) > 1:
            _settle(rows, places)
    return rows


def _answered(rows: list[Row], places: Sequence[int]) -> list[int]:
    """Of several rows about one image those that a person answered, where there are such: of the frames of an item, tools keep
    the machine's label on all but the one that was changed. The others are marked."""
    said = [i for i in places if rows[i].given.by_person]
    if not said:
        return list(places)
    for i in set(places) - set(said):
        rows[i] = replace(rows[i], answer=None, outcome=REPEATED, problem=f"answered in {rows[said[0]].given.where}")
    return said


def _settle(rows: list[Row], places: Sequence[int]) -> None:
    """Of several answers of a reader to one image the latest counts, once; where none is the latest, all are problems."""
    answers = {i: answer for i in places if (answer := rows[i].answer) is not None}
    meant = {i: (one.verdict, one.label) for i, one in answers.items()}
    times = {i: one.answered_at for i, one in answers.items()}
    latest = max(places, key=lambda i: (times[i], -i))
    last = [i for i in places if times[i] == times[latest]]
    if len(set(meant.values())) > 1 and (not all(times.values()) or len({meant[i] for i in last}) > 1):
        who = rows[latest].given.reader
        for i in places:
            others = [rows[j].given.where for j in places if meant[j] != meant[i]]
            where = ", ".join(dict.fromkeys(others))
            said = f"{who} gives another answer to this image in {where}"
            if set(others) == {rows[i].given.where}:
                said = f"{who} gives another answer to this image at the same time in {where}: one class is wanted"
            rows[i] = replace(rows[i], answer=None, outcome=PROBLEM, problem=said)
        return
    note = answers[latest].note or next((one.note for one in answers.values() if one.note), "")
    rows[latest] = replace(rows[latest], answer=replace(answers[latest], note=note))
    for i in set(places) - {latest}:
        same = meant[i] == meant[latest]
        said = f"{'the same answer' if same else 'replaced by the later answer'} in {rows[latest].given.where}"
        rows[i] = replace(rows[i], answer=None, outcome=REPEATED if same else OLDER, problem=said)


def _understood(
    given: Given,
    images: ImageNames,
    unreadable: Container[str],
    classes: Sequence[str],
    source: str,
    several: bool,
    rules: Rules | None = None,
) -> Row:
    match = images.find(given.image, given.by_file)
    path = match.path
    if path is None:
        gone = given.image in unreadable
        return Row(
            given, given.image, None, PROBLEM, "its picture is gone or cannot be read" if gone else match.problem
        )
    try:
        known = {name.casefold() for name in classes}
        agrees = given.word.casefold() in AGREE and given.machine and given.word.casefold() not in known
        word = given.machine if agrees else given.word
        verdict, label = understand_findings(word, classes) if several else understand(word, classes)
    except InputError as error:
        return Row(given, path, None, PROBLEM, str(error).rstrip("."))
    if rules is not None and (broken := rules.broken(values_of(verdict, label, classes))):
        return Row(given, path, None, PROBLEM, f"it breaks the rule: {'; '.join(broken)}")
    answer = Answer(
        path, given.reader, verdict, label, note=given.note, source=source, seconds=given.seconds,
        answered_at=given.answered_at,
    )  # fmt: skip
    return Row(given, path, answer)


def read_by(given: Sequence[Given], reader: str | None, format: str) -> list[Given]:
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


def compared(rows: Sequence[Row], store: AnswerStore, replaced: Container[int | None]) -> list[Row]:
    """The rows, those that are kept already or were overtaken marked so.

    Parameters
    ----------
    replaced : the ids of answers to pictures that are no longer there; what repeats them is new, unless it is older
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
