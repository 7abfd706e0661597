"""Which kind a file is that no reader knows, so that each one passed over is counted under its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import TypeVar

from autoannotate.images.ref import PassedOver

P = TypeVar("P", bound=PurePath)
DICOMDIR = PassedOver("DICOMDIR", "they are an index of other files", 1, expected=True)
HIDDEN = PassedOver("hidden and system files", "they are made by programs for themselves", 1, expected=True)
UNKNOWN = PassedOver("files of an unknown kind", "their format is not known", 1)
_SYSTEM = frozenset({"thumbs.db", "desktop.ini", "__macosx", "icon\r", "ehthumbs.db"})
_ARCHIVES = "in a folder they are not opened: give one by its name, or several by a pattern"
_SAVE = "they are not read: save them as PNG or TIFF"
_MAGIC = (
    (0, b"%PDF", "PDF documents", "pictures are not taken out of documents"),
    (
        0,
        b"\x1f\x8b",
        "files compressed by gzip",
        "only NIfTI, Analyze and MGH volumes are read so: unpack them (gunzip)",
    ),
    (0, b"PK\x03\x04", "archives", _ARCHIVES),
    (0, b"PK\x05\x06", "archives", _ARCHIVES),
    (
        0,
        b"7z\xbc\xaf\x27\x1c",
        "archives",
        _ARCHIVES,
    ),
    (0, b"Rar!\x1a\x07", "archives", _ARCHIVES),
    (257, b"ustar", "archives", _ARCHIVES),
    (4, b"ftypcrx", "raw files of cameras", _SAVE),
    (4, b"ftypM4A", "sound files", "they hold no pictures"),
    (4, b"ftyp", "videos", "videos are not read: save their frames as images"),
    (0, b"\x1aE\xdf\xa3", "videos", "videos are not read: save their frames as images"),
    (0, b"\0\0\x01\xba", "videos", "videos are not read: save their frames as images"),
    (8, b"AVI ", "videos", "videos are not read: save their frames as images"),
    (8, b"WAVE", "sound files", "they hold no pictures"),
    (
        0,
        b"\x89HDF",
        "HDF5 files",
        "a reader for them can be added (docs: read a format of your own), or save them as .npz or as images",
    ),
    (0, b"\x93NUMPY", "NumPy arrays (.npy)", "only .npz files as MedMNIST makes them are read"),
    (0, b"8BPS", "Photoshop files", "they are not read: save them as PNG or TIFF"),
    (0, b"%!PS", "PostScript files", "they are drawings, no pictures"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR files", "they are not read: save them as TIFF"),
    (0, b"#?RADIANCE", "Radiance files", "they are not read: save them as TIFF"),
    (0, b"\0\0\x01\0", "icons", "they are no pictures of patients"),
    (0, b"BM", "BMP pictures of an unknown make", "they are not read: save them as PNG"),
    (0, b"SQLite format 3", "databases", "they hold no pictures"),
    (0, b"\xd0\xcf\x11\xe0", "Office documents and their like", "pictures are not taken out of documents"),
    (0, b"\x80\x02", "Python pickles", "they can run programs when they are opened"),
)
_RAW = (
    "raw values without a header",
    "their header tells their shape: put it beside them (.mhd, .nhdr or .hdr), in an archive under the same name",
)
_ENDINGS = {
    "tar": ("archives", _ARCHIVES),
    "raw zraw img": _RAW,
    "eps": ("PostScript files", "they are drawings, no pictures"),
    "svg": ("SVG drawings", "they are drawings, no pictures"),
    "mp4 mov m4v mpg mpeg wmv flv": ("videos", "videos are not read: save their frames as images"),
    "csv tsv xls xlsx parquet ods": ("tables", "they hold no pictures"),
    "json jsonl xml yaml yml toml ini cfg": ("settings and annotations", "they hold no pictures"),
    "txt md rst log rtf html htm doc docx": ("text files", "they hold no pictures"),
    "py ipynb m r sh js c h cpp bat": ("programs", "they hold no pictures"),
    "tga pcx ras sgi dds xpm xbm pam pfm qoi jxr wdp hdp fits fit": ("pictures of rare formats", _SAVE),
    "mrxs": ("MIRAX slides", "they are not read: export them as TIFF"),
    "vms vmu ndpis isyntax kfb sdpc tmap dzi": ("slides of rare formats", "they are not read: export them as TIFF"),
    "vsi czi lif nd2 oib oif lsm zvi": ("microscope files", "they are not read: export them as OME-TIFF"),
    "pt pth pkl pickle joblib": ("model files and pickles", "they can run programs when they are opened"),
    "bz2 xz zst lz4 lzma z": ("compressed files", "they are not opened: unpack them"),
    "mat": ("MATLAB files", "they are not read: save what they hold as images or as .npz"),
    "vtk vti stl obj ply gii trk tck": ("surfaces and grids", "they are no pictures"),
}
_PACKED_TAR = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
VOXELS = PassedOver("voxels of volumes", "they are read with the header beside them", 1, expected=True)
_HEADERS = {".img": (".hdr",), ".raw": (".mhd", ".nhdr"), ".zraw": (".mhd",), ".gz": (".nhdr", ".hdr", ".head"),
            ".rec": (".par",), ".brik": (".head",)}  # fmt: skip
HEADERS = frozenset(ending for endings in _HEADERS.values() for ending in endings)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or made by a system for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM


def headers_of(file: P) -> list[P]:
    """The names that the header of voxels may have which are named so; none for a name that voxels do not have."""
    beside = file.with_suffix("") if file.suffix.lower() == ".gz" else file
    if beside is not file and beside.suffix.lower() not in ("", ".img", ".raw", ".brik"):
        return []
    endings = _HEADERS.get(file.suffix.lower(), ())
    return [beside.with_suffix(ending) for header in endings for ending in (header, header.upper())]


def kind_of(file: Path, head: bytes) -> PassedOver:
    """The kind of one file that no reader knows, by its first bytes, else by its ending, else by being text."""
    name = file.name.lower()
    if name == "dicomdir":
        return DICOMDIR
    if any(header.exists() for header in headers_of(file)):
        return VOXELS
    if not head:
        return PassedOver("empty files, or such as cannot be opened", "nothing can be read from them", 1)
    if name.endswith(_PACKED_TAR):
        return PassedOver("archives", _ARCHIVES, 1)
    if name.endswith((".raw.gz", ".img.gz", ".brik.gz")):
        return PassedOver(*_RAW, 1)
    for start, magic, kind, reason in _MAGIC:
        if head[start : start + len(magic)] == magic:
            return PassedOver(kind, reason, 1)
    ending = file.suffix.lower().removeprefix(".")
    for endings, (kind, reason) in _ENDINGS.items():
        if ending in endings.split():
            return PassedOver(kind, reason, 1)
    if _is_text(head):
        return PassedOver("text files", "they hold no pictures", 1)
    named = ending.isalnum() and len(ending) <= 8 and not ending.isdigit()
    return replace(UNKNOWN, kind=f".{ending} files") if named else UNKNOWN


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # not just a letter cut in two at the end
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)
