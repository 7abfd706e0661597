"""The images of a run as the page shows them: what the machine says of each, also where a clinician answered since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoannotate.errors import AutoannotateError
from autoannotate.review.suggestion import proposal
from autoannotate.runs import history
from autoannotate.runs.run import Run

CLINICIAN = "clinician"


@dataclass(frozen=True)
class Row:
    """One image: the machine's label and doubt about it.

    Attributes
    ----------
    id : a number that never means another image
    suggested : None where nothing is proposed
    by_clinician : whether the run's label is a clinician's answer; `label` is then what the machine said before
    findings : by name, where an image can show several, their value, probability, whether they are asked about, what is
        proposed and why
    """

    id: int
    path: str
    label: str
    confidence: float
    source: str
    clip_label: str
    suspect: bool
    score: float
    suggested: str | None
    reason: str
    by_clinician: bool
    findings: Mapping[str, Any] | None = None

    def shows(self, name: str) -> bool:
        """Whether the machine says that the image is of a class, or shows a finding."""
        return self.label == name if self.findings is None else self.findings[name]["value"] == 1


def rows_of(folder: Path, annotations: Run, classes: list[str], numbers: dict[str, int]) -> list[Row]:
    """The rows of a run in path order. numbers: by path, those known; new ones are added."""
    machine, asked = _before_clinicians(folder, annotations), _asked(annotations)
    findings = _findings(annotations)
    rows = []
    for now in annotations.table.to_dict(orient="records"):
        path = now["path"]
        row, queued = machine.get(path, (now, asked.get(path, {})))
        reason = str(queued.get("reason", ""))
        rows.append(
            Row(
                id=numbers.setdefault(path, len(numbers)),
                path=path,
                label=row["label"],
                confidence=row["confidence"],
                source=row["source"],
                clip_label=row["clip_label"],
                suspect=bool(row["suspect"]),
                score=row["suspect_score"],
                suggested=proposal(queued.get("suggested_label", row["label"]), reason, classes)
                if annotations.findings is None
                else queued.get("suggested_label", row["label"]),
                reason=reason,
                by_clinician=now["source"] == CLINICIAN,
                findings=findings.get(path),
            )
        )
    return rows


def _findings(run: Run) -> dict[str, dict[str, Any]]:
    """Of each image its findings by name; what is proposed is the value, or for a suspect the other one."""
    found: dict[str, dict[str, Any]] = {}
    if run.findings is None:
        return found
    meaningful = {name: bool(about["meaningful"]) for name, about in run.record.findings.items()}
    for row in run.findings.to_dict(orient="records"):
        value, likely = int(row["value"]), row["probability"] >= 0.5
        doubted = bool(row["suspect"]) and meaningful[row["finding"]]
        proposed = int(likely) if doubted and value != -1 else max(value, 0)
        found.setdefault(row["path"], {})[row["finding"]] = {
            "value": value, "probability": round(float(row["probability"]), 4), "suspect": bool(row["suspect"]),
            "proposed": proposed, "reason": row.get("reason", ""), "clinician": row["source"] == CLINICIAN,
        }  # fmt: skip
    return found


def _asked(run: Run) -> dict[str, Any]:
    return {row["path"]: row for row in run.suspects.to_dict(orient="records")}


def _before_clinicians(folder: Path, annotations: Run) -> dict[str, tuple[Any, Any]]:
    """What the machine said last of the images that clinicians labelled since: the rows of labels.csv and suspects.csv.

    Where no round knows, it is CLIP's label.
    """
    table = annotations.table
    answered = table[table["source"] == CLINICIAN]
    wanted: dict[str, Any] = {row["path"]: row for row in answered.to_dict(orient="records")}
    found: dict[str, tuple[Any, Any]] = {}
    number = annotations.record.round
    while wanted and (number := number - 1) >= 0:
        try:
            earlier = history.load_round(folder, number)
        except AutoannotateError:
            continue
        asked = _asked(earlier)
        here = earlier.table[earlier.table["path"].isin(list(wanted)) & (earlier.table["source"] != CLINICIAN)]
        for row in here.to_dict(orient="records"):
            del wanted[row["path"]]
            found[row["path"]] = (row, asked.get(row["path"], {}))
    for path, row in wanted.items():
        known = {"label": row["clip_label"], "confidence": row["clip_confidence"], "source": "clip", "suspect": 0}
        found[path] = ({**row, **known, "suspect_score": 0.0}, {})
    return found
