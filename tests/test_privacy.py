"""Whatever headers say of people reaches no output, log, cache, page or exported picture."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
from made_runs import draw_images
from PIL import Image, PngImagePlugin
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from typer.testing import CliRunner

from autoannotate.cli.main import app

MARKERS = (  # name, number, birth date, address, telephone, accession, institution, physician, device, free text, UID
    "Zzyzx", "QQ-480-11", "19430217", "Wobblegate", "+44-555-0199", "ACCN-7351", "Grimsvotn", "Vandersnoot", "DEV-99-XJ",
    "fell off a llama", "1.2.826.0.1.4242.77",
)  # fmt: skip
NAME, NUMBER, BIRTH, ADDRESS, TELEPHONE, ACCESSION, INSTITUTION, PHYSICIAN, DEVICE, TEXT, UID = MARKERS
SAID = "; ".join(MARKERS)


def scan(file: Path, number: int) -> None:
    """A CT slice that says all of it: in its header, in the file's own, in a nested and in a private element."""
    slice_ = dcmread(str(get_testdata_file("CT_small.dcm")))
    slice_.PatientName, slice_.PatientID, slice_.PatientBirthDate = f"{NAME}^Anna", NUMBER, BIRTH
    slice_.PatientAddress, slice_.PatientTelephoneNumbers, slice_.AccessionNumber = ADDRESS, TELEPHONE, ACCESSION
    slice_.InstitutionName, slice_.ReferringPhysicianName, slice_.DeviceSerialNumber = INSTITUTION, PHYSICIAN, DEVICE
    slice_.PatientComments = slice_.ImageComments = slice_.SeriesDescription = slice_.StudyDescription = TEXT
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = f"{UID}.1", f"{UID}.2.{number // 6}"
    slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = f"{UID}.3.{number}"
    slice_.file_meta.PrivateInformationCreatorUID = UID
    slice_.file_meta.PrivateInformation = SAID.encode() + b" " * (len(SAID) % 2)
    nested, inner = Dataset(), Dataset()
    inner.PatientName = inner.PatientID = NAME
    nested.RequestedProcedureDescription, nested.ReferencedPatientSequence = TEXT, Sequence([inner])
    slice_.RequestAttributesSequence = Sequence([nested])
    slice_.private_block(0x0099, NAME, create=True).add_new(1, "LT", SAID)
    slice_.ImagePositionPatient = [0, 0, number]
    if number % 7 == 0:
        slice_.PixelData = slice_.PixelData[:200]  # a reason for it is written
    slice_.save_as(file)


def others(folder: Path) -> None:
    """Pictures and volumes of each other format with a place for words."""
    y, x = np.mgrid[:40, :50]
    picture = Image.fromarray(np.stack([x * 5, y * 6, x + y], axis=-1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = exif[0x9C9B] = SAID
    picture.save(folder / "exif.jpg", exif=exif, comment=SAID.encode(), xmp=f"<x>{SAID}</x>".encode())
    picture.save(folder / "exif.webp", exif=exif, xmp=f"<x>{SAID}</x>".encode())
    words = PngImagePlugin.PngInfo()
    words.add_text("Patient", SAID)
    words.add_itxt("Comment", SAID, zip=True)
    picture.save(folder / "text.png", pnginfo=words, exif=exif)
    picture.save(folder / "comment.gif", comment=SAID.encode())
    (folder / "comment.ppm").write_bytes(f"P6\n# {SAID}\n50 40\n255\n".encode() + picture.tobytes())
    tags = [(315, "s", 0, SAID, True), (65000, "s", 0, SAID, True)]
    tifffile.imwrite(folder / "tags.tif", np.asarray(picture), description=SAID, extratags=tags, metadata=None)
    voxels = np.random.default_rng(0).random((12, 12, 6)).astype(np.float32)
    volume = nibabel.Nifti1Image(voxels, np.eye(4))
    volume.header["descrip"], volume.header["aux_file"] = SAID[:79].encode(), NAME.encode()
    volume.header["intent_name"], volume.header["db_name"] = NUMBER.encode(), PHYSICIAN.encode()
    volume.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", SAID.encode()))
    nibabel.save(volume, folder / "volume.nii.gz")
    nrrd.write(str(folder / "volume.nrrd"), voxels, {"content": SAID, "Patient": SAID})
    header = f"ObjectType = Image\nComment = {SAID}\nName = {NAME}\nNDims = 3\nDimSize = 12 12 6\n"
    header += f"PatientID = {NUMBER}\nElementType = MET_FLOAT\nElementDataFile = LOCAL\n"
    (folder / "volume.mha").write_bytes(header.encode() + voxels.tobytes(order="F"))
    arrays = {"train_images": np.asarray(picture)[None], "train_labels": np.array([SAID])}
    np.savez(folder / "set.npz", **arrays)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe1" + struct.pack(">H", len(SAID) + 2) + SAID.encode())
    (folder / "notes.txt").write_text(SAID)


def unpacked(content: bytes) -> bytes:
    """The bytes, and those of archives, compressed files and PNG pictures in them."""
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    if content.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return content + repr(image.info).encode()
    return content


@pytest.mark.slow
def test_eleven_markers_in_sixty_headers_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    draw_images(tmp_path / "images", [f"plain/{number}.png" for number in range(8)])
    for number in range(45):
        scan(tmp_path / "images" / f"{number}.dcm", number)
    others(tmp_path / "images")
    said = CliRunner().invoke(
        app,
        ["label", "images", "--classes", "chest,breast", "--student", "none", "--cache", "cache", "--out", "out/run"],
    )
    assert said.exit_code == 0, said.output
    given = [unpacked(file.read_bytes()) for file in (tmp_path / "images").rglob("*") if file.is_file()]
    assert all(sum(marker.encode() in content for content in given) > 45 for marker in MARKERS)
    output = said.output
    formats = ("imagefolder", "label-studio", "cvat", "coco", "csv", "jsonl", "huggingface")
    for name in formats:
        link = ["--link", "copy"] if name == "label-studio" else []
        said = CliRunner().invoke(
            app, ["export", "out/run", "--format", name, "--what", "all", "--out", f"out/{name}", *link]
        )
        assert said.exit_code == 0, said.output
        output += said.output
    assert (tmp_path / "out" / "imagefolder").is_dir()
    for command in (["update", "out/run"], ["history", "out/run"]):
        said = CliRunner().invoke(app, command)
        assert said.exit_code == 0, said.output
        output += said.output
    files = [
        file for place in ("out", "cache", "temporary") for file in (tmp_path / place).rglob("*") if file.is_file()
    ]
    assert len(files) > 60
    for marker in MARKERS:
        assert marker not in output
        for file in files:
            assert marker not in str(file.relative_to(tmp_path))
            assert marker.encode() not in unpacked(file.read_bytes()), (marker, file)
