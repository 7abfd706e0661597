"""What a reader is asked, what was answered, and what that has gained: the page without its HTTP.

Readers are blind to each other: all that a reader is told comes from the machine and from that reader's own answers, but
for the disagreements, which a reader sees who took no part in them.
"""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoannotate._internal.progress import Track, silent
from autoannotate.answers.standing import about_replaced
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import AutoannotateError, InputError
from autoannotate.images import ImageRef
from autoannotate.labelling.rules import Rules
from autoannotate.labelling.zero_shot.vocabulary import key
from autoannotate.review import queues
from autoannotate.review.agreement import agreement, said
from autoannotate.review.picture_files import ChangedError, Files
from autoannotate.review.pictures import stack_of
from autoannotate.review.queues import Filters, as_seen, shown
from autoannotate.review.reading_plan import keep_plan, load_plan, parse_plan
from autoannotate.review.rows import Row, rows_of
from autoannotate.review.similar_images import LookAlikes
from autoannotate.runs import history, tables
from autoannotate.runs.finding_words import understand_findings, values_of
from autoannotate.runs.metadata import read_metadata
from autoannotate.runs.pictures import pictures_of
from autoannotate.runs.proposals import waiting
from autoannotate.runs.run import Run

LONGEST_NAME = 60
LONGEST_NOTE = 4000
MOST_AT_ONCE = 500


class AnsweredError(AutoannotateError):
    """The reader answered these images otherwise since the page was shown them, in another tab for example."""

    def __init__(self, standing: Sequence[Answer]) -> None:
        self.standing = list(standing)
        super().__init__("You answered this in another tab or window since: nothing was kept yet.")


class Desk:
    """A run and its answers, for any number of readers at once."""

    def __init__(
        self,
        folder: Path,
        store: AnswerStore,
        images: Sequence[ImageRef],
        track: Track = silent,
        *,
        metadata: Path | None = None,
    ) -> None:
        self.folder, self.store, self._track = folder, store, track
        self.refs = {ref.path: ref for ref in images}
        self._lock, self._answering = threading.Lock(), threading.Lock()
        self._numbers: dict[str, int] = {}  # kept when the run changes, so that a number never means another image
        self.covariates: dict[str, dict[str, str]] = {}
        self._load()
        if metadata is not None:
            paths = list(self.by_path)
            self.covariates = {
                column.name: dict(zip(paths, column.in_words(), strict=True))
                for column in read_metadata(metadata, paths).columns
            }

    def _load(self) -> None:
        loaded, annotations = self._version(), Run.load(self.folder)
        self.classes = list(annotations.record.classes) or annotations.classes
        self.rows = rows_of(self.folder, annotations, self.classes, self._numbers)
        self._loaded, self.annotations = loaded, annotations
        self.rules = Rules.read(annotations.record.rules, self.classes, key) if annotations.record.rules else Rules(())
        self.round = annotations.record.round
        self.by_path = {row.path: row for row in self.rows}
        self.by_number = {row.id: row for row in self.rows}
        if joined := [path for path in self.by_path if path not in self.refs]:  # since the page was opened
            with contextlib.suppress(InputError):
                self.refs |= {ref.path: ref for ref in pictures_of(annotations.record, joined, folder=self.folder)}
        table = annotations.table
        self._telling = (
            dict(zip(table["path"], table["telling_slice"], strict=True)) if "telling_slice" in table else {}
        )
        self.suspects = [path for path in annotations.suspects["path"] if path in self.by_path]
        self.checks = [one for one in waiting(annotations.record.proposals) if one["ask"]]
        self.proposed = {} if annotations.proposals is None else _proposed(annotations)
        self.plan = load_plan(self.folder)
        self._estimates = history.estimates(self.folder) if self.meaningful else []
        self.files = Files(list(self.by_path), self.refs, annotations.record.stamps)
        self.lookalikes = LookAlikes(annotations, self.refs, self._track)
        self._see_replaced()

    def _see_replaced(self) -> None:
        """Find the answers about pictures that are no longer there; not at every answer, since it looks at each file."""
        given = [answer for answer in self.store.everything() if answer.undone_at is None]
        self._replaced = about_replaced(given, self.folder, self.refs)

    def _version(self) -> tuple[int, int]:
        try:
            found = (self.folder / "run.json").stat()
        except OSError as error:
            raise InputError(f"The run in {self.folder} cannot be read any more ({error.strerror}).") from None
        return found.st_mtime_ns, found.st_ino

    def refresh(self) -> None:
        """Read the run again where another program changed it, as `autoannotate update` does."""
        with self._lock:
            if self._version() != self._loaded:
                self._load()

    @property
    def meaningful(self) -> bool:
        """Whether the labels of the run are more than guesses."""
        return self.annotations.record.reliability.meaningful is not False

    # What a reader sees

    def session(self, reader: str) -> dict[str, Any]:
        """What the page needs before the first image."""
        return {
            "run": self.folder.resolve().name,
            "update": f"autoannotate update {shlex.quote(str(self.folder))}",
            "classes": self.classes,
            "findings": self.annotations.record.findings,
            "parents": self.rules.parents,
            "images": len(self.rows),
            "readers": self.store.readers(),
            "plan": None if self.plan is None else str(self.plan),
            "lookalikes": self.lookalikes.state,
            "note": self.lookalikes.note,
            "copied": self.files.copied,
            "proposals": len(self.checks),
            "meaningful": self.meaningful,
            "estimates": self._estimates,
            "labels": dict(shown(self.rows)),
            "sources": sorted({row.source for row in self.rows}),
            "columns": {
                name: list(dict.fromkeys(filter(None, values.values()))) for name, values in self.covariates.items()
            },
            **self.progress(reader),
        }

    def progress(self, reader: str) -> dict[str, Any]:
        """How far the reader is and what it gained."""
        mine = self.mine(reader)
        this_round = [a for a in mine.values() if a.round == self.round and a.path in self.by_path]
        kept = sum(self._same(a) for a in this_round)
        unsure = sum(a.verdict == "unsure" for a in this_round)
        corrected = len(this_round) - kept - unsure
        rate = self.annotations.record.estimated_error_rate
        return {
            "round": self.round,
            "answered": len(this_round),
            "confirmed": kept,
            "corrected": corrected,
            "unsure": unsure,
            "errors_before": None if rate is None else round(rate * len(self.rows)),
            "errors_left": None if rate is None else max(0, round(rate * len(self.rows)) - corrected),
        }

    def _same(self, answer: Answer) -> bool:
        """Whether an answer says what the machine does; of findings, those that the machine decided."""
        row = self.by_path[answer.path]
        if row.findings is None or answer.verdict == "discard":
            return answer.label == row.label
        said = values_of(answer.verdict, answer.label, self.classes)
        return bool(said) and all(said.get(name) == found["proposed"] for name, found in row.findings.items())

    def _ready(self) -> None:
        self.lookalikes.soon.wait(timeout=3)  # seconds; where they take longer they come later, and the page asks again
        self._see_replaced()

    def queue(self, reader: str, which: str = "suspects") -> dict[str, Any]:
        """The images that the reader is asked about, see `queues.queue`."""
        self._ready()
        return queues.queue(self, reader, which)

    def grid(self, reader: str, filters: Filters) -> dict[str, Any]:
        """The images that pass the filters, see `queues.grid`."""
        self._ready()
        return queues.grid(self, reader, filters)

    def answers_of(self, reader: str) -> list[dict[str, Any]]:
        """The reader's own answers, the latest first."""
        mine = [answer for answer in self.mine(reader).values() if answer.path in self.by_path]
        return [
            queues.item(self, self.by_path[a.path], a) | {"answered_at": a.answered_at, "round": a.round}
            for a in sorted(mine, key=lambda a: -(a.id or 0))
        ]

    def sample(self) -> list[str]:
        """The images of the certificate's sample that are still in the run, in their random order."""
        from autoannotate.answers.certification.certificate_files import read_sample
        from autoannotate.answers.certification.of_findings import sampled

        if self.annotations.findings is not None:
            return [path for path in sampled(self.folder, self.classes) if path in self.by_path]
        sample = read_sample(self.folder)
        return [] if sample is None else [path for path in sample.paths if path in self.by_path]

    def details(self, number: int, reader: str) -> dict[str, Any]:
        """What is shown beside one image, and how its file is now."""
        row, mine = self.row(number), self.mine(reader)
        found = self.lookalikes.found
        near = found.neighbours.get(row.path, ())
        votes = shown([self.by_path[path] for path in near if path in self.by_path])
        likely = [row.suggested, row.label, row.clip_label, *(name for name, _ in votes.most_common())]
        return {
            "id": row.id,
            "path": row.path,
            **self.files.look(row.path).__dict__,
            **stack_of(self.refs.get(row.path), self._telling.get(row.path, "")),
            "likely": [name for name in dict.fromkeys(likely) if name in self.classes],
            "neighbours": [self._beside(path, mine) for path in near if path in self.by_path],
            "group": [self._beside(path, mine) for path in found.groups.get(row.path, ()) if path != row.path],
            "lookalikes": self.lookalikes.state,
        }

    def _beside(self, path: str, mine: Mapping[str, Answer]) -> dict[str, Any]:
        row, answer = self.by_path[path], mine.get(path)
        label = row.label if answer is None else answer.label or answer.verdict
        return {
            "id": row.id,
            "path": path,
            "label": label,
            "yours": answer is not None,
            **self.files.look(path).__dict__,
        }

    def row(self, number: int) -> Row:
        """The image of a number.

        Raises
        ------
        InputError
            Where there is none.
        """
        if number not in self.by_number:
            raise InputError("The run has no such image.")
        return self.by_number[number]

    # What a reader says

    def answer(self, reader: str, batch: str, given: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Keep one batch: all of its answers, or none.

        Parameters
        ----------
        given : path, verdict, label, note, seconds, the fingerprint of the picture that was shown, and `previous`, the id of
            the reader's answer that this one replaces

        Raises
        ------
        ChangedError
            Where a file is no longer that picture.
        AnsweredError
            Where another answer stands by now.
        InputError
            For one that makes no sense.
        OutputError
            As `AnswerStore`.
        """
        reader = check_reader(reader)
        if not 0 < len(given) <= MOST_AT_ONCE or not batch or len(batch) > 64:
            raise InputError(f"One batch answers 1 to {MOST_AT_ONCE} images.")
        answers, changed = [], []
        for one in given:
            path, verdict, label = one["path"], one["verdict"], one.get("label")
            if self.annotations.findings is not None and verdict == "label":
                verdict, label = understand_findings(label or "none", self.classes)
            if verdict in ("label", "none") and (broken := self.broken(label or "")):
                raise InputError(f"{broken} Nothing was kept: change one of the findings, or say that you are unsure.")
            if path not in self.by_path:
                raise InputError(f"{path} is not an image of this run.")
            if label is not None and self.annotations.findings is None and label not in self.classes:
                raise InputError(f"{label!r} is not one of the classes of this run.")
            now = self.files.look(path)
            if now.fingerprint != one["fingerprint"]:
                changed.append(path)
            if now.state in ("gone", "unreadable") and verdict not in ("unsure", "discard"):
                raise InputError(f"{path} cannot be shown, so it can't be given a class.")
            answers.append(
                Answer(
                    path, reader, verdict, label, note=str(one.get("note") or "")[:LONGEST_NOTE], round=self.round,
                    fingerprint=now.fingerprint, seconds=one.get("seconds"), batch=batch,
                )
            )  # fmt: skip
        if changed:
            raise ChangedError(changed)
        with self._answering:
            mine = self.mine(reader)
            known = [mine[answer.path] for answer in answers if answer.path in mine]
            expected = {one["path"]: one.get("previous") for one in given}
            meant = {answer.path: (answer.verdict, answer.label) for answer in answers}
            elsewhere = [
                old for old in known
                if old.id != expected[old.path] and old.batch != batch and (old.verdict, old.label) != meant[old.path]
            ]  # fmt: skip
            if elsewhere:
                raise AnsweredError(elsewhere)
            return self.store.add(answers)

    def broken(self, label: str) -> str:
        """The sentence about the rules that these findings break; "" where they break none, or make no sense."""
        if not self.rules.rules:
            return ""
        try:
            verdict, text = understand_findings(label or "none", self.classes)
        except InputError:
            return ""
        broken = self.rules.broken(values_of(verdict, text, self.classes))
        return f"This breaks the rule: {'; '.join(broken)}." if broken else ""

    def undo(self, reader: str) -> dict[str, Any]:
        """Take the reader's last batch back: which images it was about, and what stands for them now."""
        undone = self.store.undo(check_reader(reader), source="review")
        mine = self.mine(reader)
        return {
            "undone": [{"path": a.path, "id": self.by_path[a.path].id} for a in undone if a.path in self.by_path],
            "standing": {a.path: as_seen(mine.get(a.path)) for a in undone},
        }

    # Several readers

    def plan_as(self, text: str) -> None:
        """Read by this plan from now on, see `reading_plan`."""
        keep_plan(self.folder, parse_plan(text), answered=bool(self.store.current()))
        self.plan = load_plan(self.folder)

    def agreement(self, reader: str) -> dict[str, Any]:
        """How the readers agree, see `agreement.agreement`."""
        return agreement(self.standing(), self.classes, reader)

    def said(self, number: int, reader: str) -> list[str]:
        """What others said of an image that this reader is asked to settle."""
        return said(self.standing(), self.row(number).path, reader)

    def standing(self) -> list[Answer]:
        """All answers that stand, about images of the run as they are now."""
        return [one for one in self.store.current() if one.path in self.by_path and one.id not in self._replaced]

    def mine(self, reader: str) -> dict[str, Answer]:
        """The reader's answers that stand, by path."""
        return {answer.path: answer for answer in self.store.current(reader) if answer.id not in self._replaced}


def _proposed(annotations: Run) -> dict[str, tuple[str, str]]:
    """The label and the proposed one, by path."""
    table = annotations.proposals
    assert table is not None
    return dict(zip(table["path"], zip(table["label"], table["proposed"], strict=True), strict=True))


def check_reader(name: str) -> str:
    """The name, trimmed, where it can be one.

    Raises
    ------
    InputError
        With the way out.

    Examples
    --------
    >>> check_reader(" Ana Kovač ")
    'Ana Kovač'
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or tables.could_fire(name):
        raise InputError(
            f"A reader's name has 1 to {LONGEST_NAME} characters and begins with a letter or a digit: {name[:20]!r} won't do."
        )
    return name
