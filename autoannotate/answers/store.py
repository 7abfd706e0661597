"""What clinicians answered about the images of a run: one append-only file that survives crashes.

`answers.sqlite` in the folder of the run, an SQLite database in WAL mode that flushes every commit to the disk. One
batch (one answer, a grid, a group of near-identical images) is one transaction: all of it is kept, or none. Nothing is
ever deleted: an undone answer stays, with the time at which it was taken back. Several processes may use it at once.

>>> import tempfile
>>> store = AnswerStore(Path(tempfile.mkdtemp()))
>>> _ = store.add([Answer("scans/1.png", "Ana", "label", "chest"), Answer("scans/2.png", "Ana", "unsure")])
>>> [(answer.path, answer.verdict, answer.label) for answer in store.current("Ana")]
[('scans/1.png', 'label', 'chest'), ('scans/2.png', 'unsure', None)]
>>> [answer.path for answer in store.undo("Ana")], store.current("Ana")
(['scans/1.png', 'scans/2.png'], [])
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from autoannotate.errors import InputError, OutputError

FILE = "answers.sqlite"
VERDICTS = ("label", "unsure", "none", "discard")
"""A class; cannot tell; none of these classes; not an image worth keeping."""
LAYOUT = 1
PATIENCE = 15.0  # seconds to wait while another process writes


@dataclass(frozen=True)
class Answer:
    """What one reader said about one image, once.

    Attributes
    ----------
    path : as in labels.csv
    label : a class, with the verdict `label` only
    source : where the answer was given: review, label-studio, cvat, csv, …
    round : of the run, at that time
    fingerprint : `images.fingerprint` of the picture that was seen, where that is known
    seconds : from seeing to answering
    batch : all of a batch is undone at once
    answered_at, undone_at : UTC, ISO 8601
    id : grows with time; the store gives it, and batch and time where they are empty
    """

    path: str
    reader: str
    verdict: str
    label: str | None = None
    note: str = ""
    source: str = "review"
    round: int = 0
    fingerprint: str = ""
    seconds: float | None = None
    batch: str = ""
    answered_at: str = ""
    undone_at: str | None = None
    id: int | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise InputError(f"{self.verdict!r} is no verdict: it is one of {', '.join(VERDICTS)}.")
        if (self.verdict == "label") != bool(self.label):
            raise InputError(f"The answer about {self.path} needs a class with the verdict label, and only then.")
        if not self.path or not self.reader.strip():
            raise InputError("An answer needs the path of an image and the name of its reader.")


COLUMNS = tuple(field.name for field in fields(Answer))
KEPT = COLUMNS[:-1]  # all but the id, which the table gives
NEWEST = "NOT EXISTS (SELECT 1 FROM answers b WHERE b.path = a.path AND b.reader = a.reader AND b.undone_at IS NULL AND b.id > a.id)"  # noqa: E501


class AnswerStore:
    """The answers of the run in a folder. Safe to use from several threads and several processes."""

    def __init__(self, folder: str | Path) -> None:
        """Open the answers in the folder, or begin them there.

        Raises
        ------
        OutputError
            Where it cannot be written.
        InputError
            Where it cannot.
        """
        self.file = Path(folder) / FILE
        self._lock = threading.RLock()
        self._read: tuple[int, int] | None = None  # which state of the file `_standing` is
        self._standing: dict[
            int, Answer
        ] = {}  # the answers that stand, by id; what is written never changes but by undoing
        with self._plainly():
            self._rows = sqlite3.connect(self.file, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
            self._rows.execute("PRAGMA journal_mode = WAL")
            self._rows.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            layout = self._rows.execute("PRAGMA user_version").fetchone()[0]
            if layout > LAYOUT:
                raise InputError(f"{self.file} was written by a newer autoannotate: update this one to read it.")
            self._rows.execute(
                "CREATE TABLE IF NOT EXISTS answers (path TEXT NOT NULL, reader TEXT NOT NULL, verdict TEXT NOT NULL,"
                " label TEXT, note TEXT NOT NULL, source TEXT NOT NULL, round INTEGER NOT NULL, fingerprint TEXT NOT NULL,"
                " seconds REAL, batch TEXT NOT NULL, answered_at TEXT NOT NULL, undone_at TEXT,"
                " id INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (batch, path, reader))"
            )
            self._rows.execute("CREATE INDEX IF NOT EXISTS by_path ON answers (path, reader, id)")
            self._rows.execute("CREATE INDEX IF NOT EXISTS by_reader ON answers (reader, id)")
            self._rows.execute(f"PRAGMA user_version = {LAYOUT}")

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Whether the folder has answers, or had."""
        return (Path(folder) / FILE).is_file()

    def add(self, answers: Sequence[Answer]) -> list[Answer]:
        """Keep the answers, all or none, as one batch where they name none; they are on the disk when this returns.

        The same answer (batch, path and reader) sent twice is kept once.

        Raises
        ------
        OutputError
            Where the disk is full.
        """
        batch, now = uuid.uuid4().hex, _now()
        rows = [replace(one, batch=one.batch or batch, answered_at=one.answered_at or now, id=None) for one in answers]
        marks = ",".join("?" * len(KEPT))
        with self._transaction():
            self._rows.executemany(
                f"INSERT OR IGNORE INTO answers ({','.join(KEPT)}) VALUES ({marks})",
                [astuple(row)[:-1] for row in rows],
            )
            return [
                self._select("batch = ? AND path = ? AND reader = ?", row.batch, row.path, row.reader)[0]
                for row in rows
            ]

    def undo(self, reader: str, source: str | None = None) -> list[Answer]:
        """Take back the reader's last batch that still stands (of one source, where given); [] where there is none."""
        with self._transaction():
            mine = "reader = ? AND undone_at IS NULL" + (" AND source = ?" if source else "")
            known = (reader, source) if source else (reader,)
            last = self._rows.execute(
                f"SELECT batch FROM answers WHERE {mine} ORDER BY id DESC LIMIT 1", known
            ).fetchone()
            if last is None:
                return []
            undone = self._select("batch = ? AND reader = ? AND undone_at IS NULL", last[0], reader)
            self._rows.execute(
                "UPDATE answers SET undone_at = ? WHERE batch = ? AND reader = ? AND undone_at IS NULL",
                (_now(), last[0], reader),
            )
            return self._select(f"id IN ({','.join('?' * len(undone))})", *(answer.id for answer in undone))

    def current(self, reader: str | None = None) -> list[Answer]:
        """The answers that stand, in the order given: each reader's latest about each image that was not taken back."""
        with self._plainly():
            version = self._rows.execute("PRAGMA data_version").fetchone()[0], self._rows.total_changes
            if version != self._read:  # others wrote, or this process
                where = f"undone_at IS NULL AND {NEWEST}"
                ids = [one for (one,) in self._rows.execute(f"SELECT id FROM answers a WHERE {where} ORDER BY id")]
                new = self._select(f"id > ? AND {where}", max(self._standing, default=0))
                known = self._standing | {one.id: one for one in new if one.id is not None}
                if any(one not in known for one in ids):  # an older answer stands again
                    known = {one.id: one for one in self._select(where) if one.id is not None}
                self._standing, self._read = {one: known[one] for one in ids if one in known}, version
            return [one for one in self._standing.values() if reader is None or one.reader == reader]

    def everything(self) -> list[Answer]:
        """All answers ever given, those taken back too, in the order given."""
        return self._select("1")

    def readers(self) -> list[str]:
        """Who has answers that stand, in the order of their first."""
        with self._plainly():
            found = self._rows.execute(
                "SELECT reader FROM answers WHERE undone_at IS NULL GROUP BY reader ORDER BY min(id)"
            ).fetchall()
        return [name for (name,) in found]

    def close(self) -> None:
        """Close the file; every answer is kept already."""
        with self._lock:
            self._rows.close()

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _select(self, where: str, *known: object) -> list[Answer]:
        with self._plainly():
            rows = self._rows.execute(f"SELECT {','.join(COLUMNS)} FROM answers a WHERE {where} ORDER BY id", known)
            return [Answer(*row) for row in rows.fetchall()]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that is written inside is kept, or none of it."""
        with self._plainly():
            self._rows.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._rows.execute("COMMIT")
            except BaseException:
                if self._rows.in_transaction:
                    self._rows.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _plainly(self) -> Iterator[None]:
        """One thread at a time, and what SQLite says in plain words."""
        with self._lock:
            try:
                yield
            except UnicodeEncodeError:
                raise InputError("The answer holds characters that are no text: type it again.") from None
            except sqlite3.DatabaseError as error:
                raise self._in_words(error) from error

    def _in_words(self, error: sqlite3.DatabaseError) -> InputError | OutputError:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA")) or "no such column" in str(error):
            return InputError(f"{self.file} is damaged or holds no answers: put a copy of it back, or move it away.")
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            return OutputError(
                f"The disk is full or failed, so the answer was not kept in {self.file}: free some space and answer again."
            )
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return OutputError(f"Another program holds {self.file}, so the answer was not kept: answer again.")
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return OutputError(
                f"{self.file} cannot be written: get permission to write there, or copy the run elsewhere."
            )
        return OutputError(f"The answers in {self.file} cannot be used ({error}).")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
