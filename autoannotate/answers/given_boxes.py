"""Boxes in a file: COCO, Pascal VOC (a file or a folder of XML), YOLO (a folder of texts with classes.txt) and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from autoannotate.answers.given_labels import NO_CATEGORY, ImageRows
from autoannotate.errors import InputError
from autoannotate.images import ImageRef
from autoannotate.runs.delimited import PATH, read_delimited
from autoannotate.runs.tables import fused

LABEL = ("label", "class", "class_name", "category", "name")
CORNERS = (
    ("x_min", "y_min", "x_max", "y_max"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)  # fmt: skip
SIZES = (
    ("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"),
    ("x_min", "y_min", "width", "height"),
)  # fmt: skip
SHOWN = 3

Raw = tuple[
    str, str, str, list[float], bool
]  # where, image, label, four numbers, whether they are shares of the picture


@dataclass(frozen=True, eq=False)
class GivenBoxes:
    """B boxes of N images: corners (B, 4) x_min, y_min, x_max, y_max, in pixels, or where `shares`, (B,), as shares of the
    picture. images: (B,) row numbers. where: in the file, of each. problems: what could not be used, in words."""

    corners: NDArray[np.float64]
    shares: NDArray[np.bool_]
    images: NDArray[np.int64]
    labels: list[str]
    where: list[str]
    problems: list[str]


def read_boxes(source: Path, refs: Sequence[ImageRef], skip_problems: bool = False) -> GivenBoxes:
    """The boxes of the images `refs`.

    Raises
    ------
    InputError
        Where the file is none of these formats, or names images that are not there, unless problems are skipped.
    """
    if not source.exists():
        raise InputError(f"There is no file or folder {source}: --boxes takes COCO, VOC, YOLO or a CSV.")
    find = ImageRows(refs, source.absolute().parent if source.is_file() else source.absolute())
    corners, shares, images, labels, places, problems = [], [], [], [], [], []
    for where, image, label, numbers, share in _read(source):
        row = find(image)
        if row is None:
            problems.append(f"{image} ({where})")
            continue
        corners.append(numbers)
        shares.append(share)
        images.append(row)
        labels.append(label)
        places.append(where)
    if problems and not skip_problems:
        some = ", ".join(problems[:SHOWN]) + (f" and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else "")
        raise InputError(
            f"{source} has boxes of images that are not there: {some}. Mend it, or go on with the rest with --skip-problems."
        )
    unknown = [
        f"{places[i]} ({label.removeprefix(NO_CATEGORY)})"
        for i, label in enumerate(labels)
        if label.startswith(NO_CATEGORY)
    ]
    if unknown and not skip_problems:
        some = ", ".join(unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN:,} more" if len(unknown) > SHOWN else "")
        raise InputError(
            f"{source} has boxes of categories that it does not list: {some}. Add these categories, or go on with "
            "--skip-problems: their label is then `unknown category`."
        )
    if not corners:
        raise InputError(f"{source} holds no box of these images.")
    return GivenBoxes(
        np.array(corners, dtype=np.float64),
        np.array(shares),
        np.array(images, dtype=np.int64),
        labels,
        places,
        problems,
    )


def _read(source: Path) -> Iterator[Raw]:
    if source.is_dir():
        if files := sorted(source.rglob("*.xml")):
            for file in files:
                yield from _voc(file)
            return
        yield from _yolo(source)
        return
    head = source.read_bytes()[:200].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(b"<"):
        yield from _voc(source)
    elif head.startswith(b"{"):
        yield from _coco(source)
    else:
        yield from _table(source)


def _coco(file: Path) -> Iterator[Raw]:
    try:
        told = json.loads(file.read_text(encoding="utf-8-sig"))
        names = {each["id"]: str(each["name"]) for each in told["categories"]}
        images = {each["id"]: str(each["file_name"]) for each in told["images"]}
        for number, each in enumerate(told["annotations"], start=1):
            x, y, width, height = map(float, each["bbox"])
            yield (
                f"annotation {each.get('id', number)}", images.get(each["image_id"], f"image {each['image_id']}"),
                names.get(each["category_id"], f"{NO_CATEGORY}{each['category_id']}"), [x, y, x + width, y + height], False,
            )  # fmt: skip
    except KeyError as error:
        raise InputError(
            f"{file} cannot be read as COCO: something lacks {error.args[0]!r}. It needs images (id, file_name), categories "
            "(id, name) and annotations (image_id, category_id, bbox)."
        ) from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read as COCO ({type(error).__name__}: {str(error)[:80]}).") from None


def _voc(file: Path) -> Iterator[Raw]:
    text = file.read_bytes()
    if b"<!ENTITY" in text or b"<!DOCTYPE" in text:
        raise InputError(f"{file} declares entities, which no VOC file does: it is not read.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{file} cannot be read as VOC ({error}).") from None
    image = (root.findtext("filename") or file.stem).strip()
    for number, each in enumerate(root.iter("object"), start=1):
        box = each.find("bndbox")
        try:
            numbers = [float(str(box.findtext(name) if box is not None else "")) for name in CORNERS[1]]
        except ValueError:
            raise InputError(f"{file}, object {number}: its box has no four numbers.") from None
        yield f"{file.name}, object {number}", image, (each.findtext("name") or "").strip() or "object", numbers, False


def _yolo(folder: Path) -> Iterator[Raw]:
    names = _yolo_names(folder)
    found = [
        file
        for file in sorted(folder.rglob("*.txt"))
        if file.name not in ("classes.txt", "train.txt", "val.txt", "test.txt")
    ]
    if not found:
        raise InputError(f"{folder} holds no XML of VOC and no texts of YOLO: --boxes takes such a folder, or a file.")
    for file in found:
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            cells = line.split()
            if not cells:
                continue
            try:
                kind, (x, y, width, height) = int(float(cells[0])), map(float, cells[1:5])
            except ValueError:
                raise InputError(
                    f"{file}, line {number}: {line[:40]!r} is no box of YOLO (class x y width height)."
                ) from None
            label = names[kind] if 0 <= kind < len(names) else str(kind)
            corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            yield f"{file.name}, line {number}", file.stem, label, corners, True


def _yolo_names(folder: Path) -> list[str]:
    for place in (folder, folder.parent):
        if (listed := place / "classes.txt").is_file():
            return [line.strip() for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()]
        for file in sorted(place.glob("*.yaml")):
            import yaml

            told = yaml.safe_load(file.read_text(encoding="utf-8"))
            names = told.get("names") if isinstance(told, dict) else None
            if names:
                return [str(name) for name in (names.values() if isinstance(names, dict) else names)]
    return []


def _table(file: Path) -> Iterator[Raw]:
    table = read_delimited(file)
    path, label = table.column(PATH), table.column(LABEL)
    sized = next((found for names in SIZES if None not in (found := [table.column([name]) for name in names])), None)
    corners = next(
        (found for names in CORNERS if None not in (found := [table.column([name]) for name in names])), None
    )
    places = corners or sized
    if path is None or places is None:
        raise InputError(
            f"{file} needs the columns path, {', '.join(CORNERS[0])} and label, or x, y, width and height: it has "
            f"{', '.join(table.header)}."
        )
    for number, row in table.rows:
        cells = [*row, *[""] * (len(table.header) - len(row))]
        try:
            numbers = [float(cells[i].strip().replace(",", ".")) for i in places if i is not None]
        except ValueError:
            raise InputError(f"{file}, row {number}: a box needs four numbers.") from None
        if corners is None:
            numbers = [numbers[0], numbers[1], numbers[0] + numbers[2], numbers[1] + numbers[3]]
        name = fused(cells[label].strip()) if label is not None else "object"
        yield f"row {number}", fused(cells[path].strip(), "path"), name, numbers, False
