"""Where images are: archives, lists, patterns, URLs, and sources of other packages, through `find_images` and the command."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import find_images, fingerprint, location, read_image, stamp


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((20, 20), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


def pages(*values: int) -> bytes:
    out = io.BytesIO()
    first, *more = [Image.fromarray(np.full((20, 20), value, np.uint8)) for value in values]
    first.save(out, "TIFF", save_all=True, append_images=more)
    return out.getvalue()


CONTENT = {"a/10.png": png(10), "a/2.png": png(2), "b/pages.tif": pages(30, 31), "notes.txt": b"nothing"}
PATHS = ["a/2.png", "a/10.png", "b/pages.tif#0", "b/pages.tif#1"]
GREYS = [2, 10, 30, 31]


def make_zip(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, content: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def greys(refs: list) -> list[int]:
    return [int(np.asarray(read_image(ref)).mean().round()) for ref in refs]


@pytest.mark.parametrize(
    "name", ["scans.zip", "scans.tar", "scans.tar.gz", "scans.tgz", "scans.tar.bz2", "scans.tar.xz"]
)
def test_an_archive_is_read_in_place(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(name.split(".")[-1], "w")
    path = tmp_path / name
    make_zip(path, CONTENT) if name.endswith("zip") else make_tar(path, CONTENT, mode)
    refs = find_images(path)
    assert [ref.path for ref in refs] == PATHS
    assert greys(refs) == GREYS
    assert greys(refs[::-1]) == GREYS[::-1]  # in any order
    assert [item.name for item in tmp_path.iterdir()] == [name]  # nothing unpacked beside it
    assert len({fingerprint(ref) for ref in refs}) == 4 == len({stamp(ref) for ref in refs})
    assert [fingerprint(ref) for ref in find_images(str(path))] == [fingerprint(ref) for ref in refs]
    monkeypatch.chdir(tmp_path)
    assert location(name) == path.as_posix()


def test_names_that_point_outside_an_archive_are_never_used(tmp_path: Path) -> None:
    evil = {"../../evil.png": png(1), "/etc/evil.png": png(2), "good.png": png(3), "c:/evil.png": png(4)}
    for archive in (make_zip(tmp_path / "a.zip", evil), make_tar(tmp_path / "a.tar", evil)):
        refs = find_images(archive)
        assert all(".." not in ref.path and not ref.path.startswith("/") for ref in refs)
        for ref in refs:
            if ref.path == "good.png":
                assert greys([ref]) == [3]
            else:
                with pytest.raises(UnreadableImageError, match="outside the archive"):
                    read_image(ref)
        assert len(refs) == 4


def test_links_and_devices_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        good = tarfile.TarInfo("good.png")
        good.size = len(png(5))
        archive.addfile(good, io.BytesIO(png(5)))
    good_ref, link_ref = find_images(path)
    assert greys([good_ref]) == [5]
    with pytest.raises(UnreadableImageError, match="link"):
        read_image(link_ref)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    zeros = bytes(2**24)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(100):
            archive.writestr(f"{number}.png", zeros, compresslevel=9)
    assert bomb.stat().st_size < 2**21
    with pytest.raises(InputError, match="refused"):
        find_images(bomb)


@pytest.mark.parametrize(("name", "squeeze"), [("bomb.tar.gz", gzip), ("bomb.tar.bz2", bz2), ("bomb.tar.xz", lzma)])
@pytest.mark.slow
def test_a_compressed_tar_bomb_is_refused_while_it_unpacks(tmp_path: Path, name: str, squeeze) -> None:
    path = tmp_path / name
    with squeeze.open(path, "wb") as out, tarfile.open(fileobj=out, mode="w|") as archive:
        for number in range(80):
            info = tarfile.TarInfo(f"{number}.png")
            info.size = 2**24
            archive.addfile(info, io.BytesIO(bytes(2**24)))
    with pytest.raises(InputError, match="refused"):
        find_images(path)


def test_members_that_share_their_bytes_are_a_bomb(tmp_path: Path) -> None:
    """The quoted-overlap construction in its simplest form: many entries of the directory for one member."""
    path = make_zip(tmp_path / "a.zip", {"a.png": os.urandom(2000)})
    data = path.read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry, many = data[start:end], 50
    tail = bytearray(data[end:])
    tail[8:10] = tail[10:12] = many.to_bytes(2, "little")
    tail[12:16] = (len(entry) * many).to_bytes(4, "little")
    path.write_bytes(data[:start] + entry * many + bytes(tail))
    with pytest.raises(InputError, match="refused"):
        find_images(path)


def test_a_damaged_archive_and_an_encrypted_member_get_a_sentence(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar.gz", "a.tar"):
        path = tmp_path / name
        path.write_bytes(b"no archive at all" * 50)
        with pytest.raises(InputError, match="archive"):
            find_images(path)
    data = bytearray(make_zip(tmp_path / "b.zip", {"a.png": png(1)}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(data)
    (ref,) = find_images(tmp_path / "b.zip")
    with pytest.raises(UnreadableImageError, match="encrypted"):
        read_image(ref)


def test_two_members_of_one_name_are_two_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png(1))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", png(2))
    refs = find_images(path)
    assert sorted(greys(refs)) == [1, 2]
    assert len({ref.path for ref in refs}) == 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in CONTENT.items():
        file = tmp_path / "scans" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path / "scans"


def test_a_pattern(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [ref.path for ref in find_images(f"{folder}/**/*.png")] == ["a/2.png", "a/10.png"]
    assert [ref.path for ref in find_images(f"{folder}/*/[0-9].png")] == ["a/2.png"]
    make_zip(folder / "more.zip", {"c.png": png(7)})
    assert [ref.path for ref in find_images(f"{folder}/*.zip")] == ["more.zip/c.png"]
    monkeypatch.chdir(folder)
    assert [ref.path for ref in find_images("a/*.png")] == ["2.png", "10.png"]
    assert location("a/*.png") == f"{folder.as_posix()}/a/*.png"
    with pytest.raises(InputError, match="No file matches"):
        find_images("a/*.jpg")


def test_a_list_of_paths(folder: Path, tmp_path: Path) -> None:
    (folder / "list.txt").write_text("# mine\na/10.png\n\nb/pages.tif\na/10.png\ngone.png\n")
    refs = find_images(folder / "list.txt")
    assert [ref.path for ref in refs] == ["a/10.png", "b/pages.tif#0", "b/pages.tif#1", "gone.png"]
    assert greys(refs[:3]) == [10, 30, 31]
    with pytest.raises(UnreadableImageError, match="not there"):
        read_image(refs[3])
    (folder / "excel.csv").write_bytes("\ufeffPatient;Path\r\n1;a/2.png\r\n2;./a/10.png\r\n".encode())
    assert [ref.path for ref in find_images(folder / "excel.csv")] == ["a/2.png", "a/10.png"]
    (tmp_path / "abs.csv").write_text(f"path,label\n{folder}/a/2.png,x\n{folder}/b/pages.tif,y\n")
    assert [ref.path for ref in find_images(tmp_path / "abs.csv")] == ["a/2.png", "b/pages.tif#0", "b/pages.tif#1"]
    (tmp_path / "bad.csv").write_text("who,what\n1,2\n")
    with pytest.raises(InputError, match="no column of paths"):
        find_images(tmp_path / "bad.csv")
    (tmp_path / "none.txt").write_text("nothing/here.png\n")
    with pytest.raises(InputError, match="relative to the folder of the list"):
        find_images(tmp_path / "none.txt")


def test_an_unknown_scheme_names_what_is_known() -> None:
    with pytest.raises(InputError, match="zip or tar archive"):
        find_images("ftps9://host/scans")


def test_fetched_files_are_private_and_go_when_the_process_ends(tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip", CONTENT)
    code = (
        "import sys, glob, os, tempfile; from autoannotate.images import find_images, read_image\n"
        "for ref in find_images(sys.argv[1]): read_image(ref)\n"
        "(folder,) = glob.glob(tempfile.gettempdir() + '/autoannotate-fetched-*')\n"
        "assert os.stat(folder).st_mode & 0o077 == 0\n"
    )
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.zip"], check=True, env=environment)
    assert not list((tmp_path / "tmp").glob("autoannotate-fetched-*"))


def test_hidden_files_are_counted_wherever_they_are(tmp_path: Path) -> None:
    import io

    from autoannotate.images import find

    out = io.BytesIO()
    Image.new("L", (30, 30), 100).save(out, "PNG")
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        for name in ("a.png", "__MACOSX/._a.png", ".DS_Store"):
            archive.writestr(name, out.getvalue())
    (tmp_path / "b.png").write_bytes(out.getvalue())
    (tmp_path / ".b.png").write_bytes(out.getvalue())
    for source, images, hidden in ((tmp_path / "scans.zip", 1, 2), (f"{tmp_path}/*.zip", 1, 2), (tmp_path, 1, 1)):
        found = find(source)
        assert len(found.refs) == images
        assert {group.kind: group.count for group in found.passed_over}["hidden and system files"] == hidden


def detached(folder: Path) -> None:
    """A volume whose voxels are in a file of their own, in each format that has such, and one whose voxels are not there."""
    import nibabel
    import nrrd

    voxels = np.random.default_rng(0).integers(0, 1000, (8, 9, 10)).astype(np.int16)
    folder.mkdir(parents=True)
    nrrd.write(str(folder / "a.nhdr"), voxels, detached_header=True)  # and a.raw.gz
    header = "ObjectType = Image\nNDims = 3\nDimSize = 8 9 10\nElementType = MET_SHORT\n"
    (folder / "b.mhd").write_text(f"{header}ElementDataFile = b.raw\n")
    (folder / "b.raw").write_bytes(voxels.tobytes(order="F"))
    (folder / "c.mhd").write_text(f"{header}CompressedData = True\nElementDataFile = c.zraw\n")
    (folder / "c.zraw").write_bytes(zlib.compress(voxels.tobytes(order="F")))
    nibabel.save(nibabel.Nifti1Pair(voxels, np.eye(4)), folder / "d.hdr")  # and d.img
    (folder / "e.mhd").write_text(f"{header}ElementDataFile = e.raw\n")


@pytest.mark.parametrize("name", ["scans.zip", "scans.tar.gz"])
def test_headers_in_an_archive_are_read_with_their_voxels(tmp_path: Path, name: str) -> None:
    from autoannotate.images import find

    detached(tmp_path / "scans" / "day")
    content = {
        file.relative_to(tmp_path / "scans").as_posix(): file.read_bytes() for file in (tmp_path / "scans").rglob("*.*")
    }
    content["other/e.raw"] = bytes(1440)  # of another folder
    content["f.mhd"], content["../f.raw"] = content["day/b.mhd"].replace(b"b.raw", b"f.raw"), bytes(1440)
    make = make_zip if name.endswith("zip") else partial(make_tar, mode="w:gz")
    archived, loose = find(make(tmp_path / name, content)), find(tmp_path / "scans")
    assert {group.kind: group.count for group in archived.passed_over} == {
        "voxels of volumes": 5, "raw values without a header": 1
    }  # fmt: skip
    shown = {ref.path: ref for ref in archived.refs}
    for ref in loose.refs:
        if "/e.mhd" in ref.path:
            with pytest.raises(UnreadableImageError, match="unpack the archive"):
                read_image(shown[ref.path])
        else:
            assert read_image(shown[ref.path]).tobytes() == read_image(ref).tobytes()
    assert len(loose.refs) == 5 * len({ref.frame for ref in loose.refs})
    with pytest.raises(UnreadableImageError, match="outside the archive"):
        read_image(next(ref for path, ref in shown.items() if path.startswith("f.mhd")))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scans", name]
