"""Which images a file or folder holds."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from autoannotate.errors import InputError
from autoannotate.images.ref import ImageRef
from autoannotate.images.registry import formats_read, reader_for

_NOT_PICTURES = frozenset({"thumbs.db", "desktop.ini", "dicomdir", "__macosx"})


def find_images(source: Path | str) -> list[ImageRef]:
    """All images of a folder and of the folders in it, in natural path order (`a2` before `a10`).

    Files are told by their ending; those with a foreign ending, or none, by their first bytes. Hidden files,
    a `DICOMDIR` and files that are no images are passed over. Of TIFF, DICOM and .npz files the header is
    read, to count frames; others are not opened, so that it is `read_image` which finds a broken one. Links
    are followed, and each folder is searched once however many links lead to it.

    Args:
        source: a folder, or one file.

    Raises:
        InputError: nothing is there, a folder may not be listed, or no image is in it.
    """
    source = Path(source)
    try:
        if source.is_dir():
            refs = [ref for path, file in _files(source) for ref in _refs(path, file)]
        elif source.is_file():
            refs = _refs(source.name, source)
        else:
            raise InputError(f"There is no file or folder {source}. Check the path.")
    except OSError as error:
        raise InputError(
            f"{error.filename or source} cannot be read ({error.strerror}): "
            "get permission to read it, or move it out of the way."
        ) from None
    if not refs:
        what = f"No images are in {source}" if source.is_dir() else f"{source} is not an image"
        raise InputError(f"{what}. These formats are read: {formats_read()}.")
    return sorted(refs, key=_natural)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each file below the folder that is not hidden, with its name relative to the folder."""

    def fail(error: OSError) -> None:
        raise error

    seen: set[tuple[int, int]] = set()
    for directory, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        found = os.stat(directory)  # noqa: PTH116
        if (found.st_dev, found.st_ino) in seen:
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        folders[:] = sorted(name for name in folders if _is_wanted(name))
        within = Path(directory)
        relative = within.relative_to(folder)
        for name in files:
            if _is_wanted(name) and _is_file(os.path.join(directory, name)):  # noqa: PTH118
                yield (relative / name).as_posix(), within / name


def _is_wanted(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _NOT_PICTURES


def _is_file(path: str) -> bool:
    """Whether it is no pipe or device, which could wait for ever. A link to nothing is left to reading."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return True


def _refs(path: str, file: Path) -> list[ImageRef]:
    reader = reader_for(file)
    if reader is None:
        return []
    path = os.fsencode(path).decode("utf-8", "backslashreplace")  # names may hold bytes that no table can
    frames = reader.count_frames(file)
    if frames is None:
        return [ImageRef(path, file)]
    return [ImageRef(f"{path}#{frame}", file, frame) for frame in range(frames)]


def _natural(ref: ImageRef) -> tuple[object, ...]:
    """Sort key: folder by folder, runs of digits by their number."""
    path = ref.path if ref.frame is None else ref.path.rpartition("#")[0]
    parts = tuple(
        tuple(int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", part.casefold()))
        for part in path.split("/")
    )
    return parts, path, -1 if ref.frame is None else ref.frame
