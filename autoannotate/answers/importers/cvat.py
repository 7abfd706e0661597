"""CVAT's export "CVAT for images 1.1": annotations.xml, or the zip with it.

The answer is the label of the tag on an image; where there is no tag, of the shapes drawn in it, if they all have one. A
tag with the source `file` or `auto` was imported and not touched since: nobody can tell whether a person agreed with it.
Who answered is the assignee of the job or task, else its owner. (https://docs.cvat.ai/docs/other/xml_format)
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from autoannotate.answers.importers import Given, Wanted, utc
from autoannotate.errors import InputError

HINT = "correct tags or add them in CVAT, or say --all-checked if a person looked at every image"
_UNTOUCHED = ("auto", "file")
_SHAPES = ("box", "polygon", "polyline", "points", "ellipse", "mask", "cuboid", "skeleton")
_MOST_BYTES = 2**30


def recognises(head: bytes) -> bool:
    """Whether it is XML with the root `annotations`, or a zip with annotations.xml first or near the beginning."""
    if head.startswith(b"PK"):
        return b"annotations.xml" in head or (b"xl/" not in head and b"images/" in head)
    return b"<annotations" in head and head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def read(file: Path, wanted: Wanted) -> Iterator[Given]:
    """Each label on each image.

    Raises
    ------
    InputError
        Where the file is another export of CVAT, or none.
    """
    content = _xml(file)
    if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
        raise InputError(f"{file} declares entities, which no export of CVAT does: it is not read.")
    root = ElementTree.fromstring(content)
    if root.tag != "annotations":
        raise InputError(f"{file} is not an export of CVAT: choose CVAT for images 1.1 there.")
    if root.find("track") is not None:
        raise InputError(f"{file} is an export for video: choose CVAT for images 1.1 in CVAT.")
    reader = _reader(root)
    answered_at = utc(root.findtext("meta/dumped") or "")
    for image in root.iter("image"):
        elements = image.findall("tag") or [shape for kind in _SHAPES for shape in image.findall(kind)]
        touched = [element for element in elements if element.get("source", "manual") not in _UNTOUCHED]
        said = elements if wanted.several else touched or elements  # of several tags, those that were left count too
        for word in dict.fromkeys(str(element.get("label", "")) for element in said):
            first = next(element for element in said if element.get("label", "") == word)
            notes = [str(note.text) for note in first.findall("attribute") if note.get("name") == "note" and note.text]
            yield Given(
                where=f"image {image.get('id', '?')}",
                image=image.get("name", ""),
                word=word,
                reader=reader,
                note=" ".join(notes),
                answered_at=answered_at,
                by_person=bool(touched),
                by_file=True,
            )


def _xml(file: Path) -> bytes:
    if not zipfile.is_zipfile(file):
        return file.read_bytes()
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
        names = [name for name in archive.namelist() if name.rpartition("/")[2] == "annotations.xml"]
        if len(names) != 1:
            raise InputError(f"{file} holds no annotations.xml: choose CVAT for images 1.1 when exporting from CVAT.")
        if archive.getinfo(names[0]).file_size > _MOST_BYTES:
            raise InputError(f"The annotations.xml in {file} is larger than 1 GB: export fewer images at once.")
        return archive.read(names[0])


def _reader(root: ElementTree.Element) -> str:
    for who in ("assignee", "owner"):
        for element in root.iterfind(f"meta//{who}"):
            if name := (element.findtext("username") or element.findtext("email") or "").strip():
                return name
    return ""
