"""Images in a bucket: a real S3-compatible server (moto's) on loopback, through s3fs and boto."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from autoannotate.errors import InputError
from autoannotate.images import find_images, fingerprint, location, read_image

s3fs = pytest.importorskip("s3fs", reason="s3fs is not here: pip install 'autoannotate[test]'")
moto = pytest.importorskip("moto.server", reason="moto is not here: pip install 'autoannotate[test]'")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[s3fs.S3FileSystem]:
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    if not system.exists("scans"):  # what the server holds lives as long as the process
        system.mkdir("scans")
    yield system
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((20, 20), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_a_bucket_is_a_folder(bucket: s3fs.S3FileSystem) -> None:
    bucket.pipe({"scans/day/2.png": png(2), "scans/day/sub/10.png": png(10), "scans/day/notes.txt": b"no picture"})
    refs = find_images("s3://scans/day")
    assert [ref.path for ref in refs] == ["2.png", "sub/10.png"]
    assert [int(np.asarray(read_image(ref)).mean()) for ref in refs] == [2, 10]
    before = fingerprint(refs[0])
    bucket.pipe("scans/day/2.png", png(3))
    bucket.invalidate_cache()
    assert fingerprint(find_images("s3://scans/day")[0]) != before
    assert location("s3://scans/day") == "s3://scans/day"


def test_nothing_there_and_a_password_in_the_address_are_a_sentence(bucket: s3fs.S3FileSystem) -> None:
    with pytest.raises(InputError, match="s3://nowhere"):
        find_images("s3://nowhere/at/all")
    with pytest.raises(InputError, match="password"):
        find_images("sftp://me:secret@127.0.0.1/scans")
