"""Files that are written whole or not at all, and what the system says about a path, as a plain sentence."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from autoannotate.errors import OutputError

Content = bytes | Iterable[bytes]
"""Of a file: all of it, or its parts one after the other, so that a large one is never held whole."""
PART = 2**20  # bytes
ELSEWHERE = "choose another place with --out"
OF_A_RUN = "free some space on its disk, or copy the run to another one"  # where a run is, no option says


@contextlib.contextmanager
def plain_errors(path: Path, way_out: str = ELSEWHERE) -> Iterator[None]:
    """Turn what the system says about a path that cannot be written into an `OutputError` with a way out."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"Cannot write {path} ({why}): {way_out}.") from error


def parts_of(path: Path) -> Iterator[bytes]:
    """The content of a file, `PART` at a time."""
    with path.open("rb") as handle:
        while part := handle.read(PART):
            yield part


def write_files(files: Mapping[Path, Content], way_out: str = ELSEWHERE) -> None:
    """Write all of the files or none: each beside its place first, then all put in place at once.

    Raises
    ------
    OutputError
        Where the disk is full or the folder is read-only; what was there before stays then.
    """
    written: list[tuple[Path, Path]] = []
    try:
        for path, content in files.items():
            with plain_errors(path, way_out):
                temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
                written.append((temporary, path))
                with temporary.open("wb") as handle:
                    handle.writelines([content] if isinstance(content, bytes) else content)
                    handle.flush()
                    os.fsync(handle.fileno())
        for temporary, path in written:
            with plain_errors(path, way_out):
                temporary.replace(path)
    finally:
        for temporary, _ in written:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
