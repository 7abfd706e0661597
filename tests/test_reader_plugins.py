"""Formats from outside: the package of docs/how-to/readers.md, built and installed without a network, reads a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "how-to" / "readers.md"
SHOW = """
import sys
from autoannotate.errors import InputError
from autoannotate.images import find, read_image
from autoannotate.images.items import items_of
try:
    found = find(sys.argv[1])
except InputError as error:
    sys.exit(str(error))
for item in items_of(found.refs):
    print(item.path, item.kind, read_image(item.refs[0]).size)
for group in found.passed_over:
    print(group.kind, group.count)
"""


def installed(package: Path, site: Path) -> None:
    """Build the wheel with the backend that it names, and unpack it as an installer does."""
    pytest.importorskip("hatchling", reason="hatchling is not here: pip install 'autoannotate[test]'")
    build = "from hatchling.build import build_wheel; print(build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=package, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(package / done.stdout.split()[-1]) as wheel:
        wheel.extractall(site)


def shown(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(DOCS.parent), str(site)])}
    return subprocess.run(
        [sys.executable, "-c", SHOW, str(folder)], capture_output=True, text=True, env=environment, check=False
    )


def test_the_package_of_the_page_reads_its_format(tmp_path: Path) -> None:
    package, site, images = tmp_path / "package", tmp_path / "site", tmp_path / "images"
    for name, text in re.findall(r"^`([^`\n]+)`\n\n```\w+\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    images.mkdir()
    np.save(images / "stack.npy", np.arange(3 * 8 * 6).reshape(3, 8, 6))
    np.save(images / "line.npy", np.arange(9))
    np.savez(images / "set.npz", train_images=np.zeros((1, 5, 5), np.uint8))
    site.mkdir()
    without = shown(images, site)
    assert "stack.npy" not in without.stdout
    installed(package, site)
    done = shown(images, site)
    assert done.returncode == 0, done.stderr
    images_found = ["set.npz#0 image (5, 5)", *(f"stack.npy#{i} image (6, 8)" for i in range(3))]
    assert done.stdout.splitlines() == [*images_found, "NumPy arrays that are no stack of images 1"]


@pytest.mark.parametrize(
    ("content", "says"),
    [("1 / 0", "cannot be used (division by zero)"), ("READER = 3", "is no autoannotate Reader")],
)
def test_a_package_that_cannot_be_used_is_a_sentence_with_its_name(tmp_path: Path, content: str, says: str) -> None:
    about = tmp_path / "site" / "odd_reader-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-reader\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[autoannotate.readers]\nodd = odd_reader:READER\n")
    (tmp_path / "site" / "odd_reader.py").write_text(content)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = shown(tmp_path / "images", tmp_path / "site")
    assert done.returncode == 1
    assert "The reader odd of the package odd-reader" in done.stderr
    assert says in done.stderr
