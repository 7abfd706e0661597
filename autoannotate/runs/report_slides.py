"""The slides of a report: the overview of each, and over it how probable each tile makes the slide's label."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from autoannotate.errors import UnreadableImageError

if TYPE_CHECKING:
    from autoannotate.images.ref import Box
    from autoannotate.runs.run import Run

MOST = 24  # slides that the report shows
SIDE = 320  # pixels of the longer side
OPACITY = 0.55
COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)])
"""Viridis, from 0 to 1: told apart by people who see no red, and in print."""


def slides(run: Run) -> list[dict[str, Any]]:
    """What the report shows of each slide, the doubtful ones first: path, label, confidence, tiles, picture."""
    shown: list[dict[str, Any]] = []
    heat_maps = {path: tiles for path, tiles in run.record.heat_maps.items() if tiles}
    table = run.table[run.table["path"].isin(heat_maps.keys())]
    for row in table.sort_values("suspect_score", ascending=False, kind="stable").to_dict(orient="records"):
        if len(shown) == MOST:
            break
        tiles = heat_maps[row["path"]]
        ref = run.refs.get(row["path"])
        if ref is None or ref.item is None or not ref.item.places:
            continue
        try:
            overview = run.read_image(row["path"])
        except UnreadableImageError:
            continue
        image = heat_map(overview, tiles, ref.item.places)
        out = io.BytesIO()
        image.save(out, format="JPEG", quality=85, optimize=True)
        data = f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
        shown.append(
            {
                "path": row["path"],
                "label": row["label"],
                "confidence": row["confidence"],
                "looked_at": len(tiles),
                "tiles": len(ref.item.places),
                "data": data,
                "width": image.width,
                "height": image.height,
            }
        )
    return shown


def heat_map(overview: Image.Image, tiles: Sequence[Sequence[float]], places: Sequence[Box]) -> Image.Image:
    """The overview with a coloured square on each tile with tissue, of the value of the nearest tile that was looked at.

    Parameters
    ----------
    tiles : left, top and value in [0, 1] of those that were looked at
    places : of all tiles with tissue, as `Item.places`
    """
    image = overview.convert("RGB")
    image.thumbnail((SIDE, SIDE), reducing_gap=3.0)
    pixels, known = np.asarray(image, dtype=np.float64).copy(), np.array(tiles)
    for left, top, width, height in places:
        nearest = int(np.hypot(known[:, 0] - left, known[:, 1] - top).argmin())
        rows = slice(round(top * image.height), round((top + height) * image.height))
        columns = slice(round(left * image.width), round((left + width) * image.width))
        colour = np.array([np.interp(known[nearest, 2], np.linspace(0, 1, len(COLOURS)), band) for band in COLOURS.T])
        pixels[rows, columns] = (1 - OPACITY) * pixels[rows, columns] + OPACITY * colour
    return Image.fromarray(pixels.round().astype(np.uint8))
