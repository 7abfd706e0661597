"""Each kind of file that 0.1.0 read wrongly, or not at all, and what was passed over without a word."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLSLossless
from test_images import RAMP, dicom, grey, pixels, reason

from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import ImageRef, find, mostly_passed_over, read_grey, read_image, read_picture
from autoannotate.images.find import remember_export
from autoannotate.images.items import items_of

GRADIENT = np.linspace(0, 1, 64 * 48).reshape(48, 64)


def notes(file: Path) -> str:
    return " ".join(read_picture(ImageRef(file.name, file)).notes)


def counts(folder: Path) -> dict[str, int]:
    return {group.kind: group.count for group in find(folder).passed_over}


# --- what a file is, its content says ---------------------------------------------------------------------------


def test_dicom_goes_before_the_tiff_in_its_preamble(tmp_path: Path) -> None:
    file = dicom(tmp_path / "scan", RAMP)
    expected = pixels(file)
    data = file.read_bytes()
    file.write_bytes(b"II*\0\x08\0\0\0".ljust(128, b"\0") + data[128:])
    assert (pixels(file) == expected).all()
    (tmp_path / "scan.tif").write_bytes(file.read_bytes())
    assert (pixels(tmp_path / "scan.tif") == expected).all()


def test_dicom_without_preamble_or_ending_or_with_a_wrong_one(tmp_path: Path) -> None:
    file = dicom(tmp_path / "a.dcm", RAMP)
    data, expected = file.read_bytes(), pixels(file)
    for name, content in (("bare", data[132:]), ("a.jpg", data), ("a.png", data[132:])):
        (tmp_path / name).write_bytes(content)
        assert (pixels(tmp_path / name) == expected).all()
    assert len(find(tmp_path).refs) == 4


def test_dicom_that_lost_the_bytes_before_its_first_word(tmp_path: Path) -> None:
    whole = dicom(tmp_path / "whole.dcm", RAMP, SeriesInstanceUID="1.2.3", Modality="CT")
    for name in ("cut.dcm", "cut"):
        (tmp_path / name).write_bytes(whole.read_bytes()[128:])
        assert (pixels(tmp_path / name) == pixels(whole)).all()
    assert {item.kind for item in items_of(find(tmp_path).refs)} == {"series"}


def test_all_pages_of_a_bigtiff_count(tmp_path: Path) -> None:
    for name, big in (("big.tif", True), ("classic.tif", False)):
        tifffile.imwrite(tmp_path / name, np.arange(5 * 64 * 64, dtype=np.uint16).reshape(5, 64, 64) % 251, bigtiff=big)
    assert [ref.frame for ref in find(tmp_path / "big.tif").refs] == [0, 1, 2, 3, 4]
    assert (pixels(tmp_path / "big.tif", 3) == pixels(tmp_path / "classic.tif", 3)).all()


def test_a_tiff_cut_between_pages_says_that_some_are_missing(tmp_path: Path) -> None:
    pages = [Image.fromarray((RAMP // 16).astype(np.uint8) + number) for number in range(3)]
    for name, big in (("classic.tif", False), ("big.tif", True)):
        pages[0].save(tmp_path / name, "TIFF", save_all=True, append_images=pages[1:], big_tiff=big)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(whole[: 2 * len(whole) // 3 - 20])
        assert not any(read_picture(ref).notes for ref in find(tmp_path / name).refs)
        first = find(tmp_path / f"cut-{name}").refs[0]
        assert read_picture(first).notes == ("The file is cut short: pages that follow are missing.",)


def test_channels_that_are_not_shown_and_volumes_in_a_page_are_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "5.tif", np.dstack([RAMP] * 5), photometric="minisblack", planarconfig="contig")
    assert notes(tmp_path / "5.tif") == "The first of 5 channels is shown."
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((8, 32, 32), np.uint8), volumetric=True, tile=(8, 32, 32))
    assert "volumes" in reason(tmp_path / "deep.tif")


def test_a_pyramid_is_one_image(tmp_path: Path) -> None:
    base = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "slide.svs", bigtiff=True) as tiff:
        tiff.write(base, tile=(128, 128), photometric="rgb", description="Aperio Image Library v11|MPP = 0.25")
        tiff.write(base[::8, ::8], photometric="rgb")
        tiff.write(base[::4, ::4], tile=(128, 128), photometric="rgb")
    with tifffile.TiffWriter(tmp_path / "other.tif") as tiff:
        for step in (1, 2, 4):
            tiff.write(base[::step, ::step], tile=(128, 128), photometric="rgb")
    assert [ref.path for ref in find(tmp_path).refs] == ["other.tif", "slide.svs"]
    assert pixels(tmp_path / "slide.svs").shape == (512, 512, 3)


# --- pictures are right -----------------------------------------------------------------------------------------


def test_colours_deeper_than_8_bits_are_scaled_as_greys_are(tmp_path: Path) -> None:
    import imagecodecs

    colour = (np.dstack([GRADIENT, GRADIENT[::-1], GRADIENT[:, ::-1]]) * 4095).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(colour))
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb")
    tifffile.imwrite(tmp_path / "planar.tif", colour.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "float.tif", colour.astype(np.float32), photometric="rgb")
    (tmp_path / "a.ppm").write_bytes(b"P6\n64 48\n65535\n" + colour.astype(">u2").tobytes())
    dicom(tmp_path / "a.dcm", colour)
    expected = (colour / 4095 * 255).astype(int)
    for file in sorted(tmp_path.iterdir()):
        assert np.abs(pixels(file).astype(int) - expected).max() <= 4, file.name


def test_tiffs_of_any_depth_and_order(tmp_path: Path) -> None:
    for dtype in (np.float64, np.float32, np.int16, np.uint32, np.float16):
        tifffile.imwrite(tmp_path / f"{np.dtype(dtype).name}.tif", (GRADIENT * 1000).astype(dtype))
    for file in tmp_path.iterdir():
        assert np.abs(pixels(file)[..., 0].astype(int) - (GRADIENT * 255).astype(int)).max() <= 4, file.name
    ink = (np.dstack([GRADIENT, GRADIENT * 0, GRADIENT * 0, GRADIENT * 0]) * 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "cmyk.tif", ink.transpose(2, 0, 1), photometric="separated", planarconfig="separate")
    colour = (np.dstack([GRADIENT, GRADIENT[::-1], GRADIENT[:, ::-1]]) * 255).astype(np.uint8)
    for way in ("png", "jpegxl", "lerc"):  # Pillow has no decoder
        tifffile.imwrite(tmp_path / f"{way}.tif", colour, photometric="rgb", compression=way)
        assert np.abs(pixels(tmp_path / f"{way}.tif").astype(int) - colour).max() <= 1, way
    signed = (GRADIENT * 255 - 128).astype(np.int8)
    tifffile.imwrite(tmp_path / "signed.tif", signed, photometric="minisblack")
    assert np.abs(pixels(tmp_path / "signed.tif")[..., 0].astype(int) - (signed.astype(int) + 128)).max() <= 3
    opaque = np.dstack([colour.astype(np.uint16) * 16, np.full((48, 64), 4095, np.uint16)])
    tifffile.imwrite(tmp_path / "opaque.tif", opaque, photometric="rgb", extrasamples=["unassalpha"])
    assert np.abs(pixels(tmp_path / "opaque.tif").astype(int) - colour).max() <= 3
    whole = (tmp_path / "int16.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:12])
    assert "damaged or cut short" in reason(tmp_path / "cut.tif")
    compression = b"\x03\x01\x03\0\1\0\0\0"
    (tmp_path / "unknown.tif").write_bytes(whole.replace(compression + b"\1\0", compression + b"\x1d\x86"))
    assert "(number 34333)" in reason(tmp_path / "unknown.tif")
    found = pixels(tmp_path / "cmyk.tif").astype(int)
    assert found[..., 1:].min() >= 250
    assert found[0, 0, 0] == 255
    assert found[-1, -1, 0] <= 3


@pytest.mark.parametrize(
    ("tags", "size"),
    [
        ({"PixelAspectRatio": [4, 3]}, (64, 85)),
        ({"PixelSpacing": [0.5, 1.0]}, (128, 64)),
        ({"PixelSpacing": [1.0, 1.0], "PixelAspectRatio": [4, 3]}, (64, 64)),
        ({"ImagerPixelSpacing": [2.0, 1.0]}, (64, 128)),
        ({"PixelSpacing": [1000.0, 0.001]}, (64, 64)),
    ],
)
def test_pixels_that_are_not_square_keep_shapes_true(tmp_path: Path, tags: dict[str, object], size: tuple) -> None:
    file = dicom(tmp_path / "a.dcm", RAMP, **tags)
    ref = ImageRef("a.dcm", file)
    assert read_picture(ref).image.size == size
    deep = read_grey(ref)
    assert deep is not None
    assert deep.values.shape == size[::-1]


def without(file: Path, *names: str) -> Path:
    dataset = dcmread(file)
    for name in names:
        delattr(dataset, name)
    dataset.save_as(file)
    return file


def test_attributes_with_a_usual_value_take_it_and_say_so(tmp_path: Path) -> None:
    expected = pixels(dicom(tmp_path / "a.dcm", RAMP))
    for name in ("PhotometricInterpretation", "PixelRepresentation", "BitsStored", "SamplesPerPixel"):
        file = without(dicom(tmp_path / f"{name}.dcm", RAMP), name)
        assert (pixels(file) == expected).all()
        assert f"{name} is missing" in notes(file)
    lower = dicom(tmp_path / "lower.dcm", RAMP, PhotometricInterpretation="monochrome2")
    assert (pixels(lower) == expected).all()
    for slope, words in ((None, "RescaleSlope and RescaleIntercept have no usable value"), (0, "RescaleSlope is 0")):
        file = dicom(tmp_path / f"slope{slope}.dcm", RAMP, RescaleSlope=slope, RescaleIntercept=slope)
        assert (pixels(file) == expected).all()
        assert words in notes(file)
    odd = dicom(tmp_path / "odd.dcm", RAMP, PhotometricInterpretation="GREYISH")
    assert (pixels(odd) == expected).all()
    assert "PhotometricInterpretation has no usable value" in notes(odd)
    full = dicom(tmp_path / "full.dcm", np.dstack([RAMP.astype(np.uint8)] * 3), PhotometricInterpretation="YBR_FULL")
    shared = dicom(
        tmp_path / "422.dcm", np.dstack([RAMP.astype(np.uint8)] * 3), PhotometricInterpretation="YBR_FULL_422"
    )
    assert (pixels(shared) == pixels(full)).all()
    assert "YBR_FULL was assumed" in notes(shared)
    assert notes(dicom(tmp_path / "whole.dcm", RAMP)) == ""
    assert "lacks Rows" in reason(without(dicom(tmp_path / "rows.dcm", RAMP), "Rows"))


def test_faulty_lookup_tables_do_not_cost_the_picture(tmp_path: Path) -> None:
    from pydicom import Dataset

    expected = pixels(dicom(tmp_path / "a.dcm", RAMP))
    short = Dataset()
    short.LUTDescriptor, short.LUTData = [4096, 0, 16], b"\1\0\2\0\3\0"
    short["LUTData"].VR = "OW"
    for number, table in enumerate((Dataset(), short)):
        for name in ("ModalityLUTSequence", "VOILUTSequence"):
            file = dicom(tmp_path / f"{name}{number}.dcm", RAMP, **{name: Sequence([table])})
            assert (pixels(file) == expected).all()
            assert "faulty" in notes(file)
    entries = np.linspace(255, 0, 4096).astype(np.uint16)
    for bits, data in ((12, entries * 16), (8, entries), (8, entries.astype(np.uint8)), (99, entries)):
        whole = Dataset()
        whole.LUTDescriptor, whole.LUTData = [4096, 0, bits], data.tobytes()
        whole["LUTData"].VR = "OW"
        for name in ("ModalityLUTSequence", "VOILUTSequence"):
            file = dicom(tmp_path / "whole.dcm", RAMP, **{name: Sequence([whole])})
            assert np.abs(pixels(file).astype(int) - (255 - expected)).max() <= 4, (name, bits, data.dtype)
            assert not notes(file)
    odd = dicom(tmp_path / "palette.dcm", RAMP, PhotometricInterpretation="PALETTE COLOR")
    assert (pixels(odd) == expected).all()
    assert "palette" in notes(odd)


def test_intensities_of_x_rays_are_not_what_angiography_shows(tmp_path: Path) -> None:
    from pydicom import Dataset

    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 16], np.linspace(80, 3800, 256).astype(np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    grey = (RAMP // 16).astype(np.uint8)
    tags = {"Modality": "XA", "ModalityLUTSequence": Sequence([table]), "WindowCenter": 128, "WindowWidth": 256}
    expected = pixels(dicom(tmp_path / "plain.dcm", grey, WindowCenter=128, WindowWidth=256))
    for relationship in ("LOG", "DISP"):
        file = dicom(tmp_path / "x.dcm", grey, PixelIntensityRelationship=relationship, **tags)
        assert (pixels(file) == expected).all()
        assert "intensity of the X-rays" in notes(file)
    assert pixels(dicom(tmp_path / "linear.dcm", grey, PixelIntensityRelationship="LIN", **tags)).mean() > 200
    table.LUTDescriptor = [256, 0, 8]  # states 8 bits, and holds more
    file = dicom(tmp_path / "deeper.dcm", grey, **(tags | {"Modality": "CR"}))
    assert (pixels(file) == expected).all()
    assert "faulty" in notes(file)


def compressed(file: Path, syntax: str, data: bytes, **tags: object) -> Path:
    dicom(file, RAMP, **tags)
    dataset = dcmread(file)
    known = {".4.110": ".4.201", ".8.1\0": ".4.80", ".1.98": ".4.81"}  # pydicom writes no syntax that it does not know
    ending = next((name for name in known if f"{syntax}\0".endswith(name) or syntax.endswith(name)), "")
    dataset.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2{known[ending]}" if ending else syntax)
    dataset.PixelData = encapsulate([data])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(file, implicit_vr=False, little_endian=True)
    if ending:
        file.write_bytes(file.read_bytes().replace(f"1.2{known[ending]}".encode(), f"1.2{ending}".encode(), 1))
    return file


def test_every_compression_that_a_wheel_decodes_is_read_and_others_are_named(tmp_path: Path) -> None:
    import imagecodecs

    expected = pixels(dicom(tmp_path / "a.dcm", RAMP, BitsStored=12))
    lossless = {
        str(JPEGLSLossless): imagecodecs.jpegls_encode(RAMP),
        "1.2.840.10008.1.2.4.110": imagecodecs.jpegxl_encode(RAMP, lossless=True),
        "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_encode(RAMP, level=0, codecformat="j2k"),
        "1.2.840.10008.1.2.1.98": RAMP.tobytes(),
        "1.2.840.10008.1.2.8.1": zlib.compress(RAMP.tobytes())[2:-4],
    }
    for number, (syntax, data) in enumerate(lossless.items()):
        found = pixels(compressed(tmp_path / f"{number}.dcm", syntax, data, BitsStored=12))
        assert np.abs(found.astype(int) - expected).max() <= 1, syntax
    twelve = imagecodecs.jpeg_encode(RAMP, level=99, bitspersample=12)
    found = pixels(compressed(tmp_path / "twelve.dcm", str(JPEGExtended12Bit), twelve, BitsStored=12))
    assert np.abs(found.astype(int) - expected).mean() < 3
    (tmp_path / "twelve.jpg").write_bytes(twelve)
    assert pixels(tmp_path / "twelve.jpg").shape == (64, 64, 3)
    video = compressed(tmp_path / "video.dcm", "1.2.840.10008.1.2.4.102", b"\0\0\0\x18")
    assert "video" in reason(video)
    assert "(1.2.840.10008.1.2.4.102)" in reason(video)
    private = reason(compressed(tmp_path / "private.dcm", "1.2.3.4.5", b"abcd"))
    assert "1.2.3.4.5" in private
    assert "pip install" not in private


# --- what is no picture -----------------------------------------------------------------------------------------


def test_signed_values_of_jpeg_ls_have_their_sign(tmp_path: Path) -> None:
    import imagecodecs

    values = (np.arange(64 * 64).reshape(64, 64) - 2048).astype(np.int16)  # 12 bits
    plain = dicom(tmp_path / "plain.dcm", values, BitsStored=12, PixelRepresentation=1)
    packed = dcmread(plain)
    packed.PixelData = encapsulate([imagecodecs.jpegls_encode((values.astype(int) & 0xFFF).astype(np.uint16))])
    packed["PixelData"].VR = "OB"
    packed["PixelData"].is_undefined_length = True
    packed.file_meta.TransferSyntaxUID = JPEGLSLossless
    packed.save_as(tmp_path / "jls.dcm")
    assert (pixels(tmp_path / "jls.dcm") == pixels(plain)).all()


def test_objects_that_are_no_pictures_are_passed_over_and_counted(tmp_path: Path) -> None:
    storage = "1.2.840.10008.5.1.4.1.1."
    grey(tmp_path / "image.png")
    for number, (sop, modality) in enumerate((("66.4", "SEG"), ("66.4", "SEG"), ("481.2", "RTDOSE"), ("11.1", "PR"))):
        dicom(tmp_path / f"{number}.dcm", RAMP, SOPClassUID=storage + sop, Modality=modality)
    found = find(tmp_path)
    assert [ref.path for ref in found.refs] == ["image.png"]
    assert counts(tmp_path) == {
        "DICOM segmentations": 2, "DICOM radiotherapy doses": 1, "DICOM presentation states": 1,
    }  # fmt: skip
    warning = mostly_passed_over(found.passed_over, 1)
    assert warning is not None
    assert warning.startswith("4 of 5 files are of a kind that is not read: DICOM segmentations (2)")


@pytest.mark.parametrize(
    ("sop", "words"),
    [
        ("88.33", "structured report"),
        ("88.59", "key object"),
        ("481.3", "structure set"),
        ("481.5", "plan"),
        ("9.1.1", "waveform"),
        ("104.1", "document"),
        ("66.1", "registration"),
        ("7", "without pixel data"),
    ],
)
def test_dicom_without_a_picture_says_what_it_is(tmp_path: Path, sop: str, words: str) -> None:
    file = dicom(tmp_path / "a.dcm", RAMP, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{sop}", Modality="OT")
    assert words in reason(without(file, "PixelData"))


@pytest.mark.parametrize("tag", [b"\x08\0\x16\0UI", b"\x02\0\x10\0UI"])
def test_a_damaged_length_puts_no_part_of_the_header_into_a_reason(tmp_path: Path, tag: bytes) -> None:
    whole = dicom(tmp_path / "whole.dcm", RAMP).read_bytes()
    start, told = whole.index(tag) + len(tag), set()
    for length in (*range(0, 40, 2), 200, 2000):
        (tmp_path / "a.dcm").write_bytes(whole[:start] + length.to_bytes(2, "little") + whole[start + 2 :])
        try:
            read_picture(ImageRef("a.dcm", tmp_path / "a.dcm"))
        except UnreadableImageError as error:
            told.add(str(error))
    assert told
    assert all(sentence.isprintable() for sentence in told)
    assert not [sentence for sentence in told if any(part in sentence for part in ("Doe", "Jane", "4711", "1.2.3.4.5"))]


def test_each_file_is_an_image_or_counted_under_a_kind(tmp_path: Path) -> None:
    grey(tmp_path / "image.png")
    files = {
        "report.pdf": b"%PDF-1.7", "archive": b"PK\x03\x04" + bytes(40), "clip.mp4": b"\0\0\0\x18ftypmp42", "a.csv": b"path\n",
        "notes": b"a note", "DICOMDIR": b"", ".DS_Store": b"x", "photo.psd": b"8BPS" + bytes(9), "b.xyz": bytes(range(200)),
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = find(tmp_path)
    assert [ref.path for ref in found.refs] == ["image.png"]
    assert sum(group.count for group in found.passed_over) == len(files)
    assert counts(tmp_path).keys() == {
        "PDF documents", "archives", "videos", "tables", "text files", "DICOMDIR", "hidden and system files", "Photoshop files",
        ".xyz files",
    }  # fmt: skip
    assert all(group.reason for group in found.passed_over)
    (tmp_path / "image.png").unlink()
    with pytest.raises(InputError, match=r"PDF documents \(1; pictures are not taken out of documents\)"):
        find(tmp_path)


def test_a_run_and_its_exports_are_never_its_own_input(tmp_path: Path) -> None:
    grey(tmp_path / "a.png")
    run = tmp_path / "autoannotate-run"
    grey(run / "exports" / "imagefolder" / "chest" / "a.png")
    (run / "run.json").write_text(json.dumps({"version": "0.2", "classes": ["a", "b"]}))
    (run / "labels.csv").write_text("path,label\n")
    grey(tmp_path / "elsewhere" / "chest" / "a.png")
    remember_export(run, [tmp_path / "elsewhere"])
    assert [ref.path for ref in find(tmp_path).refs] == ["a.png"]
    assert counts(tmp_path) == {"files of runs and exports": 5}
    (tmp_path / "run.json").write_text((run / "run.json").read_text())  # a run whose folder is that of the images
    grey(tmp_path / "exports" / "a.png")
    assert [ref.path for ref in find(tmp_path).refs] == ["a.png"]
    other = tmp_path / "b" / "run.json"
    grey(tmp_path / "b" / "b.png")
    other.write_text('{"name": "of another program"}')
    assert [ref.path for ref in find(tmp_path).refs] == ["a.png", "b/b.png"]


# --- more formats -----------------------------------------------------------------------------------------------


def test_the_same_volume_looks_the_same_in_every_format(tmp_path: Path) -> None:
    import nrrd

    values = np.random.default_rng(0).integers(0, 1000, (10, 12, 5)).astype(np.int16)  # x to the right, y to the front
    affine = np.diag([2.0, 1.0, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(values[::-1, :, ::-1], np.diag([-2.0, 1.0, -4.0, 1.0])), tmp_path / "flipped.nii")
    directions = {"space": "left-posterior-superior", "space directions": np.diag([-2.0, -1.0, 4.0])}
    nrrd.write(str(tmp_path / "a.nrrd"), values, directions)
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = {packed}\n"
        "TransformMatrix = -1 0 0 0 -1 0 0 0 1\nElementSpacing = 2 1 4\nDimSize = 10 12 5\nElementType = MET_SHORT\n"
        "ElementDataFile = {where}\n"
    )
    voxels = values.transpose(2, 1, 0).tobytes()
    (tmp_path / "a.mha").write_bytes(header.format(packed=True, where="LOCAL").encode() + zlib.compress(voxels))
    (tmp_path / "b.mhd").write_text(header.format(packed=False, where="b.raw"))
    (tmp_path / "b.raw").write_bytes(voxels)
    found = find(tmp_path)
    assert len(found.refs) == 25
    assert counts(tmp_path) == {"voxels of volumes": 1}
    first = pixels(tmp_path / "a.nii.gz", 1)
    assert first.shape == (12, 20, 3)  # the front at the top, square pixels
    for name in ("flipped.nii", "a.nrrd", "a.mha", "b.mhd"):
        assert (pixels(tmp_path / name, 1) == first).all(), name
    written = " ".join(str(value) for value in values.transpose(2, 1, 0).ravel())
    text = header.format(packed=False, where="LOCAL").replace("BinaryData = True", "BinaryData = False") + written
    others = {
        "text.mha": text.encode(),
        "gzip.mha": header.format(packed=True, where="LOCAL").encode() + gzip.compress(voxels),
        "plain.nii.gz": gzip.decompress((tmp_path / "a.nii.gz").read_bytes()),  # names that say the opposite
        "packed.nii": (tmp_path / "a.nii.gz").read_bytes(),
    }
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
        assert (pixels(tmp_path / name, 1) == first).all(), name
    nrrd.write(str(tmp_path / "list.nhdr"), values, {"encoding": "raw"})
    listed = (tmp_path / "list.nhdr").read_text().replace("data file: list.raw", "data file: LIST\na.raw\nb.raw")
    (tmp_path / "list.nhdr").write_text(listed)
    assert "over many files" in reason(tmp_path / "list.nhdr")
    (tmp_path / "scene.tre").write_text("ObjectType = Scene\nNDims = 3\nNObjects = 1\n")
    assert counts(tmp_path)["MetaIO scenes"] == 1
    deep = read_grey(ImageRef("a", tmp_path / "a.nii.gz", 1))
    assert deep is not None
    assert deep.values[0, 0] == values[-1, -1, 1]  # the patient's right and front


def test_four_dimensions_analyze_and_label_maps(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (8, 8, 3, 4)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    nibabel.save(nibabel.AnalyzeImage(values[..., 0].astype(np.int16), None), tmp_path / "b.img")
    mask = nibabel.Nifti1Image((values[..., 0] > 9).astype(np.uint8), np.eye(4))
    mask.header.set_intent("label")
    nibabel.save(mask, tmp_path / "mask.nii")
    found = find(tmp_path)
    assert [ref.path for ref in found.refs] == [f"{name}#{k}" for name in ("a.nii", "b.hdr") for k in range(3)]
    assert counts(tmp_path) == {"NIfTI label maps": 1, "voxels of volumes": 1}
    assert "first of 4 volumes" in " ".join(read_picture(found.refs[0]).notes)
    assert read_picture(found.refs[-1]).image.size == (8, 8)


def test_volumes_of_neuroimaging_programs_and_of_philips_scanners(tmp_path: Path) -> None:
    values = np.arange(6 * 7 * 5, dtype=np.int16).reshape(6, 7, 5)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 4, 1])), tmp_path / "a.nii")
    nibabel.save(nibabel.MGHImage(values, np.diag([1, 1, 4, 1])), tmp_path / "a.mgz")
    assert len(find(tmp_path).refs) == 10
    assert (pixels(tmp_path / "a.mgz", 2) == pixels(tmp_path / "a.nii", 2)).all()
    theirs = Path(nibabel.__file__).parent / "tests" / "data"
    if not theirs.is_dir():
        pytest.skip("this nibabel ships no test data")
    for name in ("phantom_EPI_asc_CLEAR_2_1.PAR", "minc1_4d.mnc", "example4d+orig.HEAD"):
        values = nibabel.load(theirs / name).get_fdata()[..., 0].astype(float)
        refs = [ref for ref in find(theirs).refs if ref.path.startswith(f"{name}#")]
        shown = np.stack([np.asarray(read_image(ref)).astype(float)[..., 0] for ref in refs])
        low, high = np.percentile(values, (0.5, 99.5))
        assert abs(shown.mean() - np.clip((values - low) / (high - low) * 255, 0, 255).mean()) < 1.5, name
    assert {group.kind: group.count for group in find(theirs).passed_over}["voxels of volumes"] == 5
    assert "not beside it" in reason(theirs / "analyze.hdr", 0)
    assert "not beside it" in reason(theirs / "T2.PAR", 0)


def test_jpeg_ls_lab_and_what_gzip_and_run_lengths_look_like(tmp_path: Path) -> None:
    import imagecodecs

    shades = (np.arange(64 * 48).reshape(48, 64) * 20).astype(np.uint16)
    (tmp_path / "a.jls").write_bytes(imagecodecs.jpegls_encode(shades))
    grey(tmp_path / "b.png")
    (tmp_path / "c.dcm.gz").write_bytes(gzip.compress(dicom(tmp_path / "c.dcm", RAMP).read_bytes()))
    (tmp_path / "d.tar.gz").write_bytes(gzip.compress(bytes(600)))
    (tmp_path / "e.rle").write_bytes(bytes((2, 0, 0, 0, 64, 0, 0, 0)) + bytes(range(250)))  # no DICOM of group 2
    assert [ref.path for ref in find(tmp_path).refs] == ["a.jls", "b.png", "c.dcm"]
    assert counts(tmp_path) == {"files compressed by gzip": 1, "archives": 1, ".rle files": 1}
    shown = pixels(tmp_path / "a.jls").astype(float)
    assert shown.shape == (48, 64, 3)
    assert np.corrcoef(shown[..., 0].ravel(), shades.ravel())[0, 1] > 0.999
    lab = np.full((8, 8, 3), (130, 80, 216), np.uint8)  # L = 51, a = 80, b = -40: a strong magenta
    tifffile.imwrite(tmp_path / "lab.tif", lab, photometric="cielab")
    tifffile.imwrite(tmp_path / "planar.tif", lab.transpose(2, 0, 1), photometric="cielab", planarconfig="separate")
    tifffile.imwrite(tmp_path / "deep.tif", lab.astype(np.uint16) << 8, photometric="cielab")
    tifffile.imwrite(tmp_path / "icc.tif", lab ^ np.array((0, 128, 128), np.uint8), photometric="icclab")
    for name in ("lab", "planar", "deep", "icc"):
        red, green, blue = pixels(tmp_path / f"{name}.tif")[0, 0].astype(int)
        assert red > 150, name
        assert green < 40, name
        assert blue > 150, name


def test_avif_jpeg_xl_and_heic(tmp_path: Path) -> None:
    import imagecodecs
    import pillow_heif

    image = Image.new("RGB", (32, 16), (200, 100, 50))
    image.save(tmp_path / "a.avif")
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(np.asarray(image), lossless=True))
    pillow_heif.from_pillow(image).save(tmp_path / "a.heic")
    assert len(find(tmp_path).refs) == 3
    for file in tmp_path.iterdir():
        found = pixels(file)
        assert found.shape == (16, 32, 3)
        assert np.abs(found.astype(int) - (200, 100, 50)).max() <= 4, file.name
    for name in ("a.avif", "a.heic"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:60])
        assert "damaged or cut short" in reason(tmp_path / name)
        (tmp_path / name).write_text("a note, which somebody has named so")
        assert "named like an image" in reason(tmp_path / name)


def test_npz_files_of_other_makers_get_a_sentence(tmp_path: Path) -> None:
    cases = {
        "five": (np.zeros((2, 8, 8, 8, 8), np.uint8), "are not stacks of images"),
        "words": (np.array([["a", "b"]] * 2)[:, :, None], "hold no pixel values but text"),
        "objects": (np.array([[[None]]], dtype=object), "hold Python objects"),
    }
    for name, (images, words) in cases.items():
        np.savez(tmp_path / f"{name}.npz", train_images=images)
        assert words in reason(tmp_path / f"{name}.npz")


# --- the files that showed it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "images", "unreadable"),
    [("01", 4, 0), ("02", 78, 0), ("05", 20, 0), ("06", 23, 0), ("07", 3, 0), ("08", 3, 0), ("10", 1, 0), ("11", 1, 0),
     ("12", 1, 0), ("13", 1, 0), ("14", 2, 0), ("16", 3, 0), ("49", 40, 4)],
)  # fmt: skip
def test_the_files_that_showed_it(data_dir: Path, case: str, images: int, unreadable: int) -> None:
    folder = next((data_dir.parent / "cases").glob(f"{case}-*"), None)
    if folder is None:
        pytest.skip(f"case {case} is not there")
    found, lost = find(folder).refs, 0
    for ref in found:
        try:
            shown = np.asarray(read_picture(ref).image)
            assert shown.max() - shown.min() > 100, ref.path
        except UnreadableImageError:
            lost += 1
    assert (len(found), lost) == (images, unreadable)


def test_segmentations_and_doses_are_pictures_where_asked_for(tmp_path: Path) -> None:
    import shutil

    from pydicom.data import get_testdata_file

    for name in ("liver_1frame.dcm", "rtdose.dcm", "rtdose_1frame.dcm", "CT_small.dcm"):
        shutil.copyfile(str(get_testdata_file(name)), tmp_path / name)
    usual = find(tmp_path)
    assert [ref.path for ref in usual.refs] == ["CT_small.dcm"]
    assert {group.kind: group.count for group in usual.passed_over} == {
        "DICOM radiotherapy doses": 2, "DICOM segmentations": 1,
    }  # fmt: skip
    doses = find(tmp_path, ["doses"])
    assert [ref.path for ref in doses.refs] == [
        "CT_small.dcm",
        *(f"rtdose.dcm#{i}" for i in range(15)),
        "rtdose_1frame.dcm",
    ]
    everything = find(tmp_path, ["segmentations", "doses"])
    (mask,) = (ref for ref in everything.refs if "liver" in ref.path)
    assert set(np.unique(np.asarray(read_image(mask)))) == {0, 255}
    assert np.asarray(read_image(doses.refs[5])).std() > 5
    assert find(tmp_path / "liver_1frame.dcm", ["segmentations"]).refs
    with pytest.raises(InputError, match="DICOM segmentations"):
        find(tmp_path / "liver_1frame.dcm")
