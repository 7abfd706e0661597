"""Folders of images that a page may label: below those that were allowed when it was started, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoannotate.errors import InputError, UsageError
from autoannotate.images.kinds import is_hidden

MOST, DEEPEST = 500, 3  # folders that a page lists, and how far below an allowed one they lie


@dataclass(frozen=True)
class AllowedFolders:
    """The folders whose images the page may see, without links on their way.

    Parameters
    ----------
    roots : absolute paths of folders
    """

    roots: tuple[Path, ...] = ()

    @classmethod
    def of(cls, folders: Sequence[Path]) -> AllowedFolders:
        """The folders as they were named.

        Raises
        ------
        UsageError
            Where one is no folder.
        """
        for folder in folders:
            if not folder.is_dir():
                raise UsageError(
                    f"There is no folder {folder}: --allow-images takes one whose images the page may label."
                )
        return cls(tuple(dict.fromkeys(folder.resolve() for folder in folders)))

    def names(self) -> list[str]:
        """The folders that a page can choose from, as `find` takes them: the allowed ones and those below them."""
        found: list[str] = []
        for root in self.roots:
            for folder in _below(root, DEEPEST):
                if len(found) == MOST:
                    return found
                within = folder.relative_to(root).as_posix()
                found.append(self._name(root) if within == "." else f"{self._name(root)}/{within}")
        return found

    def find(self, name: str) -> Path:
        """The folder of a name.

        Parameters
        ----------
        name : the name of an allowed folder, and what follows below it

        Raises
        ------
        InputError
            Where there is none, or it is not below an allowed folder, also by way of a link.
        """
        asked = name.strip().replace("\\", "/").rstrip("/")
        root = next((one for one in self.roots if f"{asked}/".startswith(f"{self._name(one)}/")), None)
        refused = InputError(
            f"{name!r} is not one of the folders that this page may label: {', '.join(self.names()[:4])}."
        )
        if root is None or "\0" in asked:
            raise refused
        below = [part for part in asked.removeprefix(self._name(root)).split("/") if part]
        if any(part in (".", "..") or is_hidden(part) for part in below):
            raise refused
        folder = root.joinpath(*below)
        if not folder.is_dir() or not folder.resolve().is_relative_to(root):
            raise refused
        return folder

    def check_links(self, folder: Path) -> None:
        """Make sure that all that is below a folder that was found lies in the allowed one.

        Raises
        ------
        InputError
            Where a link leads out of it.
        """
        root = next(one for one in self.roots if folder.is_relative_to(one))
        for link in _links(folder):
            if not link.resolve().is_relative_to(root):
                raise InputError(
                    f"{link.relative_to(root).as_posix()} is a link that leads out of {self._name(root)}, so the folder is not "
                    "labelled here: take the link out, or use autoannotate label."
                )

    def _name(self, root: Path) -> str:
        """A root's last name; all of its path where two have the same."""
        return root.name if root.name and [one.name for one in self.roots].count(root.name) == 1 else root.as_posix()


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """A folder and those below it, in order; links and hidden ones are left out."""
    yield folder
    if not depth:
        return
    try:
        inside = sorted(
            item.path for item in os.scandir(folder) if item.is_dir(follow_symlinks=False) and not is_hidden(item.name)
        )
    except OSError:
        return
    for item in inside:
        yield from _below(Path(item), depth - 1)


def _links(folder: Path) -> Iterator[Path]:
    """All links below a folder, and below the folders that they lead to."""
    seen: set[Path] = set()
    for directory, folders, files in os.walk(folder, followlinks=True):
        here = Path(directory)
        if here.resolve() in seen:
            folders.clear()
            continue
        seen.add(here.resolve())
        yield from (here / name for name in [*folders, *files] if (here / name).is_symlink())
