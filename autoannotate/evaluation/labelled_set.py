"""N images and the class of each: counted, split, sampled, squashed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import ImageRef, read_image

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """N images and the class of each.

    Attributes
    ----------
    refs : N
    labels : (N,) int64, indices into class_names
    groups : (N,) int64, images of one patient or lesion share a number, or None
    given : (N,) int64, another reader's labels (the column `given`), or None
    notes : what the user should know of how the set was read
    values : (N, F) 1, 0 or -1 (unknown) where an image can show several findings, whose names are class_names; labels say
        nothing then
    """

    refs: Sequence[ImageRef]
    labels: NDArray[np.int64]
    class_names: list[str]
    groups: NDArray[np.int64] | None = None
    name: str = ""
    given: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    values: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.refs)

    def take(self, rows: NDArray[np.integer]) -> LabelledSet:
        """The set with these rows only, in this order."""
        return replace(
            self,
            refs=[self.refs[row] for row in rows],
            labels=self.labels[rows],
            groups=None if self.groups is None else self.groups[rows],
            given=None if self.given is None else self.given[rows],
            values=None if self.values is None else self.values[rows],
        )

    def counts(self) -> dict[str, int]:
        """Images of each class, or with each finding."""
        if self.values is not None:
            return {name: int((self.values[:, f] == 1).sum()) for f, name in enumerate(self.class_names)}
        return {name: int((self.labels == k).sum()) for k, name in enumerate(self.class_names)}

    def require(self, least: int, why: str) -> None:
        """Raise `InputError` with the name of the first class that has fewer than `least` images."""
        for name, count in self.counts().items():
            if count < least:
                raise InputError(
                    f"The class {name!r} has {count} image{'' if count == 1 else 's'}, too few: {why} needs at least "
                    f"{least} of each class. Add images of it, or leave the class out."
                )

    def split(self, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
        """`stratified_split` of the set.

        Raises
        ------
        InputError
            With the name of a class that would be on one side only.
        """
        train = stratified_split(self.labels, self.groups, share, rng)
        for k, name in enumerate(self.class_names):
            if len(set(train[self.labels == k].tolist())) == 1:
                raise InputError(
                    f"All images of the class {name!r} are of one group, or of groups with another class, so it cannot be on "
                    "both sides of the split: correct the group column, or add images of other groups."
                )
        return train

    def digest(self) -> str:
        """A name for what the set holds: paths, sizes and first 64 KiB of files, labels; changes when any of them does."""
        heads = {file: _head(file) for file in {ref.file for ref in self.refs}}
        lines = [f"{ref.path}\0{heads[ref.file]}" for ref in self.refs]
        arrays = [self.labels, self.groups, self.given, *([] if self.values is None else [self.values])]
        text = "\n".join([*self.class_names, *lines, *(str(None if a is None else a.tolist()) for a in arrays)])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def balanced_sample(
    labels: NDArray[np.integer], count: int, rng: np.random.Generator, readable: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Sorted rows, (M,): `count` images of each class, all of them where a class has fewer.

    An image found unreadable gives its place to the next in the draw, and leaves all the others where they were.
    """
    chosen = []
    for k in range(int(labels.max()) + 1 if len(labels) else 0):
        drawn = rng.permutation(np.flatnonzero(labels == k))
        chosen.append((drawn if readable is None else drawn[readable[drawn]])[:count])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)


def stratified_split(
    labels: NDArray[np.integer], groups: NDArray[np.integer] | None, share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(N,) bool, True for training: `share` of each class is held for testing, images of one group on the same side.

    A group has the class of its first image; its size counts, so that shares hold in images. Each class keeps at least one
    image on either side where it has two groups.
    """
    group = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    _, first, size = np.unique(group, return_index=True, return_counts=True)
    test = np.zeros(len(first), dtype=bool)
    for k in np.unique(labels[first]):
        drawn = rng.permutation(np.flatnonzero(labels[first] == k))
        before = np.cumsum(size[drawn]) - size[drawn] / 2
        of_test = before < share * size[drawn].sum()
        if len(drawn) > 1:
            of_test[0], of_test[-1] = True, False
        test[drawn[of_test]] = True
    return ~test[group]


def squashed(
    data: LabelledSet, rows: NDArray[np.integer], side: int, folder: Path, track: Track = silent
) -> tuple[LabelledSet, NDArray[np.bool_]]:
    """The set with images `rows` squashed to squares of `side` pixels, as MedMNIST does, kept as PNG files in `folder`.

    Pillow's bicubic, as in MedMNIST v2 (Yang et al. 2023, "Methods"); files that are there already are taken as they are.

    Returns
    -------
    The set and which of all its images, (N,) bool, could be read.
    """
    from PIL import Image

    from autoannotate._internal.files import plain_errors

    refs, readable = list(data.refs), np.ones(len(data), dtype=bool)
    with plain_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for row in track(rows, f"squashing to {side} pixels", len(rows)):
            file = folder / f"{row}.png"
            if not file.exists():
                try:
                    picture = read_image(data.refs[row])
                except UnreadableImageError:
                    readable[row] = False
                    continue
                whole = file.with_suffix(".partial")
                picture.resize((side, side), Image.Resampling.BICUBIC).save(whole, format="PNG")
                whole.replace(file)
            refs[row] = ImageRef(data.refs[row].path, file)
    return replace(data, refs=refs), readable


def _head(file: Path) -> str:
    """The size of a file and the sha256 of its first 64 KiB; -1 where it cannot be read."""
    try:
        with file.open("rb") as handle:
            return f"{file.stat().st_size}\0{hashlib.sha256(handle.read(2**16)).hexdigest()}"
    except OSError:
        return "-1"
