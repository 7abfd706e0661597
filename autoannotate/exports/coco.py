"""COCO-style JSON: categories, images, and for each image one annotation that spans it, with its score; one a finding.

COCO knows no labels of whole images, so the box is the picture; datumaro reads the same file as labels (`coco_labels`).
A folder with `images/` and `annotations/labels_all.json`; where the name asked for ends in `.json`, that file alone, with
the images named by their paths in the run.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING

from autoannotate.exports._json import Pieces, open_object
from autoannotate.exports._pictures import BROWSERS, pictures

if TYPE_CHECKING:
    from autoannotate.exports import Order

SUFFIX = "-coco"
LINKS = ("copy", "hard", "sym")


def write(order: Order) -> None:
    """Write the folder, or the file."""
    alone = order.path.suffix.lower() == ".json"
    names = order.annotations.classes
    names += sorted({name for shown in order.shown.values() for name, _ in shown} - set(names))
    head = {
        "info": {"description": "Labels by autoannotate", "version": order.annotations.record.version},
        "licenses": [],
        "categories": [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names, start=1)],
    }
    file = order.path if alone else order.path / "annotations" / "labels_all.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        file.open("wb") as out,
        tempfile.TemporaryFile() as aside,
    ):  # which takes the annotations until all images are named
        images, annotations = Pieces(out), Pieces(aside)
        open_object(out, head, "images", b"[")
        for number, (record, picture) in enumerate(pictures(order, BROWSERS), start=1):
            if not alone:
                picture.put(order.path / "images" / "all", order.link)
            path, width, height = record.pop("path"), picture.width, picture.height
            name = path if alone else picture.name
            images.add({"id": number, "file_name": name, "width": width, "height": height, "path": path})
            del record["label"], record["confidence"]
            for label, confidence in order.shown[path]:
                annotations.add(
                    {
                        "id": annotations.count + 1,
                        "image_id": number,
                        "category_id": 1 + names.index(label),
                        "bbox": [0, 0, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                        "segmentation": [],
                        "score": confidence,
                        "attributes": record,
                    }
                )
        out.write(b'\n],\n"annotations": [')
        aside.seek(0)
        shutil.copyfileobj(aside, out)
        out.write(b"\n]}\n")
