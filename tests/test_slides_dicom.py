"""Whole-slide images in DICOM: the files of one slide are one item of tiles, and its label and levels are no pictures."""

from __future__ import annotations

import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from autoannotate.images import find, find_images, read_image
from autoannotate.images.items import items_of

pytest.importorskip("openslide", reason="slides are read with the extra `slides`")
SIDE, TILE = 6144, 512
PINK, GLASS = (225, 120, 190), 243


def base() -> np.ndarray:
    """Pink tissue at the left, glass around, (SIDE, SIDE, 3)."""
    small = np.full((96, 96, 3), GLASS, np.uint8)
    small[16:80, 8:48] = PINK
    return small.repeat(64, 0).repeat(64, 1)


def level(file: Path, picture: np.ndarray, series: str, kind: str, number: int) -> None:
    """A level of a slide as scanners write it: JPEG tiles, TILED_FULL, sizes in millimetres."""
    high, wide = picture.shape[:2]
    rows, columns = -(-high // TILE), -(-wide // TILE)
    padded = np.full((rows * TILE, columns * TILE, 3), 255, np.uint8)
    padded[:high, :wide] = picture
    tiles = [
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(padded[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE]), level=90
        )
        for r in range(rows)
        for c in range(columns)
    ]
    slide = Dataset()
    slide.SOPClassUID, slide.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.6", generate_uid()
    slide.StudyInstanceUID, slide.SeriesInstanceUID, slide.Modality = "1.2.3", series, "SM"
    slide.PatientName, slide.PatientID = "Doe^Jane", "4711-secret"
    slide.ImageType = ["DERIVED" if kind == "RESAMPLED" else "ORIGINAL", "PRIMARY", *kind.split()]
    slide.InstanceNumber, slide.NumberOfFrames = number, len(tiles)
    slide.Rows = slide.Columns = TILE
    slide.TotalPixelMatrixColumns, slide.TotalPixelMatrixRows = wide, high
    slide.SamplesPerPixel, slide.PhotometricInterpretation, slide.PlanarConfiguration = 3, "YBR_FULL_422", 0
    slide.BitsAllocated = slide.BitsStored = 8
    slide.HighBit, slide.PixelRepresentation = 7, 0
    slide.DimensionOrganizationType = "TILED_FULL"
    slide.FrameOfReferenceUID, slide.TotalPixelMatrixFocalPlanes, slide.NumberOfOpticalPaths = "1.2.5", 1, 1
    measures, groups, path = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [0.0005 * SIDE / high] * 2
    groups.PixelMeasuresSequence = [measures]
    slide.SharedFunctionalGroupsSequence = [groups]
    path.OpticalPathIdentifier = "1"
    slide.OpticalPathSequence = [path]
    slide.PixelData = encapsulate(tiles)
    slide["PixelData"].VR = "OB"
    slide["PixelData"].is_undefined_length = True
    slide.file_meta = FileMetaDataset()
    slide.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    slide.save_as(file, enforce_file_format=True)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, series, picture = tmp_path_factory.mktemp("slide"), generate_uid(), base()
    level(folder / "1.dcm", picture[::16, ::16], series, "VOLUME RESAMPLED", 3)
    level(folder / "2.dcm", picture, series, "VOLUME NONE", 1)
    level(folder / "3.dcm", picture[:512, :300], series, "LABEL NONE", 4)
    return folder


def test_the_files_of_a_dicom_slide_are_one_item_of_tiles(slide: Path) -> None:
    found = find(slide)
    assert {group.kind: group.count for group in found.passed_over} == {
        "smaller levels of DICOM slides": 1, "labels and overviews of DICOM slides": 1,
    }  # fmt: skip
    (item,) = items_of(found.refs)
    assert (item.path, item.kind) == ("2.dcm", "slide")
    assert item.series
    assert item.patient
    assert "PatientName" in item.identifying
    lefts = {left for left, _, _, _ in item.places}  # tissue, without the glass at the right
    assert max(lefts) < 0.5
    assert {round(width, 3) for _, _, width, _ in item.places} == {0.083}  # 256 pixels of 1 micron
    inside = next(
        ref for ref, (left, top, _, _) in zip(item.refs, item.places, strict=True) if left > 0.15 and top > 0.3
    )
    assert np.abs(np.asarray(read_image(inside), float).mean((0, 1)) - PINK).max() < 8
    overview = np.asarray(read_image(item.middle), float)
    assert overview.shape == (384, 384, 3)
    assert np.abs(overview[190, 100] - PINK).max() < 12


def test_a_small_slide_is_one_picture(tmp_path: Path) -> None:
    level(tmp_path / "a.dcm", base()[::8, ::8], generate_uid(), "VOLUME NONE", 1)
    (ref,) = find_images(tmp_path)
    assert ref.frame is None
    assert read_image(ref).size == (768, 768)


def test_a_slide_in_an_archive_is_there_whatever_was_read_before(slide: Path, tmp_path: Path) -> None:
    """Its files are read one by one there, so that a smaller level is a picture of its own."""
    for name in ("a.zip", "b.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file in sorted(slide.iterdir()):
                archive.write(file, f"slide/{file.name}")
        found = find(tmp_path / name)
        assert {item.path: item.kind for item in items_of(found.refs)} == {
            "slide/1.dcm": "image",
            "slide/2.dcm": "slide",
        }
        assert {group.kind: group.count for group in found.passed_over} == {"labels and overviews of DICOM slides": 1}
