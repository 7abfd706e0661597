"""What labels that exist are about: images, or items of several slices (series, volumes, cines)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoannotate.answers.given_findings import table_of
from autoannotate.answers.given_labels import ImageRows
from autoannotate.images import ImageRef
from autoannotate.images.items import Item, items_of
from autoannotate.runs.delimited import PATH


def labelled_items(source: str | Path, refs: Sequence[ImageRef], kind: str = "auto") -> tuple[list[Item], str]:
    """The items that a table of labels is about, and their kind: the one asked for, or image where slices are labelled.

    Parameters
    ----------
    source : the table, or `folders`, see `given_labels.read_given_labels`
    kind : as for `items_of`; auto: where the table names slices or frames by themselves, each is an item of its own

    Raises
    ------
    UsageError
        For another kind.
    InputError
        Where the file cannot be read as what it looks like.
    """
    items = items_of(refs, kind)
    if kind != "auto" or all(len(item.refs) == 1 for item in items):
        return items, kind
    table = table_of(source)
    path = None if table is None else table.column(PATH)
    if table is None or path is None:
        return items, kind
    folder = Path(source).absolute().parent
    by_item, by_image = ImageRows([item.middle for item in items], folder), ImageRows(refs, folder)
    names = [row[path] for _, row in table.rows if path < len(row)]
    alone = any(by_item(name) is None and by_image(name) is not None for name in names)
    return (items_of(refs, "image"), "image") if alone else (items, kind)
