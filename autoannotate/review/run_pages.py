"""What the page shows of the run as a whole: its rounds, what the last one changed, its certificate, its exports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate import exports
from autoannotate.answers.certification.certificate_files import FOLDER, certify_run
from autoannotate.answers.certification.of_findings import certify_findings
from autoannotate.runs import history

if TYPE_CHECKING:
    from autoannotate.review.session import Desk

MOST_CHANGES = 400
EXPORTS = "exports"


def overview(desk: Desk) -> dict[str, Any]:
    """The rounds with their numbers, oldest first; what the newest changed; how many answers wait for an update."""
    known = history.rounds(desk.folder)
    last = known[-1]
    learnt = history.learnt(known)
    standing = desk.standing()
    waiting = {answer.path for answer in standing if answer.id not in learnt}
    meaningful = desk.meaningful
    return {
        "rounds": [_round(one, meaningful) for one in known],
        "changes": [
            {"id": desk.by_path[c.path].id, "path": c.path, "before": c.before, "after": c.after, "why": c.why}
            for c in last.changes[:MOST_CHANGES]
            if c.path in desk.by_path
        ],
        "changed": len(last.changes),
        "changed_by_readers": sum(c.why.endswith(" answered") for c in last.changes),
        "answered": len({answer.path for answer in standing}),
        "waiting": len(waiting),
        "images": len(desk.rows),
        "meaningful": meaningful,
        "certificate": certificate(desk.folder),
        "sample": len(desk.sample()),
        "formats": exports.formats(),
    }


def _round(one: history.Round, meaningful: bool) -> dict[str, Any]:
    after: Mapping[str, Any] = one.after
    return {
        "number": one.number,
        "what": one.what,
        "made_at": one.made_at,
        "answered": after.get("answered", 0),
        "suspects": after.get("suspects"),
        "changed": len(one.changes),
        "error_rate": after.get("estimated_error_rate") if meaningful else None,
    }


def certificate(folder: Path) -> dict[str, Any] | None:
    """The certificate that lies in the folder."""
    try:
        text = (folder / "certificate.txt").read_text(encoding="utf-8")
        facts = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {"statement": text.split("\n\n", 1)[0], "text": text, "date": facts.get("date"), "file": "certificate.txt"}


def certify(desk: Desk, max_error: float | None, confidence: float | None) -> dict[str, Any]:
    """Draw the sample of the certificate, or make the certificate where all of it is answered; finding by finding."""
    if desk.annotations.findings is not None:
        found = certify_findings(desk.folder, max_error=max_error, confidence=confidence)
        return {
            "size": len(found.paths), "left": len(found.left),
            "sample": (desk.folder / FOLDER / "sample.csv").as_posix(),
            "certificate": certificate(desk.folder) if found.statement else None,
        }  # fmt: skip
    progress = certify_run(desk.folder, max_error=max_error, confidence=confidence)
    return {
        "size": len(progress.sample.paths),
        "drawn_from": progress.sample.images,
        "left": len(progress.left),
        "max_error": progress.sample.max_error,
        "confidence": progress.sample.confidence,
        "least": progress.sample.least,
        "voided": progress.voided,
        "sample": (desk.folder / FOLDER / "sample.csv").as_posix(),
        "certificate": certificate(desk.folder) if progress.certificate is not None else None,
    }


def place_for(folder: Path, format: str, what: str) -> Path:
    """Where an export goes: in the run's folder, under a name of its own."""
    suffix = exports.find_format(format).SUFFIX
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    return folder / EXPORTS / f"{what}-{now}{suffix}"
