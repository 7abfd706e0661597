"""What the page shows of an image, as bytes: only pixels, nothing of what else its file says."""

from __future__ import annotations

import io
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from autoannotate.errors import UnreadableImageError
from autoannotate.images import ImageRef, read_grey, read_image

VIEW_SIDE = 2048  # pixels of the longer side, beyond which a picture is made smaller until it is zoomed
THUMBNAIL_SIDES = (208, 480)  # pixels of the longer side: small tiles, large ones
KEPT_BYTES = 96 * 2**20
HEADER = struct.Struct("<II6d8s")

_at_once = threading.BoundedSemaphore(max(2, (os.cpu_count() or 2)))


class Kept:
    """Bytes by key, the latest used, up to `KEPT_BYTES`."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __call__(self, key: tuple[str, str], make: Callable[[], bytes]) -> bytes:
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        with self._lock:
            if key not in self._made:
                self._made[key] = made
                self._size += len(made)
            while self._size > KEPT_BYTES and len(self._made) > 1:
                self._size -= len(self._made.popitem(last=False)[1])
        return made


def view(ref: ImageRef, whole: bool = False) -> bytes:
    """The picture as a PNG without loss, at most `VIEW_SIDE` pixels a side, or `whole` as it is.

    Raises
    ------
    UnreadableImageError
        As `read_image` does.
    """
    with _at_once:
        image = _grey_if_grey(read_image(ref))
        if not whole and max(image.size) > VIEW_SIDE:
            image.thumbnail((VIEW_SIDE, VIEW_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
        out = io.BytesIO()
        image.save(out, format="PNG", compress_level=1)
        return out.getvalue()


def thumbnail(ref: ImageRef, side: int) -> bytes:
    """A small picture as a JPEG.

    Raises
    ------
    UnreadableImageError
        As `read_image` does.
    """
    with _at_once:
        image = _grey_if_grey(read_image(ref))
        image.thumbnail((side, side), reducing_gap=3.0)
        out = io.BytesIO()
        image.save(out, format="JPEG", quality=88)
        return out.getvalue()


def values(ref: ImageRef) -> bytes:
    """The grey values in their full depth, to window and level in the page; empty where the picture has none.

    A header (`HEADER`: width, height, then as doubles offset, step, the window's low and high, 1 where black and white are
    swapped, millimetres a pixel or 0, then the modality), then one little-endian 16-bit number v a pixel, which stands for
    offset + step·v. Nothing else of the file.

    Raises
    ------
    UnreadableImageError
        Where it cannot be read.
    """
    with _at_once:
        grey = read_grey(ref)
        if grey is None:
            return b""
        found = np.nan_to_num(grey.values.astype(np.float32), nan=grey.low, posinf=grey.high, neginf=grey.low)
        mm = grey.mm
        if max(found.shape) > VIEW_SIDE:
            small = Image.fromarray(found)
            factor = -(-max(found.shape) // VIEW_SIDE)
            found, mm = np.asarray(small.reduce(factor)), mm * factor
        low, high = float(found.min()), float(found.max())
        whole = bool((found == np.round(found)).all())
        step = 1.0 if whole and high - low <= 65535 else max((high - low) / 65535, 1e-12)
        packed = np.round((found - low) / step).astype("<u2")
        height, width = found.shape
        kind = grey.modality.encode("ascii", "replace")
        about = HEADER.pack(width, height, low, step, grey.low, grey.high, float(grey.inverted), mm, kind)
        return about + packed.tobytes()


def slice_of(ref: ImageRef, number: int) -> ImageRef:
    """One image of an item that has several, from 0 on.

    Raises
    ------
    UnreadableImageError
        Where there is none.
    """
    refs = ref.item.shown if ref.item else (ref,)
    if not 0 <= number < len(refs):
        raise UnreadableImageError("The item has no such slice.")
    return refs[number]


def stack_of(ref: ImageRef | None, telling: str) -> dict[str, Any]:
    """How many images an item has, which one is shown first, and which one speaks most for the label; nothing for one image."""
    if ref is None or ref.item is None or len(ref.item.refs) == 1:
        return {}
    paths = [part.path for part in ref.item.shown]
    return {
        "slices": len(paths),
        "middle": 0 if ref.item.places else len(paths) // 2,
        "telling": paths.index(telling) if telling in paths else None,
    }


def _grey_if_grey(image: Image.Image) -> Image.Image:
    """One channel where the three are the same: a third of the bytes."""
    pixels = np.asarray(image)
    same = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    return image.getchannel(0) if same else image
