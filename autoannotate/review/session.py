"""What a reader is asked, what was answered, and what that has gained: the page without its HTTP.

Readers are blind to each other: all that a reader is told comes from the machine and from that reader's own answers, but
for the disagreements, which a reader sees who took no part in them.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoannotate._internal.progress import Track, silent
from autoannotate.answers.standing import about_replaced
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError
from autoannotate.images import ImageRef
from autoannotate.review.agreement import agreement, disputed, said
from autoannotate.review.picture_files import ChangedError, Files
from autoannotate.review.similar_images import LookAlikes
from autoannotate.runs import tables
from autoannotate.runs.run import Run

LONGEST_NAME = 60
LONGEST_NOTE = 4000
MOST_AT_ONCE = 500


@dataclass(frozen=True)
class Row:
    """One image as the run left it."""

    id: int
    path: str
    label: str
    confidence: float
    source: str
    clip_label: str
    clip_confidence: float
    suspect: bool
    score: float
    suggested: str
    reason: str


class Desk:
    """A run and its answers, for any number of readers at once."""

    def __init__(self, folder: Path, store: AnswerStore, images: Sequence[ImageRef], track: Track = silent) -> None:
        self.folder, self.store, self._track = folder, store, track
        self.refs = {ref.path: ref for ref in images}
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}  # kept when the run changes, so that a number never means another image
        self._load()

    def _load(self) -> None:
        loaded, annotations = self._version(), Run.load(self.folder)
        queue: dict[str, Any] = {row["path"]: row for row in annotations.suspects.to_dict(orient="records")}
        rows = [
            Row(
                id=self._numbers.setdefault(row["path"], len(self._numbers)),
                path=row["path"],
                label=row["label"],
                confidence=row["confidence"],
                source=row["source"],
                clip_label=row["clip_label"],
                clip_confidence=row["clip_confidence"],
                suspect=bool(row["suspect"]),
                score=row["suspect_score"],
                suggested=queue.get(row["path"], {}).get("suggested_label", row["label"]),
                reason=queue.get(row["path"], {}).get("reason", ""),
            )
            for row in annotations.table.to_dict(orient="records")
        ]
        self._loaded, self.annotations, self.rows = loaded, annotations, rows
        self.classes = [str(name) for name in annotations.run.get("classes") or annotations.classes]
        self.round = int(annotations.run.get("round") or 0)
        self.by_path = {row.path: row for row in rows}
        self.by_number = {row.id: row for row in rows}
        self.suspects = [path for path in queue if path in self.by_path]
        self.files = Files(list(self.by_path), self.refs, annotations.run.get("stamps"))
        self.lookalikes = LookAlikes(annotations, self.refs, self._track)
        self._see_replaced()

    def _see_replaced(self) -> None:
        """Find the answers about pictures that are no longer there; not at every stroke, since it looks at each file."""
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

    # What a reader sees

    def session(self, reader: str) -> dict[str, Any]:
        """What the page needs before the first image."""
        return {
            "run": self.folder.resolve().name,
            "update": f"autoannotate update {shlex.quote(str(self.folder))}",
            "classes": self.classes,
            "images": len(self.rows),
            "readers": self.store.readers(),
            "lookalikes": self.lookalikes.state,
            "note": self.lookalikes.note,
            "copied": self.files.copied,
            "meaningful": bool((self.annotations.run.get("reliability") or {}).get("meaningful", True)),
            "labels": {name: sum(row.label == name for row in self.rows) for name in self.classes},
            **self.progress(reader),
        }

    def progress(self, reader: str, answers: Mapping[str, Answer] | None = None) -> dict[str, Any]:
        """How far the reader is and what it gained."""
        mine = self._mine(reader) if answers is None else answers
        this_round = [a for a in mine.values() if a.round == self.round and a.path in self.by_path]
        kept = sum(a.label == self.by_path[a.path].label for a in this_round)
        unsure = sum(a.verdict == "unsure" for a in this_round)
        corrected = len(this_round) - kept - unsure
        rate = self.annotations.run.get("estimated_error_rate")
        return {
            "round": self.round,
            "answered": len(this_round),
            "confirmed": kept,
            "corrected": corrected,
            "unsure": unsure,
            "errors_before": None if rate is None else round(rate * len(self.rows)),
            "errors_left": None if rate is None else max(0, round(rate * len(self.rows)) - corrected),
        }

    def _await_groups(self) -> None:
        self.lookalikes.soon.wait(timeout=3)  # seconds; where they take longer they come later, and the page asks again

    def queue(self, reader: str, which: str = "suspects") -> list[dict[str, Any]]:
        """The images that the reader is asked about, in their order, near-identical ones as one.

        which: suspects, the run's queue; rest, the other labels of the machine, the most doubtful first; or disagreements,
        what other readers disagree on or were unsure of.
        """
        self._await_groups()
        self._see_replaced()
        mine = self._mine(reader)
        if which == "suspects":
            return self._items(self.suspects, mine, list(self.by_path))
        if which == "rest":
            queued = set(self.suspects)
            rows = [row for row in self.rows if row.path not in queued and row.source != "clinician"]
            return self._items([row.path for row in sorted(rows, key=lambda row: -row.score)], mine)
        if which == "disagreements":
            found = set(disputed(self._standing(), self.classes, reader))
            items = self._items([row.path for row in self.rows if row.path in found], mine)
            return [{**item, "reason": "Other readers disagree, or were not sure."} for item in items]
        raise InputError(f"There is no queue {which!r}.")

    def grid(self, reader: str, label: str, order: str = "doubtful", most: int = 400) -> dict[str, Any]:
        """The unanswered images that the machine labels so: doubtful or surest first; and how many there are in all."""
        if order not in ("doubtful", "surest"):
            raise InputError(f"{order!r} is no order: doubtful or surest.")
        self._await_groups()
        self._see_replaced()
        mine = self._mine(reader)
        rows = [row for row in self.rows if row.label == label and row.path not in mine and row.source != "clinician"]
        rows.sort(key=lambda row: row.score if order == "surest" else -row.score)
        items = self._items([row.path for row in rows], mine)
        return {"items": items[:most], "total": len(items)}

    def _items(
        self, paths: Sequence[str], mine: Mapping[str, Answer], among: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Images to answer; those still open bring the open ones of their group, which do not come again themselves.

        among: which images a group may bring; those of the same queue if None.
        """
        allowed = set(paths if among is None else among)
        strokes: dict[str, list[str]] = {}
        for each in mine.values():
            strokes.setdefault(each.batch, []).append(each.path)
        items, covered = [], set()
        for path in paths:
            if path in covered:
                continue
            row, answer = self.by_path[path], mine.get(path)
            group = self.lookalikes.found.groups.get(path, ())
            same = [other for other in group if other != path and other in allowed]
            if answer is None:
                members = [p for p in same if p not in mine and p not in covered]
            else:
                stroke = set(strokes[answer.batch])
                members = [p for p in same if p in stroke and p not in covered]
            covered.update([path, *members])
            items.append(
                {
                    "id": row.id,
                    "path": path,
                    "label": row.label,
                    "suggested": row.suggested,
                    "confidence": round(row.confidence, 4),
                    "source": row.source,
                    "clip": row.clip_label,
                    "score": round(row.score, 4),
                    "suspect": row.suspect,
                    "reason": row.reason,
                    "members": [self.by_path[p].id for p in members],
                    "answer": _as_seen(answer),
                }
            )
        return items

    def details(self, number: int, reader: str) -> dict[str, Any]:
        """What is shown beside one image, and how its file is now."""
        row, mine = self.row(number), self._mine(reader)
        found = self.lookalikes.found
        return {
            "id": row.id,
            "path": row.path,
            **self.files.look(row.path).__dict__,
            "neighbours": [self._beside(path, mine) for path in found.neighbours.get(row.path, ())],
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
        """The image of a number. Raises `InputError` where there is none."""
        if number not in self.by_number:
            raise InputError("The run has no such image.")
        return self.by_number[number]

    # What a reader says

    def answer(self, reader: str, batch: str, given: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Keep one stroke: all of its answers, or none.

        given: path, verdict, label, note, seconds, and the fingerprint of the picture that was shown. Raises `ChangedError`
        where a file is no longer that picture, `InputError` for an answer that makes no sense, `OutputError` as `AnswerStore`.
        """
        reader = check_reader(reader)
        if not 0 < len(given) <= MOST_AT_ONCE or not batch or len(batch) > 64:
            raise InputError(f"One stroke answers 1 to {MOST_AT_ONCE} images.")
        answers, changed = [], []
        for one in given:
            path, verdict, label = one["path"], one["verdict"], one.get("label")
            if path not in self.by_path:
                raise InputError(f"{path} is not an image of this run.")
            if label is not None and label not in self.classes:
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
        return self.store.add(answers)

    def undo(self, reader: str) -> dict[str, Any]:
        """Take the reader's last stroke back: which images it was about, and what stands for them now."""
        undone = self.store.undo(check_reader(reader), source="review")
        mine = self._mine(reader)
        return {
            "undone": [{"path": a.path, "id": self.by_path[a.path].id} for a in undone if a.path in self.by_path],
            "standing": {a.path: _as_seen(mine.get(a.path)) for a in undone},
        }

    # Several readers

    def agreement(self, reader: str) -> dict[str, Any]:
        """How the readers agree, see `agreement.agreement`."""
        return agreement(self._standing(), self.classes, reader)

    def said(self, number: int, reader: str) -> list[str]:
        """What others said of an image that this reader is asked to settle."""
        return said(self._standing(), self.classes, self.row(number).path, reader)

    def _standing(self) -> list[Answer]:
        return [one for one in self.store.current() if one.path in self.by_path and one.id not in self._replaced]

    def _mine(self, reader: str) -> dict[str, Answer]:
        return {answer.path: answer for answer in self.store.current(reader) if answer.id not in self._replaced}


def check_reader(name: str) -> str:
    """The name, trimmed, where it can be one. Raises `InputError` with the way out.

    >>> check_reader(" Ana Kovač ")
    'Ana Kovač'
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or tables.could_fire(name):
        raise InputError(
            f"A reader's name has 1 to {LONGEST_NAME} characters and begins with a letter or a digit: {name[:20]!r} won't do."
        )
    return name


def _as_seen(answer: Answer | None) -> dict[str, Any] | None:
    return None if answer is None else {"verdict": answer.verdict, "label": answer.label, "note": answer.note}
