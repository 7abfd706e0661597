"""One change of a run at a time: `autoannotate update` and the page's button take the same lock."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from autoannotate._internal.files import ELSEWHERE, OF_A_RUN, plain_errors
from autoannotate.errors import OutputError

FILE = ".lock"


@contextmanager
def alone(folder: str | Path, busy: str = "", way_out: str = OF_A_RUN) -> Iterator[None]:
    """Hold the lock of the run in the folder; the system takes it back when the process ends, however it ends.

    Raises
    ------
    OutputError
        Where another process holds it, or the folder cannot be written.
    """
    file = Path(folder) / FILE
    with plain_errors(file, way_out):
        handle = file.open("a+b")
    try:
        if not _locked(handle):
            raise OutputError(busy or f"Another update of {folder} is at work: wait until it is done, or stop it.")
        yield
    finally:
        handle.close()


@contextmanager
def reserved(folder: str | Path) -> Iterator[None]:
    """Keep a folder for the run that is about to be made in it; where none is made, nothing is left behind.

    Raises
    ------
    OutputError
        Where another process is making a run there, or the folder cannot be made.
    """
    folder = Path(folder)
    made = next((place for place in reversed((folder, *folder.absolute().parents)) if not place.exists()), None)
    with plain_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    busy = f"Another run is being made in {folder}: wait until it is done, or choose another folder with --out."
    with alone(folder, busy, ELSEWHERE):
        try:
            yield
        finally:
            if not (folder / "run.json").exists():
                (folder / FILE).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # somebody's files are in it
                    while made is not None:
                        folder.rmdir()
                        if folder.absolute() == made.absolute():
                            break
                        folder = folder.parent


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
