"""JSON that is written piece by piece: what is exported of a million images is never held as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO


def encoded(value: Any) -> bytes:
    """A value as JSON; names of files that are not UTF-8 become escapes."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", errors="backslashreplace")


def open_object(out: BinaryIO, head: Mapping[str, Any], key: str, bracket: bytes) -> None:
    """Write an object whose last value follows in pieces: its other values, then the key and the bracket of that value."""
    out.write(b"{" + b"".join(encoded(name) + b": " + encoded(value) + b",\n" for name, value in head.items()))
    out.write(encoded(key) + b": " + bracket)


class Pieces:
    """Items of a list or of an object, one a line."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.count = 0

    def add(self, value: Any, key: str | None = None) -> None:
        """Write an item; key: its name in an object."""
        self._out.write(
            (b",\n" if self.count else b"\n") + (b"" if key is None else encoded(key) + b": ") + encoded(value)
        )
        self.count += 1
