"""Labels that exist before a run: a table, a folder a class, COCO, FiftyOne, Label Studio, CVAT or MedMNIST's own arrays."""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoannotate.answers import importers
from autoannotate.answers.dataset_json import NO_CATEGORY, read_dataset_json
from autoannotate.answers.image_names import MOST, ImageNames
from autoannotate.errors import InputError
from autoannotate.images import ImageRef
from autoannotate.runs.delimited import PATH, Delimited, column_key, read_delimited
from autoannotate.runs.run import NONE_OF_THESE, NOT_USABLE, SEPARATOR
from autoannotate.runs.tables import fused
from autoannotate.runs.verdict_words import UNSURE

FOLDERS = "folders"
LABEL = ("label", "answer", "class", "class_name", "diagnosis", "category", "target", "choice")
ANNOTATOR = ("annotator", "reader", "rater", "labeller", "completed_by")
UNKNOWN, ABSENT = "is none of the classes", "no such image"
SPELLED = "writes "
NO_LABEL = ("nan", "null", "n/a", "<na>", NONE_OF_THESE, NOT_USABLE)
"""How programs write a cell that has nothing, and what an image of no class is labelled."""
SHOWN = 3  # rows that a sentence names


@dataclass(frozen=True)
class Problem:
    """Something in the labels that does not fit: where in the file, which image, and what."""

    where: str
    path: str
    problem: str


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """Labels of N images, "" where an image has none.

    Attributes
    ----------
    votes : by annotator, (N,) labels, where several gave theirs; then `labels` are the majority's
    columns : what else a table says of each image, by the name of its column
    where : where the file names each image first, as `row 7`; "" where it does not
    problems : rows that could not be used, and images without a label
    """

    labels: list[str]
    votes: dict[str, list[str]] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    where: Sequence[str] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def classes(self) -> list[str]:
        """The different labels, sorted."""
        return sorted(
            {label for label in self.labels if label} | {v for votes in self.votes.values() for v in votes if v}
        )

    def unlabelled(self, paths: Sequence[str]) -> list[str]:
        """Which of the images, (N,), have no label."""
        return [path for path, label in zip(paths, self.labels, strict=True) if not label]

    def column(self, names: Sequence[str]) -> tuple[str, list[str]] | None:
        """The first of these columns that the table has, by name, and its cells."""
        known = {column_key(name): name for name in self.columns}
        found = next((known[column_key(name)] for name in names if column_key(name) in known), None)
        return None if found is None else (found, self.columns[found])


def read_given_labels(
    source: str | Path,
    refs: Sequence[ImageRef],
    skip_problems: bool = False,
    partial: bool = False,
    classes: Sequence[str] = (),
    agreed: bool = False,
) -> GivenLabels:
    """The labels of the images `refs`, from a file or from `folders`.

    Parameters
    ----------
    source : `folders`, where each folder is a class; else a CSV (path,label; one column an annotator as label_NAME, or one row
        an image and annotator), COCO, FiftyOne or Label Studio JSON, CVAT XML or zip, or a MedMNIST .npz
    skip_problems : go on with the images that have one label
    partial : labels of some images, or of one class, will do
    classes : what a label can be; by default anything
    agreed : an image that annotators give different labels has none

    Raises
    ------
    InputError
        Where the file is none of these; or where rows name images that are not there, images have no label, or labels
        contradict each other, unless problems are skipped.
    """
    rows = list(_rows(source, refs))
    usual = _usual_spelling([label for _, _, labels, _ in rows for label in labels.values() if label])
    find = ImageRows(refs, Path(source).absolute().parent)
    said: dict[int, dict[str, str]] = defaultdict(dict)
    cells: dict[str, list[str]] = {}
    problems: list[Problem] = []
    places = [""] * len(refs)
    first: dict[tuple[int, str], tuple[str, str]] = {}  # the label that an annotator gave an image first, and where
    for where, name, labels, more in rows:
        row = find(name)
        if row is None:
            problems.append(Problem(where, name, find.problem(name)))
            continue
        places[row] = places[row] or where
        for column, text in more.items():
            cells.setdefault(column, [""] * len(refs))[row] = text
        for annotator, written in labels.items():
            label = "" if written.casefold() in NO_LABEL else written
            if label in usual:
                problems.append(Problem(where, refs[row].path, f"{SPELLED}{usual[label]!r} as {label!r}"))
                continue
            if label.startswith(NO_CATEGORY):
                problems.append(Problem(where, refs[row].path, label))
                continue
            if classes and label and label not in classes:
                problems.append(Problem(where, refs[row].path, f"{UNKNOWN} ({label})"))
                continue
            if not label:
                continue
            said[row].setdefault(annotator, label)
            earlier, there = first.setdefault((row, annotator), (label, where))
            if earlier != label:
                words = f"is {label!r} here and {earlier!r} in {there or 'an earlier row'}"
                problems.append(Problem(where, refs[row].path, words))
                said[row][annotator] = "\0"
    annotators = sorted({annotator for votes in said.values() for annotator in votes})
    votes = {
        who: [said[i].get(who, "").replace("\0", "") if i in said else "" for i in range(len(refs))]
        for who in annotators
    }
    together = [_majority([votes[who][i] for who in annotators]) for i in range(len(refs))]
    if agreed:
        for i, ref in enumerate(refs):
            by = {who: votes[who][i] for who in annotators if votes[who][i]}
            if len(set(by.values())) > 1:
                words = " and ".join(f"{label!r} by {who or 'another'}" for who, label in by.items())
                problems.append(Problem(places[i], ref.path, f"is {words}"))
                together[i] = ""
    contradicted = {problem.path for problem in problems}
    problems += [
        Problem(place, ref.path, "has no label")
        for ref, label, place in zip(refs, together, places, strict=True)
        if not partial and not label and ref.path not in contradicted
    ]
    if problems and not skip_problems:
        raise InputError(_sentence(source, problems))
    present = sorted({label for each in (together, *votes.values()) for label in each if label})
    if not present:
        raise InputError(f"{source} has no label of these images that can be used.")
    if len(present) < 2 and not partial:
        raise InputError(f"{source} has one class only ({present[0]}): an audit tells classes apart, and needs two.")
    return GivenLabels(together, votes if len(annotators) > 1 else {}, cells, places, tuple(problems))


class ImageRows:
    """Which of some images a table means by a name, as a row number: its path in the run or from the table's folder, a file, or
    what `image_names.ImageNames` makes of it; or the only one whose file has that name but for its ending, as tables of ids
    have them."""

    def __init__(self, refs: Sequence[ImageRef], folder: Path) -> None:
        self.folder, self.refs = folder, refs
        self.paths = {ref.path: i for i, ref in enumerate(refs)}
        self.files = {
            f"{ref.file.absolute().as_posix()}{'' if ref.frame is None else f'#{ref.frame}'}": i
            for i, ref in enumerate(refs)
        }

    def __call__(self, name: str) -> int | None:
        plain = name.strip().replace("\\", "/").removeprefix("./")
        for table, key in (
            (self.paths, plain), (self.files, plain), (self.files, (self.folder / plain).as_posix()),
        ):  # fmt: skip
            if key in table:
                return table[key]
        match = self._names.find(name)
        if match.path is not None:
            return self.paths[match.path]
        there = [] if "/" in plain or match.candidates else self._stems.get(plain.casefold(), [])
        return there[0] if len(there) == 1 else None

    def problem(self, name: str) -> str:
        """Why a name means no image: there is none, or it could be one of several."""
        could_be = self._names.find(name).candidates[:MOST]
        return f"{ABSENT} for certain: it could be {', '.join(could_be)}" if could_be else ABSENT

    @cached_property
    def _names(self) -> ImageNames:
        file, path = next(((ref.file.absolute().as_posix(), ref.path.split("#")[0]) for ref in self.refs), ("", ""))
        return ImageNames(self.paths, Path(file.removesuffix(path)) if path and file.endswith(f"/{path}") else None)

    @cached_property
    def _stems(self) -> dict[str, list[int]]:
        stems: dict[str, list[int]] = defaultdict(list)
        for path, i in self.paths.items():
            stems[path.rpartition("/")[2].rpartition(".")[0].casefold()].append(i)
        return stems


_Row = tuple[str, str, dict[str, str], dict[str, str]]


def _rows(source: str | Path, refs: Sequence[ImageRef]) -> Iterator[_Row]:
    if str(source) == FOLDERS:
        for ref in refs:
            folder = ref.path.rpartition("/")[0].rpartition("/")[2]
            yield "", ref.path, {"": folder}, {}
        return
    file = Path(source)
    if file.is_dir():
        raise InputError(
            f"{file} is a folder: where each folder of the images is a class, write the word, as in --labels {FOLDERS}."
        )
    if not file.is_file():
        raise InputError(
            f"There is no file {file}: labels come from a table, the export of a tool, or the word folders."
        )
    if file.suffix.lower() == ".npz":
        yield from _medmnist(file)
        return
    with file.open("rb") as stream:
        head = stream.read(importers.HEAD_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"{"):
        for entry in read_dataset_json(file):
            for label in entry.labels or [""]:
                yield entry.where, entry.image, {"": label}, {}
    elif head.startswith((b"[", b"<", b"PK")):
        for given in read_tool(file):
            yield given.where, given.image, {given.reader: "" if given.word.casefold() == UNSURE else given.word}, {}
    else:
        yield from _table(file, read_delimited(file))


def read_tool(file: Path) -> list[importers.Given]:
    """What an export of Label Studio or CVAT says.

    Raises
    ------
    InputError
        Where it is neither.
    """
    try:
        importers.recognise(file)
    except InputError:
        raise InputError(
            f"{file} holds no labels that are known: a table with the columns path and label, COCO, FiftyOne or Label Studio "
            "JSON, CVAT XML or zip, and MedMNIST's npz are read (a workbook: save it as CSV first)."
        ) from None
    return importers.read(file)[1]


def _usual_spelling(labels: Sequence[str]) -> dict[str, str]:
    """By label the commonest that differs from it in case alone, where there is such."""
    counts = Counter(labels)
    best: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        best.setdefault(label.casefold(), label)
    return {label: best[label.casefold()] for label in counts if best[label.casefold()] != label}


def _table(file: Path, table: Delimited) -> Iterator[_Row]:
    path, label, who = (table.column(names) for names in (PATH, LABEL, ANNOTATOR))
    by_annotator = {
        i: name.partition("_")[2] for i, name in enumerate(table.header)
        if column_key(name).partition("_")[0] in ("label", "annotator", "reader", "rater") and "_" in name
    }  # fmt: skip
    if not table.header:
        raise InputError(f"{file} is empty: a table of labels has the columns path and label.")
    if path is None:
        raise InputError(f"{file} lacks the column path: a table of labels has the columns path and label.")
    if label is None and not by_annotator:
        raise InputError(
            f"{file} lacks the column label: it has {', '.join(table.header)}; rename the one that holds the labels, or name "
            "the columns that hold findings with --findings."
        )
    for number, row in table.rows:
        cells = [fused(cell.strip()) for cell in [*row, *[""] * (len(table.header) - len(row))]]
        labels = {name: cells[i] for i, name in by_annotator.items()}
        if several := next((label for label in labels.values() if SEPARATOR in label), ""):
            raise InputError(
                f"{file}, row {number}: {several!r} are several labels, and of several annotators one label an image is read. "
                "Name the column of one of them `labels`, and audit that."
            )
        if label is not None and not (labels and not cells[label]):
            labels = {cells[who] if who is not None else "": cells[label]}
        more = {
            name: cells[i]
            for i, name in enumerate(table.header)
            if i not in {path, label, who} and i not in by_annotator
        }
        yield f"row {number}", fused(row[path].strip(), "path") if len(row) > path else "", labels, more


def _medmnist(file: Path) -> Iterator[_Row]:
    arrays = medmnist_labels(file)
    if arrays.values.shape[1] > 1:
        raise InputError(f"{file} has several findings an image: name them with --findings.")
    for at, (part, value) in enumerate(zip(arrays.parts, arrays.values[:, 0].tolist(), strict=True)):
        yield f"{part} {at}", f"{file.name}#{at}", {"": arrays.names.get(str(value), str(value))}, {"split": part}


class MedMNISTLabels(NamedTuple):
    """values: (N, F) int, the class of each image, or 1 and 0 of F findings. names: of the classes or findings, by number.
    parts: the split of each image."""

    values: NDArray[np.int64]
    names: dict[str, str]
    parts: list[str]


def medmnist_labels(file: Path) -> MedMNISTLabels:
    """The labels in MedMNIST's own arrays.

    Raises
    ------
    InputError
        Where there are none.
    """
    from medmnist import INFO

    try:
        with np.load(file, allow_pickle=False) as arrays:
            labels = {part: arrays[f"{part}_labels"] for part in ("train", "val", "test") if f"{part}_labels" in arrays}
        values = [np.asarray(each).reshape(len(each), -1).astype(np.int64) for each in labels.values()]
        if not values:
            raise InputError(f"{file} has no arrays of labels (train_labels, val_labels, test_labels).")
        together = np.concatenate(values)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} cannot be read as MedMNIST's arrays ({error}).") from None
    flag = next((name for name in INFO if file.name.startswith(name)), "")
    parts = [part for part, each in zip(labels, values, strict=True) for _ in each]
    return MedMNISTLabels(together, dict(INFO[flag]["label"]) if flag else {}, parts)


def _majority(votes: Sequence[str]) -> str:
    """The label that most annotators gave; of equals the first in the alphabet."""
    counts = Counter(vote for vote in votes if vote)
    return min(counts, key=lambda label: (-counts[label], label)) if counts else ""


KINDS = {
    NO_CATEGORY: "has annotations of categories that it does not list", SPELLED: "writes a class in two ways",
    UNKNOWN: "gives labels that are none of the classes to", ABSENT: "names images that are not there",
    "is ": "gives two labels to", "has no label": "gives no label to",
}  # fmt: skip
"""What a sentence says of problems that begin so; the first that fits counts."""


def _sentence(source: str | Path, problems: Sequence[Problem]) -> str:
    kinds: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        kinds[next(kind for kind in KINDS if problem.problem.startswith(kind))].append(problem)
    parts = []
    for kind, found in kinds.items():
        some = ", ".join(_named(each) for each in found[:SHOWN])
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        parts.append(f"{KINDS[kind]}: {some}{more}")
    return f"{source} {'; it '.join(parts)}. Mend it, or go on with the rest with --skip-problems."


def _named(each: Problem) -> str:
    """The image, and in brackets where the file says so and which labels it gives, where these are two or no class."""
    if each.problem.startswith("is ") and not each.problem.startswith(UNKNOWN):
        return f"{each.path} ({f'{each.where} {each.problem}'.strip()})"
    label = each.problem.removeprefix(UNKNOWN).strip(" ()") if each.problem.startswith(UNKNOWN) else ""
    label = each.problem if each.problem.startswith((NO_CATEGORY, SPELLED)) else label
    if (could_be := each.problem.removeprefix(ABSENT)) and could_be != each.problem:
        label = could_be.removeprefix(" for certain: ")
    told = ", ".join(part for part in (each.where, label) if part)
    return f"{each.path} ({told})" if told else each.path
