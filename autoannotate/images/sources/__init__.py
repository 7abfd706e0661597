"""Where images are: folders, files, and each kind of source that one module here names, or one package from outside.

A kind of source is a module with a `SOURCE`, and one entry in `SOURCES`. A package from outside adds its own by an entry
point of the group `autoannotate.sources` that names such a `Source`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images.content import Content
from autoannotate.images.find import all_found, look
from autoannotate.images.find import find as find_files
from autoannotate.images.kinds import kind_of
from autoannotate.images.plugins import added
from autoannotate.images.ref import HEAD_BYTES, Found, ImageRef, PassedOver
from autoannotate.images.registry import reader_of, unpacked_head
from autoannotate.images.sources import archives, cloud, dicomweb, globs, lists
from autoannotate.images.sources.source import NOT_COUNTED, Entry, Source

__all__ = [
    "SOURCES",
    "Content",
    "Entry",
    "Source",
    "account",
    "find",
    "find_images",
    "find_some",
    "location",
    "sources",
]

SOURCES: tuple[Source, ...] = (dicomweb.SOURCE, cloud.SOURCE, archives.SOURCE, lists.SOURCE, globs.SOURCE)
GROUP = "autoannotate.sources"


@cache
def sources() -> tuple[Source, ...]:
    """All kinds of source: those of other packages first, so that they may take over what is here.

    Raises
    ------
    InputError
        A package's entry point cannot be used.
    """
    return (*added(GROUP, Source), *SOURCES)


def source_of(text: str) -> Source | None:
    """The kind of source that a text names; None for a plain folder or file.

    Raises
    ------
    InputError
        For unknown schemes.
    """
    found = next((source for source in sources() if source.recognises(text)), None)
    if found is None and re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        known = "; ".join(source.forms for source in sources())
        raise InputError(
            f"There is no source of images that begins with {text.partition('://')[0]}://. Known are: {known}."
        )
    return found


def find(source: Path | str, include: Collection[str] = ()) -> Found:
    """All images of a folder, a file or any other source, in natural path order (`a2` before `a10`), and what else is there.

    Parameters
    ----------
    source : str or Path
        A folder, searched to the bottom, a file, or what one of `sources()` recognises: an archive, a list of paths, a
        pattern, a URL.
    include : collection of str
        Kinds of files that are passed over elsewhere and are taken here, by their names in `ref.INCLUDED`.

    Raises
    ------
    InputError
        Nothing is there, it may not be listed, or no image is in it.
    """
    kind = source_of(str(source))
    if kind is None:
        return find_files(source, include)
    refs: list[ImageRef] = []
    passed: Counter[PassedOver] = Counter()
    for entry in _each_once(kind.entries(str(source))):
        looked = _look(entry, include)
        if isinstance(looked, PassedOver):
            passed[looked] += 1
        else:
            refs += looked
    return all_found(source, refs, passed)


def find_images(source: Path | str, include: Collection[str] = ()) -> list[ImageRef]:
    """The images of `find`, without the count of other files.

    Raises
    ------
    InputError
        As it does.
    """
    return find(source, include).refs


def find_some(files: Iterable[Path | str], include: Collection[str] = ()) -> tuple[Path, Found]:
    """The images in some files, as those of a folder: the deepest one that holds them all, from which their paths count.

    Raises
    ------
    InputError
        There is no file, one is not there, or none is an image.
    """
    given = [Path(file) for file in files]
    if not given:
        raise InputError("The list of files is empty: give a folder, or files.")
    if missing := [file for file in given if not file.is_file()]:
        raise InputError(f"There is no file {missing[0]}: a list names files; give a folder by itself.")
    try:
        root = Path(os.path.commonpath([file.absolute().parent for file in given]))
    except ValueError:
        raise InputError("The files of a list lie on one drive: label those of each drive by themselves.") from None
    if root == Path(root.anchor):
        raise InputError(f"The files of a list lie in one folder or below it; {given[0]} and others share none.")
    refs: list[ImageRef] = []
    passed: Counter[PassedOver] = Counter()
    for file in dict.fromkeys(file.absolute() for file in given):
        looked = look(file.relative_to(root).as_posix(), file, include)
        if isinstance(looked, PassedOver):
            passed[looked] += 1
        else:
            refs += looked
    return root, all_found(root, refs, passed)


def location(source: Path | str) -> str:
    """How a source is written into run.json, so that a later command finds it from any folder."""
    kind = source_of(str(source))
    return Path(source).absolute().as_posix() if kind is None else kind.location(str(source))


def account(source: Path | str) -> str | None:
    """What was sent to another machine for a source, in a sentence; None where nothing was."""
    kind = source_of(str(source))
    return None if kind is None or kind.account is None else kind.account(str(source))


def _each_once(entries: Iterable[Entry | PassedOver]) -> Iterator[Entry | PassedOver]:
    """A later entry of the same name, as archives may have, gets a number: one row is one image."""
    seen: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, PassedOver):
            yield entry
            continue
        seen[entry.path] = count = seen.get(entry.path, 0) + 1
        yield entry if count == 1 else replace(entry, path=f"{entry.path} ({count})")


def _look(entry: Entry | PassedOver, include: Collection[str]) -> list[ImageRef] | PassedOver:
    """The images in an entry, or what it is instead."""
    if isinstance(entry, PassedOver):
        return entry
    if isinstance(entry.file, Path):
        return look(entry.path, entry.file, include) if entry.file.exists() else [ImageRef(entry.path, entry.file)]
    content, named = entry.file, Path(entry.path)
    if entry.frames != NOT_COUNTED:
        frames = [None] if entry.frames is None else range(entry.frames)
        return [ImageRef(_numbered(entry.path, frame), named, frame, content) for frame in frames]
    try:
        head = unpacked_head(content.head(HEAD_BYTES + 4096))
        reader = reader_of(named.name, head)
        if reader is None:
            return kind_of(named, head)
        if reader.frames is None:
            return [ImageRef(entry.path, named, None, content)]
        with content.as_file() as file:
            looked = look(entry.path, file, include)
        return (
            looked if isinstance(looked, PassedOver) else [replace(ref, file=named, content=content) for ref in looked]
        )
    except UnreadableImageError:  # reading it will say what is wrong
        return [ImageRef(entry.path, named, None, content)]


def _numbered(path: str, frame: int | None) -> str:
    return path if frame is None else f"{path}#{frame}"
