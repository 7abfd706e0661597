"""Read one image, or say in one plain sentence why not."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from PIL import Image

from autoannotate.errors import UnreadableImageError
from autoannotate.images import isolation
from autoannotate.images.quiet import quiet
from autoannotate.images.ref import Box, Grey, ImageRef, PassOver, Picture, Reader
from autoannotate.images.registry import reader_for

T = TypeVar("T")

# The sentences are our own throughout: those of the libraries may hold paths, or values from DICOM headers.
_DAMAGED = "The image data is damaged or cut short, or stored in a way that is not supported."
_NO_PERMISSION = "There is no permission to read the file."
_GONE = "The file is not there any more, or is a link to nothing."
_NO_ANSWER = "The file cannot be read from its drive: the drive may be damaged, or not connected any more."


def read_picture(ref: ImageRef, side: int | None = None) -> Picture:
    """The image as people see it, with notes on what had to be assumed to show it.

    The picture is mode RGB, or L where all is grey, 8 bits, upright, with square pixels. EXIF orientation is applied,
    transparency laid over black. Values deeper than 8 bits are stretched between their 0.5th and 99.5th percentile
    (`scaling.to_8_bit`), in DICOM where the file states no window. The file is read in another process, which is ended
    after `isolation.SECONDS`.

    Parameters
    ----------
    ref : ImageRef
    side : int, optional
        How many pixels the shorter side needs: a larger picture may come smaller, but no smaller than this, which a JPEG can be
        decoded to in a fraction of the time.

    Raises
    ------
    UnreadableImageError
        Whatever is wrong; the sentence holds no path and nothing that identifies anyone.
    """
    with ref.as_file() as file:
        return isolation.picture(file, ref.frame, side)


def read_image(ref: ImageRef, side: int | None = None) -> Image.Image:
    """The image of `read_picture` in mode RGB, without its notes.

    Raises
    ------
    UnreadableImageError
        Where it cannot be read.
    """
    return read_picture(ref, side).image.convert("RGB")


def read_grey(ref: ImageRef) -> Grey | None:
    """The grey values in their full depth; None where `read_image` shows all there is (colours, 8 bits).

    Raises
    ------
    UnreadableImageError
        As `read_image` does.
    """
    with ref.as_file() as file:
        return isolation.grey(file, ref.frame)


def picture_here(file: Path, frame: int | None, side: int | None = None) -> Picture:
    """`read_picture` in this process."""

    def read(reader: Reader) -> Picture:
        picture = reader.read_scaled(file, side) if side and reader.read_scaled else reader.read(file, frame)
        if 0 in picture.image.size:
            raise UnreadableImageError(_DAMAGED)
        if side is None:
            return picture
        factor = min(picture.image.size) // side
        return picture if factor < 2 else replace(picture, image=picture.image.reduce(factor))

    return _plainly(file, read)


def grey_here(file: Path, frame: int | None) -> Grey | None:
    """`read_grey` in this process."""
    return _plainly(file, lambda reader: reader.read_grey(file, frame) if reader.read_grey else None)


def frames_here(file: Path) -> int | None:
    """How many images the file holds, in this process; None for one that is not numbered.

    Raises
    ------
    PassOver
        For a file that holds no picture.
    """
    reader = reader_for(file)
    if reader is None or reader.frames is None:
        return None
    try:
        with quiet():
            return reader.frames(file)
    except PassOver:
        raise
    except Exception:  # reading will say what is wrong
        return None


def slices_here(file: Path) -> int | None:
    """How many frames of the file are slices of one volume, in this process; None where all belong together."""
    return _plainly(file, lambda reader: reader.slices(file) if reader.slices else None)


def places_here(file: Path) -> list[Box]:
    """Where the tiles of a slide lie, in this process; none of a file that is no slide."""
    return _plainly(file, lambda reader: reader.places(file) if reader.places else [])


def _plainly(file: Path, read: Callable[[Reader], T]) -> T:
    try:
        if file.stat().st_size == 0:
            raise UnreadableImageError("The file is empty.")
        reader = reader_for(file)
        if reader is None:
            raise UnreadableImageError("The file is not an image any more.")
        with quiet():
            return read(reader)
    except UnreadableImageError:
        raise
    except PassOver as over:
        raise UnreadableImageError(f"The file is one of {over.kind}, which are passed over: {over.reason}.") from None
    except FileNotFoundError:
        raise UnreadableImageError(_GONE) from None
    except PermissionError:
        raise UnreadableImageError(_NO_PERMISSION) from None
    except MemoryError:
        raise UnreadableImageError("The image needs more memory than there is.") from None
    except OSError as error:
        raise UnreadableImageError(_why(error)) from None
    except Exception:
        raise UnreadableImageError(_DAMAGED) from None


def _why(error: OSError) -> str:
    """What is wrong where the system, or a library, says so."""
    if error.errno == errno.ELOOP:  # a link that leads to itself
        return _GONE
    # EINVAL: what a library asks the system for, such as a place before the file's beginning, in a damaged file
    return _DAMAGED if error.errno in (None, errno.EINVAL) else _NO_ANSWER


def fingerprint(ref: ImageRef) -> str:
    """A name for the content of an image that changes when its file does: the key of the embedding cache.

    Returns
    -------
    str
        The sha256, in hexadecimal, of the file's resolved path, size and time of change, and of the frame.

    Raises
    ------
    UnreadableImageError
        The file is not there, or may not be looked at.
    """
    if ref.content is not None:
        return hashlib.sha256(f"{ref.content.version}\0{ref.frame}".encode()).hexdigest()
    try:
        found = ref.file.stat()
        path = os.fsencode(ref.file.resolve())
    except (OSError, RuntimeError):
        raise UnreadableImageError(_GONE) from None
    digest = hashlib.sha256(path)
    digest.update(f"\0{found.st_size}\0{found.st_mtime_ns}\0{ref.frame}".encode())
    return digest.hexdigest()


def content_hash(ref: ImageRef) -> str:
    """A name for the content of an image that stays when its file is moved or copied.

    Returns
    -------
    str
        The sha256, in hexadecimal, of the bytes of its file, the ending of its name, and the frame.

    Raises
    ------
    UnreadableImageError
        The file is not there, or cannot be read.
    """
    with ref.as_file() as file:
        try:
            found = file.stat()
            digest = _bytes_hash(file, found.st_size, found.st_mtime_ns)
        except FileNotFoundError:
            raise UnreadableImageError(_GONE) from None
        except PermissionError:
            raise UnreadableImageError(_NO_PERMISSION) from None
        except OSError:
            raise UnreadableImageError(_NO_ANSWER) from None
    return hashlib.sha256(f"{digest}\0{ref.file.suffix.lower()}\0{ref.frame}".encode()).hexdigest()


@lru_cache(maxsize=8)
def _bytes_hash(file: Path, size: int, changed: int) -> str:
    """Of a file of this size and time of change: the frames of a file follow each other."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamp(ref: ImageRef) -> str:
    """Eight hexadecimal digits that change when the file does, and not when its folder moves; "" where it is gone.

    The beginning of the sha256 of its size, time of change and frame: what a run remembers to tell a replaced image.
    """
    if ref.content is not None:
        return fingerprint(ref)[:8]
    try:
        found = ref.file.stat()
    except OSError:
        return ""
    return hashlib.sha256(f"{found.st_size}\0{found.st_mtime_ns}\0{ref.frame}".encode()).hexdigest()[:8]
