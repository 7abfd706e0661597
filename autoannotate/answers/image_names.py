"""Which image of a run another program means by a name: never another image than the one that is named.

Tools name pictures by absolute paths of other machines, by addresses, by the names of uploaded or exported copies. A name means
an image where its whole path in the run is the end of the name (`/mnt/x/pat1/img1.jpg` is `pat1/img1.jpg`), or where the
name is the end of one path only (`img1.jpg`); the longest such path counts, and the ending of the file counts as well. Names of
exported copies count where this run exported them. Everything else is uncertain, and said with the images that it could be.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from autoannotate.exports._exported_names import exported_names
from autoannotate.exports._names import file_stems, safe
from autoannotate.runs.run import Run

MOST = 4  # candidates that a sentence names
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of a file that is uploaded
_UPLOAD_FOLDERS = re.compile(
    r"(.*/)?(images|upload(/\d+)?)/", re.IGNORECASE
)  # where its exports say that such files are
_EXPORT_FOLDERS = re.compile(r"images|all|data|.*-images", re.IGNORECASE)
_UPLOAD = re.compile(r"(.*/)?data/upload/(\d+/)?[0-9a-f]{8}-")
_LOCAL_FILES = re.compile(r"(.*/)?data/local-files/?")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|/?data/local-files/?\?|/?data/upload/(\d+/)?[0-9a-f]{8}-")

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """What a name means: the path in the run, or None and why, with the images that it could be."""

    path: str | None
    problem: str = ""
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Named:
    """A name as it can be read: its folders and file; whether folders are known, or were lost when the file was uploaded."""

    parts: Parts
    uploaded: bool = False


class ImageNames:
    """The images of a run by the names that other programs give them."""

    def __init__(
        self,
        paths: Iterable[str],
        root: Path | None = None,
        exported: Mapping[str, Sequence[str]] | None = None,
        classes: Iterable[str] = (),
        images_in: str | None = None,
    ) -> None:
        """The images with these paths.

        Parameters
        ----------
        paths : iterable of str
            As in labels.csv.
        root : Path, optional
            The folder that the paths start from.
        exported : mapping of str to sequence of str, optional
            The paths behind each file name that was exported; None where that was not noted.
        classes : iterable of str
            The names of folders in an exported image folder.
        images_in : str, optional
            The folder in which the names say that the images lie, where it is called differently here.
        """
        self.paths = list(paths)
        self.root, self.exported, self.images_in = root, exported, images_in
        self.folders = {safe(name).casefold() for name in classes}
        self._known = set(self.paths)
        self._indices = [_index(self.paths, fold) for fold in (_nfc, _folded)]

    @classmethod
    def of(cls, run: Run, images_in: str | None = None) -> ImageNames:
        """The images of a run."""
        source = run.record.arguments.get("images")
        exported = None if run.folder is None else exported_names(run.folder)
        root = Path(source) if source else None
        root = root.parent if root is not None and root.is_file() else root
        return cls(run.table["path"], root, exported, run.classes, images_in)

    def find(self, name: str, by_file: bool = False) -> Match:
        """The image that a name means; by_file: whether it is the name of a file in the tool, which may be an exported copy.

        >>> names = ImageNames(["img1.png", "pat1/img1.jpg", "pat2/img1.jpg", "pat2/b c.png"])
        >>> names.find("https://pacs.local/pat1/img1.jpg").path, names.find("/data/upload/3/1a2b3c4d-b_c.png").path
        ('pat1/img1.jpg', 'pat2/b c.png')
        >>> names.find("img1.jpg").candidates
        ('pat1/img1.jpg', 'pat2/img1.jpg')
        """
        name = name.strip()
        if self.images_in:
            return self._inside(name, self.images_in)
        readings = _readings(name)
        decided = (
            [Match(name)]
            if name in self._known
            else [match for reading in readings if (match := self._decide(reading)) is not None]
        )
        if not _ADDRESS.match(name):
            decided = decided[:1]  # the surest
        if len(said := list(dict.fromkeys(match.path for match in decided if match.path is not None))) > 1:
            return _uncertain(said)
        for path in said:
            if self._is_another_file(name, path):
                return Match(None, f"{name} is another file than the run's {path}", (path,))
            copied = self._copied(readings) if by_file and self.exported else None
            return Match(path) if copied in (None, path) else _uncertain((path, str(copied)))
        if not any(len(match.candidates) > 1 for match in decided) and (copied := self._copied(readings)) is not None:
            return Match(copied)
        return next(iter(decided), _uncertain(self._alike(readings)))

    def _decide(self, reading: Named) -> Match | None:
        """The image that a reading of a name means, or could; None where no file has that name, in either case of letters."""
        if not reading.uploaded and (path := "/".join(reading.parts)) in self._known:
            return Match(path)
        for index, fold in zip(self._indices, (_nfc, _folded), strict=True):
            if (match := self._find(reading, index, fold)) is not None:
                return match
        return None

    def _find(
        self, reading: Named, index: Mapping[str, Sequence[tuple[Parts, str]]], fold: Callable[[str], str]
    ) -> Match | None:
        parts = tuple(map(fold, reading.parts))
        if not parts:
            return None
        if reading.uploaded:
            same = [
                path for file, found in index.items() if parts[-1] in (file, _uploaded_name(file)) for _, path in found
            ]
            return Match(same[0]) if len(same) == 1 else _uncertain(same) if same else None
        same_file = index.get(parts[-1], ())
        ends = [(known, path) for known, path in same_file if parts[-len(known) :] == known]
        if ends:
            longest = max(len(known) for known, _ in ends)
            best = [path for known, path in ends if len(known) == longest]
            before = parts[:-longest]
            if len(best) == 1 and (not before or longest > 1 or self._is_root(before, fold)):
                return Match(best[0])
            return _uncertain(best, "/".join(reading.parts[:-longest]))
        inside = [path for known, path in same_file if known[-len(parts) :] == parts]
        if len(inside) == 1:
            return Match(inside[0])
        return _uncertain(inside or [path for _, path in same_file]) if same_file else None

    def _is_root(self, before: Parts, fold: Callable[[str], str]) -> bool:
        """Whether these are the folder that the images of the run lie in, by its name."""
        return self.root is not None and before[-1] == fold(self.root.name)

    def _is_another_file(self, name: str, path: str) -> bool:
        """Whether the name is that of a file of this machine, and not of the image's."""
        if self.root is None or not Path(name).is_absolute():
            return False
        ours = self.root / re.sub(r"#\d+$", "", path)
        try:
            there = Path(re.sub(r"#\d+$", "", name))
            return there.exists() and ours.exists() and not there.samefile(ours)
        except (OSError, ValueError):
            return False

    def _copied(self, readings: Sequence[Named]) -> str | None:
        """The image whose exported copy is named so, where it is one only."""
        for reading in readings:
            if not reading.parts:
                continue
            *folders, file = reading.parts
            if folders and not _EXPORT_FOLDERS.fullmatch(folders[-1]) and folders[-1].casefold() not in self.folders:
                continue
            names, stems = self._copies
            stem = file.rpartition(".")[0] or file
            found = names.get(file.casefold()) or (stems.get(file.casefold()) if stem == file else None)
            if found and len(found) == 1:
                return next(iter(found))
        return None

    @cached_property
    def _copies(self) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """The paths by the names of exported copies, in lower case, and by these without their ending."""
        names: dict[str, set[str]] = defaultdict(set)
        stems: dict[str, set[str]] = defaultdict(set)
        if self.exported:
            for name, paths in self.exported.items():
                names[name.casefold()] |= self._known & set(paths)
                stems[name.rpartition(".")[0].casefold()] |= self._known & set(paths)
            return names, stems
        for path, stem in file_stems(self.paths).items():  # names that nothing but an export has
            file = re.sub(r"#\d+$", "", path).rpartition("/")[2]
            if stem.casefold() not in (file.casefold(), file.rpartition(".")[0].casefold()):
                stems[stem.casefold()].add(path)
                for ending in {".png", "." + file.rpartition(".")[2].casefold()}:
                    if ending != ".png" or not _shown_as_they_are(file) or file.casefold().endswith(".png"):
                        names[stem.casefold() + ending].add(path)
        return names, stems

    def _inside(self, name: str, folder: str) -> Match:
        """The image whose path is the rest of the name behind the folder."""
        above, readings = _split(folder), [one for one in _readings(name) if not one.uploaded]
        for fold in (_nfc, _folded):
            index = {fold(path): path for path in self.paths}
            for one in readings:
                inside = tuple(map(fold, one.parts[: len(above)])) == tuple(map(fold, above))
                rest = "/".join(one.parts[len(above) :] if inside else one.parts)
                if (path := index.get(fold(rest))) is not None:
                    return Match(path)
        return Match(None, f"the run has no such image in {folder}")

    def _alike(self, readings: Sequence[Named]) -> list[str]:
        """The images whose file has the same name but for its ending: what a person may have meant."""
        stems = {_folded(one.parts[-1]).rpartition(".")[0] for one in readings if one.parts} - {""}
        return [
            path for file, found in self._indices[1].items() if file.rpartition(".")[0] in stems for _, path in found
        ]


def _uncertain(candidates: Sequence[str], before: str = "") -> Match:
    if not candidates:
        return Match(None, "the run has no such image")
    more = f" and {len(candidates) - MOST} more" if len(candidates) > MOST + 1 else ""
    shown = candidates[:MOST] if more else candidates
    said = f"the run has no such image for certain; it could be {', '.join(shown)}{more}"
    if before and len(candidates) == 1:
        said += f" (if the images lay in {before}, say --images-in {before})"
    return Match(None, said, tuple(candidates))


def _readings(name: str) -> list[Named]:
    """The ways to read a name, the surest first."""
    if name.startswith("data:"):
        return []
    if not _ADDRESS.match(name):
        readings = [Named(_split(name)), Named(_split(unquote(name)))]
        file = readings[0].parts[-1] if readings[0].parts else ""
        folders = "".join(f"{part}/" for part in readings[0].parts[:-1])
        if _UPLOADED.match(file) and (not folders or _UPLOAD_FOLDERS.fullmatch(folders)):
            readings.append(Named((_UPLOADED.sub("", file),), uploaded=True))
        return list(dict.fromkeys(readings))
    address = urlsplit(name)
    path = unquote(address.path) + (f"#{unquote(address.fragment)}" if address.fragment else "")
    if _LOCAL_FILES.fullmatch(address.path):
        asked = re.search(r"(?:^|&)d=([^&]*)", address.query)
        ways = ([unquote(asked[1])] if asked else []) + parse_qs(address.query).get("d", [])
        frame = f"#{address.fragment}" if address.fragment else ""
        return list(dict.fromkeys(Named(_split(way + frame)) for way in ways))
    if _UPLOAD.match(address.path):
        return [Named((_UPLOADED.sub("", path.rpartition("/")[2]),), uploaded=True)]
    return [Named(_split(path))]


def _split(name: str) -> Parts:
    """Folders and file.

    >>> _split("C:\\\\x\\\\.\\\\a.png"), _split("./b/c.png")
    (('C:', 'x', 'a.png'), ('b', 'c.png'))
    """
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _index(paths: Iterable[str], fold: Callable[[str], str]) -> dict[str, list[tuple[Parts, str]]]:
    """The images by the name of their file, with their folders."""
    index: dict[str, list[tuple[Parts, str]]] = defaultdict(list)
    for path in paths:
        parts = tuple(fold(part) for part in path.split("/") if part not in ("", "."))
        if parts:
            index[parts[-1]].append((parts, path))
    return index


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _uploaded_name(file: str) -> str:
    """The name that Label Studio's framework gives an uploaded file (Django's `get_valid_filename`)."""
    return re.sub(r"(?u)[^-\w.]", "", file.strip().replace(" ", "_"))


def _shown_as_they_are(file: str) -> bool:
    return file.casefold().endswith((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"))
