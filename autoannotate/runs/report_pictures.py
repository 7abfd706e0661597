"""The small pictures that a report holds."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoannotate.errors import UnreadableImageError

if TYPE_CHECKING:
    from autoannotate.images import ImageRef
    from autoannotate.runs.run import Run

SIDE = 160
"""The longer side of a picture, in pixels."""
PICTURE_BYTES = 3_400_000
"""What all pictures together may weigh, so that the page stays under 5 MB for any run."""


@dataclass(frozen=True)
class Picture:
    """A small picture as the page holds it; `data` is empty where the file cannot be shown."""

    data: str
    width: int = SIDE
    height: int = SIDE


class Pictures:
    """Small pictures by path, made once each, until together they weigh as much as a page may hold."""

    def __init__(self, annotations: Run) -> None:
        self.annotations = annotations
        self.made: dict[str, Picture] = {}
        self.left = PICTURE_BYTES

    def __call__(self, path: str) -> Picture:
        if path not in self.made:
            self.made[path] = self._make(path)
        return self.made[path]

    def slice_of(self, path: str, name: str) -> Picture | None:
        """One slice of an item by its own path; None where the item has no such slice, or can't be found."""
        ref = self.annotations.refs.get(path)
        part = next((part for part in (ref.item.refs if ref and ref.item else ()) if part.path == name), None)
        return None if part is None else self._make(part)

    def _make(self, of: str | ImageRef) -> Picture:
        from autoannotate.images import read_image

        if self.left <= 0:
            return Picture("")
        try:
            image = read_image(self.annotations.image(of) if isinstance(of, str) else of).convert("RGB")
        except UnreadableImageError:
            return Picture("")
        image.thumbnail((SIDE, SIDE), reducing_gap=3.0)
        out = io.BytesIO()
        image.save(out, format="JPEG", quality=80, optimize=True)
        data = base64.b64encode(out.getvalue()).decode()
        self.left -= len(data)
        return Picture(f"data:image/jpeg;base64,{data}", *image.size)
