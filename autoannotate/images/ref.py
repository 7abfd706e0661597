"""What the rest of the package knows of an image, and what a format has to offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class ImageRef:
    """One image of a run: a file, or one frame, page or array entry of a file.

    Attributes:
        path: the name of the image in every table: relative to the folder searched, with `/` between folders,
            and with `#frame` where the file holds several (`scan.dcm#3`, `breastmnist.npz#17`; from 0).
        file: where the file is.
        frame: which frame of it, from 0; None for a file that holds one image.
    """

    path: str
    file: Path
    frame: int | None = None


@dataclass(frozen=True, eq=False)
class Grey:
    """A grey picture in its full depth, for windows and levels of one's own.

    Attributes:
        values: (rows, columns), any number type; in DICOM after the modality LUT, as Hounsfield units in CT.
        low, high: the window to begin with: the file's own, else the one that `read_image` stretches to.
        inverted: whether low values are shown bright.
    """

    values: np.ndarray
    low: float
    high: float
    inverted: bool = False


@dataclass(frozen=True)
class Reader:
    """One format, or one family of formats.

    Attributes:
        formats: the name that people know it by, for messages.
        suffixes: lower-case file name endings, with their dot, that are this format's.
        recognises: whether a file with a foreign ending, or none, is its own, by the first `HEAD_BYTES` bytes.
        count_frames: how many images the file holds, from its header alone; None for one that is not
            numbered. A file that cannot be understood is one image too: `read` says what is wrong with it.
        read: the frame as an image of mode RGB. May raise anything; users see an `UnreadableImageError`.
        read_grey: the frame's grey values where it has more to show than 8 bits, else None; raises as `read` does.
    """

    formats: str
    suffixes: frozenset[str]
    recognises: Callable[[bytes], bool]
    count_frames: Callable[[Path], int | None]
    read: Callable[[Path, int | None], Image.Image]
    read_grey: Callable[[Path, int | None], Grey | None] | None = None


HEAD_BYTES = 132
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)  # where Pillow refuses, too: 179 million pixels
TOO_LARGE = f"The image has over {MAX_PIXELS // 10**6} million pixels: make it smaller, or cut it into tiles."
