"""What run.json holds, as a type with a version: everything needed to repeat a run, and what it found.

A field that an older run lacks has a default; a run of a newer format than `FORMAT` is refused with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from autoannotate.errors import InputError

FORMAT = 1  # of run.json and the tables beside it; runs of 0.1.0 name none


def _known(cls: Any, values: Any) -> dict[str, Any]:
    """Those of the values that the dataclass has, None left to its default."""
    names = {each.name for each in fields(cls)}
    given = values if isinstance(values, Mapping) else {}
    return {name: value for name, value in given.items() if name in names and value is not None}


@dataclass(frozen=True)
class ModelRecord:
    """The encoder of a run. image_size: in pixels."""

    name: str = "embedded"
    weights_sha256: str = ""
    image_size: int | None = None
    device: str = ""


@dataclass(frozen=True)
class StudentRecord:
    """The student of a run. kind: none where none was trained. decision: whether one was, or why not, see
    `labelling.label_errors.student_decision.Decision`; note: the same in words. accuracies: agreement with the labels on images
    not seen. said: the digest of student.npz."""

    kind: str = "none"
    decision: str = ""
    reliable: bool = False
    held_out_accuracy: float | None = None
    baseline_accuracy: float | None = None
    note: str = ""
    said: str | None = None


@dataclass(frozen=True)
class CountsRecord:
    """How many images, and of what. copies: images that are nearly the same picture as an earlier one.

    Attributes
    ----------
    none_of_these : those that look like another kind of image than every class
    """

    images: int = 0
    unreadable: int = 0
    suspects: int = 0
    copies: int | None = None
    clinician: int = 0
    none_of_these: int = 0
    clip_student_disagreements: int | None = None
    per_class: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ReliabilityRecord:
    """How far zero-shot labels are trusted, see `labelling.zero_shot.reliability`; None where the run does not say."""

    trust: float | None = None
    meaningful: bool | None = None
    verdict: str = ""
    advice: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """All of run.json.

    Attributes
    ----------
    arguments : of the annotator and the command; `images` says where the pictures are
    stamps : 8 digits an image, in path order, to tell a replaced one
    update : what the last update did
    passed_over : the files that are no images, see `images.PassedOver`
    items : how images were put together, in words
    heat_maps : of slides, see `build.heat_maps`
    not_kept : attributes of headers that identify people, with the number of items that have them; no value is kept
    given : whether labels existed before the run
    audit : what was found in them
    findings : what is known of each finding, by its name, where an image can show several; the classes are their names then
    proposals : what became of each group of proposals, see `runs.proposals`
    rules : between findings, as they were written
    learned_rules : what the soft ones are worth
    """

    format: int = 0
    version: str = ""
    round: int = 0
    seed: int = 0
    classes: tuple[str, ...] = ()
    command: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    model: ModelRecord = ModelRecord()
    student: StudentRecord = StudentRecord()
    counts: CountsRecord = CountsRecord()
    reliability: ReliabilityRecord = ReliabilityRecord()
    passed_over: tuple[Mapping[str, Any], ...] = ()
    items: str = ""
    heat_maps: Mapping[str, list[list[float]]] = field(default_factory=dict)
    not_kept: Mapping[str, int] = field(default_factory=dict)
    modality: Any = None
    prompts: Mapping[str, list[str]] = field(default_factory=dict)
    estimated_error_rate: float | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    stamps: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    update: Mapping[str, Any] | None = None
    given: bool = False
    audit: Mapping[str, Any] | None = None
    findings: Mapping[str, Any] = field(default_factory=dict)
    proposals: tuple[Mapping[str, Any], ...] = ()
    rules: tuple[str, ...] = ()
    learned_rules: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The record in the content of a run.json.

        Raises
        ------
        InputError
            Where a newer autoannotate wrote it.
        """
        known = _known(cls, values)
        form = known.get("format", 0)
        if not isinstance(form, int) or form > FORMAT:
            raise InputError(
                f"This run was written by a newer autoannotate (run format {form}; this version knows {FORMAT}): "
                "update autoannotate with pip install --upgrade autoannotate."
            )
        for name, section in SECTIONS.items():
            known[name] = section(**_known(section, known.get(name)))
        known["classes"] = tuple(str(name) for name in known.get("classes", ()))
        return cls(**known)


def file_arguments(*, names_only: bool = False, **files: str | Path | None) -> dict[str, str]:
    """How files are written into run.json, so that a later command finds them from any folder; words stay as they are.

    Parameters
    ----------
    names_only : without the folders that they are in, which may name patients
    """
    return {
        name: (Path(file).name if names_only else Path(file).absolute().as_posix())
        if Path(file).exists()
        else str(file)
        for name, file in files.items()
        if file is not None
    }


SECTIONS: dict[str, Any] = {
    "model": ModelRecord, "student": StudentRecord, "counts": CountsRecord, "reliability": ReliabilityRecord,
}  # fmt: skip
