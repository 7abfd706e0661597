"""Images on a web server and on an SFTP server: real ones on loopback."""

from __future__ import annotations

import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoannotate.errors import InputError
from autoannotate.images import fetched_ahead, find, find_images, read_image

fsspec = pytest.importorskip("fsspec", reason="fsspec is not here: pip install 'autoannotate[cloud]'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "scans"
    (root / "day one").mkdir(parents=True)
    Image.new("L", (20, 20)).save(root / "90% größer?.png")
    for value in range(12):
        Image.fromarray(np.full((20, 20), value * 10, np.uint8)).save(root / "day one" / f"{value}.png")
    noise = np.random.default_rng(0).integers(0, 256, (1400, 1300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "large.png")  # 5.5 MB: more than is asked for at once
    (root / "notes.txt").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        for file in sorted((root / "day one").iterdir()):
            archive.write(file, f"day one/{file.name}")
    (tmp_path / "pack.zip").rename(root / "pack.zip")
    return root


def check(place: str) -> None:
    """All is found below the address, in any order of reading, and so it is in the archive alone."""
    found = find(f"{place}/")
    assert len(found.refs) == 26
    assert {group.kind: group.count for group in found.passed_over} == {"text files": 1}
    shown = {ref.path: read_image(ref) for ref in fetched_ahead(found.refs)}
    assert "90% größer?.png" in shown
    assert shown["large.png"].size == (1300, 1400)
    for value in range(12):
        for name in (f"day one/{value}.png", f"pack.zip/day one/{value}.png"):
            assert np.asarray(shown[name]).mean() == value * 10
    assert len(find_images(f"{place}/pack.zip")) == 12
    with pytest.raises(InputError, match="check the address"):
        find(f"{place}/nowhere")


@pytest.fixture
def website(folder: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="aiohttp is not here: pip install 'autoannotate[cloud]'")

    class Quiet(http.server.SimpleHTTPRequestHandler):  # as Python's own, it never answers for a part of a file
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_web_server_that_gives_whole_files_only(website: str) -> None:
    check(website)


@pytest.mark.slow
def test_threads_that_read_over_one_sftp_connection_wait_for_each_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("paramiko", reason="paramiko is not here: pip install 'autoannotate[test]'")
    import sftp_server

    with sftp_server.serving(folder) as port:
        settings = {"username": sftp_server.USER, "password": sftp_server.PASSWORD}
        fsspec.config.conf["sftp"] = settings  # what FSSPEC_SFTP in the environment becomes at the start
        try:
            check(f"sftp://127.0.0.1:{port}")
            settings["password"] = "wrong"
            fsspec.get_filesystem_class("sftp").clear_instance_cache()
            with pytest.raises(InputError, match="credentials"):
                find(f"sftp://127.0.0.1:{port}/day one")
        finally:
            del fsspec.config.conf["sftp"]
    assert "secret" not in json.dumps(fsspec.config.conf)
