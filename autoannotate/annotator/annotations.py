"""What `label` and `update` give back: the labels, the queue, and what a user does with them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from autoannotate._internal.progress import Track, silent
from autoannotate.errors import InputError
from autoannotate.runs.run import Run, What

if TYPE_CHECKING:
    from autoannotate.runs.history import Round


class Annotations(Run):
    """The labels of a set of images, and what can be done with them.

    Attributes
    ----------
    table, suspects, unreadable : DataFrame
        The columns of labels.csv, suspects.csv and unreadable.csv, see `autoannotate.runs.run.Run`.

    Examples
    --------
    >>> annotations = Annotations.load("autoannotate-run")                            # doctest: +SKIP
    >>> annotations.table.query("suspect == 1 and source == 'student'")               # doctest: +SKIP
    >>> annotations.export("csv", "to-check.csv")                                     # doctest: +SKIP
    """

    def __repr__(self) -> str:
        """A short table: how many images, of which classes, how many suspects."""
        from collections import Counter

        images, doubted = Counter(self.table["label"]), Counter(self.table["label"][self.table["suspect"] == 1])
        names = [name for name in self.classes if images[name]] + [n for n in images if n not in self.classes]
        width = max([len(str(name)) for name in names] + [len("class")])
        lines = [f"{'class':<{width}}  images  suspects"]
        lines += [f"{name:<{width}}  {images[name]:>6,}  {doubted[name]:>8,}" for name in names[:20]]
        lines += [f"and {len(names) - 20} more classes"] if len(names) > 20 else []
        where = "" if self.folder is None else f" in {self.folder}"
        lines.append(
            f"{len(self.table):,} images{where}, {len(self.suspects):,} in the queue; see .table and .suspects"
        )
        return "\n".join(lines)

    @classmethod
    def of(cls, run: Run) -> Annotations:
        """A run with the methods of this class."""
        return cls(**{field.name: getattr(run, field.name) for field in fields(Run)})

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write the run's tables, report, record and what its student predicted: all or none.

        Raises
        ------
        OutputError
            Where the folder holds something that is not replaced, or the disk is full.
        """
        from autoannotate.runs.save import save

        save(self, folder, overwrite)

    @property
    def history(self) -> list[Round]:
        """What each round of the run did, the oldest first: who answered, what changed and why. Needs a saved run."""
        from autoannotate.runs.history import rounds

        if self.folder is None:
            raise InputError("The run has no folder yet, and so no history: save it first.")
        return rounds(self.folder)

    def export(
        self,
        format: str,
        path: str | Path,
        what: What = "suspects",
        overwrite: bool = False,
        link: str | None = None,
        track: Track = silent,
        keep_metadata: bool = False,
    ) -> list[Path]:
        """Write the suspects, or all labels, for another program, in one of `autoannotate.exports.formats()`.

        Parameters
        ----------
        link : how pictures travel, where the format carries them: copy, hard, sym or embed; None is its default
        keep_metadata : whether picture files keep their EXIF and texts, which may name the patient.  Images whose picture
            cannot be read any more are left out, and a table beside `path` names them.

        Returns
        -------
        What was made, `path` first.

        Raises
        ------
        UsageError
            For an unknown format.
        InputError
            Where no picture can be read.
        OutputError
            Where something is in the way: an exported queue may hold answers by now, so it is replaced only with `overwrite`.
        """
        from autoannotate import exports

        return exports.export(self, format, Path(path), what, overwrite, link, track, keep_metadata).files

    def apply(
        self,
        file: str | Path,
        format: str | None = None,
        reader: str | None = None,
        skip_problems: bool = False,
        all_checked: bool = False,
        control: str | None = None,
        images_in: str | None = None,
    ) -> Annotations:
        """Keep the answers in a file of another tool in the run's folder; the labels with them, saved as a new round.

        Reads Label Studio's JSON, CVAT's XML or zip, and CSV: see `autoannotate.answers.apply.apply`, which also tells what
        became of each answer.

        Raises
        ------
        NothingAppliedError
            Whose `report` has a row for each answer, where some do not fit.
        """
        from autoannotate.answers.apply import apply

        return Annotations.of(
            apply(self, file, format, reader, skip_problems, all_checked, control, images_in).annotations
        )
