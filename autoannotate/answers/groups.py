"""Which images belong together (one patient, study or lesion): from a table, folders, or DICOM headers, as numbers only."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoannotate.answers.given_labels import SHOWN, GivenLabels, ImageRows, Problem
from autoannotate.errors import InputError, UsageError
from autoannotate.images import ImageRef
from autoannotate.runs.delimited import PATH, read_delimited
from autoannotate.runs.tables import fused

DICOM = {"patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
BLANK = ("nan", "none", "null", "n/a", "na")  # how programs write a cell that has nothing
_ID = re.compile(r"(patient|pat|subject|sub|case|study|pid)[-_ ]?\w*\d", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Groups:
    """numbers: (N,) int array, the group of each image. problems: images without a group or with two, each alone in one."""

    numbers: NDArray[np.int64]
    problems: tuple[Problem, ...] = ()


def read_groups(
    source: str, refs: Sequence[ImageRef], given: GivenLabels | None = None, skip_problems: bool = False
) -> Groups:
    """A number for the group of each image; what the group is called is not kept.

    Parameters
    ----------
    source : a column of the labels' table, a CSV (path and one more column), `folder`, or `dicom:patient|study|series`
    skip_problems : an image of which no group is known is a group of its own

    Raises
    ------
    InputError
        Where images have no group or two, unless problems are skipped, or where all are of one.
    UsageError
        Where the source is none of these.
    """
    names, places, problems = _names(source, refs, given)
    names = ["" if name.casefold() in BLANK else name for name in names]
    twice = {problem.path for problem in problems}
    problems += [
        Problem(place, ref.path, "has no group")
        for ref, name, place in zip(refs, names, places, strict=True)
        if not name and ref.path not in twice
    ]
    if problems and not skip_problems:
        raise InputError(_sentence(source, problems))
    if len({name for name in names if name}) + names.count("") < 2:
        raise InputError(
            f"By {source} all images are of one group, so none could be judged by images of another: leave --groups out, "
            "or name what tells patients apart."
        )
    number = {name: k for k, name in enumerate(dict.fromkeys(name for name in names if name))}
    numbers = np.array([number[name] if name else len(number) + i for i, name in enumerate(names)], dtype=np.int64)
    return Groups(numbers, tuple(problems))


def _sentence(source: str, problems: Sequence[Problem]) -> str:
    parts = []
    for words, found in (
        ("gives no group to", [each for each in problems if each.problem == "has no group"]),
        ("gives two groups to", [each for each in problems if each.problem != "has no group"]),
    ):
        if found:
            some = ", ".join(f"{each.path} ({each.where})" if each.where else each.path for each in found[:SHOWN])
            parts.append(f"{words} {some}{f' and {len(found) - SHOWN:,} more' if len(found) > SHOWN else ''}")
    return f"{source} {'; it '.join(parts)}: mend it, or let each of them be a group of its own with --skip-problems."


def look_grouped(paths: Sequence[str]) -> str | None:
    """A sentence where paths look like several images a patient, as in `patient0012/3.png`; else None.

    >>> look_grouped([f"patient{n // 2:03}/{n}.png" for n in range(20)])
    'The folders look like one a patient or study (10 of them, as in patient000): name them with --groups folder.'
    """
    folders = Counter(path.rpartition("/")[0] for path in paths if "/" in path)
    alike = [folder for folder in folders if _ID.fullmatch(folder.rpartition("/")[2])]
    if len(alike) < 2 or sum(folders[folder] for folder in alike) < 1.5 * len(alike):
        return None
    return (
        f"The folders look like one a patient or study ({len(alike):,} of them, as in {alike[0]}): name them with "
        "--groups folder."
    )


def _names(
    source: str, refs: Sequence[ImageRef], given: GivenLabels | None
) -> tuple[list[str], Sequence[str], list[Problem]]:
    """The name of the group of each image, where the file has it, and the images that it gives two."""
    nowhere = [""] * len(refs)
    if source == "folder":
        return [ref.path.rpartition("/")[0] or "." for ref in refs], nowhere, []
    if source.startswith("dicom:"):
        tag = DICOM.get(source.removeprefix("dicom:"))
        if tag is None:
            raise UsageError(f"--groups {source} is not known: dicom:patient, dicom:study and dicom:series are.")
        return [_header(ref, tag) for ref in refs], nowhere, []
    if given is not None and (column := given.column([source])) is not None:
        return column[1], given.where or nowhere, []
    file = Path(source)
    if not file.is_file():
        has = f" ({', '.join(given.columns)})" if given is not None and given.columns else ""
        raise UsageError(
            f"--groups {source} is no column of the labels' table{has} and no file: it takes one of these, folder, or "
            "dicom:patient."
        )
    table = read_delimited(file)
    path = table.column(PATH)
    others = [i for i in range(len(table.header)) if i != path]
    if path is None or not others:
        raise InputError(f"{file} needs a column path and one that names the group.")
    at = table.column(("group", "patient", "patient_id", "study", "lesion_id", "case"))
    at = others[0] if at is None else at
    find, names, places = ImageRows(refs, file.absolute().parent), [""] * len(refs), [""] * len(refs)
    problems: dict[int, Problem] = {}
    for number, row in table.rows:
        image = find(fused(row[path], "path")) if len(row) > max(path, at) else None
        if image is None:
            continue
        name = row[at].strip()
        if names[image] and name and name != names[image]:
            words = f"is of one group here and of another in {places[image]}"
            problems[image] = Problem(f"row {number}", refs[image].path, words)
        names[image], places[image] = names[image] or name, places[image] or f"row {number}"
    for image in problems:
        names[image] = ""
    return names, places, list(problems.values())


def _header(ref: ImageRef, tag: str) -> str:
    """A hash of what the header says, "" where it says nothing."""
    import pydicom

    try:
        value = str(getattr(pydicom.dcmread(ref.file, stop_before_pixels=True, specific_tags=[tag]), tag, "")).strip()
    except Exception:  # no DICOM, or a damaged header
        return ""
    return hashlib.sha256(value.encode()).hexdigest() if value else ""
