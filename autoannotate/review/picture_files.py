"""How the image files of a run are now: as they were labelled, changed since, gone or unreadable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoannotate.errors import AutoannotateError, UnreadableImageError
from autoannotate.images import ImageRef, fingerprint, stamp

COPIED = 0.5  # when more of the files than this bear another date, the folder was copied and not each picture replaced


class ChangedError(AutoannotateError):
    """The answer is about a picture that is no longer the one in the file."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)
        super().__init__("The file changed while you looked at it: nothing was kept. Look at it again, then answer.")


@dataclass(frozen=True)
class Look:
    """How an image's file is now: ok, changed since the run, gone or unreadable; and what it is known by."""

    state: str
    fingerprint: str
    message: str = ""


class Files:
    """The files behind N images.

    Attributes
    ----------
    paths : N, of the run
    refs : by path, those that are found
    stamps : 8 digits an image from run.json, how each file was when it was labelled; where that is not known, or all was copied
        since (`copied`), how it is now
    """

    def __init__(self, paths: Sequence[str], refs: Mapping[str, ImageRef], stamps: str) -> None:
        self._refs, self.copied = refs, False
        self._unreadable: dict[str, str] = {}
        self._stamps = {path: stamp(refs[path]) if path in refs else "" for path in paths}
        if len(stamps) == 8 * len(paths):
            known = {path: stamps[8 * i : 8 * i + 8] for i, path in enumerate(paths)}
            here = [path for path, mark in self._stamps.items() if mark]
            differ = sum(self._stamps[path] != known[path] for path in here)
            self.copied = len(here) > 1 and differ > COPIED * len(here)
            self._stamps = self._stamps if self.copied else known

    def look(self, path: str) -> Look:
        """How the file of an image is now."""
        ref = self._refs.get(path)
        if ref is None:
            return Look("gone", "", "The file is not where the run found it.")
        try:
            mark = fingerprint(ref)
        except UnreadableImageError as error:
            return Look("gone", "", str(error))
        if mark in self._unreadable:
            return Look("unreadable", mark, self._unreadable[mark])
        if stamp(ref) != self._stamps.get(path):
            said = "The file changed since it was labelled: what the machine says is about the picture it was before."
            return Look("changed", mark, said)
        return Look("ok", mark)

    def ref(self, path: str, version: str) -> ImageRef:
        """Where the picture is, if it is still the one with the fingerprint `version`.

        Raises
        ------
        UnreadableImageError
            Where it is gone.
        ChangedError
            Where it is another.
        """
        now = self.look(path)
        if now.state == "gone":
            raise UnreadableImageError(now.message)
        if version != now.fingerprint:
            raise ChangedError([path])
        return self._refs[path]

    def cannot_read(self, version: str, why: str) -> None:
        """Remember that a picture cannot be shown, so that nobody can label it unseen."""
        self._unreadable[version] = why
