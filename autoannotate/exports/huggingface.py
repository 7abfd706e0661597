"""A Hugging Face imagefolder: pictures in data/ and metadata.jsonl with their labels; load_dataset("imagefolder", …).

The keys of metadata.jsonl are `file_name`, as the datasets library wants it, then the columns of labels.csv, and of a queue
also what suspects.csv says. JSON, since in a CSV the library takes the classes None and NA for missing.
(https://huggingface.co/docs/datasets/image_dataset)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from autoannotate.exports._pictures import TRAINING, pictures

if TYPE_CHECKING:
    from autoannotate.exports import Order
    from autoannotate.runs.run import What

SUFFIX = "-huggingface"
LINKS = ("copy", "hard", "sym")


def next_step(path: Path, what: What, link: str) -> str:
    """How to read it."""
    return f'To read it: datasets.load_dataset("imagefolder", data_dir="{path}")'


def write(order: Order) -> None:
    """Write the folder."""
    (order.path / "data").mkdir(parents=True)
    with (order.path / "metadata.jsonl").open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as lines:
        for record, picture in pictures(order, TRAINING):
            picture.put(order.path / "data", order.link)
            lines.write(json.dumps({"file_name": f"data/{picture.name}", **record}, ensure_ascii=False) + "\n")
