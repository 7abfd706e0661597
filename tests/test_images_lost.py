"""Pictures that were encoded and cannot be read any more: they become rows of unreadable.csv, and the run goes on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from test_images import RAMP, dicom, grey

from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import find, find_images, fingerprint, read_image
from autoannotate.models.encoding import Encoded


def encoded(folder: Path) -> Encoded:
    refs = find(folder).refs
    return Encoded(refs, np.eye(len(refs)), np.eye(len(refs)), [("before.png", "The file is empty.")])


def read_all(images: Encoded) -> list[str]:
    return [f"{ref.path} {read_image(ref).size}" for ref in images.refs]


def test_what_is_lost_meanwhile_is_left_out_with_its_reason(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "d.png"):
        grey(tmp_path / name)
    scan = dicom(tmp_path / "c.dcm", RAMP)
    images, before = encoded(tmp_path), fingerprint(find(scan).refs[0])
    stood, data = scan.stat(), scan.read_bytes()
    header = data.find(b"MONOCHROME2")
    scan.write_bytes(data[:header] + b"\xff" * (len(data) - header))  # as long and as old, so that the cache knows it
    os.utime(scan, ns=(stood.st_atime_ns, stood.st_mtime_ns))
    assert fingerprint(find(scan).refs[0]) == before
    (tmp_path / "b.png").unlink()
    kept: list[Encoded] = []

    def label(readable: Encoded) -> list[str]:
        kept.append(readable)
        return read_all(readable)

    assert images.survived(label) == ["a.png (8, 8)", "d.png (8, 8)"]
    left = kept[-1]
    assert [path for path, _ in left.unreadable] == ["before.png", "b.png", "c.dcm"]
    assert "not there any more" in left.unreadable[1][1]
    assert (left.features == np.eye(4)[[0, 3]]).all()
    for name in ("a.png", "d.png"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"No image can be read any more.*a\.png: The file is not there"):
        left.survived(read_all)


def test_a_link_to_itself_is_said_to_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "self.png").symlink_to("self.png")
    (ref,) = find_images(tmp_path)
    with pytest.raises(UnreadableImageError, match="link to nothing"):
        read_image(ref)
