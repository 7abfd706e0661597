"""Damage of every kind: each file is an image, a sentence or a count, within its time and memory."""

from __future__ import annotations

import random
import struct
import time
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from test_images import RAMP, dicom, png_of_size

from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import find, isolation, read_image

NOISE = np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8)


def intact(folder: Path) -> dict[str, bytes]:
    """A small file of each format."""
    folder.mkdir()
    for ending in ("jpg", "png", "tif", "webp", "gif", "bmp", "jp2", "avif"):
        Image.fromarray(NOISE).save(folder / f"a.{ending}")
    Image.fromarray(NOISE.astype(np.uint16)[..., 0] * 200).save(folder / "deep.png")
    tifffile.imwrite(
        folder / "pages.tif", np.tile(NOISE[..., 0].astype(np.float64), (5, 1, 1)), photometric="minisblack"
    )
    tifffile.imwrite(folder / "big.tif", NOISE, bigtiff=True, compression="zlib", tile=(16, 16))
    dicom(folder / "a.dcm", RAMP[:8, :8].copy(), WindowCenter=5, WindowWidth=9, RescaleSlope=2, RescaleIntercept=1)
    from pydicom.uid import RLELossless

    dicom(folder / "rle.dcm", RAMP[:8, :8].copy(), syntax=RLELossless)
    nibabel.save(nibabel.Nifti1Image(NOISE[..., :2].astype(np.int16), np.eye(4)), folder / "a.nii")
    nibabel.save(nibabel.Nifti1Image(NOISE[..., :2].astype(np.int16), np.eye(4)), folder / "a.nii.gz")
    import nrrd

    nrrd.write(str(folder / "a.nrrd"), NOISE[..., 0])
    header = b"ObjectType = Image\nNDims = 3\nDimSize = 20 24 3\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (folder / "a.mha").write_bytes(header + NOISE.tobytes())
    np.savez_compressed(folder / "a.npz", train_images=NOISE)
    import imagecodecs

    (folder / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(NOISE, lossless=True))
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content cut, with bytes flipped, blocks moved, doubled or zeroed."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        kind, where = rng.randrange(6), rng.randrange(max(1, len(data)))
        if kind == 0:
            del data[where:]
        elif kind == 1 and data:
            data[where] = rng.randrange(256)
        elif kind == 2:
            data[where : where + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\1\0"])
        elif kind == 3:
            data[where:where] = data[where : where + rng.randrange(64)]
        elif kind == 4:
            del data[where : where + rng.randrange(16)]
        elif data:  # the header, where most is said
            data[rng.randrange(min(len(data), 200))] = rng.randrange(256)
    return bytes(data)


def account(folder: Path) -> tuple[int, int, int]:
    """Files with a picture, with a sentence, and passed over; no other error, none slow."""
    try:
        found = find(folder)
    except InputError:
        return 0, 0, len(list(folder.iterdir()))
    read, refused, told = set(), set(), set()
    for ref in found.refs:
        if ref.frame is not None and ref.frame > 3:
            continue
        began = time.monotonic()
        try:
            assert read_image(ref).mode == "RGB"
            read.add(ref.file)
        except UnreadableImageError as error:
            refused.add(ref.file)
            told.add(str(error))
        assert time.monotonic() - began < isolation.WALL_SECONDS + 5
    assert all(sentence.endswith(".") and str(folder) not in sentence for sentence in told)
    return len(read - refused), len(refused), sum(group.count for group in found.passed_over)


def check(tmp_path: Path, count: int) -> None:
    files, rng = intact(tmp_path / "intact"), random.Random(1)
    assert account(tmp_path / "intact")[0] == len(files)
    names = sorted(files)
    folder = tmp_path / "mutated"
    folder.mkdir()
    for number in range(count):
        name = names[number % len(names)]
        other = rng.choice(names).partition(".")[2] if rng.random() < 0.1 else name.partition(".")[2]
        (folder / f"{number}.{other}").write_bytes(mutated(files[name], rng))
    read, refused, passed = account(folder)
    assert read + refused + passed == count
    assert refused > count / 10


def test_some_hundred_damaged_files_are_each_accounted_for(tmp_path: Path) -> None:
    check(tmp_path, 300)


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_each_accounted_for(tmp_path: Path) -> None:
    check(tmp_path, 10_000)


def test_bombs_and_odd_shapes_are_refused_or_read_within_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of_size(60_000, 60_000))
    Image.new("L", (1, 60_000), 9).save(tmp_path / "thin.png")
    tifffile.imwrite(tmp_path / "many.tif", np.zeros((3000, 4, 4), dtype=np.uint8), photometric="minisblack")
    packed = zlib.compress(b"\0" * 50_000_000, 9)
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 9000 9000 9000\nElementType = MET_DOUBLE\nCompressedData = True\n"
        "ElementDataFile = LOCAL\n"
    )
    (tmp_path / "bomb.mha").write_bytes(header.encode() + packed)
    dicom(tmp_path / "vast.dcm", RAMP, Rows=60000, Columns=60000)
    lies = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 100, 100)}  # of ten thousand million frames each
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as archive, archive.open("train_images.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, lies)
    (tmp_path / "lies.nrrd").write_bytes(
        b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 1000000000\nencoding: raw\n\n"
    )
    (tmp_path / "lies.mha").write_bytes(header.replace("9000 9000 9000", "2 2 1000000000").encode() + packed)
    dicom(tmp_path / "lies.dcm", np.tile(RAMP, (2, 1, 1)))
    content = (tmp_path / "lies.dcm").read_bytes()
    (tmp_path / "lies.dcm").write_bytes(
        content.replace(b"\x28\0\x08\0IS\2\x002 ", b"\x28\0\x08\0IS\6\x0010000 ") + bytes(9000)
    )
    tifffile.imwrite(tmp_path / "strips.tif", NOISE, tile=(16, 16), photometric="rgb")
    wide = struct.pack("<HHII", 256, 4, 1, 20)  # the tag of the width
    content = (tmp_path / "strips.tif").read_bytes()
    assert wide in content
    (tmp_path / "strips.tif").write_bytes(content.replace(wide, struct.pack("<HHII", 256, 4, 1, 1_000_000)))
    found = find(tmp_path).refs
    assert sum(ref.file.name.startswith("lies") for ref in found) == 4
    assert sum(ref.file.name == "many.tif" for ref in found) == 3000
    told = {}
    for ref in found:
        if ref.frame in (None, 0, 2999):
            try:
                told[ref.path] = str(read_image(ref).size)
            except UnreadableImageError as error:
                told[ref.path] = str(error)
    assert told["thin.png"] == "(1, 60000)"
    assert told["many.tif#2999"] == "(4, 4)"
    assert "million pixels" in told["bomb.png"]
    assert "memory" in told["bomb.mha#0"]
    assert "fewer images than it says" in told["lies.npz"]
    assert "far fewer strips or tiles" in told["strips.tif"]
    assert told["lies.nrrd"].endswith(".")
    assert told["lies.mha"].endswith(".")
    assert "million pixels" in told["vast.dcm"]


def test_a_file_that_takes_too_long_or_crashes_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (2500, 2500, 3), dtype=np.uint8)).save(tmp_path / "slow.jp2")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "quick.png")
    slow, quick = sorted(find(tmp_path).refs, key=lambda ref: ref.path == "quick.png")
    monkeypatch.setattr(isolation, "SECONDS", 0.05)
    with pytest.raises(UnreadableImageError, match="given up"):
        read_image(slow)
    monkeypatch.setattr(isolation, "SECONDS", 8.0)
    monkeypatch.setattr(isolation, "WALL_SECONDS", 0.05)
    with pytest.raises(UnreadableImageError, match="given up"):
        read_image(slow)
    monkeypatch.setattr(isolation, "WALL_SECONDS", 60.0)
    assert read_image(quick).size == (8, 8)
    for worker in list(isolation._idle):
        worker.process.kill()
        worker.process.wait()
    assert read_image(quick).size == (8, 8)  # a worker that died meanwhile is replaced
