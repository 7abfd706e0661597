"""JPEG XL pictures, through imagecodecs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from autoannotate.images.raster import flattened, values_to_8_bit
from autoannotate.images.ref import Picture, Reader

_MAGIC = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


def _read(file: Path, frame: int | None) -> Picture:
    import imagecodecs

    values = np.asarray(imagecodecs.jpegxl_decode(file.read_bytes()))
    if values.ndim == 4:
        values = values[0]
    if values.ndim == 3 and values.shape[2] < 3:
        values = values[..., 0]
    if values.ndim == 2:
        return Picture(Image.fromarray(values_to_8_bit(values)).convert("RGB"))
    return Picture(flattened(values_to_8_bit(values[..., :4])))


READER = Reader(
    formats="JPEG XL",
    suffixes=frozenset({".jxl"}),
    recognises=lambda head: head.startswith(_MAGIC),
    frames=None,
    read=_read,
)
