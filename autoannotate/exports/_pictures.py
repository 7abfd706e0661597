"""The pictures that go along with exported labels: files as they are where a tool can show them, else rendered as PNG.

DICOM files are always rendered: their headers say who the patient is, and what is exported leaves the house. So are
frames and pages, arrays, and what other programs would show otherwise than the run saw it: deep grey values, numbers with a
point, pictures that EXIF turns, transparency, JPEG 2000. A file goes as it is only where its pixels are those of the run; it
loses its EXIF and texts, unless `keep_metadata` is asked for, and a link to a file with some becomes a copy without.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import ExifTags, Image

from autoannotate.errors import InputError, OutputError, UnreadableImageError
from autoannotate.exports._names import file_stems, unique
from autoannotate.images import dicom, raster, read_image, tiff
from autoannotate.images.metadata import kinds_of_metadata, without_metadata
from autoannotate.images.quiet import quiet
from autoannotate.images.registry import reader_for

if TYPE_CHECKING:
    from autoannotate.exports import Order
    from autoannotate.images import ImageRef

ENDINGS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
}
"""Formats that may be passed on as they are, and the endings by which tools know them, the usual one first."""
TRAINING = tuple(ENDINGS)
"""What programs for training read."""
BROWSERS = ("JPEG", "PNG")
"""What every browser shows."""
_SHOWN_ALIKE = ("1", "L", "LA", "P", "RGB", "RGBA")  # Pillow's modes of 8 bits that browsers show as they are


@dataclass(frozen=True)
class Picture:
    """One picture on its way: a file as it is, its bytes without their metadata, or an image to write as PNG.

    `name` is its new file name.
    """

    stem: str
    suffix: str
    width: int
    height: int
    file: Path | None = None
    image: Image.Image | None = None
    cleaned: bytes | None = None

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.stem + self.suffix

    def content(self) -> bytes:
        """The bytes of the file."""
        if self.cleaned is not None:
            return self.cleaned
        if self.file is not None:
            return self.file.read_bytes()
        assert self.image is not None
        image = self.image
        if all(band.tobytes() == image.getchannel(0).tobytes() for band in image.split()[1:]):
            image = image.getchannel(0)  # grey pictures take a third as grey
        out = io.BytesIO()
        image.save(out, format="PNG", compress_level=4)
        return out.getvalue()

    def put(self, folder: Path, link: str) -> None:
        """Make the picture in the folder by copy, hard link or symbolic link; what is rendered is always written."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / self.name
        if self.file is None:
            target.write_bytes(self.content())
            return
        _WAYS[link](self.file.resolve(), target)


def pictures(order: Order, formats: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], Picture]]:
    """Each record of the order with its picture, one at a time; those that cannot be read any more go to `order.lost`.

    Parameters
    ----------
    formats : which of `ENDINGS` are passed on as they are

    Raises
    ------
    InputError
        Where none of the pictures can be read.
    """
    for record, (picture, *_) in _each(order, formats, lambda ref: (ref,)):
        yield record, picture


def stacks(order: Order, formats: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], list[Picture]]]:
    """Each record of the order with the slices of its item that were looked at, in order, or with its only picture.

    Of a whole-slide image that is its overview, not its tiles. A slice that cannot be read is left out, and an item of which
    none can is lost; see `pictures`.
    """
    yield from _each(order, formats, _stack)


def has_stacks(order: Order) -> bool:
    """Whether an item of the run has several slices or frames."""
    return any(len(_stack(ref)) > 1 for ref in order.annotations.refs.values())


def _stack(ref: ImageRef) -> Sequence[ImageRef]:
    return (ref,) if ref.item is not None and ref.item.places else ref.slices


def _each(
    order: Order, formats: tuple[str, ...], parts_of: Callable[[ImageRef], Sequence[ImageRef]]
) -> Iterator[tuple[dict[str, Any], list[Picture]]]:
    """Each record with the pictures of some parts of its item."""
    stems, refs = file_stems(order.annotations.table["path"]), order.annotations.refs
    numbered = {
        f"{path}\0{number}": f"{stem}-slice-{number:04d}"
        for path, stem in stems.items()
        if path in refs and len(parts := parts_of(refs[path])) > 1
        for number in range(len(parts))
    }
    names = unique(stems | numbered)
    count = len(order.annotations.rows(order.what))
    for record in order.track(order.records(), "pictures", count):
        path, made, why = record["path"], [], ""
        try:
            parts = parts_of(order.annotations.image(path))
        except UnreadableImageError as error:
            order.lost[path] = str(error)
            continue
        for number, part in enumerate(parts):
            try:
                made.append(_picture(order, part, names[f"{path}\0{number}" if len(parts) > 1 else path], formats))
            except (UnreadableImageError, FileNotFoundError) as error:
                why = str(error) if isinstance(error, UnreadableImageError) else "It is not there any more."
        if not made:
            order.lost[path] = why
            continue
        order.names.update({picture.name: path for picture in made})
        yield record, made
    if count and len(order.lost) == count:
        first, why = next(iter(order.lost.items()))
        raise InputError(
            f"None of the {count:,} pictures can be exported. The first: {first}: {why} Put them back where the run "
            "found them, or say where they are now with --images."
        )


def _picture(order: Order, ref: ImageRef, stem: str, formats: tuple[str, ...]) -> Picture:
    image = read_image(ref)
    if (suffix := _as_it_is(ref, image, formats)) is not None:
        size = image.size
        if order.keep_metadata:
            return Picture(stem, suffix, *size, file=ref.file)
        data = ref.file.read_bytes()
        cleaned = without_metadata(data)
        if cleaned == data:
            return Picture(stem, suffix, *size, file=ref.file)
        order.removed.update(kinds_of_metadata(data))
        if cleaned is not None:
            return Picture(stem, suffix, *size, cleaned=cleaned)
    else:
        order.removed.update(_said_beside(ref))
    return Picture(stem, ".png", image.width, image.height, image=image)


def _said_beside(ref: ImageRef) -> tuple[str, ...]:
    """What a file that is rendered says beside the picture."""
    with ref.as_file() as file:
        reader = reader_for(file)
        if reader is dicom.READER:
            return ("DICOM headers",)
        return kinds_of_metadata(file.read_bytes()) if reader is raster.READER else ()


def _as_it_is(ref: ImageRef, seen: Image.Image, formats: tuple[str, ...]) -> str | None:
    """The ending of a file that can be passed on as it is, since every program shows it as the run saw it; else None."""
    if ref.frame is not None or reader_for(ref.file) not in (raster.READER, tiff.READER):
        return None
    try:
        with quiet(), Image.open(ref.file, formats=formats) as image:
            if image.format not in formats or getattr(image, "n_frames", 1) != 1 or image.mode not in _SHOWN_ALIKE:
                return None
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                return None  # some programs turn it, others do not
            if image.size != seen.size or image.convert("RGB").tobytes() != seen.tobytes():
                return None
            endings, suffix = ENDINGS[image.format], ref.file.suffix
            return suffix if suffix.lower() in endings else endings[0]
    except Exception:  # whatever is wrong, reading it will say
        return None


def _hard_link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError as error:
        raise OutputError(
            f"{file.name} cannot be linked ({(error.strerror or str(error)).lower()}): hard links need the same disk; "
            "use --link sym or --link copy."
        ) from error


_WAYS: dict[str, Callable[[Path, Path], object]] = {
    "copy": shutil.copyfile,
    "hard": _hard_link,
    "sym": lambda file, target: target.symlink_to(file),
}
