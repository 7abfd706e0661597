"""Read one image, or say in one plain sentence why not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PIL import Image

from autoannotate.errors import UnreadableImageError
from autoannotate.images.quiet import quiet
from autoannotate.images.ref import Grey, ImageRef, Reader
from autoannotate.images.registry import reader_for

T = TypeVar("T")

# The sentences are our own throughout: those of the libraries may hold paths, or values from DICOM headers.
_DAMAGED = "The image data is damaged or cut short, or stored in a way that is not supported."
_NO_PERMISSION = "There is no permission to read the file."
_GONE = "The file is not there any more, or is a link to nothing."


def read_image(ref: ImageRef) -> Image.Image:
    """The image as people see it: mode RGB, 8 bits, upright.

    EXIF orientation is applied, transparency laid over black. Grey values deeper than 8 bits are stretched
    between their 0.5th and 99.5th percentile (`scaling.to_8_bit`), in DICOM where the file states no window.

    Raises:
        UnreadableImageError: whatever is wrong; the sentence holds no path and nothing that identifies
            anyone.
    """
    return _read(ref, lambda reader: reader.read)


def read_grey(ref: ImageRef) -> Grey | None:
    """The grey values in their full depth; None where `read_image` shows all there is (colours, 8 bits).

    Raises `UnreadableImageError` as `read_image` does.
    """
    return _read(ref, lambda reader: reader.read_grey or (lambda file, frame: None))


def _read(ref: ImageRef, how: Callable[[Reader], Callable[[Path, int | None], T]]) -> T:
    try:
        if ref.file.stat().st_size == 0:
            raise UnreadableImageError("The file is empty.")
        reader = reader_for(ref.file)
        if reader is None:
            raise UnreadableImageError("The file is not an image any more.")
        with quiet():
            return how(reader)(ref.file, ref.frame)
    except UnreadableImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError(_GONE) from None
    except PermissionError:
        raise UnreadableImageError(_NO_PERMISSION) from None
    except MemoryError:
        raise UnreadableImageError("The image needs more memory than there is.") from None
    except Exception:
        raise UnreadableImageError(_DAMAGED) from None


def fingerprint(ref: ImageRef) -> str:
    """A name for the content of an image that changes when its file does: the key of the embedding cache.

    Returns:
        The sha256, in hexadecimal, of the file's resolved path, size and time of change, and of the frame.

    Raises:
        UnreadableImageError: the file is not there, or may not be looked at.
    """
    try:
        found = ref.file.stat()
        path = os.fsencode(ref.file.resolve())
    except OSError:
        raise UnreadableImageError(_GONE) from None
    digest = hashlib.sha256(path)
    digest.update(f"\0{found.st_size}\0{found.st_mtime_ns}\0{ref.frame}".encode())
    return digest.hexdigest()


def stamp(ref: ImageRef) -> str:
    """Eight hexadecimal digits that change when the file does, and not when its folder moves; "" where it is gone.

    The beginning of the sha256 of its size, time of change and frame: what a run remembers to tell a replaced image.
    """
    try:
        found = ref.file.stat()
    except OSError:
        return ""
    return hashlib.sha256(f"{found.st_size}\0{found.st_mtime_ns}\0{ref.frame}".encode()).hexdigest()[:8]
