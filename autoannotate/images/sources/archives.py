"""Zip and tar archives, read in place: a member is unpacked when it is read, under a name of our own, and then deleted."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images.content import MOST_BYTES_A_FILE, Content
from autoannotate.images.kinds import HEADERS, HIDDEN, VOXELS, headers_of, is_hidden
from autoannotate.images.ref import PassedOver
from autoannotate.images.sources.source import Entry, Source

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MOST_TIMES = 200  # larger unpacked than packed: images are 2 to 50, an archive made to fill the disk 1,000 and more
FREE_BYTES = 2**30  # which any archive may have unpacked, however small it is
MOST_MEMBERS = 2_000_000
_COMPRESSED: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda stream: cast(BinaryIO, gzip.GzipFile(fileobj=stream)),
    b"BZh": lambda stream: cast(BinaryIO, bz2.BZ2File(stream)),
    b"\xfd7zXZ\0": lambda stream: cast(BinaryIO, lzma.LZMAFile(stream)),  # noqa: SIM115
}


def is_archive(name: str) -> bool:
    """Whether a name is that of an archive.

    >>> is_archive("scans.TAR.GZ"), is_archive("scan.nii.gz")
    (True, False)
    """
    return name.lower().endswith(SUFFIXES)


def entries(text: str) -> Iterator[Entry | PassedOver]:
    """The members of an archive of this machine.

    Raises
    ------
    InputError
        With what is wrong, and the way out.
    """
    file = Path(text).absolute()
    try:
        found = file.stat()
        version = f"{file.resolve().as_posix()}\0{found.st_size}\0{found.st_mtime_ns}"
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}): check its name, or get permission to read it."
        ) from None
    return members(text, version, found.st_size, lambda: file.open("rb"))


def members(name: str, version: str, size: int, open_archive: Callable[[], BinaryIO]) -> Iterator[Entry | PassedOver]:
    """The members of an archive wherever it is.

    Parameters
    ----------
    name, version : str
        What messages call it, and where it is and which edition of it.
    size : int
        Its bytes.
    open_archive : callable
        Opens it as a stream that can seek.

    Raises
    ------
    InputError
        It is damaged, is not an archive, or unpacks to so much that it must have been made to fill the disk.
    """
    try:
        with open_archive() as stream:
            is_zip = zipfile.is_zipfile(stream)
        found = _zip_members if is_zip else _tar_members
        yield from _joined(found(name, version, size, open_archive))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, lzma.LZMAError, gzip.BadGzipFile, NotImplementedError):
        raise InputError(
            f"The archive {name} is damaged or cut short: copy it again, or unpack what can be unpacked."
        ) from None
    except OSError as error:
        raise InputError(f"The archive {name} cannot be read ({error.strerror or 'it is damaged'}).") from None


def below(prefix: str, entries: Iterable[Entry | PassedOver]) -> Iterator[Entry | PassedOver]:
    """The entries of an archive under its own name, where several files are given."""
    for entry in entries:
        yield entry if isinstance(entry, PassedOver) else replace(entry, path=f"{prefix}{entry.path}")


def _joined(found: Iterable[tuple[str, Content]]) -> Iterator[Entry | PassedOver]:
    """The members, where a header and the voxels beside it (`scan.mhd` and `scan.zraw`) are one."""
    apart: list[tuple[PurePosixPath, Content]] = []
    for path, content in found:
        name = PurePosixPath(tidy(path))
        if _is_hidden(path):
            yield HIDDEN
        elif name.suffix.lower() in HEADERS or headers_of(name):
            apart.append((name, content))
        else:
            yield Entry(str(name), content)
    beside: dict[PurePosixPath, list[tuple[str, Content]]] = {name: [] for name, _ in apart}
    for name, content in apart:
        for header in headers_of(name):
            if header in beside:
                beside[header].append((name.name, content))
    for name, content in apart:
        if any(header in beside for header in headers_of(name)):
            yield VOXELS
        elif parts := beside[name]:
            yield Entry(str(name), replace(content, name=name.name, beside=tuple(parts)))
        else:
            yield Entry(str(name), content)


def _zip_members(
    name: str, version: str, size: int, open_archive: Callable[[], BinaryIO]
) -> Iterator[tuple[str, Content]]:
    archive = _opened(version, open_archive)
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MOST_MEMBERS:
        raise _bomb(name)
    _check_size(name, size, sum(info.file_size for info in infos))
    if (
        sum(info.compress_size for info in infos) > size
    ):  # members that share their bytes: Fifield 2019, A better zip bomb
        raise _bomb(name)
    for info in infos:
        path = info.filename

        def open_member(info: zipfile.ZipInfo = info) -> BinaryIO:
            _check_name(info.filename)
            if info.flag_bits & 1:
                raise UnreadableImageError("It is encrypted: unpack the archive with its password first.")
            if info.file_size > MOST_BYTES_A_FILE:
                raise UnreadableImageError("It is larger than what is unpacked from an archive.")
            return cast(BinaryIO, _opened(version, open_archive).open(info))

        yield path, Content(f"{version}\0{info.header_offset}\0{path}", open_member, _suffix(path))


@lru_cache(maxsize=8)
def _opened(version: str, open_archive: Callable[[], BinaryIO]) -> zipfile.ZipFile:
    """The archive with its list of members, which takes seconds to read where they are many."""
    return zipfile.ZipFile(open_archive())


def _tar_members(
    name: str, version: str, size: int, open_archive: Callable[[], BinaryIO]
) -> Iterator[tuple[str, Content]]:
    stream = _Shared(_uncompressed(name, version, size, open_archive))
    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r:") as archive:
        for count, member in enumerate(archive):
            if count > MOST_MEMBERS:
                raise _bomb(name)
            archive.members = []  # type: ignore[attr-defined]  # else each one stays in memory
            if member.isdir():
                continue

            def open_member(member: tarfile.TarInfo = member) -> BinaryIO:
                _check_name(member.name)
                if not member.isreg() or member.issparse():
                    raise UnreadableImageError("It is a link or a device, which are not followed in an archive.")
                return io.BufferedReader(_Part(stream, member.offset_data, member.size))

            yield (
                member.name,
                Content(f"{version}\0{member.offset}\0{member.name}", open_member, _suffix(member.name)),
            )


def _uncompressed(name: str, version: str, size: int, open_archive: Callable[[], BinaryIO]) -> BinaryIO:
    """A tar archive whose members can be read in any order: a compressed one as an unnamed temporary file."""
    stream = open_archive()
    head = stream.read(6)
    stream.seek(0)
    unpack = next((unpack for magic, unpack in _COMPRESSED.items() if head.startswith(magic)), None)
    if unpack is None:
        return stream
    out = cast(BinaryIO, tempfile.TemporaryFile(prefix="autoannotate-"))  # noqa: SIM115 (open as long as the run)
    with stream, unpack(stream) as source:
        while block := source.read(2**20):
            out.write(block)
            _check_size(name, size, out.tell())
    out.seek(0)
    return out


class _Shared:
    """A stream that several threads read at places of their own."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock, self._at = stream, threading.Lock(), 0

    def read_at(self, start: int, count: int) -> bytes:
        with self._lock:
            self._stream.seek(start)
            return self._stream.read(count)

    def read(self, count: int = -1) -> bytes:
        block = self.read_at(self._at, count)
        self._at += len(block)
        return block

    def seek(self, offset: int, whence: int = 0) -> int:
        with self._lock:
            self._at = self._stream.seek(offset, whence) if whence == 2 else offset + (self._at if whence else 0)
            return self._at

    def tell(self) -> int:
        return self._at


class _Part(io.RawIOBase):
    """Some bytes of a shared stream, as a stream."""

    def __init__(self, stream: _Shared, start: int, size: int) -> None:
        self._stream, self._at, self._left = stream, start, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read_at(self._at, min(len(buffer), self._left))
        if not block and self._left:
            raise EOFError
        buffer[: len(block)] = block
        self._at += len(block)
        self._left -= len(block)
        return len(block)


def _check_size(name: str, packed: int, unpacked: int) -> None:
    if unpacked > max(FREE_BYTES, MOST_TIMES * packed):
        raise _bomb(name)


def _bomb(name: str) -> InputError:
    return InputError(
        f"The archive {name} unpacks to over {MOST_TIMES} times its size, as one made to fill the disk does, so it is "
        "refused: if you trust it, unpack it yourself and give the folder."
    )


def _check_name(path: str) -> None:
    if path.startswith(("/", "\\")) or ".." in PurePosixPath(path.replace("\\", "/")).parts or path[1:2] == ":":
        raise UnreadableImageError("Its name points outside the archive, as no honest one does.")


def _is_hidden(path: str) -> bool:
    """Whether it is a hidden file, as those that macOS adds."""
    return any(is_hidden(part) and part not in (".", "..") for part in path.split("/"))


def tidy(path: str) -> str:
    """The name as a path below the archive, whatever it points to."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts).encode("utf-8", "backslashreplace").decode()


def _suffix(path: str) -> str:
    name = PurePosixPath(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else PurePosixPath(name).suffix[:12]


def _recognises(text: str) -> bool:
    return is_archive(text) and Path(text).is_file()


SOURCE = Source("archive", "a zip or tar archive", _recognises, entries)
