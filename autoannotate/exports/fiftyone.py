"""FiftyOne's image classification dataset on disk (FiftyOneImageClassificationDataset): data/ and labels.json.

labels.json holds `classes` and, by file name without ending, `{label: index, confidence, attributes}`, as FiftyOne's own
exporter writes them, or a list of such where an image can show several findings; the attributes are the other columns of the
run, and `machine_label`, which `autoannotate apply` compares with the label that comes back. Of an item with several slices (a
series, a volume, a cine) each slice is a sample with the number `slice`: grouped by `path` they are a dynamic group. Written by
hand: the fiftyone package wants a MongoDB server to do it.
(https://docs.voxel51.com/user_guide/import_datasets.html)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoannotate.exports._json import Pieces, open_object
from autoannotate.exports._pictures import BROWSERS, stacks

if TYPE_CHECKING:
    from autoannotate.exports import Order
    from autoannotate.runs.run import What

SUFFIX = "-fiftyone"
LINKS = ("copy", "hard", "sym")


def next_step(path: Path, what: What, link: str) -> str:
    """How to read it, and how the answers come back."""
    with (path / "labels.json").open("rb") as labels:
        grouped = any(b'"slice": ' in line for line in labels)
    lines = [
        f'To read it: dataset = fiftyone.Dataset.from_dir("{path}", fiftyone.types.FiftyOneImageClassificationDataset)',
        *['One item, its slices in order: dataset.group_by("ground_truth.path", order_by="ground_truth.slice")']
        * grouped,
        'Change labels, then dataset.export(labels_path="answers.json", export_media=False, include_attributes=True,',
        "dataset_type=fiftyone.types.FiftyOneImageClassificationDataset), and here: autoannotate apply DIR answers.json",
    ]
    return "\n".join(lines)


def write(order: Order) -> None:
    """Write the folder."""
    (order.path / "data").mkdir(parents=True)
    names = order.annotations.classes
    names += sorted({name for shown in order.shown.values() for name, _ in shown} - set(names))
    with (order.path / "labels.json").open("wb") as out:
        labels = Pieces(out)
        open_object(out, {"classes": names}, "labels", b"{")
        for record, slices in stacks(order, BROWSERS):
            record["machine_label"] = record.pop("label")
            del record["confidence"]
            for number, picture in enumerate(slices):
                picture.put(order.path / "data", order.link)
                attributes = record | ({"slice": number} if len(slices) > 1 else {})
                told = [
                    {"label": names.index(name), "confidence": confidence, "attributes": attributes}
                    for name, confidence in order.shown[record["path"]]
                ]
                labels.add(told[0] if order.annotations.findings is None else told, key=picture.stem)
        out.write(b"\n}}\n")
