"""Hard augmentation for image-text training: what scanners, archives and exports do to a picture without changing its name."""

from __future__ import annotations

import io
import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

FILTERS = (
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.NEAREST,
    Image.Resampling.BOX,
    Image.Resampling.LANCZOS,
)
SMALLEST, TINY = 24, 36  # pixels: MedMNIST's images have 28


def crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Keep between half and all of the picture, at a slightly other aspect ratio."""
    width, height = image.size
    area, ratio = rng.uniform(0.5, 1.0), np.exp(rng.uniform(-0.25, 0.25))
    w, h = min(1.0, np.sqrt(area * ratio)) * width, min(1.0, np.sqrt(area / ratio)) * height
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return image.crop((int(left), int(top), int(left + max(w, 8)), int(top + max(h, 8))))


def border(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Put the picture on a black, white or grey canvas, as exports to a square do."""
    left, top, right, bottom = (
        int(side * share) for side, share in zip(image.size * 2, rng.uniform(0, 0.2, 4), strict=True)
    )
    shade = (0, 0, 255, int(rng.integers(256)))[rng.integers(4)]
    return ImageOps.expand(image, (left, top, right, bottom), (shade, shade, shade))


def flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Its mirror image."""
    return ImageOps.mirror(image)


def turn(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """By up to 15 degrees; one time in three by a quarter turn."""
    if rng.random() < 1 / 3:
        return image.rotate(90 * int(rng.integers(1, 4)), expand=True)
    return image.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)


def shrink(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Down to a thumbnail, half of the time to a tiny one such as MedMNIST's; the final resize brings it back."""
    largest = TINY if rng.random() < 0.5 else 96
    side = int(np.exp(rng.uniform(np.log(SMALLEST), np.log(largest))))
    return image.resize((side, side), FILTERS[rng.integers(len(FILTERS))])


def blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Gaussian blur of 0.3 to 2 pixels."""
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2.0)))


def burn_in(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Text in a corner or anywhere, as burnt into ultrasound and radiographs."""
    image = image.copy()
    letters = list(string.ascii_uppercase + string.digits + " .:/")
    for _ in range(rng.integers(1, 4)):
        text = "".join(rng.choice(letters, rng.integers(1, 12)))
        shade = int(rng.choice([255, 255, 0, 200]))
        place = (rng.uniform(0, image.width * 0.8), rng.uniform(0, image.height * 0.95))
        ImageDraw.Draw(image).text(place, text, fill=(shade, shade, shade))
    return image


def compress(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A JPEG of quality 15 to 69."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(15, 70)))
    return Image.open(buffer).convert("RGB")


def tone(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Contrast, brightness and gamma, the same for all channels, by a look-up table."""
    x = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-0.5, 0.5))
    table = np.clip((x - 0.5) * np.exp(rng.uniform(-0.5, 0.5)) + 0.5 + rng.uniform(-0.15, 0.15), 0, 1) * 255
    return image.point(table.astype(np.uint8).tolist() * 3)


def stain(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A gain for each channel: other stains, lamps and white balances."""
    gains = np.exp(rng.uniform(-0.25, 0.25, 3))
    table = np.clip(np.arange(256) * gains[:, None], 0, 255).astype(np.uint8)
    return image.point(table.ravel().tolist())


def grey(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Without its colours."""
    return image.convert("L").convert("RGB")


def invert(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Its negative."""
    return ImageOps.invert(image)


def noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Gaussian noise of 3 to 20 grey values."""
    pixels = np.asarray(image, np.float32)
    return Image.fromarray(np.clip(pixels + rng.normal(0, rng.uniform(3, 20), pixels.shape), 0, 255).astype(np.uint8))


Step = Callable[[Image.Image, np.random.Generator], Image.Image]
STEPS: tuple[tuple[Step, float], ...] = (
    (crop, 0.7),
    (turn, 0.25),
    (flip, 0.5),
    (border, 0.15),
    (shrink, 0.5),
    (burn_in, 0.08),
    (tone, 0.5),
    (stain, 0.3),
    (grey, 0.07),
    (invert, 0.05),
    (blur, 0.12),
    (compress, 0.1),
)


def augment(image: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """One random variant of an RGB picture at `size` (width, height) in pixels; the generator decides everything."""
    for step, probability in STEPS:
        if rng.random() < probability:
            image = step(image, rng)
    image = image.resize(size, Image.Resampling.BICUBIC)
    return noise(image, rng) if rng.random() < 0.12 else image
