"""Runs that grow: which images are new, gone or changed since the last round of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoannotate._internal.wording import counted
from autoannotate.images import stamp
from autoannotate.runs import history
from autoannotate.runs.picture_stamps import stamps

if TYPE_CHECKING:
    from autoannotate.images import ImageRef
    from autoannotate.runs.run import Run


@dataclass(frozen=True)
class FileChanges:
    """Paths of images: new, those that the run does not know; gone, those that have a label and are no longer there;
    changed, those that were replaced since.

    >>> str(FileChanges(new=("b.png", "c.png"), gone=("a.png",)))
    '2 images are new, 1 is gone'
    """

    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.changed)

    def __str__(self) -> str:
        """How many of each, in words; empty where nothing changed."""
        return in_words(self.counts)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each, by name."""
        return {"new": len(self.new), "gone": len(self.gone), "changed": len(self.changed)}


def in_words(counts: Mapping[str, int]) -> str:
    """How many images are new, gone and changed, as a sentence holds it.

    >>> in_words({"new": 2, "gone": 1})
    '2 images are new, 1 is gone'
    """
    parts: list[str] = []
    for name, words in (("new", "new"), ("gone", "gone"), ("changed", "changed since")):
        if number := counts.get(name, 0):
            many = f"{number:,}" if parts else counted(number, "image")
            parts.append(f"{many} {'is' if number == 1 else 'are'} {words}")
    return ", ".join(parts)


def file_changes(run: Run, found: Sequence[ImageRef]) -> FileChanges:
    """What changed among the images of a saved run since its last round.

    Parameters
    ----------
    found : the images that are there now
    """
    assert run.folder is not None
    here, known, labelled = {ref.path: ref for ref in found}, set(run.paths), set(run.table["path"])
    then = stamps(run.folder, history.rounds(run.folder)[-1].number, here)
    return FileChanges(
        tuple(path for path in here if path not in known),
        tuple(path for path in run.table["path"] if path not in here),
        tuple(
            path
            for path, ref in here.items()
            if path in labelled and path in then and stamp(ref).ljust(8, "0") != then[path]
        ),
    )
