"""What a kind of source has to offer, and what it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoannotate.images.content import Content
from autoannotate.images.ref import PassedOver

NOT_COUNTED = -1


@dataclass(frozen=True)
class Entry:
    """One file of a source.

    Attributes
    ----------
    path : str
        Its name in every table, with `/` between folders: relative to the source, the same whenever it is searched.
    file : Path or Content
        A file of this machine, or bytes that are fetched when they are read.
    frames : int or None, optional
        How many frames it holds, where the source knows without opening it; None for a file that is one image.
    """

    path: str
    file: Path | Content
    frames: int | None = NOT_COUNTED


@dataclass(frozen=True)
class Source:
    """One kind of place that images come from. Packages add theirs by an entry point of the group `autoannotate.sources`.

    Attributes
    ----------
    name : str
        One word, as in `archive`.
    forms : str
        What a user types, for help and messages, as in "a zip or tar archive".
    recognises : callable
        Whether a text that a user typed is a place of this kind.
    entries : callable
        The files in it, and those of which the source knows that they are no pictures. Raises `InputError` with the way out.
    location : callable
        How the place is written into run.json, so that the next command finds it from any folder; no secrets.
    account : callable, optional
        What was sent to another machine, in a sentence, after a run.
    """

    name: str
    forms: str
    recognises: Callable[[str], bool]
    entries: Callable[[str], Iterator[Entry | PassedOver]]
    location: Callable[[str], str] = lambda text: Path(text).absolute().as_posix()
    account: Callable[[str], str] | None = None
