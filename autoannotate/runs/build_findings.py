"""From what the pipeline made of several findings an image, as arrays, to the tables and the record of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autoannotate._internal.wording import listed
from autoannotate.images import stamp
from autoannotate.labelling.findings import ABSENT, PRESENT, UNDECIDED
from autoannotate.runs import student_predictions
from autoannotate.runs.build import versions
from autoannotate.runs.run import FINDINGS, NOT_USABLE, SEPARATOR, UNREADABLE, Run

if TYPE_CHECKING:
    from autoannotate.images import ImageRef
    from autoannotate.labelling.findings import LabelledFindings
    from autoannotate.labelling.zero_shot.label_images import ZeroShot
    from autoannotate.labelling.zero_shot.reliability import Reliability


def build_findings_run(
    refs: Sequence[ImageRef],
    unreadable: Sequence[tuple[str, str]],
    zero_shot: Sequence[ZeroShot],
    reliability: Sequence[Reliability],
    labelled: LabelledFindings,
    settings: Mapping[str, Any],
    timings: Mapping[str, float],
    notes: Mapping[str, str] | None = None,
    student: str = "none",
) -> Run:
    """The run: labels.csv, findings.csv, the queue, and what is known of each finding.

    Parameters
    ----------
    zero_shot, reliability : of each finding
    settings, timings, notes, student : as for `runs.build.build_run`
    """
    names, paths = labelled.names, [ref.path for ref in refs]
    confidence = labelled.confidence
    labels = [
        NOT_USABLE if gone else joined(names, row == PRESENT)
        for row, gone in zip(labelled.values, labelled.excluded, strict=True)
    ]
    clip = labelled.zero_shot
    table = pd.DataFrame(
        {
            "path": paths,
            "label": labels,
            "confidence": confidence.min(axis=1),
            "source": [_source(row) for row in labelled.source],
            "suspect": np.isin(np.arange(len(refs)), labelled.queue.rows).astype(int),
            "suspect_score": labelled.suspect_score.max(axis=1),
            "clip_label": [joined(names, row > 0.5) for row in clip],
            "clip_confidence": np.maximum(clip, 1.0 - clip).min(axis=1),
            "note": [(notes or {}).get(path, "") for path in paths],
        }
    )
    queued = labelled.queue.rows
    suggested = np.where(labelled.suspect, labelled.suggested, labelled.values)
    suspects = pd.DataFrame(
        {
            "rank": np.arange(1, len(queued) + 1),
            "path": [paths[row] for row in queued],
            "label": [labels[row] for row in queued],
            "suggested_label": [joined(names, suggested[row] == PRESENT) for row in queued],
            "suspect_score": table["suspect_score"].to_numpy()[queued],
            "reason": list(labelled.queue.reasons),
        }
    )
    by_student = labelled.student
    said = (
        student_predictions.pack(by_student.evidence) if by_student is not None and by_student.reliable.any() else None
    )
    run = {
        **versions(),
        **settings,
        "modality": zero_shot[0].kinds,
        "prompts": {each.name: list(each.texts) for found in zero_shot for each in reversed(found.prompts)},
        "counts": {
            "images": len(refs),
            "unreadable": len(unreadable),
            "suspects": len(queued),
            "clip_student_disagreements": None,
            "per_class": {name: int((labelled.values[:, f] == PRESENT).sum()) for f, name in enumerate(names)},
        },
        "findings": {name: _about(labelled, f, reliability[f]) for f, name in enumerate(names)},
        "student": {
            "kind": "none" if by_student is None else student,
            "reliable": said is not None,
            "held_out_accuracy": None,  # areas under the curve are in the note, and by finding
            "baseline_accuracy": None,
            "note": labelled.about_student,
            "said": None if said is None else student_predictions.digest(said),
        },
        "estimated_error_rate": None,
        "timings": dict(timings),
        "stamps": "".join(stamp(ref).ljust(8, "0") for ref in refs),
    }
    run["reliability"] = overall(run["findings"])
    known = [found["estimated_error_rate"] for found in run["findings"].values()]
    if all(rate is not None for rate in known):
        run["estimated_error_rate"] = float(np.mean(known))
    probabilities = pd.DataFrame(labelled.probability, columns=list(names))
    probabilities.insert(0, "path", paths)
    lost = pd.DataFrame(unreadable, columns=UNREADABLE)
    return Run(
        table, suspects, lost, run, list(refs), student=said, probabilities=probabilities,
        findings=_findings_table(paths, labelled),
    )  # fmt: skip


def joined(names: Sequence[str], present: Sequence[bool] | np.ndarray) -> str:
    """The findings that are present, as labels.csv has them.

    >>> joined(["effusion", "mass", "nodule"], [True, False, True])
    'effusion|nodule'
    """
    return SEPARATOR.join(name for name, there in zip(names, present, strict=True) if there)


def _findings_table(paths: Sequence[str], labelled: LabelledFindings) -> pd.DataFrame:
    images, findings = labelled.values.shape
    row, f = np.divmod(np.arange(images * findings), findings)
    return pd.DataFrame(
        {
            "path": np.array(paths, dtype=object)[row],
            "finding": np.array(labelled.names, dtype=object)[f],
            "value": labelled.values.ravel(),
            "probability": labelled.probability.ravel(),
            "source": labelled.source.ravel(),
            "suspect": labelled.suspect.ravel().astype(int),
            "suspect_score": labelled.suspect_score.ravel(),
            "clip_probability": labelled.zero_shot.ravel(),
            "reason": [labelled.reasons.get((i, j), "") for i, j in zip(row.tolist(), f.tolist(), strict=True)],
        },
        columns=[*FINDINGS, "reason"],
    )


def _source(of_findings: Sequence[str]) -> str:
    """What gave an image its findings: a clinician only where that is so of all of them."""
    counts = Counter(of_findings)
    machine = [name for name, _ in counts.most_common() if name != "clinician"]
    return machine[0] if machine else "clinician"


def _about(labelled: LabelledFindings, f: int, worth: Reliability) -> dict[str, Any]:
    values, part = labelled.values[:, f], labelled.of_each[f]
    rate = part.corrected.queue.error_rate if worth.meaningful else None
    by_student = {}
    if labelled.student is not None and not np.isnan(labelled.student.area[f]):
        by_student = {
            "student_used": bool(labelled.student.reliable[f]),
            "student_auroc": round(float(labelled.student.area[f]), 4),
            "probe_auroc": round(float(labelled.student.baseline_area[f]), 4),
        }
    return {
        **{name: int((values == value).sum()) for name, value in
           (("present", PRESENT), ("absent", ABSENT), ("undecided", UNDECIDED))},
        "suspects": int(labelled.suspect[:, f].sum()),
        "answered": int((labelled.source[:, f] == "clinician").sum()),
        "mean_probability": round(float(labelled.probability[:, f].mean()), 6),
        "estimated_error_rate": rate,
        **by_student,
        **asdict(worth),
    }  # fmt: skip


def overall(findings: Mapping[str, Mapping[str, Any]], given: bool = False) -> dict[str, Any]:
    """What all findings together are worth, from what is known of each by its name, in the form of one."""
    told = [name for name, each in findings.items() if each["meaningful"]]
    guesses = [name for name, each in findings.items() if not each["meaningful"]]
    parts = [
        f"{'Told from the images' if given else 'Told apart'}: {listed(told)}." if told else "",
        f"{'Not told' if given else 'Close to guesses'}: {listed(guesses)}." if guesses else "",
    ]
    advice = "Answer about 20 images with and 20 without a finding, or state how common it is with --prior."
    return {
        "trust": round(float(np.mean([each["trust"] for each in findings.values()])), 4),
        "meaningful": bool(told),
        "verdict": " ".join(part for part in parts if part),
        "advice": advice if guesses and not given else "",
        "evidence": {},
    }
