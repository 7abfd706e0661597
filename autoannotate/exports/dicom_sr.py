"""DICOM structured reports for a PACS: one an item (TID 1500), its label as a coded finding that points at the images.

A report belongs to the patient and study of its images and carries their identifiers, as the PACS needs them. Codes are those
of the prompts (`codes:`), else private ones made of the class's name. Nobody has verified a report: it says that a device
made it, how sure the run is, and where the label came from. Written by highdicom (extra `sr`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate._internal.progress import Track, silent
from autoannotate._internal.version import __version__
from autoannotate.errors import InputError, OutputError, UnreadableImageError
from autoannotate.exports._names import file_stems
from autoannotate.images import dicom
from autoannotate.images.quiet import quiet
from autoannotate.images.registry import reader_for
from autoannotate.images.sources import dicomweb
from autoannotate.labelling.zero_shot.vocabulary import Code, Library
from autoannotate.labelling.zero_shot.vocabulary_file import load_library
from autoannotate.runs.run import NONE_OF_THESE, NOT_USABLE

if TYPE_CHECKING:
    from pydicom import Dataset

    from autoannotate.exports import Order
    from autoannotate.images import ImageRef
    from autoannotate.runs.run import What

SUFFIX = "-dicom-sr"
EXTRA = "Structured reports need highdicom: pip install 'autoannotate[sr]'."
PRIVATE = "99AUTOANNOTATE"  # the scheme of classes that have no code
SERIES_NUMBER = 9100
STORED_AT_ONCE = 100  # reports a request
_OF_PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime", "AccessionNumber",
    "ReferringPhysicianName",
)  # fmt: skip
_PROCEDURES = {  # SNOMED CT, as in PS3.16 CID 29 and CID 100
    "CT": ("77477000", "Computed tomography"), "US": ("16310003", "Ultrasonography"), "MG": ("71651007", "Mammography"),
    **dict.fromkeys(("CR", "DX", "RG"), ("168537006", "Plain radiography")),
}  # fmt: skip


def next_step(path: Path, what: What, link: str) -> str:
    """What the reports hold, and where they may go."""
    return (
        "The reports name their patients, as the images do: they belong in the PACS of the images and nowhere else.\n"
        "To store them there: dcmsend or storescu of DCMTK, or this command again with --store dicomweb://HOST/PATH."
    )


def write(order: Order) -> None:
    """Write a file an item. Images that are no DICOM, and labels that are no finding, go to `order.lost`.

    Raises
    ------
    InputError
        Where no item can have a report.
    OutputError
        Where highdicom is not installed.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError:
        raise OutputError(EXTRA) from None
    order.path.mkdir()
    record = order.annotations.record
    words = record.arguments.get("prompts")
    library = load_library(words if isinstance(words, dict) else Path(words) if words else None)
    stems = file_stems(order.annotations.table["path"])
    count = len(order.annotations.rows(order.what))
    for row in order.track(order.records(), "structured reports", count):
        path = row["path"]
        try:
            ref = order.annotations.image(path)
            codes = _codes(row["label"], order.annotations.classes, library)
            with quiet():
                report = _report(row, ref, _headers(ref), codes, record.model.name)
                report.save_as(order.path / f"{stems[path]}.dcm", enforce_file_format=True)
        except (UnreadableImageError, FileNotFoundError) as error:
            order.lost[path] = str(error) if isinstance(error, UnreadableImageError) else "It is not there any more."
        except (OSError, MemoryError):
            raise
        except Exception:
            order.lost[path] = "Its header is damaged, so no structured report can be made of it."
            (order.path / f"{stems[path]}.dcm").unlink(missing_ok=True)
    if count and len(order.lost) == count:
        first, why = next(iter(order.lost.items()))
        raise InputError(
            f"No structured report can be made. The first: {first}: {why} Other formats, such as csv, take any image."
        )


def check_address(url: str) -> str:
    """The address of the DICOMweb service that a URL names.

    Raises
    ------
    InputError
        Where it names none.
    """
    if not dicomweb.SOURCE.recognises(url):
        raise InputError(f"{url} is no PACS: write dicomweb://HOST[:PORT]/PATH, or dicomwebs:// for https.")
    return dicomweb.Place.of(url).url


def store(folder: Path, url: str, track: Track = silent) -> int:
    """Store the reports of a folder in a PACS by STOW-RS (PS3.18, 10.5), `STORED_AT_ONCE` a request; how many.

    Raises
    ------
    InputError
        Where the address is none, or the server does not take them all.
    """
    from pydicom import dcmread

    server, files = dicomweb.server_at(check_address(url)), sorted(folder.glob("*.dcm"))
    for start in track(range(0, len(files), STORED_AT_ONCE), "storing"):
        server.store([dcmread(file) for file in files[start : start + STORED_AT_ONCE]])
    return len(files)


def _codes(label: str, classes: Sequence[str], library: Library) -> list[Code]:
    """The code of the label, or of each finding that it joins. Raises `UnreadableImageError` where there is none."""
    names = [label] if label in classes else [name for name in label.split("|") if name]
    if not names or {NONE_OF_THESE, NOT_USABLE} & set(names):
        raise UnreadableImageError(f"Its label, {label or 'none of the findings'}, is no finding to report.")
    return [library.code(name) or _private_code(name) for name in names]


def _private_code(name: str) -> Code:
    """A code of our own for a class: its name where that is short, else the beginning of a hash of it.

    >>> _private_code("left lung").value, len(_private_code("a class with a very long name").value)
    ('LEFT_LUNG', 16)
    """
    value = re.sub(r"\W+", "_", name).upper()
    short = value.isascii() and len(value) <= 16
    return Code(PRIVATE, value if short else hashlib.sha256(name.encode()).hexdigest()[:16], name[:64])


def _headers(ref: ImageRef) -> list[tuple[Dataset, int | None]]:
    """The headers of the images of an item that were looked at, those of the first one's study, each with its frame.

    Raises `UnreadableImageError` where one is no DICOM file.
    """
    from pydicom import dcmread

    found: list[tuple[Dataset, int | None]] = []
    known: dict[Any, Dataset] = {}
    for part in ref.slices:
        key = (part.file, part.content)
        if key not in known:
            with part.as_file() as file, quiet():
                if reader_for(file) is not dicom.READER:
                    raise UnreadableImageError("It is no DICOM file, so no structured report can point at it.")
                known[key] = dcmread(file, stop_before_pixels=True, force=True)
            for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
                if not known[key].get(name):
                    raise UnreadableImageError(f"Its header has no {name}, by which a structured report points at it.")
        found.append((known[key], part.frame))
    study = found[0][0].StudyInstanceUID
    return [(header, frame) for header, frame in found if header.StudyInstanceUID == study]


def _report(
    row: dict[str, Any], ref: ImageRef, headers: list[tuple[Dataset, int | None]], codes: Sequence[Code], model: str
) -> Dataset:
    """A Comprehensive SR with one measurement group a finding (PS3.16, TID 1500 and 1501)."""
    from highdicom import sr
    from highdicom.uid import UID
    from pydicom.sr.codedict import codes as known
    from pydicom.sr.coding import Code as Coded
    from pydicom.uid import generate_uid

    images = {header.SOPInstanceUID: header for header, _ in headers}
    for header in images.values():
        for name in _OF_PATIENT_AND_STUDY:
            if name not in header:
                setattr(header, name, "")
    algorithm = sr.AlgorithmIdentification(
        "autoannotate", __version__, [f"model: {model}", f"label from: {row['source']}"]
    )
    sure = sr.Measurement(
        Coded("111012", "DCM", "Certainty of Finding"), round(100 * float(row["confidence"]), 2),
        Coded("%", "UCUM", "Percent"), algorithm_id=algorithm,
    )  # fmt: skip
    sources = [
        sr.SourceImageForMeasurementGroup(
            header.SOPClassUID, uid, [f + 1 for h, f in headers if h is header and f is not None] or None
        )
        for uid, header in images.items()
    ]
    content = [*images, *(f"{code.scheme} {code.value}" for code in codes), str(row["confidence"]), row["source"]]
    groups = [
        sr.MeasurementsAndQualitativeEvaluations(
            sr.TrackingIdentifier(UID(generate_uid(entropy_srcs=["group", *content, code.value])), code.meaning),
            finding_type=Coded(code.value, code.scheme, code.meaning), measurements=[sure], source_images=sources,
        )
        for code in codes
    ]  # fmt: skip
    device = sr.DeviceObserverIdentifyingAttributes(
        UID(generate_uid(entropy_srcs=["autoannotate", __version__, model])), name="autoannotate", model_name=model[:64]
    )
    context = sr.ObservationContext(observer_device_context=sr.ObserverContext(known.DCM.Device, device))
    modality = str(headers[0][0].get("Modality") or "").upper()
    value, meaning = _PROCEDURES.get(modality, ("363679005", "Imaging procedure"))
    filled = sr.MeasurementReport(
        context, Coded(value, "SCT", meaning), groups, known.DCM.ImagingMeasurementReport
    )  # fmt: skip
    with quiet():
        made = sr.ComprehensiveSR(
            evidence=list(images.values()),
            content=filled[0],
            series_instance_uid=generate_uid(entropy_srcs=["series", headers[0][0].StudyInstanceUID]),
            series_number=SERIES_NUMBER,
            sop_instance_uid=generate_uid(entropy_srcs=["report", *content]),  # the same report is the same instance
            instance_number=1,
            manufacturer="autoannotate", is_complete=True, is_final=False, is_verified=False,
        )  # fmt: skip
    made.SeriesDescription = "Labels by autoannotate, unverified"
    return made
