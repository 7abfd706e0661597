"""Exported pictures say nothing beside the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from autoannotate.images.metadata import without_metadata

NAME = "Doe^Jane"
NOISE = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)


def saved(file: Path, orientation: int | None = None, named: bool = True) -> Path:
    image, exif = Image.fromarray(NOISE), Image.Exif()
    if named:
        exif[0x010E] = NAME
    if orientation:
        exif[0x0112] = orientation
    options: dict[str, object] = {"exif": exif} if named or orientation else {}
    if file.suffix == ".png":
        texts = PngImagePlugin.PngInfo()
        if named:
            texts.add_text("Patient", NAME)
            texts.add_itxt("Comment", NAME, zip=True)
        options["pnginfo"] = texts
    if file.suffix == ".jpg" and named:
        options["comment"] = NAME
    if file.suffix == ".tif":
        options = {"description": NAME} if named else {}
    image.save(file, **options)
    return file


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_the_picture_stays_bit_for_bit_and_the_texts_go(tmp_path: Path, ending: str) -> None:
    file = saved(tmp_path / f"a.{ending}")
    data = file.read_bytes()
    assert NAME.encode() in data
    cleaned = without_metadata(data + NAME.encode())  # behind the end, too
    assert cleaned is not None
    assert NAME.encode() not in cleaned
    assert len(cleaned) < len(data)
    (tmp_path / f"b.{ending}").write_bytes(cleaned)
    before, after = Image.open(file), Image.open(tmp_path / f"b.{ending}")
    assert before.tobytes() == after.tobytes()
    assert not after.getexif()
    assert without_metadata(cleaned) == cleaned


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp", "bmp"])
def test_files_without_metadata_stay_as_they_are(tmp_path: Path, ending: str) -> None:
    data = saved(tmp_path / f"a.{ending}", named=False).read_bytes()
    assert without_metadata(data) == data


@pytest.mark.parametrize(("ending", "orientation"), [("jpg", 6), ("png", 6), ("webp", None), ("tif", None)])
def test_what_cannot_be_cleaned_is_to_be_rendered(tmp_path: Path, ending: str, orientation: int | None) -> None:
    assert without_metadata(saved(tmp_path / f"a.{ending}", orientation).read_bytes()) is None
    assert without_metadata(b"no picture") is None
