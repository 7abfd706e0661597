"""A folder for each class with its pictures in it, as torchvision, Keras and many others read them.

Suspects lie in the folder of the label that they have now. File names are those of the images, with the folders
joined by `__`; pictures that are no everyday files (DICOM, frames, arrays) are rendered as PNG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoannotate.errors import UsageError
from autoannotate.exports._names import safe, unique
from autoannotate.exports._pictures import TRAINING, pictures

if TYPE_CHECKING:
    from autoannotate.exports import Order

SUFFIX = "-imagefolder"
LINKS = ("copy", "hard", "sym")


def write(order: Order) -> None:
    """Write the folder; a class without an image has none, since torchvision refuses empty ones."""
    if order.annotations.findings is not None:
        raise UsageError("A folder a class cannot hold several findings an image: choose chexpert, coco or fiftyone.")
    labels = dict.fromkeys([*order.annotations.classes, *order.annotations.table["label"]])
    folders = unique({label: safe(label) for label in labels})
    order.path.mkdir()
    for record, picture in pictures(order, TRAINING):
        picture.put(order.path / record.get("split", "") / folders[record["label"]], order.link)
