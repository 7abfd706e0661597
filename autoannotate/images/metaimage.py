"""MetaImage volumes (.mha, .mhd), ITK's own format: a header of `Name = value` lines, then plain or deflated voxels.

The header is described at https://itk.org/Wiki/ITK/MetaIO/Documentation. It is read here because the libraries that know
it (SimpleITK, ITK) weigh 50 MB and more.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from autoannotate.errors import UnreadableImageError
from autoannotate.images import volume
from autoannotate.images.ref import PassOver

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_CUT_SHORT = "The voxels of the MetaImage file are cut short."
_HEADER = 64 * 1024  # bytes at most


def _recognises(head: bytes) -> bool:
    start = head[:64].lstrip()
    return start.startswith((b"ObjectType", b"NDims", b"Comment")) and b"=" in head[:80] and b"NDims" in head


def _header(file: Path) -> tuple[dict[str, str], int]:
    """The fields of the header, and where the voxels begin behind it."""
    fields: dict[str, str] = {}
    with file.open("rb") as stream:
        while stream.tell() < _HEADER:
            line = stream.readline(_HEADER)
            name, equals, value = line.decode("latin-1").partition("=")
            if not equals:
                break
            fields[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile":
                return fields, stream.tell()
    if fields.get("ObjectType", "Image") != "Image":
        raise PassOver("MetaIO scenes", "they hold shapes, no pictures")
    raise UnreadableImageError("The header of the MetaImage file is damaged or cut short.")


def _numbers(fields: dict[str, str], *names: str) -> list[float]:
    value = next((fields[name] for name in names if name in fields), "")
    return [float(word) for word in value.split()]


def _true(fields: dict[str, str], *names: str) -> bool:
    return any(fields.get(name, "").lower() in ("true", "1") for name in names)


def _geometry(fields: dict[str, str]) -> tuple[tuple[int, ...], np.ndarray]:
    """The sizes of all axes, fastest first, and the affine of the first three to RAS+."""
    sizes = tuple(int(size) for size in _numbers(fields, "DimSize"))
    spacing = [*_numbers(fields, "ElementSpacing", "ElementSize"), 1.0, 1.0, 1.0][: max(3, len(sizes))]
    matrix = np.eye(3)
    stated = _numbers(fields, "TransformMatrix", "Orientation", "Rotation")
    dims = len(sizes)
    if dims >= 2 and len(stated) == dims * dims:
        used = min(dims, 3)
        matrix[:used, :used] = np.array(stated).reshape(dims, dims)[:used, :used].T
    affine = np.eye(4)
    affine[:3, :3] = matrix * np.array(spacing[:3])
    affine[:2] *= -1  # ITK's axes run to the left and to the back (LPS)
    return sizes, affine


def _spatial(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (*sizes, 1, 1, 1)[:3]


def _frames(file: Path) -> int | None:
    sizes, affine = _geometry(_header(file)[0])
    return volume.frames(volume.geometry_of(_spatial(sizes), affine))


def _load(file: Path) -> volume.Volume:
    fields, start = _header(file)
    sizes, affine = _geometry(fields)
    channels = int((_numbers(fields, "ElementNumberOfChannels") or [1])[0])
    kind = _TYPES.get(fields.get("ElementType", "").removesuffix("_ARRAY"))
    if kind is None:
        raise UnreadableImageError("The voxels of the MetaImage file are of a type that is not supported.")
    dtype = np.dtype((">" if _true(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<") + kind)
    volume.check_size((*sizes, channels), dtype.itemsize)
    count = int(np.prod(_spatial(sizes))) * channels
    values = np.frombuffer(_data(file, fields, start, count * dtype.itemsize, dtype), dtype, count=count)
    values = values.astype(dtype.newbyteorder("="))
    shape = _spatial(sizes)
    stored = values.reshape((*reversed(shape), channels)).transpose(2, 1, 0, 3)
    more = int(np.prod(sizes[3:], dtype=np.int64))
    notes = (f"The first of {more:,} volumes in the file is shown.",) if more > 1 else ()
    colour = channels in (3, 4) and kind == "u1"
    return volume.volume_of(stored[..., :3] if colour else stored[..., 0], affine, notes)


def _from_text(text: bytes, count: int) -> np.ndarray:
    """The first numbers of a text."""
    words = text.split(maxsplit=count)[:count]
    if len(words) < count:
        raise UnreadableImageError(_CUT_SHORT)
    return np.array(words, dtype=np.float64)


def _data(file: Path, fields: dict[str, str], start: int, size: int, dtype: np.dtype) -> bytes:
    """The bytes of the first volume, unpacked."""
    where, name = file, fields["ElementDataFile"]
    if name.upper() != "LOCAL":
        start = 0
        if name.split()[0].upper() == "LIST" or "%" in name:
            raise UnreadableImageError(volume.MANY_FILES)
        where = file.parent / Path(name).name
        if not where.is_file():
            raise volume.voxels_are_gone(file)
    packed = _true(fields, "CompressedData")
    skipped = int((_numbers(fields, "HeaderSize") or [0])[0])
    with where.open("rb") as stream:
        if skipped == -1 and not packed:
            skipped = max(0, where.stat().st_size - size - start)
        stream.seek(start + max(0, skipped))
        if fields.get("BinaryData", "").lower() == "false":
            return _from_text(stream.read(), size // dtype.itemsize).astype(dtype).tobytes()
        data = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(stream.read(), size) if packed else stream.read(size)
    if len(data) < size:
        raise UnreadableImageError(_CUT_SHORT)
    return data


READER = volume.reader(
    formats="MetaImage",
    suffixes=frozenset({".mha", ".mhd"}),
    recognises=_recognises,
    frames=_frames,
    load=_load,
)
