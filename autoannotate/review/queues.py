"""Which images a reader is asked about, in which order, and which are shown in a grid: by the plan, by filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from autoannotate.answers.store import Answer
from autoannotate.errors import InputError
from autoannotate.review.agreement import disputed
from autoannotate.review.reading_plan import ReadingPlan, order_of
from autoannotate.review.rows import Row
from autoannotate.review.similar_images import LookAlikes
from autoannotate.runs.finding_words import UNSURE, written
from autoannotate.runs.proposals import change_in_words

ORDERS: dict[str, Callable[[Row], Any]] = {
    "doubtful": lambda row: -row.score,
    "surest": lambda row: row.score,
    "confident": lambda row: -row.confidence,
    "unconfident": lambda row: row.confidence,
    "name": lambda row: row.path,
    "random": lambda row: order_of(row.path),
}
MOST_IN_GRID = 400
MOST_IN_QUEUE, LOOK_BACK = 1000, 100  # images that are sent at once, and those of them that are answered already
NOTHING = "none of them"  # of several findings


class Reading(Protocol):
    """What a queue is made of: a run and its answers, see `session.Desk`."""

    rows: list[Row]
    by_path: dict[str, Row]
    suspects: list[str]
    plan: ReadingPlan | None
    checks: list[Mapping[str, Any]]
    proposed: dict[str, tuple[str, str]]
    covariates: dict[str, dict[str, str]]
    lookalikes: LookAlikes

    def row(self, number: int) -> Row: ...

    def sample(self) -> list[str]: ...

    def standing(self) -> list[Answer]: ...

    def mine(self, reader: str) -> dict[str, Answer]: ...


@dataclass(frozen=True)
class Filters:
    """Which images a grid shows; what is empty or None filters nothing.

    Attributes
    ----------
    show : open, those that the reader is asked about; mine, those the reader answered; all
    low, high : of the confidence
    name : part of the path
    reason : part of a reason
    like : the number of an image: the nearest to it first
    answered_by : a reader who answered it, whatever the answer
    column, value : of the metadata
    """

    label: str = ""
    order: str = "doubtful"
    show: str = "open"
    source: str = ""
    reason: str = ""
    name: str = ""
    low: float = 0.0
    high: float = 1.0
    like: int | None = None
    answered_by: str = ""
    column: str = ""
    value: str = ""

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise InputError(f"{self.order!r} is no order: choose {', '.join(ORDERS)}.")
        if self.show not in ("open", "mine", "all"):
            raise InputError(f"{self.show!r} is not what can be shown: choose open, mine or all.")

    def fits(self, row: Row) -> bool:
        """Whether the machine's row passes."""
        return (
            (not self.label or row.shows(self.label))
            and (not self.source or row.source == self.source)
            and self.low <= row.confidence <= self.high
            and self.reason.casefold() in row.reason.casefold()
            and self.name.casefold() in row.path.casefold()
        )


class Others:
    """How many other readers answered each image, and whether the plan wants this reader's answer too."""

    def __init__(self, desk: Reading, reader: str) -> None:
        self._plan = desk.plan
        self.read = Counter(answer.path for answer in desk.standing() if answer.reader != reader)

    def want(self, row: Row) -> bool:
        """Whether another reading of the image is wanted; the reader has not answered it."""
        if self._plan is None:
            return not row.by_clinician
        return self.read[row.path] < self._plan.readers(row.path) and not (row.by_clinician and not self.read[row.path])

    def second(self, row: Row) -> bool:
        """Whether the image waits for a second reading."""
        return self._plan is not None and 0 < self.read[row.path] < self._plan.readers(row.path)


def queue(desk: Reading, reader: str, which: str) -> dict[str, Any]:
    """The images that the reader is asked about, in their order, near-identical ones as one: `items`, of a long queue a part,
    and how many `more` are open after these.

    Parameters
    ----------
    which : proposals, the samples of groups of proposals that wait, a group after the other; suspects, those that wait for a
        second reading and the run's queue; rest, the other labels of the machine, the most doubtful first; disagreements, what
        other readers disagree on or were unsure of; sample, those of the certificate
    """
    mine = desk.mine(reader)
    if which == "sample":
        elsewhere = {answer.path for answer in desk.standing() if answer.reader != reader}
        drawn = [path for path in desk.sample() if path in mine or path not in elsewhere]
        return _whole([blind(item) for item in items(desk, drawn, mine, groups=False)])
    if which == "disagreements":
        found = set(disputed(desk.standing(), reader))
        listed = items(desk, [row.path for row in desk.rows if row.path in found], mine, groups=False)
        return _whole([{**item, "reason": "Other readers disagree, or were not sure."} for item in listed])
    if which == "proposals":
        return _whole(_spot_checks(desk, reader, mine))
    others = Others(desk, reader)
    asked = [path for path in desk.suspects if path in mine or desk.plan is None or others.want(desk.by_path[path])]
    if which == "suspects":
        again = [row.path for row in desk.rows if row.path not in mine and others.second(row)]
        again.sort(key=order_of)
        first = set(again)
        ordered = [*again, *(path for path in asked if path not in first)]
        open_too = [row.path for row in desk.rows if row.path in mine or others.want(row)]
        return _part(desk, gathered(desk, ordered, mine, among=open_too), mine)
    if which == "rest":
        queued = set(desk.suspects)
        rows = [row for row in desk.rows if row.path not in queued and (row.path in mine or others.want(row))]
        rows = [row for row in rows if not (row.path in mine and row.by_clinician)]
        ordered = [row.path for row in sorted(rows, key=lambda row: -row.score)]
        return _part(desk, gathered(desk, ordered, mine), mine)
    raise InputError(f"There is no queue {which!r}.")


def _whole(listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {"items": listed, "more": 0}


def _part(desk: Reading, found: Sequence[Gathered], mine: Mapping[str, Answer]) -> dict[str, Any]:
    """At most `MOST_IN_QUEUE`, the first open one and some before it among them."""
    first = next((at for at, (path, _) in enumerate(found) if path not in mine), len(found))
    start = max(0, min(first - LOOK_BACK, len(found) - MOST_IN_QUEUE))
    end = start + MOST_IN_QUEUE
    more = sum(path not in mine for path, _ in found[end:])
    return {"items": shaped(desk, found[start:end], mine), "more": more}


def _spot_checks(desk: Reading, reader: str, mine: Mapping[str, Answer]) -> list[dict[str, Any]]:
    """The images to ask about of each group of proposals, with the two labels that are compared."""
    elsewhere = {answer.path for answer in desk.standing() if answer.reader != reader}
    listed = []
    for one in sorted(desk.checks, key=lambda one: one["answers"] + len(one["ask"])):
        asked = [path for path in one["ask"] if path in desk.by_path and (path in mine or path not in elsewhere)]
        for at, found in enumerate(items(desk, asked, mine, groups=False), 1):
            label, proposed = desk.proposed.get(found["path"], (found["label"], found["label"]))
            words = {"group": change_in_words(one), "at": at, "of": len(asked), "label": label, "proposed": proposed}
            listed.append({**found, "proposal": words})
    return listed


def grid(desk: Reading, reader: str, filters: Filters) -> dict[str, Any]:
    """The images that pass the filters, in their order; how many there are in all; and how many of each class are open."""
    mine, others = desk.mine(reader), Others(desk, reader)
    if filters.show == "mine":
        rows = [row for row in desk.rows if row.path in mine]
    elif filters.show == "all":
        rows = list(desk.rows)
    else:
        rows = [row for row in desk.rows if row.path not in mine and others.want(row)]
    of_class = shown(rows)
    if filters.answered_by:
        theirs = {answer.path for answer in desk.standing() if answer.reader == filters.answered_by}
        rows = [row for row in rows if row.path in theirs]
    if filters.column:
        values = desk.covariates.get(filters.column, {})
        rows = [row for row in rows if values.get(row.path, "") == filters.value]
    rows = [row for row in rows if filters.fits(row)]
    if filters.like is None:
        rows.sort(key=ORDERS[filters.order])
    else:
        near = desk.lookalikes.ranked(desk.row(filters.like).path)
        rows = sorted((row for row in rows if row.path in near), key=lambda row: near[row.path])
    found = gathered(desk, [row.path for row in rows], mine)
    return {"items": shaped(desk, found[:MOST_IN_GRID], mine), "total": len(found), "labels": of_class}


def shown(rows: Sequence[Row]) -> Counter[str]:
    """How many of the rows are of each class, or show each finding."""
    return Counter(
        name
        for row in rows
        for name in ((row.label,) if row.findings is None else [each for each in row.findings if row.shows(each)])
    )


Gathered = tuple[str, list[str]]  # the path of an image, and those of the others that are answered with it


def gathered(
    desk: Reading,
    paths: Sequence[str],
    mine: Mapping[str, Answer],
    among: Sequence[str] | None = None,
    groups: bool = True,
) -> list[Gathered]:
    """Images to answer; those still open bring the open ones of their group, which do not come again themselves.

    Parameters
    ----------
    among : which images a group may bring; those of the same queue if None
    groups : whether near-identical ones go together
    """
    allowed = set(paths if among is None else among)
    batches: dict[str, list[str]] = {}
    for each in mine.values():
        batches.setdefault(each.batch, []).append(each.path)
    found: list[Gathered] = []
    covered: set[str] = set()
    for path in paths:
        if path in covered:
            continue
        answer = mine.get(path)
        group = desk.lookalikes.found.groups.get(path, ()) if groups else ()
        same = [other for other in group if other != path and other in allowed]
        if answer is None:
            members = [p for p in same if p not in mine and p not in covered]
        else:
            batch = set(batches[answer.batch]) if same else ()
            members = [p for p in same if p in batch and p not in covered]
        covered.update([path, *members])
        found.append((path, members))
    return found


def shaped(desk: Reading, found: Sequence[Gathered], mine: Mapping[str, Answer]) -> list[dict[str, Any]]:
    """Gathered images as the page gets them, see `item`."""
    return [
        item(desk, desk.by_path[path], mine.get(path), members)
        | {"known": {p: mine[p].id for p in (path, *members) if p in mine}}
        for path, members in found
    ]


def items(desk: Reading, paths: Sequence[str], mine: Mapping[str, Answer], groups: bool = True) -> list[dict[str, Any]]:
    """All of some images to answer, as the page gets them."""
    return shaped(desk, gathered(desk, paths, mine, groups=groups), mine)


def item(desk: Reading, row: Row, answer: Answer | None, members: Sequence[str] = ()) -> dict[str, Any]:
    """An image as the page gets it. known: the ids of the reader's answers about it and its members, by path."""
    return {
        "id": row.id,
        "path": row.path,
        "label": row.label if row.findings is None else row.label or NOTHING,
        "suggested": row.suggested,
        "confidence": round(row.confidence, 4),
        "source": row.source,
        "clip": row.clip_label,
        "score": round(row.score, 4),
        "suspect": row.suspect,
        "reason": row.reason,
        "findings": row.findings,
        "says": None if row.findings is None else _decided(row.findings),
        "members": [desk.by_path[p].id for p in members],
        "answer": as_seen(answer),
        "known": {} if answer is None else {row.path: answer.id},
    }


def _decided(findings: Mapping[str, Any]) -> str:
    """What the machine says of the findings that it decided, as an answer that confirms it."""
    verdict, label = written({n: f["value"] for n, f in findings.items() if f["value"] != UNSURE}, list(findings))
    return label or {"none": NOTHING}.get(verdict, verdict)


def blind(one: dict[str, Any]) -> dict[str, Any]:
    """The image without anything that the machine says of it."""
    hidden = {"label": None, "suggested": None, "confidence": None, "source": "", "clip": None, "score": None}
    return {**one, **hidden, "suspect": False, "reason": "", "findings": None, "blind": True}


def as_seen(answer: Answer | None) -> dict[str, Any] | None:
    """An answer as its own reader sees it."""
    if answer is None:
        return None
    return {"verdict": answer.verdict, "label": answer.label, "note": answer.note, "id": answer.id}
