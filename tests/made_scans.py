"""A folder of real images whose classes the encoder knows."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from autoannotate.images import demo, find_images, read_image

CLASSES = ["CT", "MRI", "ultrasound", "X-ray"]


def write_scans(folder: Path, unpacked: Path) -> None:
    """The real images that pydicom brings, each whole, mirrored and cropped, in folders named by what they show.

    folder, unpacked: two empty folders; the second takes the images as they come.
    """
    real = demo.pydicom_demo_set(unpacked)
    for ref in find_images(real.folder):
        picture, kind = read_image(ref), folder / real.truth[ref.path]
        kind.mkdir(exist_ok=True)
        variants = {"": picture, "-mirrored": picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)}
        variants["-cropped"] = picture.crop([int(side * share) for share in (0.05, 0.95) for side in picture.size])
        for name, variant in variants.items():
            variant.save(kind / f"{Path(ref.path).stem}{name}.png")
