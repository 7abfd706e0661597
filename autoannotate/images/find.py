"""Which images a file or folder holds, and what else is in it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from autoannotate._internal.files import write_files
from autoannotate.errors import InputError, OutputError, UnreadableImageError
from autoannotate.images import isolation
from autoannotate.images.kinds import DICOMDIR, HIDDEN, is_hidden, kind_of
from autoannotate.images.ref import INCLUDED, Found, ImageRef, PassedOver, PassOver
from autoannotate.images.registry import formats_read, head_of, reader_of

EXPORTED = "exported-folders.json"  # in a run's folder: the folders that its exports made, from there
_DEVICE = PassedOver("pipes and devices", "reading them could wait for ever", 1, expected=True)
_OWN = PassedOver("files of runs and exports", "autoannotate wrote them", 1, expected=True)
_OWN_FILES = frozenset(
    ("run.json", "labels.csv", "probabilities.csv", "suspects.csv", "unreadable.csv", "report.html", "student.npz",
     "answers.jsonl", "answers.sqlite", "findings.csv", "issues.csv", "exported-names.json", EXPORTED)
)  # fmt: skip
_OWN_FOLDERS = frozenset({"exports", "rounds", "certification"})


def find(source: Path | str, include: Collection[str] = ()) -> Found:
    """All images of a folder and of the folders in it, in natural path order (`a2` before `a10`), and what was passed over.

    What a file is, its first bytes say, and its ending only where they are no format's. The headers of formats that can
    hold several images are read, to count frames. Links are followed, and each folder is searched once however many links
    lead to it. Folders that hold a run or an export of this program are passed over.

    Parameters
    ----------
    source : path
        A folder, or one file.
    include : collection of str
        Kinds of files that are passed over elsewhere and are taken here, by their names in `ref.INCLUDED`.

    Raises
    ------
    InputError
        Nothing is there, a folder may not be listed, or no image is in it.
    """
    source = Path(source)
    refs: list[ImageRef] = []
    passed: Counter[PassedOver] = Counter()
    exported: set[Path] = set()
    try:
        if not source.is_dir() and not source.is_file():
            raise InputError(f"There is no file or folder {source}. Check the path.")
        for path, file, known in _files(source, exported) if source.is_dir() else [(source.name, source, None)]:
            looked = known or look(path, file, include)
            if isinstance(looked, PassedOver):
                passed[looked] += 1
            else:
                refs += looked
    except OSError as error:
        raise InputError(
            f"{error.filename or source} cannot be read ({error.strerror}): "
            "get permission to read it, or move it out of the way."
        ) from None
    if exported:
        copies = {ref.file for ref in refs if exported & {*ref.file.resolve().parents}}
        refs = [ref for ref in refs if ref.file not in copies]
        passed.update([_OWN] * len(copies))
    return all_found(source, refs, passed)


def all_found(source: Path | str, refs: list[ImageRef], passed: Counter[PassedOver]) -> Found:
    """The images in natural path order, and the files passed over by kind.

    Raises
    ------
    InputError
        Where there is no image.
    """
    counts = [replace(group, count=count) for group, count in passed.items()]
    found = Found(
        sorted(refs, key=natural), tuple(sorted(counts, key=lambda group: (group.expected, -group.count, group.kind)))
    )
    if not refs:
        raise InputError(_nothing(source, found))
    return found


def _nothing(source: Path | str, found: Found) -> str:
    is_file = Path(source).is_file()
    what = f"{source} is not an image" if is_file else f"No images are in {source}"
    groups = [f"{group.kind} ({group.count:,}; {group.reason})" for group in found.passed_over if not group.expected]
    there = f" It holds {', '.join(groups)}." if groups and not is_file else ""
    there = f": it is one of {found.passed_over[0].kind}, and {found.passed_over[0].reason}." if (
        groups and is_file) else f".{there}"  # fmt: skip
    return f"{what}{there} These formats are read: {formats_read()}."


def look(path: str, file: Path, include: Collection[str] = ()) -> list[ImageRef] | PassedOver:
    """The images in a file, or what it is instead. include: as for `find`."""
    if file.name.lower() == "dicomdir":
        return kind_of(file, b"")
    head = head_of(file)
    reader = reader_of(file.name, head)
    if reader is None:
        return kind_of(file, head)
    path = os.fsencode(path).decode("utf-8", "backslashreplace")  # names may hold bytes that no table can
    try:
        frames = isolation.frames(file) if reader.frames and head else None
    except PassOver as over:
        if over.frames is None or over.kind not in {INCLUDED[name] for name in include}:
            return DICOMDIR if over.kind == DICOMDIR.kind else PassedOver(over.kind, over.reason, 1)
        frames = over.frames if over.frames > 1 else None
    except UnreadableImageError:
        frames = None  # reading it will say so again
    if frames is None:
        return [ImageRef(path, file)]
    return [ImageRef(f"{path}#{frame}", file, frame) for frame in range(frames)]


def _files(folder: Path, exported: set[Path]) -> Iterator[tuple[str, Path, PassedOver | None]]:
    """Each file below the folder: its name relative to the folder, where it is, and what it is where its name tells.

    The folders that exports of the runs met on the way have made are added to `exported`.
    """

    def fail(error: OSError) -> None:
        raise error

    seen: set[tuple[int, int]] = set()
    known: dict[str, PassedOver] = {}  # of folders, whatever is in them
    root = os.fspath(folder)
    for directory, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        found = os.stat(directory)  # noqa: PTH116
        if (found.st_dev, found.st_ino) in seen:
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        folders.sort()
        within = Path(directory)
        relative = within.relative_to(folder)
        inherited = known.get(directory)
        own = _is_own(directory, files)
        if own:
            exported |= {(within / place).resolve() for place in _exported(within)}
            inherited = _OWN if directory != root else inherited
        for name in folders:
            below = HIDDEN if is_hidden(name) else _OWN if own and name in _OWN_FOLDERS else inherited
            if below is not None:
                known[os.path.join(directory, name)] = below  # noqa: PTH118
        for name in files:
            group = inherited or (HIDDEN if is_hidden(name) else _OWN if own and name in _OWN_FILES else None)
            if group is None and not _is_file(os.path.join(directory, name)):  # noqa: PTH118
                group = _DEVICE
            yield (relative / name).as_posix(), within / name, group


def remember_export(run: Path, folders: Iterable[Path]) -> None:
    """Note in a run's folder which folders an export of it made, so that their pictures are no input of a later run."""
    places = {os.path.relpath(folder.resolve(), run.resolve()) for folder in folders}
    if places - (known := _exported(run)):
        with contextlib.suppress(OutputError):
            write_files({run / EXPORTED: json.dumps(sorted(known | places)).encode()})


def _exported(run: Path) -> set[str]:
    try:
        found = json.loads((run / EXPORTED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return set()
    return {place for place in found if isinstance(place, str)} if isinstance(found, list) else set()


def _is_own(directory: str, files: list[str]) -> bool:
    """Whether a run or an export of this program is in the folder."""
    if "run.json" not in files:
        return False
    try:
        with open(os.path.join(directory, "run.json"), encoding="utf-8") as stream:  # noqa: PTH118, PTH123
            run = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return "labels.csv" in files
    return isinstance(run, dict) and {"version", "classes"} <= run.keys()


def _is_file(path: str) -> bool:
    """Whether it is no pipe or device, which could wait for ever. A link to nothing is left to reading."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return True


def natural(ref: ImageRef) -> tuple[object, ...]:
    """Sort key: folder by folder, runs of digits by their number."""
    path = ref.path if ref.frame is None else ref.path.rpartition("#")[0]
    parts = tuple(
        tuple(int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", part.casefold()))
        for part in path.split("/")
    )
    return parts, path, -1 if ref.frame is None else ref.frame
