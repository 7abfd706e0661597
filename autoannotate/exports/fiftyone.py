"""FiftyOne's image classification dataset on disk (FiftyOneImageClassificationDataset): data/ and labels.json.

labels.json holds `classes` and, by file name without ending, `{label: index, confidence, attributes}`, as FiftyOne's own
exporter writes them, or a list of such where an image can show several findings; the attributes are the other columns of the
run. Written by hand: the fiftyone package wants a MongoDB server to do it.
(https://docs.voxel51.com/user_guide/import_datasets.html)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from autoannotate.exports._pictures import BROWSERS, pictures

if TYPE_CHECKING:
    from autoannotate.exports import Order
    from autoannotate.runs.run import What

SUFFIX = "-fiftyone"
LINKS = ("copy", "hard", "sym")


def next_step(path: Path, what: What, link: str) -> str:
    """How to read it."""
    return f'To read it: fiftyone.Dataset.from_dir("{path}", fiftyone.types.FiftyOneImageClassificationDataset)'


def write(order: Order) -> None:
    """Write the folder."""
    (order.path / "data").mkdir(parents=True)
    names = order.annotations.classes
    names += sorted({name for shown in order.shown.values() for name, _ in shown} - set(names))
    labels = {}
    for record, picture in pictures(order, BROWSERS):
        picture.put(order.path / "data", order.link)
        del record["label"], record["confidence"]
        told = [
            {"label": names.index(name), "confidence": confidence, "attributes": record}
            for name, confidence in order.shown[record["path"]]
        ]
        labels[picture.stem] = told[0] if order.annotations.findings is None else told
    content = json.dumps({"classes": names, "labels": labels}, indent=1, ensure_ascii=False)
    (order.path / "labels.json").write_text(content, encoding="utf-8", errors="backslashreplace")
