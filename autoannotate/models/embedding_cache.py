"""Encoded images kept between runs: a second run with other classes, or one that was stopped, encodes nothing twice.

One SQLite file, one row an image, keyed by the encoder's weights and the image's content; a file that was moved or copied is
recognised by a hash of its bytes. It lives in the user's own cache folder, readable by nobody else: embeddings are derived from
medical images and are as private as they are.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoannotate.errors import OutputError
from autoannotate.models.cache_size import SIZE

WAY_OUT = "free some space there, or set AUTOANNOTATE_CACHE to a folder on another disk"
FORM = 4  # of the features, and of the pictures that they are of; rows of another form are never read
READ_AT_ONCE = 500  # SQLite takes at most 999 parameters a query
FILE = "encodings.sqlite"
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
SPARE = 0.9  # of the size, to which it is cut down, so that not every run has to
USED_AGAIN = 3600  # seconds after which a further use is noted
HALF = b"e"  # before features of half precision (NumPy's name for it); rows of float32 have an even length
TABLES = (
    "encodings (key TEXT PRIMARY KEY, embedding BLOB NOT NULL, features BLOB NOT NULL)",
    "notes (key TEXT PRIMARY KEY, note TEXT NOT NULL)",
    "names (name TEXT PRIMARY KEY, content TEXT NOT NULL)",
    "uses (key TEXT PRIMARY KEY, used INTEGER NOT NULL)",
)


def default_folder() -> Path:
    """AUTOANNOTATE_CACHE, else the operating system's cache folder of this user."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("AUTOANNOTATE_CACHE") or user_cache_path("autoannotate"))


def cache_folder(cache: Path | str | bool) -> Path:
    """The folder that an annotator's `cache` names: itself, or the default one for True."""
    return default_folder() if isinstance(cache, bool) else Path(cache)


class EncodingCache:
    """Embeddings (D,) and features (F,) of images by key.

    Several processes may use one file at once, and one that is killed costs at most what it has not `put` yet.

    Parameters
    ----------
    folder : Path or None
        Where the file is, made if missing; None keeps everything in memory for this run only.
    encoder : str
        The hash of its weights; rows of other encoders are never mixed in.
    size : int
        Bytes that the file may take, see `trim`.
    half : bool
        Keep features in half precision: the labels are the same (eval/speed), and they take half the space.
    """

    def __init__(self, folder: Path | None, encoder: str, size: int = SIZE, half: bool = True) -> None:
        self.encoder, self.size, self.half = encoder, size, half
        self.folder, self._started = folder, int(time.time())
        with _plain_errors(folder):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                (folder / FILE).touch(mode=0o600)
            self._rows = _opened(None if folder is None else folder / FILE)

    def known(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that are here, which are noted as used."""
        found: set[str] = set()
        for part in self._parts(keys):
            contents = self._contents(part)
            here = {key for key, _, _ in self._select("key, '', ''", [*contents.values()])}
            found |= {key for key, content in contents.items() if content in here}
            self._use(here)
        return found

    def get(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (N, D) and features (N, F) of known keys, in their order, as float32."""
        return self.embeddings(keys), self.features(keys)

    def embeddings(self, keys: Sequence[str]) -> np.ndarray:
        """Embeddings (N, D) of known keys, in their order."""
        return self._column("embedding", keys)

    def features(self, keys: Sequence[str]) -> np.ndarray:
        """Features (N, F) of known keys, in their order, as float32."""
        return self._column("features", keys)

    def stored(self, keys: Sequence[str]) -> StoredFeatures:
        """The features of known keys, read when they are asked for: for more images than fit in memory."""
        width = self.features(keys[:1]).shape[1]
        return StoredFeatures(self, keys, (len(keys), width))

    def notes(self, keys: Sequence[str]) -> dict[str, str]:
        """What was assumed to show an image, by key, for those of the keys where something was."""
        found: dict[str, str] = {}
        for part in self._parts(keys):
            contents = self._contents(part)
            said = {key: note for key, note, _ in self._select("key, note, ''", [*contents.values()], "notes")}
            found |= {key: said[content] for key, content in contents.items() if content in said}
        return found

    def put(
        self,
        keys: Iterable[str],
        embeddings: np.ndarray,
        features: np.ndarray,
        notes: Mapping[str, str] | None = None,
        contents: Mapping[str, str] | None = None,
    ) -> None:
        """Keep some rows in one transaction.

        Parameters
        ----------
        keys : N fingerprints of images
        embeddings, features : (N, D) and (N, F) arrays
        notes : what was assumed to show an image, by key
        contents : the hash of an image's bytes, by key, by which it is recognised under another name
        """
        content = contents or {}
        rows = [
            (self._key(content.get(key, key)), embedding.astype(np.float32).tobytes(), self._packed(feature))
            for key, embedding, feature in zip(keys, embeddings, features, strict=True)
        ]
        said = [(self._key(content.get(key, key)), note) for key, note in (notes or {}).items()]
        with _plain_errors(self.folder), self._rows:
            self._rows.executemany("INSERT OR REPLACE INTO encodings VALUES (?, ?, ?)", rows)
            self._rows.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", said)
            self._name(content)
        self._use([key.removeprefix(self._key("")) for key, _, _ in rows])

    def recognise(self, contents: Mapping[str, str]) -> set[str]:
        """Those of the keys whose content is here under another name; from now on it is under theirs too. contents: by key."""
        here: set[str] = set()
        for part in self._parts([*contents]):
            known = {key for key, _, _ in self._select("key, '', ''", [contents[key] for key in part])}
            here |= {key for key in part if contents[key] in known}
        with _plain_errors(self.folder), self._rows:
            self._name({key: contents[key] for key in here})
        return here

    def trim(self) -> int:
        """Delete rows used longest ago until the file is within its size; none that was used since this cache was opened.

        Returns
        -------
        int
            How many.
        """
        with _plain_errors(self.folder), self._rows:
            pages, free, page = (
                self._rows.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            rows = self._rows.execute("SELECT COUNT(*) FROM encodings").fetchone()[0]
            taken = (pages - free) * page
            if taken <= self.size or not rows:
                return 0
            surplus = int(np.ceil(rows * (1.0 - SPARE * self.size / taken)))
            old = self._rows.execute(
                "SELECT encodings.key FROM encodings LEFT JOIN uses ON uses.key = encodings.key "
                "WHERE COALESCE(used, 0) < ? ORDER BY COALESCE(used, 0) LIMIT ?",
                (self._started, surplus),
            ).fetchall()
            for table in ("encodings", "notes", "uses"):
                self._rows.executemany(f"DELETE FROM {table} WHERE key = ?", old)
            self._rows.executemany("DELETE FROM names WHERE content = ?", [(key.split(":", 2)[2],) for (key,) in old])
        with _plain_errors(self.folder):
            self._rows.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page
        return len(old)

    def close(self) -> None:
        """Close the file of the cache."""
        self._rows.close()

    def _column(self, name: str, keys: Sequence[str]) -> np.ndarray:
        made: np.ndarray | None = None
        for start in range(0, len(keys), READ_AT_ONCE):
            part = keys[start : start + READ_AT_ONCE]
            contents = self._contents(part)
            rows = {key: value for key, value, _ in self._select(f"key, {name}, ''", [*contents.values()])}
            if lost := [key for key in part if contents[key] not in rows]:
                raise KeyError(lost[0])
            values = np.stack([_unpacked(rows[contents[key]]) for key in part])
            if made is None:
                made = np.empty((len(keys), values.shape[1]), np.float32)
            made[start : start + len(part)] = values
        return np.empty((0, 0), np.float32) if made is None else made

    def _packed(self, features: np.ndarray) -> bytes:
        if not self.half or np.abs(features).max(initial=0.0) > 1e4:  # half precision ends at 65,504
            return features.astype(np.float32).tobytes()
        return HALF + features.astype(np.float16).tobytes()

    def _contents(self, keys: Sequence[str]) -> dict[str, str]:
        """What each key stands for among the encodings: the content known by this name, else itself."""
        marks = ",".join("?" * len(keys))
        with _plain_errors(self.folder):
            named = dict(self._rows.execute(f"SELECT name, content FROM names WHERE name IN ({marks})", list(keys)))
        return {key: named.get(key, key) for key in keys}

    def _name(self, contents: Mapping[str, str]) -> None:
        self._rows.executemany("INSERT OR REPLACE INTO names VALUES (?, ?)", [*contents.items()])

    def _use(self, contents: Iterable[str]) -> None:
        now = int(time.time())
        rows = [(self._key(content), now, now - USED_AGAIN) for content in contents]
        with _plain_errors(self.folder), self._rows:
            self._rows.executemany(
                "INSERT INTO uses VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET used = excluded.used WHERE used < ?",
                rows,
            )

    def _key(self, key: str) -> str:
        return f"{self.encoder}:{FORM}:{key}"

    def _parts(self, keys: Sequence[str]) -> Iterator[Sequence[str]]:
        return (keys[start : start + READ_AT_ONCE] for start in range(0, len(keys), READ_AT_ONCE))

    def _select(self, columns: str, contents: Sequence[str], table: str = "encodings") -> list[tuple[str, Any, Any]]:
        marks = ",".join("?" * len(contents))
        with _plain_errors(self.folder):
            rows = self._rows.execute(
                f"SELECT {columns} FROM {table} WHERE key IN ({marks})", [self._key(content) for content in contents]
            ).fetchall()
        return [(key.removeprefix(self._key("")), first, second) for key, first, second in rows]


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Features (N, F) in the cache, of which some rows at a time are read: `features[rows]`, as float32."""

    cache: EncodingCache
    keys: Sequence[str]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, tuple):
            return self[rows[0]][(slice(None), *rows[1:])]
        chosen = np.arange(len(self))[rows]
        try:
            return self.cache.features([self.keys[row] for row in chosen.tolist()]).reshape(-1, self.shape[1])
        except KeyError:
            raise OutputError(
                "Encoded images were removed from the cache while they were needed, by another run: give more room with "
                "--cache-size, and run the same command again."
            ) from None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


def _unpacked(row: bytes) -> np.ndarray:
    if len(row) % 2:
        return np.frombuffer(row[1:], np.float16).astype(np.float32)
    return np.frombuffer(row, np.float32)


def _opened(file: Path | None) -> sqlite3.Connection:
    """A connection to the file with all tables; a file that is damaged is put aside, and a new one begun."""
    for attempt in (1, 2):
        # the thread that reads pictures asks too, while the one that encodes waits
        rows = sqlite3.connect(":memory:" if file is None else file, timeout=60, check_same_thread=False)
        try:
            rows.execute("PRAGMA auto_vacuum = INCREMENTAL")
            rows.execute("PRAGMA journal_mode = WAL")
            rows.execute("PRAGMA synchronous = NORMAL")
            for table in TABLES:
                rows.execute(f"CREATE TABLE IF NOT EXISTS {table}")
            rows.execute("CREATE INDEX IF NOT EXISTS uses_used ON uses (used)")
            rows.execute("CREATE INDEX IF NOT EXISTS names_content ON names (content)")
            return rows
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            rows.close()
            if file is None or attempt == 2:
                raise
            _put_aside(file)
            file.touch(mode=0o600)
    raise AssertionError  # the second attempt returned or raised


def _put_aside(file: Path) -> None:
    file.replace(file.with_suffix(".damaged"))
    for ending in ("-wal", "-shm"):
        file.with_name(file.name + ending).unlink(missing_ok=True)


@contextmanager
def _plain_errors(folder: Path | None) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if folder is not None and getattr(error, "sqlite_errorname", "").startswith(DAMAGED):
            with suppress(OSError):  # another run was here first, or Windows keeps open files where they are
                _put_aside(folder / FILE)
            raise OutputError(
                f"Encoded images kept in {folder / FILE} are damaged, and were put aside: run the same command again, "
                "which encodes them anew. A disk that is failing or was full does this."
            ) from None
        why = str(getattr(error, "strerror", None) or error).lower()
        raise OutputError(f"Encoded images cannot be kept in {folder or 'memory'} ({why}): {WAY_OUT}.") from None
