"""Findings that exist before a run, several an image: one column a finding, as CheXpert and MIMIC-CXR have them, or one column
with `a|b`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.wording import counted
from autoannotate.answers import importers
from autoannotate.answers.dataset_json import NO_CATEGORY, read_dataset_json
from autoannotate.answers.given_labels import ANNOTATOR, LABEL, SHOWN, ImageRows, Problem, medmnist_labels, read_tool
from autoannotate.errors import InputError, UsageError
from autoannotate.images import ImageRef
from autoannotate.labelling.zero_shot.vocabulary import key
from autoannotate.runs.delimited import PATH, Delimited, column_key, read_delimited
from autoannotate.runs.run import SEPARATOR
from autoannotate.runs.tables import fused

SEVERAL = ("findings", "labels", "finding_labels", "answers")
"""What a column with several findings is called; one of those for single labels will do where its cells hold a bar."""
NONE = ("none", "none of these", "none-of-these", "no finding", "no findings", "normal", "nothing", "healthy")
POLICIES = ("ignore", "zeros", "ones")
"""What a blank or an uncertain mention counts as: unknown, absent or present (Irvin et al. 2019, arXiv 1901.07031, section 3.2:
U-Ignore, U-Zeros, U-Ones)."""
VALUES = {
    **dict.fromkeys(("1", "1.0", "yes", "true", "positive", "present", "pos", "y"), 1),
    **dict.fromkeys(("0", "0.0", "no", "false", "negative", "absent", "neg", "n"), 0),
    **dict.fromkeys(("-1", "-1.0", "−1", "uncertain", "unsure", "?"), -1),
}
NUMBERS = frozenset({"1", "1.0", "0", "0.0", "-1", "-1.0"})
OF_ROWS = (*ANNOTATOR, "annotation_id", "split", "fold", "subset", "partition")
SLIPS = 0.05  # of the cells of a finding, at most, that are none of these
OPEN = ("unsure", "not-usable", "")
UNKNOWN, BLANK, UNCERTAIN = -1, -2, -3


@dataclass(frozen=True, eq=False)
class GivenFindings:
    """Findings of N images.

    Attributes
    ----------
    values : (N, F) int, 1 present, 0 absent, -1 unknown
    listed : (N,) bool, the table has the image
    columns : what else a table says of each image, by the name of its column
    where : the row in which the table names each image first, "" where none does
    problems : rows that could not be used, and images without a row
    """

    names: list[str]
    values: NDArray[np.int64]
    listed: NDArray[np.bool_]
    columns: dict[str, list[str]] = field(default_factory=dict)
    where: Sequence[str] = ()
    problems: tuple[Problem, ...] = ()


def holds_findings(source: str | Path) -> bool:
    """Whether a table of labels holds several findings an image: cells as `a|b`, or columns of 1, 0 and -1 and no label."""
    table = table_of(source)
    if table is None or table.column(PATH) is None:
        return False
    if table.header == ["path", "findings"] and Path(source).suffix.lower() not in (".csv", ".tsv", ".txt"):
        return any(SEPARATOR in row[1] for _, row in table.rows)  # of a tool: single labels have no bar
    label = table.column(LABEL)
    if label is not None:
        return any(SEPARATOR in _cell(row, label) for _, row in table.rows)
    if any(column_key(name).partition("_")[0] in ("label", "annotator", "reader", "rater") and "_" in name
           for name in table.header):  # fmt: skip
        return False
    return table.column(SEVERAL) is not None or bool(_binary(table))


def read_given_findings(
    source: str | Path,
    refs: Sequence[ImageRef],
    findings: Sequence[str] | None = None,
    *,
    blank: str = "ignore",
    uncertain: str = "ignore",
    skip_problems: bool = False,
    partial: bool = False,
) -> GivenFindings:
    """The findings of the images `refs`, from a CSV with a column a finding, or with one column as `a|b`.

    Parameters
    ----------
    findings : those that are wanted; without it all that the table has
    blank, uncertain : one of `POLICIES`, what a blank cell and a -1 count as
    skip_problems : go on with the images that have a row that can be read
    partial : some of the images and some of the findings will do, and a word that is none of them is a problem of its row

    Raises
    ------
    InputError
        Where the table has none of the findings, rows name images that are not there, images have no row, or cells cannot be
        read, unless problems are skipped.
    UsageError
        For another policy.
    """
    for name, policy in (("--blank", blank), ("--uncertain", uncertain)):
        if policy not in POLICIES:
            raise UsageError(f"{name} takes {', '.join(POLICIES)}; {policy!r} is none of them.")
    table = table_of(source)
    if table is None:
        raise InputError(f"{source} is no table: findings come in a CSV, a column each or in one column as a|b.")
    path = table.column(PATH)
    if path is None:
        raise InputError(f"{source} lacks the column path, which says which image a row is about.")
    names, places, together = _columns(table, source, findings, partial)
    find = ImageRows(refs, Path(source).absolute().parent)
    values = np.full((len(refs), len(names)), UNKNOWN, dtype=np.int64)
    listed, problems = np.zeros(len(refs), dtype=bool), []
    used = {path, together, *places}
    first = [""] * len(refs)
    more = {column: [""] * len(refs) for i, column in enumerate(table.header) if i not in used}
    for number, row in table.rows:
        image = fused(_cell(row, path), "path")
        at = find(image)
        if at is None:
            problems.append(Problem(f"row {number}", image, find.problem(image)))
            continue
        first[at] = first[at] or f"row {number}"
        said, wrong = (
            _of_columns(names, [_cell(row, place) for place in places])
            if together is None
            else _of_cell(names, fused(_cell(row, together)), partial)
        )
        if wrong:
            problems.append(Problem(f"row {number}", refs[at].path, wrong))
            continue
        counted = np.array([_counted(value, blank, uncertain) for value in said])
        clash = (counted >= 0) & (values[at] >= 0) & (counted != values[at])
        if clash.any():
            values[at][clash] = UNKNOWN  # of two that contradict each other neither is believed
            problems.append(
                Problem(
                    f"row {number}", refs[at].path, f"contradicts an earlier row about {names[int(clash.argmax())]}"
                )
            )
            continue
        values[at] = np.where(counted >= 0, counted, values[at])
        listed[at] = True
        for column in more:
            more[column][at] = _cell(row, table.header.index(column))
    unusable = {problem.path for problem in problems}
    problems += [Problem("", ref.path, "has no row") for ref, there in zip(refs, listed, strict=True)
                 if not partial and not there and ref.path not in unusable]  # fmt: skip
    if problems and not skip_problems:
        raise InputError(_sentence(source, problems))
    if not (values >= 0).any():
        raise InputError(_nothing_said(source, names, bool(listed.any()), blank, uncertain))
    return GivenFindings(names, values, listed, more, first, tuple(problems))


def rarely_several(given: GivenFindings, paths: Sequence[str]) -> str | None:
    """A sentence where next to every image, (N,) paths, has one label and a few have several, as by a slip; else None."""
    present = (given.values == 1).sum(axis=1)[given.listed]
    several = [
        path for path, there, row in zip(paths, given.listed, given.values, strict=True) if there and sum(row == 1) > 1
    ]
    if not 0 < len(several) <= SLIPS * len(present) or (present == 0).any():
        return None
    return (
        f"{counted(len(several), 'image')} of {len(present):,} {'has' if len(several) == 1 else 'have'} several labels "
        f"({', '.join(several[:SHOWN])}), so each class is audited as a finding: where an image has one, leave it one label."
    )


def _nothing_said(source: str | Path, names: Sequence[str], listed: bool, blank: str, uncertain: str) -> str:
    """Why nothing is known of any image, and the way out."""
    if not listed:
        return f"{source} has no row of these images that can be used: are its paths those of other images?"
    if "ignore" in (blank, uncertain):
        return (
            f"Every cell of {source} for {', '.join(names)} is blank or uncertain, which counts as unknown: fill some in, or "
            "say what they count as, with --blank zeros or --uncertain ones."
        )
    return f"{source} says of no image whether it has {', '.join(names)}."


def _columns(
    table: Delimited, source: str | Path, findings: Sequence[str] | None, partial: bool = False
) -> tuple[list[str], list[int], int | None]:
    """The findings, and the column of each, -1 where there is none; or the one column that holds them all."""
    several, label = table.column(SEVERAL), table.column(LABEL)
    bars = label is not None and (findings is not None or any(SEPARATOR in _cell(row, label) for _, row in table.rows))
    together = several if several is not None else label if bars else None
    if findings is not None:
        known = {key(name): i for i, name in enumerate(table.header)}
        places = [known.get(key(name), -1) for name in findings]
        if together is None or all(place >= 0 for place in places):
            missing = [name for name, place in zip(findings, places, strict=True) if place < 0]
            if missing and (not partial or len(missing) == len(findings)):
                raise InputError(f"{source} has no column {missing[0]}: its columns are {', '.join(table.header)}.")
            return list(findings), places, None
        if partial:
            return list(findings), [], together
        said = {key(word) for _, row in table.rows for word in _words(fused(_cell(row, together)))}
        if missing := [name for name in findings if key(name) not in said]:
            raise InputError(f"No row of {source} names the finding {missing[0]}: check its spelling.")
        return list(findings), [], together
    if together is not None:
        words: dict[str, str] = {}
        for _, row in table.rows:
            for word in _words(fused(_cell(row, together))):
                if word.casefold() not in NONE and not word.startswith(NO_CATEGORY):
                    words.setdefault(key(word), word)
        return sorted(words.values()), [], together
    binary = _binary(table)
    if not binary:
        raise InputError(f"{source} has no columns of 1, 0 and -1: name those that hold findings with --findings.")
    return [table.header[i] for i in binary], binary, None


def _binary(table: Delimited) -> list[int]:
    """The columns whose cells are blank, 1, 0 or -1, with a 1 at least, but for annotators' numbers and parts of a split; a
    few slips among many (`SLIPS`) are problems of their rows, and do not make a column another."""
    found = []
    for i, name in enumerate(table.header):
        cells = [cell for _, row in table.rows if (cell := fused(_cell(row, i)))]
        other = sum(cell not in NUMBERS for cell in cells)
        if name and column_key(name) not in OF_ROWS and other <= SLIPS * len(cells) and {"1", "1.0"} & set(cells):
            found.append(i)
    return found


def _of_columns(names: Sequence[str], cells: Sequence[str]) -> tuple[list[int], str]:
    said = []
    for name, cell in zip(names, cells, strict=True):
        text = fused(cell).casefold()
        if text and text not in VALUES:
            return [], f"has {cell!r} for {name}, which is none of 1, 0, -1 and blank"
        said.append(BLANK if not text else UNCERTAIN if VALUES[text] < 0 else VALUES[text])
    return said, ""


def _of_cell(names: Sequence[str], cell: str, partial: bool = False) -> tuple[list[int], str]:
    words = {key(word) for word in _words(cell)}
    if not words:
        return [BLANK] * len(names), ""
    known = {key(name) for name in names}
    if unlisted := [word for word in _words(cell) if word.startswith(NO_CATEGORY)]:
        return [], f"has an annotation of {unlisted[0]}, of the categories that it does not list"
    if partial and (odd := [word for word in _words(cell) if key(word) not in known and word.casefold() not in NONE]):
        return [], f"names {odd[0]!r}, which is none of the findings {', '.join(names)}"
    return [int(key(name) in words) for name in names], ""


def _words(cell: str) -> list[str]:
    return [word.strip() for word in cell.split(SEPARATOR) if word.strip()]


def _counted(value: int, blank: str, uncertain: str) -> int:
    policy = {BLANK: blank, UNCERTAIN: uncertain}.get(value)
    return value if policy is None else {"ignore": UNKNOWN, "zeros": 0, "ones": 1}[policy]


def _cell(row: Sequence[str], column: int) -> str:
    return row[column].strip() if 0 <= column < len(row) else ""


def table_of(source: str | Path) -> Delimited | None:
    """The table, or what COCO, FiftyOne, Label Studio and CVAT say, as one with the findings of an image in one cell."""
    file = Path(source)
    if not file.is_file():
        return None
    if file.suffix.lower() == ".npz":
        return _medmnist(file)
    with file.open("rb") as stream:
        head = stream.read(importers.HEAD_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith((b"[", b"<", b"PK")):
        told = defaultdict(list)
        for each in read_tool(file):
            told[each.image, each.where].append(each.word)  # several annotators of an image are a row each
        said = [(image, [word for word in words if word not in OPEN] or None) for (image, _), words in told.items()]
    elif head.startswith(b"{"):
        by_image: dict[str, list[str] | None] = {}
        for entry in read_dataset_json(file):
            words = by_image.setdefault(entry.image, None if entry.labels is None else [])
            if words is not None:
                words += [word for word in entry.labels or [] if word not in words]
        said = list(by_image.items())
    else:
        return read_delimited(file)
    rows = [[image, "" if words is None else SEPARATOR.join(words) or NONE[0]] for image, words in said]
    return Delimited(["path", "findings"], list(enumerate(rows, start=1)))


def _medmnist(file: Path) -> Delimited | None:
    """MedMNIST's arrays as a table with a column a finding; None where they have one label an image."""
    told = medmnist_labels(file)
    count = told.values.shape[1]
    if count == 1:
        return None
    rows = [[f"{file.name}#{i}", part, *map(str, row)]
            for i, (part, row) in enumerate(zip(told.parts, told.values.tolist(), strict=True))]  # fmt: skip
    names = [told.names.get(str(f), f"finding {f}") for f in range(count)]
    return Delimited(["path", "split", *names], list(enumerate(rows, start=1)))


def _sentence(source: str | Path, problems: Sequence[Problem]) -> str:
    kinds: dict[str, list[str]] = defaultdict(list)
    words: Mapping[str, str] = {"no such image": "names images that are not there", "has no row": "has no row for"}
    for each in problems:
        where = f"{each.path} ({each.where})" if each.where else each.path
        kinds[words.get(each.problem, "has rows that cannot be used")].append(
            where if each.problem in words else f"{where} {each.problem}"
        )
    parts = [
        f"{kind}: {', '.join(found[:SHOWN])}{f' and {len(found) - SHOWN:,} more' if len(found) > SHOWN else ''}"
        for kind, found in kinds.items()
    ]
    return f"{source} {'; it '.join(parts)}. Mend it, or go on with the rest with --skip-problems."
