"""Labels of COCO and of FiftyOne: JSON files that hold a whole data set, in which an image has none, one or several labels.

COCO: images, categories and annotations. FiftyOne: `labels.json` of an image classification data set (classes and labels), or
`samples.json` of a whole one, in which the field `ground_truth` holds the labels, else the first that holds some.
(https://cocodataset.org/#format-data, https://docs.voxel51.com/user_guide/export_datasets.html)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from autoannotate.errors import InputError

NO_CATEGORY = "unknown category "  # before the number of a category or class that the file does not list
GROUND_TRUTH = "ground_truth"


class Entry(NamedTuple):
    """where: which part of the file says so. image: as the file names it. labels: of it; None where nothing is known."""

    where: str
    image: str
    labels: list[str] | None


def read_dataset_json(file: Path) -> list[Entry]:
    """All that the file says, in its order; COCO may have several entries an image.

    Raises
    ------
    InputError
        Where it is no JSON, or neither of these.
    """
    try:
        told = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, UnicodeError) as error:
        raise InputError(f"{file} cannot be read as JSON ({error}).") from None
    for needs, read, format in (
        (("images", "categories"), _coco, "COCO"), (("labels", "classes"), _classification, "FiftyOne"),
        (("samples",), _samples, "FiftyOne"),
    ):  # fmt: skip
        if isinstance(told, dict) and all(name in told for name in needs):
            try:
                return list(read(told))
            except KeyError as error:
                raise InputError(f"{file} cannot be read as {format}: something in it lacks {error}.") from None
            except (TypeError, AttributeError, ValueError) as error:
                raise InputError(f"{file} cannot be read as {format} ({error}).") from None
    raise InputError(
        f"{file} is no COCO and no FiftyOne file: it needs images and categories, or labels and classes, or samples."
    )


def _coco(told: dict[str, Any]) -> Iterator[Entry]:
    names = {each["id"]: str(each["name"]) for each in told["categories"]}
    files = {each["id"]: str(each["file_name"]) for each in told["images"]}
    annotated = set()
    for number, each in enumerate(told.get("annotations") or []):
        image, category = each["image_id"], each["category_id"]
        annotated.add(image)
        label = names.get(category, f"{NO_CATEGORY}{category}")
        yield Entry(f"annotation {number}", files.get(image, f"the image with the id {image}"), [label])
    yield from (Entry("", name, []) for image, name in files.items() if image not in annotated)


def _classification(told: dict[str, Any]) -> Iterator[Entry]:
    for image, label in told["labels"].items():
        yield Entry("", image, _words(label, told["classes"] or []))


def _samples(told: dict[str, Any]) -> Iterator[Entry]:
    for number, sample in enumerate(told["samples"]):
        fields = {
            name: value for name, value in sample.items()
            if isinstance(value, dict) and ("label" in value or "classifications" in value)
        }  # fmt: skip
        said = fields.get(GROUND_TRUTH, next(iter(fields.values()), None))
        yield Entry(f"sample {number}", str(sample["filepath"]), _words(said, []))


def _words(label: Any, classes: Sequence[Any]) -> list[str] | None:
    """The labels that a value stands for: a name, the number of a class, a dictionary with either, or several of these."""
    if isinstance(label, dict):
        label = label["classifications"] if "classifications" in label else label["label"]
    if label is None:
        return None
    if isinstance(label, list):
        return [word for each in label for word in _words(each, classes) or []]
    if isinstance(label, int) and not isinstance(label, bool):
        return [str(classes[label]) if 0 <= label < len(classes) else f"{NO_CATEGORY}{label}"]
    return [str(label)]
