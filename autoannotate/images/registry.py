"""The formats that can be read, and which of them a file is."""

from __future__ import annotations

from pathlib import Path

from autoannotate.images import dicom, medmnist, raster
from autoannotate.images.ref import HEAD_BYTES, Reader

READERS: tuple[Reader, ...] = (raster.READER, dicom.READER, medmnist.READER)


def reader_for(file: Path) -> Reader | None:
    """The reader of the file's ending; else the one that knows its first bytes; else None."""
    suffix = file.suffix.lower()
    for reader in READERS:
        if suffix in reader.suffixes:
            return reader
    try:
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return None
    return next((reader for reader in READERS if reader.recognises(head)), None)


def formats_read() -> str:
    """The formats in words, for messages."""
    return ", ".join(reader.formats for reader in READERS)
