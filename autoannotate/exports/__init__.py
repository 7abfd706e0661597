"""Labels for other programs: one module a format, found by its name (`label_studio.py` is `label-studio`).

A format's module says what it is in the first line of its docstring, names the `SUFFIX` that a file or folder of it
has by default, and has one function, `write(order)`, that makes `order.path`; what it makes beside it goes along. A
format that carries pictures names the ways in which it can (`LINKS`, the default first), and one that needs explaining has
`next_step(path, what, link)`. Adding a format is adding such a file; what formats share lies in modules whose name begins
with `_`.

The formats are written by hand. The libraries that know some of them (datumaro, label-studio-sdk, fiftyone) cap pandas
or NumPy or need a database, for what is a page of JSON or XML: so they read what is written here in the tests, each in
an environment of its own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from autoannotate._internal.choices import chosen_module, module_names
from autoannotate._internal.files import plain_errors
from autoannotate._internal.progress import Track, silent
from autoannotate.errors import OutputError, UsageError
from autoannotate.exports._exported_names import remember
from autoannotate.images.find import remember_export
from autoannotate.runs.run import NONE_OF_THESE, NOT_USABLE
from autoannotate.runs.tables import records

if TYPE_CHECKING:
    from autoannotate.runs.run import Run, What

IN_WORDS = {"copy": "copies", "hard": "hard links", "sym": "symbolic links", "embed": "inside the file"}
"""How pictures can travel, by the value of --link."""
LEFT_OUT = "-left-out.csv"  # what the name of a table of images that could not be exported ends with


@dataclass(frozen=True)
class Order:
    """What is wanted: the suspects or all labels of a run, at `path`, pictures by `link`, watched by `track`.

    Attributes
    ----------
    keep_metadata : whether picture files keep their EXIF and texts
    names, lost, removed : filled in by `pictures`: the path behind the name of each exported picture; why a picture is not
        exported, by path; of how many pictures which kind of metadata was left out
    """

    annotations: Run
    what: What
    path: Path
    link: str = ""
    track: Track = silent
    keep_metadata: bool = False
    names: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    removed: Counter[str] = field(default_factory=Counter)

    def records(self) -> Iterator[dict[str, Any]]:
        """A dictionary an image, in the order of the part asked for: the columns of labels.csv, and of images in the
        queue those of suspects.csv."""
        table, suspects = self.annotations.table, self.annotations.suspects
        queue = {row["path"]: row for row in records(suspects)}
        if self.what == "all":
            yield from (row | queue.get(row["path"], {}) for row in records(table))
            return
        labels = {row["path"]: row for row in records(table[table["path"].isin(list(queue))])}
        yield from (labels[path] | row for path, row in queue.items())

    @cached_property
    def shown(self) -> dict[str, list[tuple[str, float]]]:
        """By path what an image is labelled with how much confidence: one class, or the findings that it shows."""
        table, findings = self.annotations.table, self.annotations.findings
        if findings is None:
            said = zip(table["label"], table["confidence"].tolist(), strict=True)
            return {path: [one] for path, one in zip(table["path"], said, strict=True)}
        there = findings[findings["value"] == 1]
        shown: dict[str, list[tuple[str, float]]] = {path: [] for path in table["path"]}
        for path, name, sure in zip(there["path"], there["finding"], there["probability"], strict=True):
            shown[path].append((name, float(sure)))
        gone = table["path"][table["label"] == NOT_USABLE]
        return shown | {path: [(NOT_USABLE, 1.0)] for path in gone}

    @cached_property
    def chosen(self) -> dict[str, list[str]]:
        """By path what a tool shows as chosen: `shown`, and `NONE_OF_THESE` where all findings are known to be absent."""
        findings = self.annotations.findings
        open_ = set() if findings is None else set(findings["path"][findings["value"] == -1])
        return {
            path: [name for name, _ in shown] or ([] if path in open_ else [NONE_OF_THESE])
            for path, shown in self.shown.items()
        }


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes
    ----------
    files : list of Path
        Files and folders, the one that was asked for first.
    lost : mapping
        Why a picture could not be exported, by the path of its image.
    removed : Counter
        Of how many pictures which metadata was left out, by its kind (EXIF, comments, DICOM headers).
    """

    files: list[Path]
    lost: Mapping[str, str]
    removed: Counter[str]


class Format(Protocol):
    """What a module in this folder offers; `LINKS` and `next_step` may be missing."""

    SUFFIX: str
    LINKS: tuple[str, ...]

    def write(self, order: Order) -> None:
        """Make `order.path`."""

    def next_step(self, path: Path, what: What, link: str) -> str:
        """What to do with what was made, in a sentence."""


def formats() -> list[str]:
    """The names of the formats.

    >>> "csv" in formats() and "label-studio" in formats()
    True
    """
    return module_names(__name__)


def find_format(name: str) -> Format:
    """The format of that name.

    Raises
    ------
    UsageError
        With the names there are, and the nearest one.
    """
    return cast(Format, chosen_module(__name__, name, "format"))


def export(
    annotations: Run,
    format: str,
    path: Path,
    what: What = "suspects",
    overwrite: bool = False,
    link: str | None = None,
    track: Track = silent,
    keep_metadata: bool = False,
) -> Exported:
    """Write the suspects, or all labels, to `path`: whole, or not at all.

    Images whose picture is needed and cannot be read any more are left out; a table beside `path` (`LEFT_OUT`) names them.

    Raises
    ------
    UsageError
        For an unknown format, part or way to link.
    InputError
        Where no picture can be read.
    OutputError
        Where something is in the way: what was exported may hold a clinician's answers by now, so a file is replaced only with
        `overwrite`, and a folder never.
    """
    module = find_format(format)
    annotations.rows(what)  # an unknown part is found out before anything is written
    link = _check_link(module, format, link)
    _check_free(path, overwrite)
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:80]}."))
        try:
            order = Order(annotations, what, beside / path.name, link, track, keep_metadata)
            module.write(order)
            if order.lost:
                _write_left_out(beside / f"{path.stem}{LEFT_OUT}", order.lost)
            made = sorted((path.with_name(item.name) for item in beside.iterdir()), key=lambda item: item != path)
            for item in made:
                _check_free(item, overwrite)
            if overwrite and not order.lost:
                path.with_name(f"{path.stem}{LEFT_OUT}").unlink(missing_ok=True)  # of the export that is replaced
            for item in reversed(made):  # the file that names the others comes last
                (beside / item.name).replace(item)
            if annotations.folder is not None:
                remember_export(annotations.folder, [item for item in made if item.is_dir()])
            if order.names and annotations.folder is not None:
                remember(annotations.folder, order.names)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return Exported(made, order.lost, order.removed)


def _write_left_out(file: Path, lost: Mapping[str, str]) -> None:
    import pandas as pd

    from autoannotate.runs.tables import to_csv

    file.write_bytes(to_csv(pd.DataFrame(lost.items(), columns=["path", "reason"])))


def _check_link(module: Format, format: str, link: str | None) -> str:
    ways = getattr(module, "LINKS", ())
    if link is None:
        return ways[0] if ways else ""
    if link in ways:
        return link
    if not ways:
        raise UsageError(f"The format {format} carries no pictures: leave --link out.")
    choices = ", ".join(f"{way} ({IN_WORDS[way]})" for way in ways)
    raise UsageError(f"Pictures cannot travel as {link!r} in the format {format}: choose one of {choices}.")


def _check_free(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path} is a folder that is there already: choose another place with --out.")
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise OutputError(
            f"{path} is there already and may hold answers: choose another place with --out, or replace it "
            "with --overwrite."
        )
