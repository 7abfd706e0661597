"""What a run made: labels and where each came from, the queue of suspects, and how to repeat it all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from autoannotate.errors import InputError, UnreadableImageError, UsageError
from autoannotate.runs import student_predictions, tables
from autoannotate.runs.pictures import pictures_of
from autoannotate.runs.record import RunRecord

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

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
ISSUES = ("rank", "path", "label", "suggested_label", "score", "issue", "detail")
ISSUES_FILE = "issues.csv"
FINDINGS = ("path", "finding", "value", "probability", "source", "suspect", "suspect_score", "clip_probability")
FINDINGS_FILE = "findings.csv"
SEPARATOR = "|"  # between the findings of an image
NONE_OF_THESE, NOT_USABLE = "none-of-these", "not-usable"
"""The labels of images that a clinician found to be of no class, or not worth keeping; no class may be named so."""

What = Literal["suspects", "all"]


@dataclass(frozen=True, eq=False)
class Run:
    """The labels of a set of images as a run keeps them on disk; `autoannotate.Annotations` adds what users do with them.

    Parameters
    ----------
    table : DataFrame
        One row an image, in path order, with the columns `LABELS`: `source` is clip, student, given or clinician, `suspect` is
        0 or 1, `confidence`, `suspect_score` and `clip_confidence` lie in 0 to 1; a higher score is more doubtful.
    suspects : DataFrame
        The queue, worst first, with the columns `SUSPECTS`.
    unreadable : DataFrame
        A row for each file that looked like an image and could not be read, with the columns `UNREADABLE`.
    run : dict
        All that is needed to repeat the run, see `autoannotate.runs.record`.
    images : sequence of ImageRef, optional
        Where the pictures are; not saved, and found again from the arguments of the run when it is needed.
    folder : Path, optional
        Where the run was loaded from or saved last.
    probabilities : DataFrame, optional
        The probabilities behind the labels: `path` and a column a class; rows sum to one. Runs of 0.1.0 have none.
    student : bytes, optional
        What the student predicted for each image, see `autoannotate.runs.student_predictions`.
    issues : DataFrame, optional
        What an audit found, with the columns of issues.csv, see `autoannotate.runs.issues`.
    findings : DataFrame, optional
        Where an image can show several findings: a row an image and finding, with the columns `FINDINGS`; value is 1, 0 or -1
        (undecided). Labels are then the findings present, as in a|b, and nothing where there are none.
    proposals : DataFrame, optional
        Labels that a bolder correction would change, with the columns of proposals.csv, see `autoannotate.runs.proposals`.
    """

    table: pd.DataFrame
    suspects: pd.DataFrame
    unreadable: pd.DataFrame
    run: dict[str, Any]
    images: Sequence[ImageRef] | None = field(default=None, repr=False)
    folder: Path | None = field(default=None, repr=False)
    student: bytes | None = field(default=None, repr=False)
    probabilities: pd.DataFrame | None = field(default=None, repr=False)
    issues: pd.DataFrame | None = field(default=None, repr=False)
    findings: pd.DataFrame | None = field(default=None, repr=False)
    proposals: pd.DataFrame | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, columns in (("table", LABELS), ("suspects", SUSPECTS), ("unreadable", UNREADABLE)):
            object.__setattr__(self, name, _tidy(getattr(self, name), columns, name))
        if self.findings is not None:
            object.__setattr__(self, "findings", _tidy(self.findings, FINDINGS, "findings"))
        if self.probabilities is not None:
            known = self.probabilities.astype({"path": "object"})
            agreeing = _agreeing(known, self.table) if self.findings is None else known
            object.__setattr__(self, "probabilities", agreeing.round(tables.DECIMALS))
        if len(twice := self.table["path"][self.table["path"].duplicated()]):
            raise InputError(f"{twice.iloc[0]} has two labels: an image must have one row.")
        if unknown := set(self.suspects["path"]) - set(self.table["path"]):
            raise InputError(f"{min(unknown)} is in the queue of suspects and has no label.")

    @property
    def record(self) -> RunRecord:
        """What run.json says, with a type."""
        return RunRecord.read(self.run)

    @property
    def classes(self) -> list[str]:
        """The classes asked for, in the order given; then any that only appear among the labels."""
        asked = list(self.record.classes)
        if self.record.findings:
            return asked
        return asked + sorted(set(self.table["label"]) - {*asked, NONE_OF_THESE, NOT_USABLE})

    @property
    def per_class(self) -> dict[str, int]:
        """How many images are of each class, or show each finding."""
        if self.findings is None:
            return {name: int((self.table["label"] == name).sum()) for name in self.classes}
        shown = self.findings[self.findings["value"] == 1]["finding"].value_counts()
        return {name: int(shown.get(name, 0)) for name in self.classes}

    def rows(self, what: What = "suspects") -> pd.DataFrame:
        """The queue of suspects, or all labels."""
        if what not in ("suspects", "all"):
            raise UsageError(f"{what!r} is not a part of a run: choose suspects or all.")
        return self.suspects if what == "suspects" else self.table

    def read_image(self, path: str) -> Image.Image:
        """The picture behind a row, as RGB with 8 bits.

        Raises
        ------
        UnreadableImageError
            Where the file is gone or damaged.
        """
        from autoannotate.images import read_image

        return read_image(self.image(path))

    def image(self, path: str) -> ImageRef:
        """Where the picture behind a row is.

        Raises
        ------
        UnreadableImageError
            Where it is gone.
        """
        ref = self.refs.get(path)
        if ref is None:
            raise UnreadableImageError(f"{path} is no longer where the run found it.")
        return ref

    @cached_property
    def refs(self) -> Mapping[str, ImageRef]:
        """Where the pictures are, by path; those that are gone are missing."""
        images = self.images
        if images is None:
            try:
                images = pictures_of(self.record, self.paths, folder=self.folder)
            except InputError:
                images = []
        return {ref.path: ref for ref in images}

    @property
    def paths(self) -> list[str]:
        """Of all files of the run, those that could not be read too."""
        return [*self.table["path"], *self.unreadable["path"]]

    def with_images(self, moved: Path | str | None) -> Self:
        """The run with its pictures where they are now.

        Raises
        ------
        InputError
            Where none of them is there.
        """
        return self if moved is None else replace(self, images=pictures_of(self.record, self.paths, moved, self.folder))

    @classmethod
    def load(cls, folder: str | Path, images: str | Path | None = None) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        images : where the pictures are now, if they were moved since the run.

        Raises
        ------
        InputError
            Where the folder holds no whole run, or `images` none of its pictures.
        """
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
        record = RunRecord.read(run)
        loaded = cls(
            table=tables.read(folder / "labels.csv", LABELS),
            suspects=tables.read(folder / "suspects.csv", SUSPECTS),
            unreadable=tables.read(folder / "unreadable.csv", UNREADABLE),
            run=run,
            folder=folder,
            student=student_predictions.load(folder, record.student.said),
            probabilities=tables.read_probabilities(folder / "probabilities.csv"),
            issues=tables.read(folder / ISSUES_FILE, ISSUES) if (folder / ISSUES_FILE).is_file() else None,
            findings=tables.read(folder / FINDINGS_FILE, FINDINGS) if record.findings else None,
            proposals=tables.read(file, tables.PROPOSALS)
            if (file := folder / tables.PROPOSALS_FILE).is_file()
            else None,
        )
        return loaded.with_images(images)


def check_single_labels(run: Run, what: str) -> None:
    """Raises `UsageError` where the images of a run show several findings each, for what is not done with such runs."""
    if run.record.findings:
        raise UsageError(
            f"{what} is for runs with one class an image, and this one has findings: label one with --classes."
        )


def check_classes(names: Sequence[str]) -> list[str]:
    """The class names, trimmed, where they can be used: two or more, different, none empty, none a formula.

    Raises
    ------
    UsageError
        With the way out.

    Examples
    --------
    >>> check_classes(["chest", " breast"])
    ['chest', 'breast']
    """
    if isinstance(names, str):
        raise UsageError(f"The classes are a list of names, as in [{names!r}, 'another']; {names!r} is one name.")
    if odd := [name for name in names if not isinstance(name, str)]:
        raise UsageError(f"A class is a name in quotes, as in '{odd[0]}'; {odd[0]!r} is none.")
    classes = [name.strip() for name in names]
    if len([name for name in classes if name]) < 2:
        raise UsageError("Labelling needs two classes or more to choose between, as in --classes chest,breast.")
    return _check_names(classes, "class")


def check_findings(names: Sequence[str]) -> list[str]:
    """The names of findings, trimmed, where they can be used: one or more, different, none empty, none with | or =.

    Raises
    ------
    UsageError
        With the way out.

    Examples
    --------
    >>> check_findings([" effusion"])
    ['effusion']
    """
    if isinstance(names, str):
        raise UsageError(f"The findings are a list of names, as in [{names!r}]; {names!r} is one name.")
    findings = [str(name).strip() for name in names]
    if not any(findings):
        raise UsageError("Name one finding or more, as in --findings effusion,pneumonia.")
    for name in findings:
        if set(name) & set("|="):
            raise UsageError(f"The finding {name!r} holds | or =, which stand between findings: choose another name.")
    return _check_names(findings, "finding")


def _check_names(classes: list[str], what: str) -> list[str]:
    if "" in classes:
        raise UsageError(f"A {what} has no name in {','.join(classes)!r}: remove the stray comma.")
    seen: dict[str, str] = {}
    for name in classes:
        if name.casefold() in seen:
            raise UsageError(f"The {what} {name!r} is given twice: name each once, as in chest,breast.")
        seen[name.casefold()] = name
        if name.casefold() in (NONE_OF_THESE, NOT_USABLE):
            raise UsageError(f"{name!r} is what an image of no class is labelled: choose another name for the {what}.")
        if tables.could_fire(name) or not name.isprintable():
            raise UsageError(
                f"A spreadsheet could take the {what} name {name!r} for a formula: "
                "begin it with a letter or a digit, as in `positive` for `+`."
            )
    return classes


def _agreeing(probabilities: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The probabilities with the confidence of each label as its probability, and the rest shared as before; rows sum to one.

    Of an image that is of no class nothing changes.
    """
    if list(probabilities["path"]) != list(table["path"]):
        return probabilities
    from autoannotate.labelling.calibration import with_confidence

    names = [name for name in probabilities.columns if name != "path"]
    column = {name: k for k, name in enumerate(names)}
    known = table["label"].isin(names).to_numpy()
    labels = table.loc[known, "label"].map(column).to_numpy(dtype="int64")
    agreeing = probabilities.copy()
    agreeing.loc[known, names] = with_confidence(
        probabilities.loc[known, names].to_numpy(dtype="float64"), labels, table.loc[known, "confidence"].to_numpy()
    )
    return agreeing


def _tidy(table: pd.DataFrame, columns: tuple[str, ...], what: str) -> pd.DataFrame:
    """The columns in their order, numbers rounded as they are saved, so that a saved run loads as it was."""
    if missing := [name for name in columns if name not in table.columns]:
        raise InputError(f"The {what} lack the column {missing[0]}: they need {', '.join(columns)}.")
    columns = (*columns, *(name for name in table.columns if name not in columns))
    kinds = {name: tables.dtype(name) for name in columns}
    return table[list(columns)].reset_index(drop=True).astype(kinds).round(tables.DECIMALS)
