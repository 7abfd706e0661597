"""Buckets and servers by URL, through fsspec: s3, gs, http, sftp and whatever else is installed for it.

What is read is fetched file by file, and nothing is sent but requests for it. Who may read comes from each library's own
settings (AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, ~/.ssh, FSSPEC_SFTP …), never from the URL,
because that is kept in run.json.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images.content import Content
from autoannotate.images.kinds import HIDDEN, is_hidden
from autoannotate.images.ref import PassedOver
from autoannotate.images.sources import archives
from autoannotate.images.sources.source import Entry, Source

SCHEMES = ("s3", "gs", "gcs", "http", "https", "sftp", "ssh", "abfs", "az", "hf", "memory")
_NEEDS = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
    "ssh": "paramiko",
}
_one_connection = threading.RLock()


def entries(text: str) -> Iterator[Entry | PassedOver]:
    """The files below a URL, or the one file (or archive) that it names.

    Raises
    ------
    InputError
        With what is wrong, and the way out.
    """
    system, place = _filesystem(text)
    try:
        found = _listed(system, place)
    except Exception as error:
        raise _unreachable(text, error) from None
    if not found:
        raise InputError(f"Nothing is at {text}: check the address, and that you may list it.")
    root = place.rstrip("/")
    for name, info in sorted(found.items()):
        path = name.removeprefix(root).lstrip("/") if name.startswith(root) else PurePosixPath(name).name
        path = path or PurePosixPath(name).name  # it is the one file that was asked for
        if _is_http(system):
            path = archives.tidy(unquote(path))
        if any(is_hidden(part) for part in path.split("/")):
            yield HIDDEN
            continue
        version = _version(text, name, info)
        open_file = partial(_opened, system, name)  # other machines can be handed it
        if archives.is_archive(path):
            in_parts = partial(_opened, system, name, in_parts=True)
            size = int(info.get("size") or 0)
            if _is_http(system) and not info.get("partial"):
                fetched = Content(version, open_file, ".archive")
                in_parts, size = partial(_fetched, fetched), size or _size(fetched)
            within = archives.members(path, version, size, in_parts)
            whole = len(found) == 1  # the archive itself was asked for
            yield from archives.below("" if whole else f"{path}/", within)
        else:
            yield Entry(path, Content(version, open_file, PurePosixPath(path).suffix.lower()[:12]))


def _listed(system: Any, place: str) -> dict[str, dict[str, Any]]:
    if system.isdir(place) and not archives.is_archive(place):
        return {name: info for name, info in system.find(place, detail=True).items() if info.get("type") != "directory"}
    return {place: system.info(place)}


def _is_http(system: Any) -> bool:
    return "http" in system.protocol


def _opened(system: Any, name: str, *, in_parts: bool = False) -> BinaryIO:
    """A file from its beginning on, or one that can be read from any place on.

    Of a web server the former is one request, and the latter needs one that answers for parts. Libraries without asynchronous
    requests (paramiko's SFTP) have one connection, whose answers threads take from each other: they wait for each other here.
    """
    if _is_http(system) and not in_parts:
        return cast(BinaryIO, system.open(name, "rb", block_size=0))
    if system.async_impl:
        return cast(BinaryIO, system.open(name, "rb"))
    with _one_connection:
        return io.BufferedReader(_InTurn(system.open(name, "rb")), 2**18)


class _InTurn(io.RawIOBase):
    """A stream of which no thread reads while another one reads of any."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _one_connection:
            block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def seek(self, offset: int, whence: int = 0) -> int:
        with _one_connection:
            self._stream.seek(offset, whence)
            return self._stream.tell()

    def close(self) -> None:
        if not self.closed:
            with _one_connection:
                self._stream.close()
        super().close()


def _fetched(archive: Content) -> BinaryIO:
    """An archive that cannot be read in parts where it is, as a file of this machine."""
    try:
        with archive.as_file() as file:
            return file.open("rb")
    except UnreadableImageError as error:
        raise InputError(f"The archive cannot be fetched. {error}") from None


def _size(archive: Content) -> int:
    with _fetched(archive) as stream:
        return stream.seek(0, 2)


def _filesystem(text: str) -> tuple[Any, str]:
    scheme = text.partition("://")[0].lower()
    if re.match(r"[a-z0-9+]+://[^/@]*:[^/@]*@", text, re.IGNORECASE):
        raise InputError(
            "The address holds a password, which would be kept with the run: leave it out, and give it by the settings of "
            f"the library for {scheme} (its environment variables or files)."
        )
    try:
        import fsspec

        return cast("tuple[Any, str]", fsspec.core.url_to_fs(text))
    except ImportError:
        needs = _NEEDS.get(scheme)
        more = f" (it brings {needs})" if needs else ""
        raise InputError(
            f"Addresses that begin with {scheme}:// need more: pip install 'autoannotate[cloud]'{more}."
        ) from None
    except Exception as error:
        raise _unreachable(text, error) from None


def _version(text: str, name: str, info: dict[str, Any]) -> str:
    edition = next(
        (info[key] for key in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "mtimes") if info.get(key)), ""
    )
    scheme = text.partition("://")[0]
    return hashlib.sha256(f"{scheme}\0{name}\0{info.get('size')}\0{edition}".encode()).hexdigest()


def _unreachable(text: str, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"Nothing is at {text}: check the address.")
    if isinstance(error, PermissionError) or re.search(
        "credential|authenticat", f"{type(error)} {error}", re.IGNORECASE
    ):
        return InputError(f"There is no permission to read {text}: check the credentials that its library takes.")
    return InputError(f"{text} cannot be reached ({type(error).__name__}): check the address and the network.")


def _recognises(text: str) -> bool:
    return "://" in text and text.partition("://")[0].lower() in SCHEMES


SOURCE = Source("cloud", "a URL (s3://, gs://, http://, sftp://)", _recognises, entries, location=lambda text: text)
