"""What is audited: the images or items that labels which exist are about, under the names that the labels know."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from autoannotate.answers.labelled_items import labelled_items
from autoannotate.images import Found, ImageRef, find
from autoannotate.images.find import natural
from autoannotate.images.hashed_paths import hashed, renamed, without_names
from autoannotate.images.items import Item, items_of


@dataclass(frozen=True)
class ToAudit:
    """What is audited, in one order.

    Attributes
    ----------
    found : Found
        All files of the source.
    named : list of N ImageRef
        The images, items by their middle, under the names that the labels know.
    refs : list of N ImageRef
        The same under the names of the tables.
    items : list of N Item
        The same as items.
    kind : str
        What they are, for a later `items_of`.
    """

    found: Found
    named: list[ImageRef]
    refs: list[ImageRef]
    items: list[Item]
    kind: str

    @property
    def names(self) -> dict[str, str]:
        """The name in the tables of each image, by the one that the labels know."""
        return {before.path: after.path for before, after in zip(self.named, self.refs, strict=True)}

    def in_order(self, rows: Iterable[int]) -> list[ImageRef]:
        """The images of these rows, in the order of the tables."""
        return sorted((self.refs[row] for row in rows), key=natural)


def to_audit(
    images: str | Path, labels: str | Path, kind: str, hash_paths: bool, include: Collection[str] = ()
) -> ToAudit:
    """The images or items that labels are about. Parameters and errors are those of `find` and `labelled_items`."""
    found = find(images, include)
    named, kind = labelled_items(labels, found.refs, kind)
    items = named
    if hash_paths:
        made = items_of(hashed(found.refs), kind)
        names, by_path = renamed(named, made), {item.path: item for item in made}
        items = [by_path[names[item.path]] for item in named]
        found = without_names(found)
    return ToAudit(found, [item.middle for item in named], [item.middle for item in items], items, kind)
