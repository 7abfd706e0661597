"""CVAT: images/, annotations.xml ("CVAT for images 1.1", the machine's labels as tags) and labels.json for the task.

Where the name asked for ends in `.xml`, that file alone, with the images named by their paths in the run. The tags have
the source `auto`; CVAT keeps it, and so `autoannotate apply` can tell them from what a person tagged. Frames are numbered
in the order in which CVAT sorts files, by name, so that the slices of an item (a series, a volume, a cine) follow each other; a
tag on one of them is about the item. Written by hand: datumaro, which writes the format too, caps pandas and
leaves out the source of tags. (https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/)
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from autoannotate.exports._pictures import BROWSERS, pictures, stacks
from autoannotate.runs.verdict_words import choices

if TYPE_CHECKING:
    from autoannotate.exports import Order
    from autoannotate.runs.run import What

SUFFIX = "-cvat"
LINKS = ("copy", "hard", "sym")
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def next_step(path: Path, what: What, link: str) -> str:
    """What to do with the files."""
    if path.suffix.lower() == ".xml":
        return "In CVAT, open the task of these images: Menu > Upload annotations > CVAT 1.1"
    return "\n".join(
        (
            "In CVAT",
            "1. Create a task: paste labels.json under Labels > Raw, and select the files of images/",
            "2. Open its job: Menu > Upload annotations > CVAT 1.1 > annotations.xml",
            "3. Correct the tags, then Menu > Export job dataset > CVAT for images 1.1, and here: autoannotate apply DIR "
            "that-file.zip",
        )
    )


def write(order: Order) -> None:
    """Write the folder, or the file."""
    alone = order.path.suffix.lower() == ".xml"
    if not alone:
        (order.path / "images").mkdir(parents=True)
    named = []  # of each picture only what the file says: it lists them by name
    if alone:
        for record, picture in pictures(order, BROWSERS):
            named.append((record["path"], picture.width, picture.height, record["path"]))
    else:
        for record, slices in stacks(order, BROWSERS):
            for picture in slices:
                picture.put(order.path / "images", order.link)
                named.append((picture.name, picture.width, picture.height, record["path"]))
    labels = choices(order.annotations.classes)
    file = order.path if alone else order.path / "annotations.xml"
    with file.open("wb") as out:
        out.write(b"<?xml version='1.0' encoding='utf-8'?>\n<annotations>\n  <version>1.1</version>\n")
        out.write(_element(_meta(labels, len(named))))
        for number, (name, width, height, path) in enumerate(sorted(named, key=lambda item: item[0])):
            where = {"id": str(number), "name": _NOT_XML.sub("_", name), "width": str(width), "height": str(height)}
            image = ElementTree.Element("image", where)
            for label in order.chosen[path]:
                ElementTree.SubElement(image, "tag", {"label": label, "source": "auto"})
            out.write(_element(image))
        out.write(b"</annotations>\n")
    if not alone:
        _write_labels(order.path / "labels.json", labels)


def _meta(labels: Sequence[str], size: int) -> ElementTree.Element:
    meta = ElementTree.Element("meta")
    task = _add(meta, "task")
    for name, text in (("name", "autoannotate"), ("size", str(size)), ("mode", "annotation")):
        _add(task, name, text)
    task.append(_labels(labels))
    return meta


def _element(element: ElementTree.Element) -> bytes:
    """An element of the second level, as it stands in the file."""
    ElementTree.indent(element, level=1)
    return b"  " + ElementTree.tostring(element, encoding="utf-8") + b"\n"


def _labels(names: Sequence[str]) -> ElementTree.Element:
    labels = ElementTree.Element("labels")
    for name in names:
        label = _add(labels, "label")
        _add(label, "name", name)
        _add(label, "type", "tag")
        note = _add(_add(label, "attributes"), "attribute")
        for key, value in (("name", "note"), ("mutable", "False"), ("input_type", "text"), ("default_value", "")):
            _add(note, key, value)
        _add(note, "values", "")
    return labels


def _write_labels(file: Path, names: Sequence[str]) -> None:
    """What CVAT's label constructor takes under Raw."""
    note = {"name": "note", "input_type": "text", "mutable": False, "default_value": "", "values": [""]}
    labels: list[dict[str, Any]] = [{"name": name, "type": "tag", "attributes": [note]} for name in names]
    file.write_text(json.dumps(labels, indent=1, ensure_ascii=False), encoding="utf-8")


def _add(parent: ElementTree.Element, name: str, text: str | None = None) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, name)
    child.text = text
    return child
