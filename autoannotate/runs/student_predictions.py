"""What a run's student said of the images, kept as `student.npz` in the folder of the run, for the updates that follow.

A student takes minutes to teach and an update has seconds: without this, an update would know less than the run that it makes
better. The file holds probabilities alone, 6 bytes an image and class: no name, no path, no picture.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from autoannotate.images import ImageRef

FILE = "student.npz"


def pack(probabilities: np.ndarray) -> bytes:
    """The content of the file: the probabilities, (N, K), the same bytes for the same."""
    import numpy as np

    held = io.BytesIO()
    np.savez_compressed(held, said=probabilities.astype(np.float16))
    return held.getvalue()


def digest(content: bytes) -> str:
    """By what run.json knows that the file beside it is its own."""
    return hashlib.sha256(content).hexdigest()[:16]


def load(folder: Path, expected: str | None) -> bytes | None:
    """The content of the file in a run's folder, where its digest is the expected one."""
    try:
        content = (folder / FILE).read_bytes() if expected else b""
    except OSError:
        return None
    return content if content and digest(content) == expected else None


def about(
    content: bytes, paths: Sequence[str], stamps: Mapping[str, str], refs: Sequence[ImageRef], classes: int
) -> np.ndarray | None:
    """What the student of a run predicts for these images; None where the content is something else.

    Of an image that it did not see, or whose picture was replaced since, it says nothing: all classes alike.

    Parameters
    ----------
    paths, stamps : of the images that the student saw, in order, see `runs.picture_stamps`
    """
    import numpy as np

    from autoannotate.images import stamp

    try:
        with np.load(io.BytesIO(content)) as held:
            parts = held["said"].astype(np.float64)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    if parts.ndim == 3:  # runs of 0.1.0 kept two more arrays beside the probabilities
        parts = parts[0]
    if parts.shape != (len(paths), classes):
        return None
    row = {path: i for i, path in enumerate(paths)}
    said = np.full((len(refs), classes), 1.0 / classes)
    for i, ref in enumerate(refs):
        now = stamp(ref).ljust(8, "0")
        if ref.path in row and stamps.get(ref.path, now) == now:
            said[i] = parts[row[ref.path]]
    return np.asarray(said / said.sum(axis=1, keepdims=True))
