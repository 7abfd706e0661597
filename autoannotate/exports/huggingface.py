"""A Hugging Face imagefolder: pictures in data/ and metadata.csv with their labels; load_dataset("imagefolder", …).

The columns of metadata.csv are `file_name`, as the datasets library wants it, then those of labels.csv, and of a
queue also what suspects.csv says. (https://huggingface.co/docs/datasets/image_dataset)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoannotate.exports._pictures import TRAINING, pictures
from autoannotate.runs.tables import to_csv

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
    import pandas as pd

    (order.path / "data").mkdir(parents=True)
    files = []
    for _, picture in pictures(order, TRAINING):
        picture.put(order.path / "data", order.link)
        files.append(f"data/{picture.name}")
    known = order.annotations.table
    if order.what == "suspects":
        queue = order.annotations.suspects
        known = queue[["path"]].merge(known, on="path").merge(queue[["path", "rank", "suggested_label", "reason"]])
    (order.path / "metadata.csv").write_bytes(
        to_csv(pd.concat([pd.Series(files, name="file_name", dtype=object), known], axis=1))
    )
