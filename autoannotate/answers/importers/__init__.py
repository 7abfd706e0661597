"""Answers from other programs: one module a format, found by its name (`label_studio.py` is `label-studio`).

A format's module says in the first line of its docstring what it reads, and has `recognises(head)`, which tells the
format by the first bytes of a file, `read(file, wanted)`, which yields a `Given` for each answer in it, and `HINT`, which
says what to do where a file holds no answers. Adding a format is adding such a file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from autoannotate._internal.choices import chosen_module, module_names
from autoannotate._internal.wording import listed
from autoannotate.errors import AutoannotateError, InputError
from autoannotate.runs.verdict_words import understand

HEAD_BYTES = 65536


@dataclass(frozen=True)
class Given:
    """One answer as a file gives it, not yet checked against a run.

    Attributes
    ----------
    where : which part of the file says so, in words
    image : the picture as the file names it
    word : the answer as it was typed or chosen
    machine : the label that the file says the machine gave
    reader : who answered, where the file knows
    answered_at : UTC, ISO 8601, or ""
    seconds : from seeing to answering
    by_person : False where a machine's label was left as it was, so that nobody can tell whether a person looked at it
    by_file : whether the image is named by its file in the tool, which may be an exported copy, and not by its path in the run
    """

    where: str
    image: str
    word: str
    machine: str = ""
    reader: str = ""
    note: str = ""
    answered_at: str = ""
    seconds: float | None = None
    by_person: bool = True
    by_file: bool = False


@dataclass(frozen=True)
class Wanted:
    """What is looked for in a file. classes: those of the run. control: the control or column that holds the answers.
    several: whether an image can show several of the classes."""

    classes: Sequence[str] = ()
    control: str | None = None
    several: bool = False


class Format(Protocol):
    """What a module in this folder offers."""

    HINT: str

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes is of this format."""

    def read(self, file: Path, wanted: Wanted) -> Iterator[Given]:
        """An answer at a time, of those that are wanted."""


def formats() -> list[str]:
    """The names of the formats.

    >>> formats()
    ['chexpert', 'csv', 'cvat', 'fiftyone', 'label-studio']
    """
    return module_names(__name__)


def find_format(name: str) -> Format:
    """The format of that name.

    Raises
    ------
    UsageError
        With the names there are, and the nearest one.
    """
    return cast(Format, chosen_module(__name__, name, "format of answers"))


def recognise(file: Path) -> str:
    """The name of the format that the file is in, by its content.

    Raises
    ------
    InputError
        Where it is none.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except FileNotFoundError:
        raise InputError(f"There is no file {file}: check its name.") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({(error.strerror or str(error)).lower()}).") from None
    if not head.strip():
        raise InputError(f"{file} is empty.")
    for name in sorted(formats(), key=lambda name: name == "chexpert"):  # it takes what the others leave
        if find_format(name).recognises(head):
            return name
    if head.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"{file} is no export of CVAT; if it is a workbook, save it as CSV first.")
    raise InputError(
        f"{file} holds no answers that are known: give Label Studio's JSON, CVAT's XML or zip (CVAT for images 1.1), "
        "FiftyOne's labels.json, or a CSV with the columns path and answer (--control names another column). --format says "
        "which it is meant to be."
    )


def read(file: Path, format: str | None = None, wanted: Wanted | None = None) -> tuple[str, list[Given]]:
    """The format of the file and the answers in it.

    Raises
    ------
    InputError
        Where it cannot be read.
    """
    name = format or recognise(file)
    module = find_format(name)
    try:
        return name, list(module.read(file, wanted or Wanted()))
    except AutoannotateError:
        raise
    except FileNotFoundError:
        raise InputError(f"There is no file {file}: check its name.") from None
    except Exception as error:  # files by other programs, or damaged ones, go wrong in ways of their own
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{file} cannot be read as {name} ({said or type(error).__name__}).") from error


def holds_answers(words: Mapping[str, Collection[str]], wanted: Wanted, file: Path) -> str | None:
    """Which of several controls or columns has the answers: the one asked for, the only one, or the one that names classes.

    Parameters
    ----------
    words : by the name of the control, what was chosen in it

    Raises
    ------
    InputError
        With the names there are.

    Examples
    --------
    >>> holds_answers({"quality": {"good"}, "finding": {"chest"}}, Wanted(["chest", "breast"]), Path("e.json"))
    'finding'
    """
    if wanted.control is not None:
        near = next((name for name in words if name.casefold() == wanted.control.casefold()), None)
        if near is None:
            there = f"it has {listed(words)}" if words else "it has none"
            raise InputError(f"{file} has no control or column {wanted.control!r} with answers: {there}.")
        return near
    if len(words) < 2:
        return next(iter(words), None)
    fitting = [name for name, said in words.items() if said and all(_understood(word, wanted.classes) for word in said)]
    if len(fitting) == 1:
        return fitting[0]
    raise InputError(
        f"{file} has several controls or columns that may hold the answers ({listed(words)}): say which with --control."
    )


def _understood(word: str, classes: Sequence[str]) -> bool:
    try:
        understand(word, classes)
    except InputError:
        return False
    return True


def utc(text: object) -> str:
    """A time as the answers keep it, or "" where it is none.

    >>> utc("2026-01-02T03:04:05.678901Z"), utc("yesterday")
    ('2026-01-02T03:04:05.678+00:00', '')
    """
    try:
        time = datetime.fromisoformat(str(text).strip())
    except ValueError:
        return ""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="milliseconds")


def seconds(value: object) -> float | None:
    """A duration, or None where it is none.

    >>> seconds("3.5"), seconds(""), seconds(-1)
    (3.5, None, None)
    """
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0 <= number < 1e6 else None
