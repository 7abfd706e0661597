"""The formats that can be read, and which of them a file is.

A package from outside adds a format by an entry point of the group `autoannotate.readers` that names a `Reader`.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

from autoannotate.images import dicom, heif, jpeg_xl, medmnist, metaimage, neuroimaging, nifti, nrrd, raster, tiff
from autoannotate.images.plugins import added
from autoannotate.images.ref import HEAD_BYTES, Reader

READERS: tuple[Reader, ...] = (
    dicom.READER,  # before TIFF: a DICOM file may carry the beginning of a TIFF in its preamble
    tiff.READER,
    raster.READER,
    jpeg_xl.READER,
    heif.READER,
    nifti.READER,
    neuroimaging.READER,
    nrrd.READER,
    metaimage.READER,
    medmnist.READER,
)
GROUP = "autoannotate.readers"
_GZIP = b"\x1f\x8b\x08"


@cache
def readers() -> tuple[Reader, ...]:
    """All readers: those of other packages first, so that they may take over what is here.

    Raises
    ------
    InputError
        For bad ones.
    """
    return (*added(GROUP, Reader), *READERS)


def reader_for(file: Path) -> Reader | None:
    """The reader that knows the file's first bytes, else the one of its ending; None for a file that is none's."""
    return reader_of(file.name, head_of(file))


def reader_of(name: str, head: bytes) -> Reader | None:
    """The reader of a file with that name whose first bytes, from `head_of`, are these."""
    for reader in readers():
        if reader.recognises(head):
            return reader
    name = name.lower()
    return next((reader for reader in readers() if name.endswith(tuple(reader.suffixes))), None)


def head_of(file: Path) -> bytes:
    """The first `HEAD_BYTES` bytes of a file, as `unpacked_head` gives them; none where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return unpacked_head(stream.read(HEAD_BYTES + 4096))
    except OSError:
        return b""


def unpacked_head(head: bytes) -> bytes:
    """The first `HEAD_BYTES` bytes of a file that begins like this, unpacked where it is a NIfTI volume in a gzip file."""
    if head.startswith(_GZIP):
        try:
            unpacked = zlib.decompressobj(31).decompress(head, HEAD_BYTES)
        except zlib.error:
            return head[:HEAD_BYTES]
        if nifti.READER.recognises(unpacked):
            return unpacked
    return head[:HEAD_BYTES]


def formats_read() -> str:
    """The formats in words, for messages."""
    return ", ".join(reader.formats for reader in readers())
