"""Encoded images kept between runs: a second run with other classes, or one that was stopped, encodes nothing twice.

One SQLite file, one row an image, keyed by the encoder's weights and the image's fingerprint. It lives in the user's
own cache folder, readable by nobody else: embeddings are derived from medical images and are as private as they are.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoannotate.errors import OutputError

FORM = 4  # of the features, and of the pictures that they are of; rows of another form are never read
READ_AT_ONCE = 500  # SQLite takes at most 999 parameters a query


WAY_OUT = "free some space there, or set AUTOANNOTATE_CACHE to a folder on another disk"


def default_folder() -> Path:
    """AUTOANNOTATE_CACHE, else the operating system's cache folder of this user."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("AUTOANNOTATE_CACHE") or user_cache_path("autoannotate"))


class EncodingCache:
    """Embeddings (D,) and features (F,) of images by key, as float32.

    folder: where the file is, made if missing; None keeps everything in memory for this run only.
    encoder: the hash of its weights; rows of other encoders are never mixed in.
    """

    def __init__(self, folder: Path | None, encoder: str) -> None:
        self.encoder = encoder
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                (folder / "encodings.sqlite").touch(mode=0o600)
            self._rows = sqlite3.connect(":memory:" if folder is None else folder / "encodings.sqlite", timeout=60)
            self._rows.execute("PRAGMA journal_mode = WAL")
            self._rows.execute(
                "CREATE TABLE IF NOT EXISTS encodings (key TEXT PRIMARY KEY, embedding BLOB NOT NULL, features BLOB NOT NULL)"
            )
            self._rows.execute("CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, note TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"Encoded images cannot be kept in {folder} ({_why(error)}): {WAY_OUT}.") from None
        self.folder = folder

    def known(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that are here."""
        found: set[str] = set()
        for part in self._parts(keys):
            found |= {key for key, _, _ in self._select("key, '', ''", part)}
        return found

    def get(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (N, D) and features (N, F) of known keys, in their order."""
        rows = {key: (embedding, features) for part in self._parts(keys) for key, embedding, features in
                self._select("key, embedding, features", part)}  # fmt: skip
        embeddings, features = zip(*(rows[key] for key in keys), strict=True)
        return tuple(np.stack([np.frombuffer(row, np.float32) for row in rows]) for rows in (embeddings, features))  # type: ignore[return-value]

    def notes(self, keys: Sequence[str]) -> dict[str, str]:
        """What was assumed to show an image, by key, for those of the keys where something was."""
        found: dict[str, str] = {}
        for part in self._parts(keys):
            found |= {key: note for key, note, _ in self._select("key, note, ''", part, "notes")}
        return found

    def put(
        self, keys: Iterable[str], embeddings: np.ndarray, features: np.ndarray, notes: Mapping[str, str] | None = None
    ) -> None:
        """Keep some rows, and the notes on images that have one by key, in one transaction."""
        rows = [
            (self._key(key), embedding.astype(np.float32).tobytes(), feature.astype(np.float32).tobytes())
            for key, embedding, feature in zip(keys, embeddings, features, strict=True)
        ]
        try:
            with self._rows:
                self._rows.executemany("INSERT OR REPLACE INTO encodings VALUES (?, ?, ?)", rows)
                said = [(self._key(key), note) for key, note in (notes or {}).items()]
                self._rows.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", said)
        except sqlite3.Error as error:
            raise OutputError(f"Encoded images cannot be kept in {self.folder} ({_why(error)}): {WAY_OUT}.") from None

    def close(self) -> None:
        self._rows.close()

    def _key(self, key: str) -> str:
        return f"{self.encoder}:{FORM}:{key}"

    def _parts(self, keys: Sequence[str]) -> Iterable[Sequence[str]]:
        return (keys[start : start + READ_AT_ONCE] for start in range(0, len(keys), READ_AT_ONCE))

    def _select(self, columns: str, keys: Sequence[str], table: str = "encodings") -> list[tuple[str, Any, Any]]:
        marks = ",".join("?" * len(keys))
        rows = self._rows.execute(
            f"SELECT {columns} FROM {table} WHERE key IN ({marks})", [self._key(key) for key in keys]
        )
        return [(key.removeprefix(self._key("")), embedding, features) for key, embedding, features in rows]


def _why(error: OSError | sqlite3.Error) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
