"""A metadata table beside the images: one row a path or a group, any columns, read and checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.wording import counted, listed
from autoannotate.errors import InputError, UsageError
from autoannotate.runs.delimited import PATH, read_delimited

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("group", "patient", "patient_id", "subject", "subject_id", "lesion_id", "case", "case_id", "study")
"""Columns that say which images belong together, the first that is there: never associated with anything."""
PRIVATE = re.compile(
    r"name|birth|accession|mrn|uid|address|phone|ssn|insurance|\bid$|_id$|note|comment|report|text", re.I
)
"""Columns that can identify a person, or hold free text: never read further than their heading."""
NUMERIC = 0.95  # of the known values, that read as numbers or dates
FEWEST_NUMBERS = 10  # different numbers, below which a column is one of categories
MOST_LEVELS = 50
UNKNOWN = {"", "na", "n/a", "nan", "none", "null", "unknown", "?", "-"}


@dataclass(frozen=True)
class Column:
    """One covariate of N images.

    name : str
    values : ndarray of shape (N,)
        Codes into `levels` (int64, -1 unknown), or numbers (float64, NaN unknown; dates in years).
    levels : tuple of str
        The categories; empty for a number.
    """

    name: str
    values: NDArray
    levels: tuple[str, ...] = ()

    @property
    def is_category(self) -> bool:
        """Whether its values are names rather than numbers."""
        return bool(self.levels)

    def in_words(self) -> list[str]:
        """Each value as a level: categories as they are, numbers by the quarter that they lie in, "" where unknown."""
        if self.is_category:
            return [self.levels[code] if code >= 0 else "" for code in self.values]
        edges = np.unique(np.quantile(self.values[self.known], [0, 0.25, 0.5, 0.75, 1]))
        if len(edges) < 2:
            return [f"{edges[0]:.4g}" if known else "" for known in self.known]
        place = np.clip(np.searchsorted(edges, self.values, side="right") - 1, 0, len(edges) - 2)
        words = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
        return [words[k] if known else "" for k, known in zip(place, self.known, strict=True)]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,), where the value is known."""
        return self.values >= 0 if self.is_category else ~np.isnan(self.values)


@dataclass(frozen=True)
class Metadata:
    """Covariates of N images; groups (N,) of images that belong together; and what was left out, as sentences."""

    columns: tuple[Column, ...]
    groups: NDArray[np.int64]
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def none(cls, n: int) -> Metadata:
        """No covariates; every image alone."""
        return cls((), np.arange(n))


def read_metadata(file: Path, paths: Sequence[str], group: str | None = None) -> Metadata:
    """Join a CSV with the images.

    Parameters
    ----------
    file : Path
        With a column `path`: as in labels.csv, or with more folders before it, or fewer. Without one, a column `group` names
        the folder that images are in. Cells that are empty, NA, or ? are unknown.
    paths : sequence of str
        N images.
    group : str, optional
        The column of images that belong together; else the first of `GROUPS` that is there.

    Raises
    ------
    InputError
        Where the file is no such table, or none of its rows is about an image.
    UsageError
        Where there is no column `group`.
    """
    table = _read(file)
    known = {str(name).strip().casefold(): name for name in table.columns}
    if group is not None and group.casefold() not in known:
        raise UsageError(f"{file.name} has no column {group!r}: it has {listed(map(str, table.columns))}.")
    key = next((known[name] for name in PATH if name in known), None)
    notes: list[str] = []
    if key is not None:
        rows, unknown = _by_path(table[key].tolist(), paths)
        if twice := table[key][table[key].duplicated()].tolist():
            raise InputError(f"{file.name} has more than one row for {listed(twice, 3)}: give each image one row.")
    elif "group" in known:
        key = known["group"]
        rows, unknown = _by_folder(table[key].tolist(), paths)
    else:
        raise InputError(
            f"{file.name} needs a column `path` (as in labels.csv), or `group` (the folder of the images)."
        )
    if (rows < 0).all():
        raise InputError(
            f"None of the rows of {file.name} is about one of the images: its first {key} is {table[key].iloc[0]!r}, "
            f"and the first image is {paths[0]!r}."
        )
    if unknown:
        notes.append(f"{counted(len(unknown), 'row')} of {file.name} name no image here: {listed(unknown, 3)}.")
    if without := [paths[i] for i in np.flatnonzero(rows < 0).tolist()]:
        notes.append(f"{counted(len(without), 'image')} have no row in {file.name}: {listed(without, 3)}.")
    chosen = known[group.casefold()] if group else next((known[name] for name in GROUPS if name in known), None)
    groups = np.arange(len(paths)) if chosen is None else _groups(table[chosen].tolist(), rows)
    columns = []
    for name in table.columns:
        if name in (key, chosen):
            continue
        if PRIVATE.search(str(name)) or str(name).casefold() in GROUPS:
            notes.append(f"{name} can identify somebody, or is free text: it was not used.")
            continue
        cells = [str(table[name].iloc[row]).strip() if row >= 0 else "" for row in rows]
        made = as_column(str(name), cells)
        if isinstance(made, str):
            notes.append(made)
            continue
        columns.append(made)
        unread = np.flatnonzero(~made.known & np.array([cell.casefold() not in UNKNOWN for cell in cells]))
        if len(unread):
            told = listed([f"{cells[i]!r} ({paths[i]})" for i in unread.tolist()], 3)
            notes.append(f"{name} is a number, but for {counted(len(unread), 'cell')}, which count as unknown: {told}.")
    if not columns and len(table.columns) == 1:
        notes.append(f"{file.name} has no column besides {key}: add age, sex, site, scanner or others.")
    return Metadata(tuple(columns), groups, tuple(notes))


def as_column(name: str, cells: Sequence[str]) -> Column | str:
    """The cells as numbers, dates or categories; or one sentence that says why they cannot be used."""
    import pandas as pd

    text = [str(cell).strip() for cell in cells]
    known = np.array([cell.casefold() not in UNKNOWN for cell in text])
    different = sorted({cell for cell, is_known in zip(text, known, strict=True) if is_known})
    if len(different) < 2:
        return f"{name} has one value: nothing can go with it." if different else f"{name} is empty."
    series = pd.Series([cell if is_known else None for cell, is_known in zip(text, known, strict=True)], dtype="object")
    numbers = pd.to_numeric(series, errors="coerce").to_numpy(np.float64, copy=True)
    numbers[~np.isfinite(numbers)] = np.nan
    if np.isnan(numbers[known]).mean() > 1 - NUMERIC:
        dates = _years(series)
        numbers = dates if dates is not None else numbers
    if (~np.isnan(numbers[known])).mean() >= NUMERIC and len(set(numbers[~np.isnan(numbers)])) >= FEWEST_NUMBERS:
        return Column(name, numbers)
    if len(different) > max(2, min(MOST_LEVELS, 0.5 * known.sum())):
        return f"{name} has {counted(len(different), 'value')}, nearly one an image: too many to compare."
    code = {level: i for i, level in enumerate(different)}
    return Column(name, np.array([code.get(cell, -1) for cell in text], dtype=np.int64), tuple(different))


def _years(series: pd.Series) -> NDArray[np.float64] | None:
    """Dates (ISO, or DICOM's YYYYMMDD) as years; None where they are not dates."""
    import pandas as pd

    for form in ("%Y-%m-%d", "%Y%m%d", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y"):
        found = pd.to_datetime(series, format=form, errors="coerce")
        if found.notna().sum() >= NUMERIC * series.notna().sum():
            return np.asarray(found.dt.year + found.dt.day_of_year / 366, dtype=np.float64)
    return None


def _read(file: Path) -> pd.DataFrame:
    import pandas as pd

    read = read_delimited(file)
    if not read.rows:
        raise InputError(f"{file} has no rows below its heading.")
    if twice := [name for i, name in enumerate(read.header) if name in read.header[:i]]:
        raise InputError(f"{file.name} has two columns named {twice[0]!r}: give each its own name.")
    width = len(read.header)
    return pd.DataFrame([(row + [""] * width)[:width] for _, row in read.rows], columns=read.header, dtype=object)


def _by_path(names: Sequence[str], paths: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The row of each path, -1 where there is none, and the names that are no image: by whole paths, or by their endings."""
    place = {path: i for i, path in enumerate(paths)}
    endings: dict[str, list[int]] = {}
    for i, path in enumerate(paths):
        endings.setdefault(PurePosixPath(path).name, []).append(i)
    rows, unknown = np.full(len(paths), -1, dtype=np.int64), []
    for row, name in enumerate(names):
        cleaned = str(name).strip().replace("\\", "/").removeprefix("./")
        at = place.get(cleaned)
        if at is None:
            alike = [
                i for i in endings.get(PurePosixPath(cleaned).name, ())
                if paths[i].endswith("/" + cleaned) or cleaned.endswith("/" + paths[i])
            ]  # fmt: skip
            at = alike[0] if len(alike) == 1 else None
        if at is None:
            unknown.append(str(name))
        else:
            rows[at] = row
    return rows, unknown


def _by_folder(names: Sequence[str], paths: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The row of each path whose folder, any of them, has the row's name; -1 where there is none."""
    row_of = {str(name).strip(): row for row, name in enumerate(names)}
    rows, used = np.full(len(paths), -1, dtype=np.int64), set()
    for i, path in enumerate(paths):
        for part in reversed(PurePosixPath(path).parts[:-1]):
            if part in row_of:
                rows[i] = row_of[part]
                used.add(part)
                break
    return rows, [name for name in row_of if name not in used]


def _groups(names: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the groups; images without a name are each alone."""
    keys = [names[row] if row >= 0 and str(names[row]).strip() else f"\0{i}" for i, row in enumerate(rows)]
    return np.unique(np.array(keys, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)
