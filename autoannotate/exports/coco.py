"""COCO-style JSON: categories, images, and for each image one annotation that spans it, with its score; one a finding.

COCO knows no labels of whole images, so the box is the picture; datumaro reads the same file as labels (`coco_labels`).
A folder with `images/` and `annotations/labels_all.json`; where the name asked for ends in `.json`, that file alone, with
the images named by their paths in the run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (record, picture) in enumerate(pictures(order, BROWSERS), start=1):
        if not alone:
            picture.put(order.path / "images" / "all", order.link)
        path, width, height = record.pop("path"), picture.width, picture.height
        images.append(
            {"id": number, "file_name": path if alone else picture.name, "width": width, "height": height, "path": path}
        )
        del record["label"], record["confidence"]
        for name, confidence in order.shown[path]:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1 + names.index(name),
                    "bbox": [0, 0, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [],
                    "score": confidence,
                    "attributes": record,
                }
            )
    content = {
        "info": {"description": "Labels by autoannotate", "version": order.annotations.record.version},
        "licenses": [],
        "categories": [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names, start=1)],
        "images": images,
        "annotations": annotations,
    }
    file = order.path if alone else order.path / "annotations" / "labels_all.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    file.write_text(text, encoding="utf-8", errors="backslashreplace")
