"""Sets of images whose classes are known, read from folders, tables and MedMNIST files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.wording import listed
from autoannotate.errors import InputError, UnreadableImageError, UsageError
from autoannotate.evaluation.labelled_set import LabelledSet
from autoannotate.images import ImageRef, find_images, read_image
from autoannotate.images.items import items_of
from autoannotate.runs.delimited import PATH, column_key, read_delimited
from autoannotate.runs.run import check_classes

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("group", "lesion_id", "patient", "patient_id", "case", "case_id")
"""Columns that say which images belong together: the first that a table has is used."""
TABLE = "labels.csv"
VOLUMES = frozenset({".gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"})  # files whose slices make one item
NETWORK_SECONDS = 30.0  # that a server may be silent


def read_labelled(sources: Sequence[str | Path]) -> LabelledSet:
    """The labelled set of one PATH, or of several NAME=PATH.

    A PATH is a folder with a labels.csv (path,label and, if there are any, given and a group column such as lesion_id; paths
    start from the folder), a folder with a sub-folder for each class, such a table under another name, or a MedMNIST .npz
    file. PATH:label takes the images of one label only. With NAME=PATH every image of PATH has the class NAME, and a folder
    may hold just images; the same name may be given twice.

    Raises
    ------
    UsageError
        For sources that don't go together.
    InputError
        For what is missing or cannot be understood.

    Examples
    --------
    >>> read_labelled(["chest=eval/chest_nih", "breast=eval/breast_busi"]).class_names  # doctest: +SKIP
    ['chest', 'breast']
    """
    if not sources:
        raise UsageError(
            "--data is missing: name a labelled set, as in --data scans/ or --data chest=a/ --data breast=b/"
        )
    if not all(str(source).strip() for source in sources):
        raise UsageError("--data is empty: name a labelled set, as in --data scans/")
    named = [split_name(str(source)) for source in sources]
    if len(named) == 1 and not named[0][0]:
        return _checked(_read(named[0][1]))
    if bare := [path for name, path in named if not name]:
        raise UsageError(f"With several --data each needs the name of its class, as in chest={bare[0]}")
    parts = [(name, _read_all(path)) for name, path in named]
    classes = list(dict.fromkeys(name for name, _ in parts))
    names = [name for name, _ in parts]
    refs = []
    for n, (name, part) in enumerate(parts):
        # two sources of one name may have the same file names: a number tells them apart
        within = f"{name}/{names[: n + 1].count(name)}" if names.count(name) > 1 else name
        refs += [replace(ref, path=f"{within}/{ref.path}") for ref in part.refs]
    labels = np.concatenate([np.full(len(part), classes.index(name), dtype=np.int64) for name, part in parts])
    notes = tuple(dict.fromkeys(note for _, part in parts for note in part.notes))
    groups = _joined([part for _, part in parts])
    return _checked(
        LabelledSet(refs, labels, classes, groups, ", ".join(f"{n}={Path(p).name}" for n, p in named), None, notes)
    )


def split_name(source: str) -> tuple[str, str]:
    """NAME=PATH as (NAME, PATH); a PATH that is there, or has no `=`, has the name "".

    >>> split_name("chest=scans/chest"), split_name("scans")
    (('chest', 'scans/chest'), ('', 'scans'))
    """
    name, equals, path = source.partition("=")
    if not equals or Path(source).exists() or "/" in name:
        return "", source
    if not name.strip() or not path:
        raise UsageError(
            f"{source!r} is not NAME=PATH: it takes a class and where its images are, as in chest=scans/chest"
        )
    return name.strip(), path


def _read(source: str) -> LabelledSet:
    """The set at PATH or PATH:label, with its own classes."""
    path, label = Path(source), ""
    if not path.exists() and ":" in source:
        path, label = Path(source.rpartition(":")[0]), source.rpartition(":")[2]
    if not path.exists():
        raise InputError(f"There is no file or folder {path}: check what --data says.{_nearest(path)}")
    if path.is_dir():
        found = _read_table(path / TABLE) if (path / TABLE).is_file() else _read_folders(path)
    elif path.suffix.lower() == ".npz":
        found = _read_medmnist(path)
    else:
        found = _read_table(path)
    if not label:
        return found
    if label not in found.class_names:
        raise InputError(f"{path} has no label {label!r}: its labels are {', '.join(found.class_names)}.")
    return found.take(np.flatnonzero(found.labels == found.class_names.index(label)))


def _read_all(source: str) -> LabelledSet:
    """The images at PATH, whatever their labels: those of its table, or all that a folder holds."""
    path = Path(source)
    if path.is_dir() and not (path / TABLE).is_file():
        refs = find_images(path)
        return LabelledSet(refs, np.zeros(len(refs), dtype=np.int64), [path.name], name=path.name)
    if path.is_file() and path.suffix.lower() not in (".csv", ".npz"):
        refs = find_images(path)
        return LabelledSet(refs, np.zeros(len(refs), dtype=np.int64), [path.name], name=path.name)
    return _read(source)


def _read_table(file: Path) -> LabelledSet:
    """A CSV of path,label[,given][,group], its paths starting from its folder."""
    table = _csv(file)
    for column in ("path", "label"):
        if column not in table:
            raise InputError(
                f"{file} lacks the column {column}: a table of labels has the columns path and label, and this has "
                f"{listed(table.columns) or 'none'}."
            )
    if table.empty:
        raise InputError(f"{file} has no rows: it needs one row an image, with its path and label.")
    if (table["label"] == "").any():
        row = int(np.flatnonzero(table["label"] == "")[0])
        raise InputError(f"{file}, row {row + 2}: {table['path'].iloc[row]} has no label.")
    if len(twice := table["path"][table["path"].duplicated()]):
        raise InputError(f"{file}: {twice.iloc[0]} has two rows: an image must have one.")
    classes = _in_order(table["label"])
    given = None
    if "given" in table:
        if unknown := sorted(set(table["given"]) - set(classes)):
            raise InputError(f"{file}: the column given has {unknown[0]!r}, which no row has as its label.")
        given = _codes(table["given"], classes)
    refs = _refs(table["path"].tolist(), file)
    together = next((name for name in GROUPS if name in table), None)
    groups = None if together is None else _grouped(table[together])
    return LabelledSet(refs, _codes(table["label"], classes), classes, groups, _name_of(file), given)


def _csv(file: Path) -> pd.DataFrame:
    """The table as text, same rows once, its columns named in lower case, that of the pictures `path`."""
    import pandas as pd

    table = read_delimited(file)
    names = [column_key(name) or f"column {i}" for i, name in enumerate(table.header, start=1)]
    place = table.column(PATH)
    if place is not None and "path" not in names:
        names[place] = "path"
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{file} has two columns {twice[0]}: remove one.")
    for number, row in table.rows:
        if any(cell.strip() for cell in row[len(names) :]):
            raise InputError(
                f"{file} has rows with more fields than its header (row {number}): put a value with a comma in quotes."
            )
    cells = [[cell.strip() for cell in row[: len(names)]] + [""] * (len(names) - len(row)) for _, row in table.rows]
    return pd.DataFrame(cells, columns=names, dtype=object).drop_duplicates(ignore_index=True)


def _refs(paths: list[str], file: Path) -> list[ImageRef]:
    """The images that a table names; `scan.dcm#3` is a frame."""
    refs, missing = [], []
    for path in paths:
        if not (file.parent / path).exists():
            path = path.replace("\\", "/")
        where, mark, frame = path.rpartition("#")
        whole = file.parent / path
        if mark and frame.isdecimal() and not whole.exists():
            refs.append(ImageRef(path, file.parent / where, int(frame)))
        else:
            refs.append(_whole(path, whole))
        if not refs[-1].file.is_file():
            missing.append(path)
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(
            f"{file} names {missing[0]}{more}, which is not in {file.parent}: paths start from the table's folder."
        )
    return refs


def _whole(path: str, file: Path) -> ImageRef:
    """The image of a file, or the item of all slices of a volume."""
    if file.suffix.lower() not in VOLUMES or not file.is_file():
        return ImageRef(path, file)
    slices = [replace(ref, path=f"{path}#{n}") for n, ref in enumerate(find_images(file))]
    items = items_of(slices)
    return replace(items[0].middle, path=path) if len(items) == 1 and len(slices) > 1 else ImageRef(path, file)


def _read_folders(folder: Path) -> LabelledSet:
    """A folder whose sub-folders are classes; images beside them have none and are left out, which is noted."""
    refs = find_images(folder)
    inside = [ref for ref in refs if "/" in ref.path]
    if not inside:
        raise InputError(
            f"{folder} has images but no labels: it needs a {TABLE} (path,label), a sub-folder for each class, or a class "
            f"of its own, as in --data chest={folder}"
        )
    names = [ref.path.partition("/")[0] for ref in inside]
    classes = _in_order(names)
    stray = len(refs) - len(inside)
    notes = (
        [f"{stray} of {len(refs)} images in {folder.name} lie in no class folder and are left out."] if stray else []
    )
    within = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if empty := [name for name in within if name not in classes]:
        notes.append(f"{folder.name} has folders without images, which are no classes: {', '.join(empty)}.")
    return LabelledSet(inside, _codes(names, classes), classes, name=folder.name, notes=tuple(notes))


def _read_medmnist(file: Path) -> LabelledSet:
    """A MedMNIST .npz with the medmnist package's classes and checksum, where the file has the name of one of its sets."""
    from medmnist import INFO

    refs = [item.middle for item in items_of(find_images(file))]
    codes = _medmnist_labels(file)
    if refs[0].frame is None:
        try:
            read_image(refs[0])
        except UnreadableImageError as error:
            raise InputError(f"{file} cannot be measured on. {error}") from None
    if len(codes) != len(refs):
        raise InputError(f"{file} has {len(refs)} images and {len(codes)} labels: is it a whole MedMNIST file?")
    flag, _, size = file.stem.lower().partition("_")
    info = INFO.get(flag)
    if info is None:
        note = f"{file.name} is not the name of a MedMNIST file: its classes are called by their numbers."
        names: Mapping[int, str] = {int(code): str(code) for code in np.unique(codes)}
    else:
        names = {int(code): str(name) for code, name in info["label"].items()}
        expected = info.get(f"MD5_{size}" if size else "MD5")
        digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        note = (
            f"{file.name} is MedMNIST's own file: its MD5 is the one that the medmnist package states."
            if digest == expected
            else f"{file.name} is not MedMNIST's own file: its MD5 is {digest}, and the medmnist package states {expected}."
        )
    if unknown := sorted(set(codes.tolist()) - set(names)):
        raise InputError(f"{file} has the label {unknown[0]}, which {flag} does not have.")
    order = sorted(names)
    present = [code for code in order if (codes == code).any()]
    labels = np.searchsorted(present, codes).astype(np.int64)
    return LabelledSet(refs, labels, [names[code] for code in present], name=file.stem, notes=(note,))


def _medmnist_labels(file: Path) -> NDArray[np.int64]:
    """The labels, (N,), in the order of the images: train, val, test. Raises InputError where an image has several."""
    words = False
    try:
        with np.load(file) as arrays:
            parts = [arrays[f"{split}_labels"] for split in ("train", "val", "test") if f"{split}_images" in arrays]
        words = any(part.dtype.kind in "US" for part in parts)
        if words:
            raise ValueError("words")
        several = any(part.reshape(len(part), -1).shape[1] != 1 for part in parts)
        codes = np.concatenate([part.reshape(-1) for part in parts]).astype(np.float64)
    except Exception:  # numpy, zipfile and zlib each have their own for a broken file
        if words:
            raise InputError(
                f"{file} has words for labels: MedMNIST's are numbers from 0. Number them, or give a folder with a labels.csv."
            ) from None
        raise InputError(
            f"{file} cannot be read as a MedMNIST file: it is damaged, or holds no images with labels as MedMNIST stores "
            "them (train_images, train_labels, …). Fetch it again, or give a folder with a labels.csv."
        ) from None
    if several:
        raise InputError(
            f"{file} gives each image several labels at once: only sets with one label an image are measured."
        )
    if len(odd := codes[~((codes >= 0) & (codes % 1 == 0))]):
        raise InputError(
            f"{file} has the label {odd[0]:g}: labels are whole numbers from 0. Correct it, or leave the image out."
        )
    return codes.astype(np.int64)


def download(name: str, folder: Path) -> Path:
    """A MedMNIST file by name (`breastmnist`, `bloodmnist_64`), fetched into `folder` by the medmnist package if missing.

    Raises
    ------
    UsageError
        For a name that MedMNIST does not have.
    InputError
        Where it cannot be had.
    """
    import contextlib
    import difflib
    import socket
    import sys

    import medmnist

    flag, _, size = name.lower().partition("_")
    info = medmnist.INFO.get(flag)
    if info is None or flag.endswith("3d"):
        known = [flag for flag in medmnist.INFO if not flag.endswith("3d")]
        near = difflib.get_close_matches(flag, known, n=1)
        raise UsageError(f"MedMNIST has no set {name!r} of flat images: it has {', '.join(known)}."
                         + (f" Did you mean {near[0]}?" if near else ""))  # fmt: skip
    if size and f"MD5_{size}" not in info:
        raise UsageError(f"MedMNIST has no {flag} at {size} pixels: it has 28 (no number), 64, 128 and 224.")
    file = folder / f"{name.lower()}.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        patience = socket.getdefaulttimeout()
        socket.setdefaulttimeout(NETWORK_SECONDS)  # the package's own download would wait for ever
        try:
            with contextlib.redirect_stdout(sys.stderr):
                getattr(medmnist, info["python_class"])(
                    split="train", download=True, root=str(folder), size=int(size) if size else None
                )
        except Exception as error:
            file.unlink(missing_ok=True)
            raise InputError(
                f"{file.name} cannot be fetched ({type(error).__name__}): is there a network? Or download it from "
                f"{info['url']} and give it to --data."
            ) from None
        finally:
            socket.setdefaulttimeout(patience)
    return file


def _checked(data: LabelledSet) -> LabelledSet:
    present = [name for name, count in data.counts().items() if count]
    if len(present) < 2:
        raise InputError(f"{data.name} has one class only ({', '.join(present)}): telling apart takes two or more.")
    alike: dict[str, str] = {}
    for name in data.class_names:
        if (other := alike.setdefault(name.casefold(), name)) != name:
            raise InputError(f"The labels {other!r} and {name!r} differ in capitals only: write them alike, or apart.")
    check_classes(data.class_names)
    real = {file: os.path.realpath(file) for file in {ref.file for ref in data.refs}}  # a loop of links does not raise
    seen: set[tuple[str, int | None]] = set()
    for ref in data.refs:
        if (real[ref.file], ref.frame) in seen:
            raise InputError(f"{ref.path} is in the data twice: give each image once, with one class.")
        seen.add((real[ref.file], ref.frame))
    return data


def _in_order(names: Sequence[str] | pd.Series) -> list[str]:
    """The different names, sorted: the order of the files must not change a class's number."""
    return sorted(set(names))


def _codes(names: Sequence[str] | pd.Series, classes: Sequence[str]) -> NDArray[np.int64]:
    number = {name: k for k, name in enumerate(classes)}
    return np.array([number[name] for name in names], dtype=np.int64)


def _grouped(column: pd.Series) -> NDArray[np.int64]:
    """A number for each name; an empty name is a group of its own."""
    alone = np.flatnonzero(column.to_numpy() == "")
    numbers = np.unique(column.to_numpy().astype(str), return_inverse=True)[1].astype(np.int64)
    numbers[alone] = len(column) + alone
    return numbers


def _joined(parts: Sequence[LabelledSet]) -> NDArray[np.int64] | None:
    """Group numbers of the sets one after another; an image of a set that knows none is a group of its own."""
    if all(part.groups is None for part in parts):
        return None
    joined, used = [], 0
    for part in parts:
        groups = np.arange(len(part)) if part.groups is None else np.unique(part.groups, return_inverse=True)[1]
        joined.append(groups + used)
        used += int(groups.max(initial=-1)) + 1
    return np.concatenate(joined).astype(np.int64)


def _name_of(file: Path) -> str:
    return file.resolve().parent.name if file.name == TABLE else file.stem


def _nearest(path: Path) -> str:
    import difflib

    try:
        near = difflib.get_close_matches(path.name, [each.name for each in path.parent.iterdir()], n=1)
    except OSError:
        return ""
    return f" Did you mean {path.parent / near[0]}?" if near else ""
