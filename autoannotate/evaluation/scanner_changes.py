"""What another scanner, or another hand at it, does to a picture: noise, blur, contrast, burnt-in text. Pictures in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

Change = Callable[["Image.Image", np.random.Generator], "Image.Image"]

DEVIATION = 0.06  # of noise, of the range of grey values
RADIUS = 0.012  # of blur, of the shorter side
GAMMA = 1.5
TEXT = ("R  SUPINE  AP", "L  PORTABLE", "ID 00000  kV 85  mAs 2.5")


def noise(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Gaussian noise, the same in all channels."""
    from PIL import Image

    values = np.asarray(picture.convert("RGB"), dtype=np.float32)
    changed = values + rng.normal(0.0, 255 * DEVIATION, (*values.shape[:2], 1))
    return Image.fromarray(np.clip(changed, 0, 255).astype(np.uint8))


def blur(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A Gaussian blur."""
    from PIL import ImageFilter

    return picture.convert("RGB").filter(ImageFilter.GaussianBlur(max(0.6, RADIUS * min(picture.size))))


def contrast(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Another window: gamma of 1.5 or 1 / 1.5."""
    gamma = GAMMA if rng.random() < 0.5 else 1 / GAMMA
    return picture.convert("RGB").point([round(255 * (value / 255) ** gamma) for value in range(256)] * 3)


def burnt_in_text(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A line of white text in a corner, a twelfth of the shorter side high."""
    from PIL import ImageDraw, ImageFont

    changed = picture.convert("RGB")
    width, height = changed.size
    size = max(6, min(changed.size) // 12)
    at = (round(0.03 * width), round(0.03 * height) if rng.random() < 0.5 else height - 2 * size)
    ImageDraw.Draw(changed).text(
        at, TEXT[int(rng.integers(len(TEXT)))], fill="white", font=ImageFont.load_default(size)
    )
    return changed


CHANGES: dict[str, Change] = {"noise": noise, "blur": blur, "contrast": contrast, "burnt_in_text": burnt_in_text}
