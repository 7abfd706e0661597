"""What the rest of the package knows of an image, and what a format has to offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from autoannotate.images.content import Content

MOST_SLICES = 32  # of an item that are looked at
Box = tuple[float, float, float, float]  # left, top, width and height, as shares of a picture's
MOST_TILES = 256  # the same of a whole-slide image


@dataclass(frozen=True)
class ImageRef:
    """One image of a run: a file, or one frame, page, slice or array entry of a file.

    Attributes
    ----------
    path : str
        The name of the image in every table: relative to the folder searched, with `/` between folders, and with
        `#frame` where the file holds several (`scan.dcm#3`, `breastmnist.npz#17`; from 0).
    file : Path
        Where the file is.
    frame : int or None
        Which frame of it, from 0; None for a file that holds one image.
    content : Content or None
        The bytes of a file that is not on this machine's disks (in an archive, a bucket, a PACS); then `file` is but a name.
    item : Item or None
        What it stands for, where several images have one label: then `path` is the name of the item.
    """

    path: str
    file: Path
    frame: int | None = None
    content: Content | None = None
    item: Item | None = field(default=None, compare=False, repr=False)

    @property
    def slices(self) -> tuple[ImageRef, ...]:
        """The images of its item that are looked at; itself where it is an item of its own."""
        return (self,) if self.item is None or len(self.item.refs) == 1 else self.item.sampled

    @contextmanager
    def as_file(self) -> Iterator[Path]:
        """The file that holds the image, fetched first where it is not on this machine.

        Raises
        ------
        UnreadableImageError
            Where it cannot be read.
        """
        if self.content is None:
            yield self.file
        else:
            with self.content.as_file() as file:
                yield file


@dataclass(frozen=True)
class Item:
    """What gets one label.

    Attributes
    ----------
    path : str
        Its name in every table.
    kind : str
        image, file, series, study, patient, or slide (a whole-slide image).
    refs : tuple of ImageRef
        Its images in order: slices by position, frames by number, tiles of a slide row by row.
    series, study, patient : str
        Keyed hashes of what DICOM calls them; empty where it does not say.
    notes : tuple of str
        What was found about its slices: gaps, positions that occur more than once.
    identifying : tuple of str
        Which attributes that identify people are in its headers, by keyword; their values are not kept.
    places : tuple of (left, top, width, height)
        Of a slide: where each tile lies, as shares of the slide.
    """

    path: str
    kind: str
    refs: tuple[ImageRef, ...]
    series: str = ""
    study: str = ""
    patient: str = ""
    notes: tuple[str, ...] = ()
    identifying: tuple[str, ...] = ()
    places: tuple[Box, ...] = ()

    @property
    def steps(self) -> list[int]:
        """Which of the images are looked at: all up to `MOST_SLICES` (tiles: `MOST_TILES`), else that many at even steps."""
        most = MOST_TILES if self.places else MOST_SLICES
        if len(self.refs) <= most:
            return list(range(len(self.refs)))
        return [int(step) for step in np.linspace(0, len(self.refs) - 1, most).round()]

    @property
    def sampled(self) -> tuple[ImageRef, ...]:
        """The images that are looked at."""
        return tuple(self.refs[step] for step in self.steps)

    @property
    def shown(self) -> tuple[ImageRef, ...]:
        """The images that a person can go through: all, or of a slide its overview and the tiles that are looked at."""
        return (self.middle, *self.sampled) if self.places else self.refs

    @property
    def middle(self) -> ImageRef:
        """Its middle image, or the overview of a slide, under the name of the item: the picture that stands for it."""
        if self.places:
            return replace(self.refs[0], path=self.path, frame=None, item=self)
        return replace(self.refs[len(self.refs) // 2], path=self.path, item=self)


@dataclass(frozen=True)
class PassedOver:
    """Files of one kind that are no images of a run, and why.

    Attributes
    ----------
    kind : str
        Plural, as in "DICOM segmentations".
    reason : str
        Half a sentence that goes on after "because".
    count : int
        How many files.
    expected : bool
        True for files that nobody would take for images (hidden files, a run's own output).
    """

    kind: str
    reason: str
    count: int
    expected: bool = False


@dataclass(frozen=True)
class Found:
    """All files of a source: the images, and a count by kind of the files that were passed over."""

    refs: list[ImageRef]
    passed_over: tuple[PassedOver, ...] = ()


def mostly_passed_over(passed_over: Sequence[PassedOver], files: int) -> str | None:
    """A sentence where half of the files of a source, or more, are of a kind that is not read; else None.

    Parameters
    ----------
    files : how many files of images the source has
    """
    foreign = [group for group in passed_over if not group.expected]
    passed = sum(group.count for group in foreign)
    if not passed or passed < files:
        return None
    names = ", ".join(f"{group.kind} ({group.count:,})" for group in foreign)
    return f"{passed:,} of {passed + files:,} files are of a kind that is not read: {names}."


@dataclass(frozen=True)
class Picture:
    """An image as people see it, RGB or L with 8 bits, and what had to be assumed to show it: a sentence each."""

    image: Image.Image
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Grey:
    """A grey picture in its full depth, for windows and levels of one's own.

    Attributes
    ----------
    values : ndarray, (rows, columns)
        Any number type; in DICOM after the modality LUT, as Hounsfield units in CT.
    low, high : float
        The window to begin with: the file's own, else the one that `read_image` stretches to.
    inverted : bool
        Whether low values are shown bright.
    mm : float
        Side of a pixel in millimetres; 0 where that is not known.
    modality : str
        As DICOM abbreviates it (CT, MR, CR); empty where the file does not say.
    """

    values: np.ndarray
    low: float
    high: float
    inverted: bool = False
    mm: float = 0.0
    modality: str = ""


@dataclass(frozen=True)
class Reader:
    """One format, or one family of formats.

    Attributes
    ----------
    formats : str
        The name that people know it by, for messages.
    suffixes : frozenset of str
        Lower-case file name endings, with their dot, of files that are its own where their content is no other's.
    recognises : callable
        Whether a file is its own by its first `HEAD_BYTES` bytes, whatever its ending.
    frames : callable or None
        How many images the file holds, from its header alone; None for one that is not numbered. Raises `PassOver`
        for a file that is no picture. A file that cannot be understood is one image too: `read` says what is wrong.
        None for formats of one image a file, whose header need not be read.
    read : callable
        The frame as a `Picture`. May raise anything; users see an `UnreadableImageError`.
    read_scaled : callable or None
        Of formats of one image a file: the picture by its file and the pixels that its shorter side needs, smaller than what
        `read` gives where that is quicker.
    read_grey : callable or None
        The frame's grey values where it has more to show than 8 bits, else None; raises as `read` does.
    slices : callable or None
        How many frames that follow each other are slices of one volume; 1 where frames are images of their own. None where
        all frames of a file belong together, as those of a cine do.
    places : callable or None
        Of a file whose frames are the tiles of one large picture: where each lies, as (left, top, width, height) in shares of
        the picture; an empty list for other files. Without a frame, `read` then gives an overview.
    """

    formats: str
    suffixes: frozenset[str]
    recognises: Callable[[bytes], bool]
    frames: Callable[[Path], int | None] | None
    read: Callable[[Path, int | None], Picture]
    read_grey: Callable[[Path, int | None], Grey | None] | None = None
    slices: Callable[[Path], int] | None = None
    read_scaled: Callable[[Path, int], Picture] | None = None
    places: Callable[[Path], list[Box]] | None = None


class PassOver(Exception):  # noqa: N818 (no error: a file that is no picture)
    """A file that is no picture, to be counted with others of its kind. See `PassedOver`.

    Attributes
    ----------
    frames : how many pictures it would be, of a file that can be shown where that is asked for (`INCLUDED`); None of others
    """

    def __init__(self, kind: str, reason: str, frames: int | None = None) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind, self.reason, self.frames = kind, reason, frames


INCLUDED = {
    "segmentations": "DICOM segmentations",
    "doses": "DICOM radiotherapy doses",
    "presentations": "DICOM presentation states",
}
"""Kinds of files that are passed over, unless asked for by this name: they hold something that can be shown."""
HEAD_BYTES = 352  # a NIfTI header with its magic word, the longest that is asked for
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)  # where Pillow refuses, too: 179 million pixels
TOO_LARGE = f"The image has over {MAX_PIXELS // 10**6} million pixels: make it smaller, or cut it into tiles."
