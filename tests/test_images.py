"""Which images are found, how they are read, and what is said of those that cannot be."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import tempfile
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import ImageRef, find_images, fingerprint, medmnist, read_image
from autoannotate.images import dicom as dicom_format
from autoannotate.images.scaling import to_8_bit

NAME = "Doe^Jane"


def pixels(file: Path, frame: int | None = None) -> np.ndarray:
    """The image read back, (height, width, 3) uint8."""
    image = read_image(ImageRef(file.name, file, frame))
    assert image.mode == "RGB"
    return np.asarray(image)


def reason(file: Path, frame: int | None = None) -> str:
    """The sentence that says why the file cannot be read."""
    with pytest.raises(UnreadableImageError) as caught:
        read_image(ImageRef(file.name, file, frame))
    return str(caught.value)


def paths(source: Path) -> list[str]:
    return [ref.path for ref in find_images(source)]


def grey(file: Path, value: int = 100) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(file)
    return file


def dicom(
    file: Path, values: np.ndarray, preamble: bool = True, syntax: str = ExplicitVRLittleEndian, **tags: object
) -> Path:
    """A DICOM file of values (height, width), (height, width, 3) or, with NumberOfFrames given, more frames of them."""
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID, dataset.Modality = NAME, "4711-secret", "CT"
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3.4.5"
    one = values[0] if "NumberOfFrames" in tags else values
    dataset.Rows, dataset.Columns = one.shape[:2]
    dataset.SamplesPerPixel = 3 if one.ndim == 3 else 1
    if one.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if one.ndim == 3 else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = values.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    if preamble:
        dataset.save_as(file, enforce_file_format=True)
    else:
        del dataset.file_meta
        dataset.save_as(file, implicit_vr=True, little_endian=True)
    return file


RAMP = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


# --- which images are found -------------------------------------------------------------------------------------


def test_images_come_in_natural_path_order_however_deep(tmp_path: Path) -> None:
    for name in ("b/1.png", "a10.png", "a2.png", "A3.png", "b10/1.png", "b9/1.png", "b/c/2.jpg"):
        grey(tmp_path / name)
    assert paths(tmp_path) == ["a2.png", "A3.png", "a10.png", "b/1.png", "b/c/2.jpg", "b9/1.png", "b10/1.png"]


def test_endings_count_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "a.PNG").write_bytes(grey(tmp_path / "b.png").read_bytes())
    assert paths(tmp_path) == ["a.PNG", "b.png"]


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store",
        "._a.png",
        "Thumbs.db",
        ".git/a.png",
        "__MACOSX/a.png",
        "labels.csv",
        "notes.txt",
        "README",
        "DICOMDIR",
    ],
)
def test_hidden_files_and_files_that_are_no_images_are_passed_over(tmp_path: Path, name: str) -> None:
    grey(tmp_path / "image.png")
    other = tmp_path / name
    other.parent.mkdir(exist_ok=True)
    if name == "DICOMDIR":
        dicom(other, RAMP)
    elif name.endswith(".png"):
        grey(other)
    else:
        other.write_text("path,label\n")
    assert paths(tmp_path) == ["image.png"]


def test_one_file_is_a_source_too(tmp_path: Path) -> None:
    assert paths(grey(tmp_path / "image.png")) == ["image.png"]
    assert len(find_images(str(tmp_path / "image.png"))) == 1


def test_dicom_files_need_no_ending(tmp_path: Path) -> None:
    dicom(tmp_path / "IM000001", RAMP)
    dicom(tmp_path / "1.2.840.113619.2.55", RAMP)
    dicom(tmp_path / "no_preamble", RAMP, preamble=False)
    assert paths(tmp_path) == ["1.2.840.113619.2.55", "IM000001", "no_preamble"]
    assert all(read_image(ref).size == (64, 64) for ref in find_images(tmp_path))


def test_pictures_are_known_by_their_first_bytes_where_the_ending_is_missing(tmp_path: Path) -> None:
    for format in ("JPEG", "PNG", "TIFF", "WEBP", "GIF"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"a_{format}", format=format)
    assert len(find_images(tmp_path)) == 5


def test_linked_folders_are_searched_once_and_loops_end(tmp_path: Path) -> None:
    grey(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    outside = grey(tmp_path.parent / f"{tmp_path.name}-outside" / "2.png").parent
    (tmp_path / "b").symlink_to(outside)
    assert paths(tmp_path) == ["a/1.png", "b/2.png"]


def test_a_link_to_nothing_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert paths(tmp_path) == ["gone.png"]
    assert "link to nothing" in reason(tmp_path / "gone.png")
    with pytest.raises(UnreadableImageError):
        fingerprint(find_images(tmp_path)[0])


def test_pipes_are_passed_over_and_never_waited_for(tmp_path: Path) -> None:
    grey(tmp_path / "image.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert paths(tmp_path) == ["image.png"]


def test_names_in_other_encodings_become_text_that_a_table_can_hold(tmp_path: Path) -> None:
    grey(tmp_path / "röntgen 1.png")
    (tmp_path / os.fsdecode(b"r\xf6ntgen 2.png")).write_bytes((tmp_path / "röntgen 1.png").read_bytes())
    found = find_images(tmp_path)
    assert sorted(ref.path for ref in found) == ["r\\xf6ntgen 2.png", "röntgen 1.png"]
    assert all(read_image(ref) for ref in found)


def test_what_cannot_be_searched_is_one_sentence_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        find_images(tmp_path / "missing")
    with pytest.raises(InputError, match=r"No images are in .*DICOM.*JPEG.*MedMNIST"):
        find_images(tmp_path)
    (tmp_path / "notes.rst").write_text("no image")
    with pytest.raises(InputError, match=r"is not an image.*DICOM"):
        find_images(tmp_path / "notes.rst")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_missing_permission_is_said_for_folders_at_once_and_for_files_one_by_one(tmp_path: Path) -> None:
    grey(tmp_path / "a.png").chmod(0)
    assert "permission" in reason(tmp_path / "a.png")
    (tmp_path / "closed").mkdir(mode=0)
    try:
        with pytest.raises(InputError, match=r"closed.*permission"):
            find_images(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o755)


def test_fingerprints_change_with_the_file_and_the_frame_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = grey(tmp_path / "a.png")
    before = fingerprint(ImageRef("a.png", file))
    assert re.fullmatch("[0-9a-f]{64}", before)
    monkeypatch.chdir(tmp_path)
    assert fingerprint(ImageRef("another/name.png", Path("a.png"))) == before
    assert fingerprint(ImageRef("a.png#0", file, 0)) != before
    assert fingerprint(ImageRef("b.png", grey(tmp_path / "b.png"))) != before
    os.utime(file, ns=(1, 1))
    assert fingerprint(ImageRef("a.png", file)) != before


# --- pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "bmp", "webp", "gif", "jp2", "ppm"])
def test_every_format_comes_back_in_its_colours(tmp_path: Path, ending: str) -> None:
    Image.new("RGB", (32, 16), (200, 100, 50)).save(tmp_path / f"a.{ending}")
    found = pixels(tmp_path / f"a.{ending}")
    assert found.shape == (16, 32, 3)
    assert np.abs(found.astype(int) - (200, 100, 50)).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("a.png" if mode in ("P", "LA") else "a.tif")
    image = Image.new("RGB", (8, 8), "white")
    image.paste("black", (0, 0, 4, 8))
    image.convert(mode).save(file)
    found = pixels(file)
    assert (found[:, :4] == 0).all()
    assert (found[:, 4:] == 255).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_every_depth_of_grey_becomes_rgb(tmp_path: Path, dtype: type) -> None:
    values = np.zeros((8, 8), dtype=dtype)
    values[:, 4:] = 1000
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = pixels(tmp_path / "a.tif")
    assert (found[:, :4] == 0).all()
    assert (found[:, 4:] == 255).all()


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "white")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert pixels(tmp_path / "a.jpg").shape == (40, 20, 3)


def test_broken_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert pixels(tmp_path / "a.jpg").shape == (20, 40, 3)


def test_transparency_lies_on_black_unless_it_hides_everything(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (255, 255, 255, 255))
    image.putpixel((0, 0), (255, 255, 255, 0))
    image.save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png")[0, 0].tolist() == [0, 0, 0]
    assert pixels(tmp_path / "a.png")[1, 1].tolist() == [255, 255, 255]
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(tmp_path / "b.png")
    assert (pixels(tmp_path / "b.png") == 255).all()


def test_a_transparent_colour_of_a_palette_lies_on_black(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)
    assert pixels(tmp_path / "a.png")[0, 0].tolist() == [0, 0, 0]
    assert pixels(tmp_path / "a.png")[4, 4].tolist() == [0, 255, 0]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_stretched_between_robust_percentiles(tmp_path: Path, ending: str) -> None:
    values = np.linspace(1000, 5000, 64 * 64).reshape(64, 64).astype(np.uint16)
    values[0, 0] = 65535  # a hot pixel
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    found = pixels(tmp_path / f"a.{ending}")[..., 0]
    assert found[-1, -1] == 255
    assert found[0, 1] == 0
    assert abs(int(found[32, 32]) - 128) < 5


def test_float_tiff_with_gaps_is_read(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = pixels(tmp_path / "a.tif")
    assert found.min() == 0
    assert found.max() == 255
    assert found[0, 0, 0] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["a.tif", "a.nii", "a.nrrd"])
def test_what_holds_no_numbers_is_not_shown_black(tmp_path: Path, name: str, value: float) -> None:
    values = np.full((16, 16, 4) if name != "a.tif" else (64, 64), value, np.float32)
    if name == "a.tif":
        Image.fromarray(values).save(tmp_path / name)
    elif name == "a.nii":
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / name)
    else:
        nrrd.write(str(tmp_path / name), values)
    with pytest.raises(UnreadableImageError, match="holds no numbers"):
        read_image(find_images(tmp_path)[0])


def test_deep_grey_tiff_that_counts_white_as_zero_is_turned_round(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    Image.fromarray(RAMP).save(file)
    usual = pixels(file)
    black_is_zero = struct.pack("<HHIHH", 262, 3, 1, 1, 0)
    data = file.read_bytes()
    assert data.count(black_is_zero) == 1
    file.write_bytes(data.replace(black_is_zero, struct.pack("<HHIHH", 262, 3, 1, 0, 0)))
    assert (pixels(file) == 255 - usual).all()


def test_each_page_of_a_tiff_is_an_image(tmp_path: Path) -> None:
    pages = [Image.new("L", (8, 8), value) for value in range(0, 240, 20)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    found = find_images(tmp_path)
    assert [ref.path for ref in found] == [f"stack.tif#{index}" for index in range(12)]
    assert [np.asarray(read_image(ref))[0, 0, 0] for ref in found] == list(range(0, 240, 20))
    assert len({fingerprint(ref) for ref in found}) == 12


def test_smaller_copies_inside_a_tiff_are_not_images_of_their_own(tmp_path: Path) -> None:
    pages = [Image.new("L", (64, 64), 10), Image.new("L", (8, 8), 20), Image.new("L", (64, 64), 30)]
    pages[1].encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "slide.tif", save_all=True, append_images=pages[1:])
    assert [np.asarray(read_image(ref))[0, 0, 0] for ref in find_images(tmp_path)] == [10, 30]


def test_animations_are_their_first_picture(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert paths(tmp_path) == ["a.gif"]
    assert pixels(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


# --- DICOM ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_the_window_of_a_dicom_file_decides_what_is_seen(tmp_path: Path, syntax: str) -> None:
    file = dicom(
        tmp_path / "a.dcm", RAMP.astype(np.int16), syntax=syntax,
        RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=[40, 600], WindowWidth=[400, 2800],
    )  # fmt: skip
    found = pixels(file)[..., 0].ravel()
    hounsfield = np.arange(64 * 64) - 1024
    assert (found[hounsfield <= -160] == 0).all()
    assert (found[hounsfield >= 240] == 255).all()
    assert abs(int(found[1024 + 40]) - 127) <= 1


def test_monochrome1_is_turned_round(tmp_path: Path) -> None:
    usual = pixels(dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2000, WindowWidth=4000))
    other = pixels(
        dicom(tmp_path / "b.dcm", RAMP, WindowCenter=2000, WindowWidth=4000, PhotometricInterpretation="MONOCHROME1")
    )
    assert (other == 255 - usual).all()


def test_a_lookup_table_goes_before_a_window(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.LUTData = np.arange(4095, -1, -1, dtype=np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    found = pixels(dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=Sequence([table]), WindowCenter=10, WindowWidth=10))
    assert found[0, 0, 0] == 255
    assert found[-1, -1, 0] == 0


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_other_window_functions(tmp_path: Path, function: str) -> None:
    found = pixels(dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2048, WindowWidth=1000, VOILUTFunction=function))
    assert abs(int(found.ravel()[3 * 2048]) - 127) <= 1
    assert found[0, 0, 0] <= 1
    assert found[-1, -1, 0] >= 254


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("window", [(1e6, 10), (0, 0), (float("nan"), 1)])
def test_a_window_that_shows_nothing_is_not_believed(tmp_path: Path, window: tuple[float, float]) -> None:
    found = pixels(dicom(tmp_path / "a.dcm", RAMP, WindowCenter=str(window[0]), WindowWidth=str(window[1])))
    assert found.min() == 0
    assert found.max() == 255


def test_padding_takes_no_part_in_the_stretch(tmp_path: Path) -> None:
    values = np.full((64, 64), -30000, dtype=np.int16)
    values[16:48, 16:48] = np.linspace(0, 1000, 32 * 32).reshape(32, 32)
    file = dicom(tmp_path / "a.dcm", values, PixelPaddingValue=-30000)
    assert pixels(file)[20:44, 20:44].std() > 40


def test_eight_bit_grey_without_a_window_is_kept_as_it_is(tmp_path: Path) -> None:
    values = np.arange(50, 114, dtype=np.uint8).reshape(8, 8)
    assert (pixels(dicom(tmp_path / "a.dcm", values))[..., 0] == values).all()


def test_colour_dicom_at_eight_and_sixteen_bits(tmp_path: Path) -> None:
    values = np.zeros((8, 8, 3), dtype=np.uint8)
    values[..., 0], values[..., 1] = 200, 100
    assert pixels(dicom(tmp_path / "a.dcm", values))[0, 0].tolist() == [200, 100, 0]
    values[0] = 255
    deep = dicom(tmp_path / "b.dcm", values.astype(np.uint16) << 4, BitsStored=12)
    assert np.abs(pixels(deep)[4, 4].astype(int) - [200, 100, 0]).max() <= 1


def test_palette_colours(tmp_path: Path) -> None:
    tags: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, largest in (("Red", 65535), ("Green", 0), ("Blue", 32768)):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = np.linspace(0, largest, 256).astype(np.uint16).tobytes()
    values = np.array([[0, 255]], dtype=np.uint8)
    assert pixels(dicom(tmp_path / "a.dcm", values, **tags)).tolist() == [[[0, 0, 0], [255, 0, 128]]]


def test_each_frame_of_a_dicom_file_is_an_image(tmp_path: Path) -> None:
    frames = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((12, 8, 8), dtype=np.uint8) * 20
    frames[:, 0, 0] = 255
    for name, syntax in (("a.dcm", ExplicitVRLittleEndian), ("b.dcm", RLELossless)):
        dicom(tmp_path / name, frames, syntax=syntax, NumberOfFrames=12)
    found = find_images(tmp_path)
    assert [ref.path for ref in found] == [f"{name}#{index}" for name in ("a.dcm", "b.dcm") for index in range(12)]
    assert [int(np.asarray(read_image(ref))[4, 4, 0]) for ref in found] == [20 * index for index in range(12)] * 2


def test_each_frame_has_its_own_window_in_enhanced_files(tmp_path: Path) -> None:
    groups = []
    for centre in (1000, 3000):
        voi, group = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = centre, 1000
        group.FrameVOILUTSequence = Sequence([voi])
        groups.append(group)
    file = dicom(
        tmp_path / "a.dcm", np.stack([RAMP, RAMP]), NumberOfFrames=2, PerFrameFunctionalGroupsSequence=Sequence(groups)
    )
    assert abs(int(pixels(file, 0).ravel()[3 * 1000]) - 127) <= 1
    assert abs(int(pixels(file, 1).ravel()[3 * 3000]) - 127) <= 1


def test_one_frame_of_a_large_file_does_not_need_the_memory_of_all(tmp_path: Path) -> None:
    import tracemalloc

    file = dicom(tmp_path / "a.dcm", np.tile(RAMP.astype(np.uint8), (100, 8, 8)), NumberOfFrames=100)
    dicom_format.READER.read(file, 0)
    tracemalloc.start()
    dicom_format.READER.read(file, 57)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 512 * 512


# --- MedMNIST ---------------------------------------------------------------------------------------------------


def test_medmnist_arrays_are_counted_train_val_test(tmp_path: Path) -> None:
    splits = {
        f"{name}_images": np.full((n, 28, 28), value, dtype=np.uint8)
        for name, n, value in (("test", 3, 30), ("train", 11, 10), ("val", 2, 20))
    }
    np.savez_compressed(tmp_path / "set.npz", **splits, train_labels=np.zeros((11, 1)))
    found = find_images(tmp_path)
    assert [ref.path for ref in found] == [f"set.npz#{index}" for index in range(16)]
    assert [int(np.asarray(read_image(ref))[0, 0, 0]) for ref in found] == [10] * 11 + [20] * 2 + [30] * 3


def test_medmnist_colours_and_the_files_themselves(tmp_path: Path, data_dir: Path) -> None:
    folder = data_dir / "eval" / "medmnist"
    with np.load(folder / "retinamnist.npz") as arrays:
        expected = np.concatenate([arrays[f"{split}_images"] for split in ("train", "val", "test")])
    found = find_images(folder / "retinamnist.npz")
    assert len(found) == len(expected) == 1600
    for index in (0, 700, 1100, 1250, 1599, 3):
        assert (np.asarray(read_image(found[index])) == expected[index]).all()


def test_reading_medmnist_frame_by_frame_does_not_unpack_the_file_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "set.npz", train_images=np.zeros((500, 28, 28), dtype=np.uint8))
    found = find_images(tmp_path)
    opened = []
    archive = zipfile.ZipFile
    monkeypatch.setattr(zipfile, "ZipFile", lambda *a, **o: opened.append(a) or archive(*a, **o))
    assert all(medmnist.READER.read(ref.file, ref.frame).image.size == (28, 28) for ref in found)
    assert len(opened) == 2  # the headers, and the images


def test_a_medmnist_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "set.npz"
    for value in (10, 20):
        np.savez(file, train_images=np.full((2, 8, 8), value, dtype=np.uint8))
        os.utime(file, ns=(value, value))
        assert pixels(file, 1)[0, 0, 0] == value


# --- what cannot be read ----------------------------------------------------------------------------------------


def broken_files(folder: Path) -> dict[str, str]:
    """Files that look like images and are none, and what the sentence about each must say."""
    jpeg, png = folder / "cut.jpg", folder / "cut.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for file in (jpeg, png):
        Image.fromarray(noise).save(file)
        file.write_bytes(file.read_bytes()[:900])
    (folder / "empty.png").touch()
    (folder / "empty.dcm").touch()
    (folder / "empty.npz").touch()
    for name in ("text.png", "text.tif", "text.dcm", "text.npz"):
        (folder / name).write_text(f"Patient: {NAME}\n" * 50)
    np.savez(folder / "other.npz", weights=np.zeros(3))
    np.savez(folder / "five.npz", train_images=np.zeros((2, 9, 9, 9, 9), dtype=np.uint8))
    dicom(folder / "report.dcm", RAMP)
    without = dicom(folder / "report.dcm", RAMP)
    import pydicom

    report = pydicom.dcmread(without)
    del report.PixelData
    report.save_as(without)
    cut = dicom(folder / "cut.dcm", RAMP)
    cut.write_bytes(cut.read_bytes()[:-1000])
    dicom(folder / "jpegls.dcm", RAMP)
    swap_syntax(folder / "jpegls.dcm", JPEGLSLossless)
    dicom(folder / "private.dcm", RAMP)
    swap_syntax(folder / "private.dcm", "1.2.3.4.5.6.7")
    dicom(folder / "vast.dcm", RAMP, Rows=65535, Columns=65535)
    dicom(folder / "frames.dcm", RAMP, Rows=0)
    (folder / "bomb.png").write_bytes(png_of_size(60_000, 60_000))
    return {
        "cut.jpg": "damaged or cut short",
        "cut.png": "damaged or cut short",
        "empty.png": "empty",
        "empty.dcm": "empty",
        "empty.npz": "empty",
        "text.png": "named like an image",
        "text.tif": "named like an image",
        "text.dcm": "not DICOM",
        "text.npz": "no archive of arrays",
        "other.npz": "no images as MedMNIST",
        "five.npz": "are not stacks of images",
        "report.dcm": "header without pixel data",
        "cut.dcm": "cut short",
        "jpegls.dcm": r"compressed as JPEG-LS Lossless Image Compression \(1.2.840.10008.1.2.4.80\), is damaged",
        "private.dcm": r"private way, the transfer syntax 1.2.3.4.5.6.7,",
        "vast.dcm": "million pixels",
        "frames.dcm": "damaged: the picture would be 0 rows",
        "bomb.png": "million pixels",
    }


def swap_syntax(file: Path, syntax: str) -> None:
    import pydicom

    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].is_undefined_length = syntax == JPEGLSLossless
    if syntax == JPEGLSLossless:
        from pydicom.encaps import encapsulate

        dataset.PixelData = encapsulate([b"\xff\xd8nonsense\xff\xd9"])
    dataset.save_as(file, implicit_vr=False, little_endian=True)


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def test_files_that_look_like_images_and_are_none_are_found_and_say_why(tmp_path: Path) -> None:
    expected = broken_files(tmp_path)
    assert sorted(paths(tmp_path)) == sorted(expected)
    for name, words in expected.items():
        assert re.search(words, reason(tmp_path / name)), (name, reason(tmp_path / name))


def test_reasons_name_no_path_and_no_patient_and_nothing_else_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in broken_files(tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sentence = reason(tmp_path / name)
        assert not re.search(rf"{NAME}|Jane|secret|{re.escape(str(tmp_path))}|/", sentence)
        assert sentence[0].isupper()
        assert sentence[-1] == "."
        assert "\n" not in sentence
    assert capfd.readouterr() == ("", "")


def test_the_packages_real_dicom_files_are_read_or_refused_in_a_sentence() -> None:
    """pydicom's own test files: every compression, colour space and kind of damage that its authors met."""
    read, refused = 0, 0
    for package, inside in (("pydicom", "data"), ("data_store", "data")):
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        for ref in find_images(Path(spec.origin).parent / inside):
            if ref.frame in (None, 0) and ref.file.stat().st_size < 2_000_000:
                try:
                    assert read_image(ref).mode == "RGB"
                    read += 1
                except UnreadableImageError:
                    refused += 1
    assert read > 140
    assert refused < 120


def test_the_chest_radiographs_are_read(data_dir: Path) -> None:
    found = [np.asarray(read_image(ref)) for ref in find_images(data_dir / "dicom")]
    assert len(found) == 2
    assert all(image.std() > 20 for image in found)


def intact_files() -> dict[str, bytes]:
    """A small file of each kind, the same bytes every time."""
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for ending in ("jpg", "png", "tif", "webp", "gif"):
            Image.fromarray(noise).save(folder / f"a.{ending}")
        dicom(folder / "a.dcm", RAMP[:8, :8].copy(), WindowCenter=5, WindowWidth=9)
        dicom(folder / "a.rle.dcm", RAMP[:8, :8].copy(), syntax=RLELossless)
        np.savez_compressed(folder / "a.npz", train_images=noise)
        return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


INTACT = intact_files()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(INTACT)),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
    kept=st.floats(0, 1),
)
def test_damage_of_any_kind_is_an_unreadable_image_and_no_other_error(
    tmp_path: Path, name: str, changes: list[tuple[float, int]], kept: float
) -> None:
    content = bytearray(INTACT[name])
    for where, byte in changes:
        content[int(where * len(content))] = byte
    file = tmp_path / name
    file.write_bytes(content[: int(kept * len(content))])
    for ref in find_images(file)[:3]:
        with contextlib.suppress(UnreadableImageError):
            assert read_image(ref).mode == "RGB"


def test_many_threads_may_read_at_once_and_leave_the_warning_filters_alone(tmp_path: Path) -> None:
    files = [dicom(tmp_path / f"{index}.dcm", RAMP) for index in range(20)]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert len({image.tobytes() for image in pool.map(pixels, files * 3)}) == 1
    assert warnings.filters == before


# --- scaling ----------------------------------------------------------------------------------------------------

numbers = hnp.arrays(
    dtype=st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]),
    shape=hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
)


@given(numbers)
def test_scaling_keeps_shape_and_order_and_takes_any_number(values: np.ndarray) -> None:
    if not np.isfinite(values).any():
        with pytest.raises(UnreadableImageError, match="no numbers"):
            to_8_bit(values)
        return
    scaled = to_8_bit(values)
    assert scaled.dtype == np.uint8
    assert scaled.shape == values.shape
    order = np.argsort(np.nan_to_num(values.ravel().astype(np.float64), nan=-np.inf), kind="stable")
    assert (np.diff(scaled.ravel()[order].astype(int)) >= 0).all()


@given(hnp.arrays(np.int32, (6, 6), elements=st.integers(-(2**20), 2**20)))
def test_scaling_uses_all_of_the_eight_bits(values: np.ndarray) -> None:
    scaled = to_8_bit(values)
    assert (scaled.min(), scaled.max()) == ((0, 255) if np.ptp(values) else (0, 0))


def test_scaling_as_its_docstring_shows() -> None:
    assert to_8_bit(np.array([0, 1000, 2000, 4000])).tolist() == [0, 63, 127, 255]


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16])
def test_large_pictures_are_stretched_by_a_table_to_the_values_that_each_pixel_alone_would_get(kind: type) -> None:
    info = np.iinfo(kind)
    values = np.random.default_rng(0).integers(info.min, info.max + 1, (300, 401), dtype=kind)
    padded = values > info.max // 2
    for counted in (None, ~padded, padded & ~padded):
        assert (to_8_bit(values, counted) == to_8_bit(values.astype(np.float64), counted)).all()


@pytest.mark.parametrize(("suffix", "mode"), [("jpg", "RGB"), ("jpg", "L"), ("png", "RGB"), ("tif", "L")])
def test_a_large_picture_is_read_no_smaller_than_it_is_needed(tmp_path: Path, suffix: str, mode: str) -> None:
    y, x = np.mgrid[:900, :1200]
    values = (127 + 60 * np.sin(x / 90) + 60 * np.cos(y / 70)).astype(np.uint8)
    file = tmp_path / f"large.{suffix}"
    Image.fromarray(values).convert(mode).save(file, **({"quality": 95} if suffix == "jpg" else {}))
    ref = ImageRef("large", file)
    whole, small = read_image(ref), read_image(ref, 256)
    assert whole.size == (1200, 900)
    assert small.size == (400, 300) or small.size == (600, 450)
    assert read_image(ref, 5000).size == (1200, 900)
    difference = np.abs(np.asarray(small.resize((100, 75)), float) - np.asarray(whole.resize((100, 75)), float))
    assert difference.mean() < 1.5
