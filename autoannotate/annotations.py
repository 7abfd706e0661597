"""What a run made: labels and where each came from, the queue of suspects, and how to repeat it all."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autoannotate import tables
from autoannotate.errors import InputError, OutputError, UnreadableImageError, UsageError
from autoannotate.progress import Track, silent

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from autoannotate.history import Round
    from autoannotate.images import ImageRef

LABELS = (
    "path",
    "label",
    "confidence",
    "source",
    "suspect",
    "suspect_score",
    "clip_label",
    "clip_confidence",
)
SUSPECTS = ("rank", "path", "label", "suggested_label", "suspect_score", "reason")
UNREADABLE = ("path", "reason")
NONE_OF_THESE, NOT_USABLE = "none-of-these", "not-usable"
"""The labels of images that a clinician found to be of no class, or not worth keeping; no class may be named so."""

FILES = ("labels.csv", "suspects.csv", "unreadable.csv", "report.html", "run.json")
"""What `save` writes, in the order in which the files are put in place: a folder with a run.json is whole."""

What = Literal["suspects", "all"]


@dataclass(frozen=True, eq=False)
class Annotations:
    """The labels of a set of images.

    `table` has one row an image, in path order, with the columns `LABELS`: `source` is clip, student or
    clinician, `suspect` is 0 or 1, `confidence`, `suspect_score` and `clip_confidence` lie in 0 to 1, a
    higher score is more doubtful. `suspects` is the queue, worst first, with the columns `SUSPECTS`.
    `unreadable` has a row for each file that looked like an image and could not be read. `run` holds all that
    is needed to repeat the run. `images` says where the pictures are; it is not saved, and is found again
    from the arguments of the run when it is needed. `folder` is where the run was loaded from or saved last.
    `student` is what the student said of each image, see `opinions.py`.

    >>> annotations = Annotations.load("autoannotate-run")                            # doctest: +SKIP
    >>> annotations.table.query("suspect == 1 and source == 'student'")               # doctest: +SKIP
    >>> annotations.export("csv", "to-check.csv")                                     # doctest: +SKIP
    """

    table: pd.DataFrame
    suspects: pd.DataFrame
    unreadable: pd.DataFrame
    run: dict[str, Any]
    images: Sequence[ImageRef] | None = field(default=None, repr=False)
    folder: Path | None = field(default=None, repr=False)
    student: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, columns in (("table", LABELS), ("suspects", SUSPECTS), ("unreadable", UNREADABLE)):
            object.__setattr__(self, name, _tidy(getattr(self, name), columns, name))
        if len(twice := self.table["path"][self.table["path"].duplicated()]):
            raise InputError(f"{twice.iloc[0]} has two labels: an image must have one row.")
        if unknown := set(self.suspects["path"]) - set(self.table["path"]):
            raise InputError(f"{min(unknown)} is in the queue of suspects and has no label.")

    @property
    def classes(self) -> list[str]:
        """The classes asked for, in the order given; then any that only appear among the labels."""
        asked = [str(name) for name in self.run.get("classes", [])]
        return asked + sorted(set(self.table["label"]) - {*asked, NONE_OF_THESE, NOT_USABLE})

    @property
    def history(self) -> list[Round]:
        """What each round of the run did, the oldest first: who answered, what changed and why. Needs a saved run."""
        from autoannotate.history import rounds

        if self.folder is None:
            raise InputError("The run has no folder yet, and so no history: save it first.")
        return rounds(self.folder)

    def rows(self, what: What = "suspects") -> pd.DataFrame:
        """The queue of suspects, or all labels."""
        if what not in ("suspects", "all"):
            raise UsageError(f"{what!r} is not a part of a run: choose suspects or all.")
        return self.suspects if what == "suspects" else self.table

    def read_image(self, path: str) -> Image.Image:
        """The picture behind a row, as RGB with 8 bits.

        Raises `UnreadableImageError` where the file is gone or damaged.
        """
        from autoannotate.images import read_image

        return read_image(self.image(path))

    def image(self, path: str) -> ImageRef:
        """Where the picture behind a row is. Raises `UnreadableImageError` where it is gone."""
        ref = self.refs.get(path)
        if ref is None:
            raise UnreadableImageError(f"{path} is no longer where the run found it.")
        return ref

    @cached_property
    def refs(self) -> Mapping[str, ImageRef]:
        """Where the pictures are, by path; those that are gone are missing."""
        from autoannotate.images import find_images

        images = self.images
        if images is None:
            source = self.run.get("arguments", {}).get("images")
            try:
                images = find_images(Path(source)) if source else []
            except InputError:
                images = []
        return {ref.path: ref for ref in images}

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write labels.csv, suspects.csv, unreadable.csv, report.html, run.json and student.npz, all or none.

        Raises `OutputError` as `ensure_writable` does, and where the disk is full.
        """
        from autoannotate import opinions

        folder = Path(folder)
        ensure_writable(folder, overwrite)
        contents = self.contents()
        with tables.plain_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        said = {} if self.student is None else {opinions.FILE: self.student}
        tables.write_files({folder / name: content for name, content in (said | contents).items()})
        if not said:
            with tables.plain_errors(folder):
                (folder / opinions.FILE).unlink(missing_ok=True)
        object.__setattr__(self, "folder", folder)

    def contents(self) -> dict[str, bytes]:
        """What `save` writes, by the name of the file."""
        from autoannotate.report import render_report

        return {
            "labels.csv": tables.to_csv(self.table),
            "suspects.csv": tables.to_csv(self.suspects),
            "unreadable.csv": tables.to_csv(self.unreadable),
            "report.html": render_report(self).encode("utf-8", errors="replace"),
            "run.json": (json.dumps(_as_json(self.run), indent=2) + "\n").encode(),
        }

    @classmethod
    def load(cls, folder: str | Path) -> Annotations:
        """Read what `save` wrote. Raises `InputError` where the folder holds no whole run."""
        from autoannotate import opinions

        folder = Path(folder)
        try:
            run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(
                f"There is no run in {folder}: give the folder that `autoannotate label` wrote with --out."
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{folder / 'run.json'} cannot be read ({error}).") from error
        if not isinstance(run, dict):
            raise InputError(f"{folder / 'run.json'} was not written by autoannotate.")
        return cls(
            table=tables.read(folder / "labels.csv", LABELS),
            suspects=tables.read(folder / "suspects.csv", SUSPECTS),
            unreadable=tables.read(folder / "unreadable.csv", UNREADABLE),
            run=run,
            folder=folder,
            student=opinions.load(folder, (run.get("student") or {}).get("said")),
        )

    def export(
        self,
        format: str,
        path: str | Path,
        what: What = "suspects",
        overwrite: bool = False,
        link: str | None = None,
        track: Track = silent,
    ) -> list[Path]:
        """Write the suspects, or all labels, for another program, in one of `autoannotate.exports.formats()`.

        link: how pictures travel, where the format carries them: copy, hard, sym or embed; None is its default.
        Returns what was made, `path` first. Raises `UsageError` for an unknown format, `InputError` where a picture is
        gone, and `OutputError` where something is in the way: an exported queue may hold answers by now, so it is
        replaced only with `overwrite`.
        """
        from autoannotate import exports

        return exports.export(self, format, Path(path), what, overwrite, link, track)

    def apply(
        self,
        file: str | Path,
        format: str | None = None,
        reader: str | None = None,
        skip_problems: bool = False,
        all_checked: bool = False,
    ) -> Annotations:
        """Keep the answers in a file of another tool in the run's folder; the labels with them, saved as a new round.

        Reads Label Studio's JSON, CVAT's XML or zip, and CSV: see `autoannotate.apply.apply`, which also tells what became
        of each answer. Raises `NothingAppliedError`, whose `report` has a row for each answer, where some do not fit.
        """
        from autoannotate.apply import apply

        return apply(self, file, format, reader, skip_problems, all_checked).annotations


def ensure_writable(folder: Path, overwrite: bool = False) -> None:
    """Make sure, before any work starts, that a run can be saved in the folder; nothing is left behind.

    Only an empty or new folder takes a run; with `overwrite` also one that holds an earlier run, of which the files
    are replaced and all else stays. A folder with answers by clinicians is never written over. Raises `OutputError` with
    the ways out.
    """
    with tables.plain_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is a file, and a run needs a folder: choose another with --out.")
        inside = folder.iterdir() if folder.exists() else []
        there = [item.name for item in inside if not item.name.startswith(".")]
        if "run.json" in there:
            if not overwrite:
                raise OutputError(
                    f"{folder} already holds a run: choose another folder with --out, or replace it with --overwrite."
                )
            if _answered(folder, there):
                raise OutputError(
                    f"{folder} holds answers by clinicians, which are never written over: choose another "
                    "folder with --out."
                )
        elif there:
            raise OutputError(
                f"{folder} holds files that are not a run of autoannotate ({min(there)}), and they are left "
                "alone: choose a new or empty folder with --out."
            )
        existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        # Asking the system for permission is not enough (read-only disks, network shares): try it.
        if not existing.is_dir():
            raise OutputError(f"{existing} is a file, so {folder} cannot be made: choose another with --out.")
        with tempfile.TemporaryFile(dir=existing, prefix=".autoannotate-"):
            pass


def _answered(folder: Path, there: list[str]) -> bool:
    if any(name.startswith("answers") or name == "rounds" for name in there):
        return True
    try:
        return bool((tables.read(folder / "labels.csv", LABELS)["source"] == "clinician").any())
    except InputError:
        return "labels.csv" in there  # unreadable to us: it may hold anything, so it stays


def check_classes(names: Sequence[str]) -> list[str]:
    """The class names, trimmed, where they can be used: two or more, different, none empty, none a formula.

    Raises `UsageError` with the way out.

    >>> check_classes(["chest", " breast"])
    ['chest', 'breast']
    """
    classes = [name.strip() for name in names]
    if len([name for name in classes if name]) < 2:
        raise UsageError("Labelling needs two classes or more to choose between, as in --classes chest,breast.")
    if "" in classes:
        raise UsageError(f"A class has no name in {','.join(classes)!r}: remove the stray comma.")
    seen: dict[str, str] = {}
    for name in classes:
        if name.casefold() in seen:
            raise UsageError(f"The class {name!r} is given twice: name each once, as in --classes chest,breast.")
        seen[name.casefold()] = name
        if name.casefold() in (NONE_OF_THESE, NOT_USABLE):
            raise UsageError(f"{name!r} is what an image of no class is labelled: choose another name for the class.")
        if tables.could_fire(name) or not name.isprintable():
            raise UsageError(
                f"A spreadsheet could take the class name {name!r} for a formula: "
                "begin it with a letter or a digit, as in `positive` for `+`."
            )
    return classes


def _tidy(table: pd.DataFrame, columns: tuple[str, ...], what: str) -> pd.DataFrame:
    """The columns in their order, numbers rounded as they are saved, so that a saved run loads as it was."""
    if missing := [name for name in columns if name not in table.columns]:
        raise InputError(f"The {what} lack the column {missing[0]}: they need {', '.join(columns)}.")
    kinds = {name: tables.dtype(name) for name in columns}
    return table[list(columns)].reset_index(drop=True).astype(kinds).round(tables.DECIMALS)


def _as_json(value: Any) -> Any:
    """NumPy numbers and arrays, paths and numbers that are not finite, as every reader of JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):
        return _as_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} cannot be kept in run.json")
