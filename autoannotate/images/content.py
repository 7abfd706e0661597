"""Image files that are not plain files on this machine: fetched when they are read, and kept for a short while only."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from autoannotate.errors import UnreadableImageError

FETCHED_AT_ONCE = 4  # requests to one place
MOST_BYTES_A_FILE = 4 * 2**30
MOST_BYTES_KEPT = 2**30
_PREFIX = "autoannotate-fetched-"
_TOO_LARGE = f"The file is larger than {MOST_BYTES_A_FILE // 2**30} GiB unpacked: unpack it, or cut it into parts."
_NO_ANSWER = "The place it is in did not hand it over: see that it can be reached; the same command then goes on."
_DAMAGED = "The archive that it is in is damaged or cut short here."


@dataclass(frozen=True)
class Content:
    """The bytes of one image file in an archive, in a bucket, in a PACS.

    Attributes
    ----------
    version : str
        Where the bytes are and which edition of them: the same text means the same bytes. No identifier of a patient.
    open : callable
        Opens the bytes for reading. May raise anything; users see an `UnreadableImageError`.
    suffix : str
        The ending of its name, with the dot.
    header : callable or None
        Its DICOM header, where that is known without fetching the bytes.
    name : str
        Its name as a file, where what belongs to it is found by it; else any is right.
    beside : tuple of (str, Content)
        Names and bytes of the files that must be beside it, such as the voxels of a header.
    """

    version: str
    open: Callable[[], BinaryIO] = field(compare=False, repr=False)
    suffix: str = ""
    header: Callable[[], Any] | None = field(default=None, compare=False, repr=False)
    name: str = ""
    beside: tuple[tuple[str, Content], ...] = field(default=(), compare=False, repr=False)

    def head(self, count: int) -> bytes:
        """The first bytes.

        Raises
        ------
        UnreadableImageError
            Where it cannot be read.
        """
        with _plain_errors(), self.open() as stream:
            return stream.read(count)

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """The bytes as a file of a private folder; it may be gone after the block.

        Raises
        ------
        UnreadableImageError
            Where it cannot be read.
        """
        with _held(self) as file:
            yield file

    def fetch(self) -> None:
        """Fetch the bytes ahead of `as_file`.

        Raises
        ------
        UnreadableImageError
            Where it cannot be read.
        """
        with self.as_file():
            pass


class HasContent(Protocol):
    """An image that may be elsewhere."""

    @property
    def content(self) -> Content | None:
        """Where the bytes are, if not in a file of this machine."""


T = TypeVar("T", bound=HasContent)


def fetched_ahead(refs: Iterable[T]) -> Iterator[T]:
    """The same images in the same order, the next few fetched meanwhile, `FETCHED_AT_ONCE` at a time."""
    with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
        ahead: deque[tuple[T, Future[None] | None]] = deque()
        for ref in refs:
            ahead.append((ref, pool.submit(ref.content.fetch) if ref.content else None))
            if len(ahead) > 2 * FETCHED_AT_ONCE:
                yield _arrived(*ahead.popleft())
        while ahead:
            yield _arrived(*ahead.popleft())


def _arrived(ref: T, fetched: Future[None] | None) -> T:
    if fetched is not None:
        with suppress(UnreadableImageError):  # reading it will say so
            fetched.result()
    return ref


class _Kept:
    """One fetched file: how many readers it has now, and how large it is."""

    def __init__(self, file: Path) -> None:
        self.file, self.readers, self.size = file, 0, 0
        self.lock = threading.Lock()


_kept: OrderedDict[str, _Kept] = OrderedDict()
_lock = threading.Lock()
_folder: Path | None = None


@contextmanager
def _held(content: Content) -> Iterator[Path]:
    with _lock:
        kept = _kept.get(content.version)
        if kept is None:
            name = content.name or f"image{content.suffix}"
            kept = _kept[content.version] = _Kept(_private_folder() / os.urandom(8).hex() / name)
        kept.readers += 1
        _kept.move_to_end(content.version)
    try:
        with kept.lock:
            if not kept.file.exists():
                _copy(content, kept)
        yield kept.file
    finally:
        with _lock:
            kept.readers -= 1
            _drop_old()


def _copy(content: Content, kept: _Kept) -> None:
    size, folder = 0, kept.file.parent
    folder.mkdir(exist_ok=True)  # alone: other fetched files are not of its folder
    try:
        for name, part in (
            *content.beside,
            (kept.file.name, content),
        ):  # the file itself last: it says that all are there
            with _plain_errors(), part.open() as stream, (folder / name).open("wb") as out:
                while block := stream.read(2**20):
                    size += len(block)
                    if size > MOST_BYTES_A_FILE:
                        raise UnreadableImageError(_TOO_LARGE)
                    out.write(block)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    kept.size = size


def is_fetched(file: Path) -> bool:
    """Whether a file is a copy of one in an archive, in a bucket or in a PACS: alone but for what belongs to it."""
    return any(part.startswith(_PREFIX) for part in file.parts)


def _drop_old() -> None:
    """Delete the files used longest ago, those in use apart, until what is kept is small enough."""
    total = sum(kept.size for kept in _kept.values())
    for version, kept in list(_kept.items()):
        if total <= MOST_BYTES_KEPT:
            return
        if not kept.readers:
            shutil.rmtree(kept.file.parent, ignore_errors=True)
            total -= kept.size
            del _kept[version]


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Our own sentences: those of the libraries may hold addresses, or names of patients."""
    try:
        yield
    except (UnreadableImageError, MemoryError):
        raise
    except FileNotFoundError:
        raise UnreadableImageError("It is not there any more.") from None
    except PermissionError:
        raise UnreadableImageError("There is no permission to read it.") from None
    except (zipfile.BadZipFile, EOFError):
        raise UnreadableImageError(_DAMAGED) from None
    except Exception:
        raise UnreadableImageError(_NO_ANSWER) from None


def _private_folder() -> Path:
    global _folder
    if _folder is None or not _folder.is_dir():
        _clear_after_the_dead()
        _folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))  # readable by this user alone
    return _folder


def _clear_after_the_dead() -> None:
    """Remove what processes that were killed could not remove themselves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _clear() -> None:
    if _folder is not None and _folder.name.startswith(f"{_PREFIX}{os.getpid()}-"):  # not a parent's
        shutil.rmtree(_folder, ignore_errors=True)


def _forget() -> None:
    """In a child made by fork: what is kept is its parent's."""
    global _folder, _lock
    _folder, _lock = None, threading.Lock()
    _kept.clear()


atexit.register(_clear)
with suppress(AttributeError):
    os.register_at_fork(after_in_child=_forget)
