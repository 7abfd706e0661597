"""Items: what gets one row and one label, be it an image, a file of frames, a series of slices, a study or a patient."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from autoannotate._internal.wording import counted
from autoannotate.errors import UnreadableImageError, UsageError
from autoannotate.images import dicom, isolation
from autoannotate.images.dicom_pixels import source_of
from autoannotate.images.find import natural
from autoannotate.images.keyed_hash import keyed_hash
from autoannotate.images.quiet import quiet
from autoannotate.images.ref import HEAD_BYTES, Box, ImageRef, Item, Reader
from autoannotate.images.registry import reader_of, unpacked_head

KINDS = ("auto", "image", "file", "series", "study", "patient")
VOLUME_MODALITIES = frozenset({"CT", "MR", "PT", "NM", "OPT", "MRI"})
GAP = 1.5  # times the usual step: then a slice is missing
SAME_MM = 1e-3
_TAGS = ("Modality", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "ImagePositionPatient",
         "ImageOrientationPatient", "InstanceNumber", "ImageType")  # fmt: skip
IDENTIFYING = (  # attributes that name people and places (PS3.15, table E.1-1) and are in many files; no value of them is kept
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientAddress", "OtherPatientIDs",
    "PatientComments", "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber", "ImageComments", "SOPInstanceUID",
    "SeriesInstanceUID", "StudyInstanceUID",
)  # fmt: skip
_FLAT = re.compile(r"\.(png|jpe?g|jpe|jfif|bmp|webp|gif|jp2|j2k|p[gnp]m|avif|heic|heif|jxl|tiff?)$", re.IGNORECASE)


@dataclass(frozen=True)
class _Header:
    """What DICOM says of one file, identifiers as keyed hashes."""

    modality: str = ""
    series: str = ""
    study: str = ""
    patient: str = ""
    position: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    number: int | None = None
    localiser: bool = False
    identifying: tuple[str, ...] = ()


def items_of(refs: Sequence[ImageRef], kind: str = "auto") -> list[Item]:
    """The items that images make up, in natural path order.

    Parameters
    ----------
    refs : sequence of ImageRef
        As `find` gives them.
    kind : str
        One of `KINDS`. auto: series for DICOM of a volume modality and for volumes in one file (NIfTI, NRRD), file for
        cines and files of several pages, image for all else. Whole-slide images are one item whatever the kind, but for image.

    Raises
    ------
    UsageError
        For another kind.

    Notes
    -----
    Slices of a DICOM series are ordered by ImagePositionPatient along the normal of ImageOrientationPatient (PS3.3 C.7.6.2),
    by InstanceNumber where that is missing. Localisers, and slices of another orientation, are items of their own. Frames of
    an enhanced multi-frame file are ordered by the positions in its functional groups (C.7.6.16), an orientation at a time.
    """
    if check_kind(kind) == "image":
        return [Item(ref.path, "image", (ref,)) for ref in refs]
    files: defaultdict[tuple[Any, ...], list[ImageRef]] = defaultdict(list)
    for ref in refs:
        files[(ref.file, ref.content)].append(ref)
    alone: list[Item] = []
    groups: defaultdict[tuple[str, Hashable], list[tuple[ImageRef, _Header]]] = defaultdict(list)
    for parts in files.values():
        reader = _reader(parts[0])
        slices = _slices(parts[0], reader)
        if slices is not None and slices < len(parts):
            alone += _successive(parts, slices, kind)
            continue
        header = _header(parts[0]) if reader is dicom.READER else _Header()
        about = (header.series, header.study, header.patient, (), header.identifying)
        if places := _places(parts, reader):
            alone.append(Item(_without_frame(parts[0]), "slide", tuple(parts), *about, places))
            continue
        level, key = _level(kind, header, len(parts), slices)
        if key:
            groups[(level, key)] += [(ref, header) for ref in parts]
        elif level == "image":
            alone += [Item(ref.path, "image", (ref,), *about) for ref in parts]
        elif reader is dicom.READER and level in ("file", "series"):
            ordered, notes = _frames_in_space(parts)
            alone.append(Item(_without_frame(parts[0]), level, ordered, *about[:3], notes, header.identifying))
        else:
            alone.append(Item(_without_frame(parts[0]), level, tuple(parts), *about))
    owners = Counter(PurePosixPath(ref.path).parent for ref in refs)
    for (level, _), members in groups.items():
        alone += _grouped(level, members, owners)
    return sorted(alone, key=lambda item: natural(ImageRef(item.path, item.refs[0].file)))


def check_kind(kind: str) -> str:
    """The kind, where it is one of `KINDS`.

    Raises
    ------
    UsageError
        With the way out.
    """
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is no kind of item: choose one of {', '.join(KINDS)}.")
    return kind


def chosen(items: Sequence[Item]) -> str:
    """What the items are and why, in a sentence.

    >>> chosen([])
    '0 items'
    """
    why = {
        "series": "slices of one series or volume have one label",
        "file": "frames and pages of one file have one label",
        "study": "all images of a study have one label",
        "patient": "all images of a patient have one label",
        "slide": "the tiles of a slide have one label",
    }
    counts = Counter(item.kind for item in items)
    if set(counts) <= {"image"}:
        return f"{len(items):,} items" if not items else f"{len(items):,} images, each an item of its own"
    plurals = {"series": "series", "study": "studies"}
    names = {kind: kind if count == 1 else plurals.get(kind, f"{kind}s") for kind, count in counts.items()}
    parts = [f"{counts[kind]:,} {name}" + (f" ({why[kind]})" if kind in why else "") for kind, name in names.items()]
    return f"{len(items):,} items of {sum(len(item.refs) for item in items):,} images: {', '.join(parts)}; --item changes it"


def _successive(parts: list[ImageRef], slices: int, kind: str) -> list[Item]:
    """The items of a file that holds many images or volumes, whose slices follow each other: `set.npz#3` is the fourth."""
    if slices == 1:
        return [Item(ref.path, "image", (ref,)) for ref in parts]
    if kind == "file":
        return [Item(_without_frame(parts[0]), "file", tuple(parts))]
    stem = _without_frame(parts[0])
    found = []
    for number, start in enumerate(range(0, len(parts), slices)):
        of = [replace(ref, path=f"{stem}#{number}/{i}") for i, ref in enumerate(parts[start : start + slices])]
        found.append(Item(f"{stem}#{number}", "series", tuple(of)))
    return found


def _slices(ref: ImageRef, reader: Reader | None) -> int | None:
    """How many frames of the file that follow each other are slices of one volume; see `Reader.slices`."""
    if reader is None or reader.slices is None or ref.frame is None:
        return None
    try:
        with ref.as_file() as file:
            return isolation.slices(file)
    except UnreadableImageError:
        return None


def _places(parts: list[ImageRef], reader: Reader | None) -> tuple[Box, ...]:
    """Where the tiles of a slide lie; nothing of another file."""
    if reader is None or reader.places is None or len(parts) < 2:
        return ()
    try:
        with parts[0].as_file() as file:
            places = tuple(isolation.places(file))
    except UnreadableImageError:
        return ()
    return places if len(places) == len(parts) else ()


def _level(kind: str, header: _Header, frames: int, slices: int | None) -> tuple[str, str]:
    """The kind of item that a file belongs to, and by what it is grouped with others; no key where it stands alone."""
    uid = {"series": header.series, "study": header.study, "patient": header.patient}.get(kind, "")
    if uid:
        return kind, uid
    if kind == "auto" and frames == 1 and header.series and header.modality in VOLUME_MODALITIES:
        return "series", header.series
    if frames > 1:
        return ("series" if slices is not None and kind != "file" else "file"), ""
    return "image", ""


def _grouped(level: str, members: list[tuple[ImageRef, _Header]], owners: Counter[PurePosixPath]) -> list[Item]:
    """The items of one series, study or patient: one, or one an orientation in a series."""
    parts: defaultdict[Hashable, list[tuple[ImageRef, _Header]]] = defaultdict(list)
    for ref, header in members:
        parts[(header.localiser, header.orientation) if level == "series" else None].append((ref, header))
    found = []
    for number, part in enumerate(sorted(parts.values(), key=lambda part: (-len(part), part[0][0].path)), start=1):
        header = part[0][1]
        name = {"series": header.series, "study": header.study, "patient": header.patient}[level]
        ordered = sorted(part, key=_position)
        about = (header.series if level == "series" else "", header.study if level != "patient" else "", header.patient)
        if len(part) == 1 and level == "series":
            found.append(Item(part[0][0].path, "image", (part[0][0],), *about, (), header.identifying))
            continue
        path = _shared_name([ref for ref, _ in part], name, owners)
        path = path if len(parts) == 1 else f"{path}/{number}"
        notes = _about_positions([header for _, header in ordered]) if level == "series" else ()
        if len(parts) > 1:
            notes = (f"The series holds slices of {len(parts)} orientations, told apart.", *notes)
        identifying = tuple(dict.fromkeys(name for _, header in part for name in header.identifying))
        found.append(Item(path, level, tuple(ref for ref, _ in ordered), *about, notes, identifying))
    return found


def _frames_in_space(parts: list[ImageRef]) -> tuple[tuple[ImageRef, ...], tuple[str, ...]]:
    """Frames of one file by their positions, with notes; in the file's order where they do not say where they lie."""
    headers = _frame_headers(parts[0])
    placed = [(ref, headers[ref.frame]) for ref in parts if ref.frame is not None and ref.frame < len(headers)]
    if len(placed) < len(parts) or any(_along(header) is None for _, header in placed):
        return tuple(parts), ()
    planes: defaultdict[tuple[float, ...], list[tuple[ImageRef, _Header]]] = defaultdict(list)
    for ref, header in placed:
        planes[header.orientation].append((ref, header))
    ordered = [sorted(plane, key=_position) for plane in planes.values()]
    if len(planes) > 1:
        notes: tuple[str, ...] = (f"The file holds frames of {len(planes)} orientations, one after another.",)
    else:
        notes = _about_positions([header for _, header in ordered[0]])
    return tuple(ref for plane in ordered for ref, _ in plane), notes


def _frame_headers(ref: ImageRef) -> list[_Header]:
    """Where each frame of an enhanced multi-frame file lies; nothing for other files."""
    from pydicom import dcmread

    sequences = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    try:
        with quiet():
            if ref.content is not None and ref.content.header is not None:
                header = ref.content.header()
            else:
                with ref.as_file() as file:
                    header = dcmread(
                        source_of(file), stop_before_pixels=True, force=True, specific_tags=list(sequences)
                    )
            shared, each = (list(header.get(name) or ()) for name in sequences)
            return [
                _Header(
                    position=_numbers(_of_groups((frame, *shared), "PlanePosition", "ImagePositionPatient")),
                    orientation=_plane(_of_groups((frame, *shared), "PlaneOrientation", "ImageOrientationPatient")),
                )
                for frame in each
            ]
    except Exception:
        return []


def _of_groups(groups: Iterable[Any], macro: str, name: str) -> Any:
    """An attribute from the first functional group that has its macro (PS3.3, C.7.6.16.2)."""
    return next((group[f"{macro}Sequence"][0].get(name) for group in groups if group.get(f"{macro}Sequence")), None)


def _plane(values: Iterable[Any] | None) -> tuple[float, ...]:
    return tuple(round(value, 2) + 0.0 for value in _numbers(values))


def _shared_name(refs: list[ImageRef], name: str, owners: Counter[PurePosixPath]) -> str:
    """The folder of the images where it holds nothing else, else the folder that they share and their hashed name."""
    folders = {PurePosixPath(ref.path).parent for ref in refs}
    folder = min(folders)
    if len(folders) == 1 and owners[folder] == len(refs) and folder.name:
        return folder.as_posix()
    while any(folder not in (other, *other.parents) for other in folders):
        folder = folder.parent
    return (folder / name).as_posix()


def _position(member: tuple[ImageRef, _Header]) -> tuple[Any, ...]:
    ref, header = member
    along = _along(header)
    number = float("inf") if header.number is None else header.number
    return header.series, *((0, along) if along is not None else (1, number)), number, *natural(ref)


def _along(header: _Header) -> float | None:
    """The position of a slice along the normal of its plane, in millimetres."""
    if len(header.position) != 3 or len(header.orientation) != 6:
        return None
    normal = np.cross(header.orientation[:3], header.orientation[3:])
    return round(float(np.dot(normal, header.position)), 4)


def _about_positions(headers: list[_Header]) -> tuple[str, ...]:
    """Gaps and positions that occur more than once, in words."""
    places = [place for place in map(_along, headers) if place is not None]
    if len(places) < len(headers):
        return ("The slices are in the order of their numbers: some do not say where they lie.",)
    steps = np.diff(places)
    notes = []
    if same := int((steps < SAME_MM).sum()):
        notes.append(f"{counted(same, 'slice')} {'lies' if same == 1 else 'lie'} where another one does.")
    steps = steps[steps >= SAME_MM]
    usual = float(np.median(steps)) if len(steps) else 0.0
    if missing := int((np.round(steps / usual)[steps > GAP * usual] - 1).sum()) if usual else 0:
        notes.append(f"{counted(missing, 'slice')} {'is' if missing == 1 else 'are'} missing between others.")
    return tuple(notes)


def _without_frame(ref: ImageRef) -> str:
    return ref.path if ref.frame is None else ref.path.rpartition("#")[0]


def _reader(ref: ImageRef) -> Reader | None:
    """The reader of the file; None where no item can come of it (a flat picture), or it cannot be opened."""
    if ref.content is not None and ref.content.header is not None:
        return dicom.READER
    if ref.frame is None and _FLAT.search(ref.path):
        return None
    try:
        with ref.as_file() as file, file.open("rb") as stream:
            return reader_of(ref.file.name, unpacked_head(stream.read(HEAD_BYTES + 4096)))
    except Exception:
        return None


def _header(ref: ImageRef) -> _Header:
    """What the DICOM header says; nothing where it cannot be read."""
    from pydicom import dcmread

    try:
        with quiet():
            if ref.content is not None and ref.content.header is not None:
                return _hashed(ref.content.header())
            with ref.as_file() as file:
                tags = [*_TAGS, *IDENTIFYING]
                return _hashed(dcmread(source_of(file), stop_before_pixels=True, force=True, specific_tags=tags))
    except Exception:
        return _Header()


def _hashed(header: Any) -> _Header:
    series, study, patient = (
        keyed_hash(str(header.get(name))) if header.get(name) else ""
        for name in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID")
    )
    position = _numbers(header.get("ImagePositionPatient"))
    orientation = _plane(header.get("ImageOrientationPatient"))
    number = header.get("InstanceNumber")
    kind = [str(word).upper() for word in header.get("ImageType") or ()]
    return _Header(
        str(header.get("Modality") or "").upper(), series, study, patient, position, orientation,
        int(number) if number not in (None, "") else None, "LOCALIZER" in kind,
        tuple(name for name in IDENTIFYING if header.get(name) not in (None, "")),
    )  # fmt: skip


def _numbers(values: Iterable[Any] | None) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values or ())
    except (TypeError, ValueError):
        return ()
