"""One change of a run at a time: `autoannotate update` and the page's button take the same lock."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from autoannotate._internal.files import plain_errors
from autoannotate.errors import OutputError

FILE = ".lock"


@contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Hold the lock of the run in the folder; the system takes it back when the process ends, however it ends.

    Raises
    ------
    OutputError
        Where another process holds it, or the folder cannot be written.
    """
    file = Path(folder) / FILE
    with plain_errors(file):
        handle = file.open("a+b")
    try:
        if not _locked(handle):
            raise OutputError(f"Another update of {folder} is at work: wait until it is done, or stop it.")
        yield
    finally:
        handle.close()


def _locked(handle: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
