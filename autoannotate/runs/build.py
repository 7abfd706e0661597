"""From what the pipeline made, as arrays, to the tables and the record of a run."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autoannotate._internal.version import __version__
from autoannotate._internal.wording import counted
from autoannotate.images import stamp
from autoannotate.images.items import chosen
from autoannotate.runs import proposals, student_predictions
from autoannotate.runs.label_columns import COLUMNS, Made
from autoannotate.runs.record import FORMAT
from autoannotate.runs.run import UNREADABLE, Run

if TYPE_CHECKING:
    from autoannotate.images import Found, ImageRef
    from autoannotate.images.items import Item
    from autoannotate.labelling.pipeline import Labelled
    from autoannotate.labelling.zero_shot.label_images import ZeroShot
    from autoannotate.labelling.zero_shot.reliability import Reliability

PACKAGES = ("torch", "open_clip_torch", "timm", "cleanlab", "scikit-learn", "numpy", "pillow")


def build_run(
    refs: Sequence[ImageRef],
    unreadable: Sequence[tuple[str, str]],
    class_names: Sequence[str],
    zero_shot: ZeroShot,
    reliability: Reliability,
    labelled: Labelled,
    settings: Mapping[str, Any],
    timings: Mapping[str, float],
    student: str,
    notes: Mapping[str, str] | None = None,
    readers: Mapping[str, Sequence[str]] | None = None,
) -> Run:
    """The run: tables, record, and what the student predicted.

    Parameters
    ----------
    reliability : what zero-shot is worth by now
    settings : what it takes to repeat the run: arguments, seed, model
    student : the kind of student that was asked for
    notes : what was assumed to show a picture, by path
    readers : who answered, by path
    """
    names = np.array(class_names, dtype=object)
    clip, queue = zero_shot.probabilities, labelled.queue
    made = Made(refs, names, clip, labelled, notes or {})
    table = pd.DataFrame({column.name: column.values(made) for column in COLUMNS})
    queued = pd.DataFrame(
        {
            "rank": np.arange(1, len(queue.rows) + 1),
            "path": table["path"].to_numpy()[queue.rows],
            "label": table["label"].to_numpy()[queue.rows],
            "suggested_label": names[labelled.suggested[queue.rows]],
            "suspect_score": labelled.suspect_score[queue.rows],
            "reason": list(queue.reasons),
        }
    )
    of = labelled.corrected.student
    trained = of.held_out_accuracy is not None
    everyone = trained and len(labelled.rows) == len(refs)
    said = student_predictions.pack(of.probabilities) if everyone else None
    disagree = int((of.probabilities.argmax(1) != clip[labelled.rows].argmax(1)).sum())
    run = {
        **versions(),
        **settings,
        "modality": zero_shot.kinds,
        "prompts": {prompt.name: list(prompt.texts) for prompt in zero_shot.prompts},
        "counts": {
            "images": len(refs),
            "unreadable": len(unreadable),
            "suspects": len(queue.rows),
            "copies": labelled.copies,
            "none_of_these": len(labelled.none_of_these),
            "clip_student_disagreements": disagree if trained else None,
            "per_class": {name: int((labelled.labels == k).sum()) for k, name in enumerate(class_names)},
        },
        "reliability": asdict(reliability),
        "student": {
            "kind": student if trained else "none",
            "decision": str(of.decision),
            "reliable": of.reliable,
            "held_out_accuracy": of.held_out_accuracy,
            "baseline_accuracy": of.baseline_accuracy,
            "note": of.note,
            "said": None if said is None else student_predictions.digest(said),
        },
        # of guesses nobody knows
        "estimated_error_rate": labelled.corrected.queue.error_rate
        if reliability.meaningful or labelled.initial.source == "given"
        else None,
        "proposals": proposals.record_of(labelled.checks, [ref.path for ref in refs], list(class_names), readers or {}),
        "timings": dict(timings),
        "stamps": "".join(stamp(ref).ljust(8, "0") for ref in refs),  # 8 digits an image, to tell a replaced one
    }
    probabilities = pd.DataFrame(labelled.probabilities, columns=list(class_names))
    probabilities.insert(0, "path", table["path"])
    lost = pd.DataFrame(unreadable, columns=UNREADABLE)
    waiting = proposals.table_of(labelled.proposals, table["path"].tolist(), list(class_names))
    labels = dict(zip(table["path"], table["label"], strict=True))
    run["proposals"] = proposals.recounted(run["proposals"], waiting, labels)
    return Run(
        table, queued, lost, run, list(refs), student=said, probabilities=probabilities, proposals=waiting
    )  # fmt: skip


def about_files(found: Found, items: Sequence[Item]) -> dict[str, Any]:
    """What run.json says of the files of a source: what the items are, which attributes were not kept, what was passed over."""
    return {
        "items": chosen(items),
        "not_kept": dict(Counter(name for item in items for name in item.identifying).most_common()),
        "passed_over": [asdict(group) for group in found.passed_over],
    }


def versions() -> dict[str, Any]:
    """What made a run, and the form of its record."""
    packages = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    return {"format": FORMAT, "version": __version__, "versions": packages}


def told_of_none(found: Mapping[int, str]) -> str:
    """A sentence on the images of none of the classes, by row what they look like; nothing where there is none.

    >>> told_of_none({3: "dermoscopy", 8: "brain MRI", 9: "brain MRI"})
    ' 3 images are of none of the classes: they look like brain MRI (2), dermoscopy (1).'
    """
    if not found:
        return ""
    kinds = ", ".join(f"{name} ({many:,})" for name, many in Counter(found.values()).most_common())
    are = "is" if len(found) == 1 else "are"
    looks = "it looks" if len(found) == 1 else "they look"
    return f" {counted(len(found), 'image')} {are} of none of the classes: {looks} like {kinds}."


def with_items(run: Run, refs: Sequence[ImageRef], telling: Mapping[str, str]) -> Run:
    """The run with a column for what each row is, of which series, study and patient, where any row is more than an image.

    Parameters
    ----------
    telling : the slice that speaks most for the label, by path, of rows that have several
    """
    if (columns := item_columns(refs)) is None:
        return run
    return replace(run, table=run.table.assign(**columns, telling_slice=[telling.get(ref.path, "") for ref in refs]))


def heat_maps(refs: Sequence[ImageRef], by_tile: Mapping[str, Mapping[str, float]]) -> dict[str, list[list[float]]]:
    """Of each slide, by path, its tiles that were looked at: left, top (as shares) and how probable the tile makes the label.

    by_tile : by path of the slide, and of the tile, how probable the tile makes the label
    """
    maps = {}
    for ref in refs:
        if ref.item is None or not ref.item.places or ref.path not in by_tile:
            continue
        said = by_tile[ref.path]
        tiles = [(ref.item.refs[step], ref.item.places[step]) for step in ref.item.steps]
        maps[ref.path] = [[*place[:2], round(said[tile.path], 4)] for tile, place in tiles if tile.path in said]
    return maps


def item_columns(refs: Sequence[ImageRef]) -> dict[str, list[str]] | None:
    """What each row is, of which series, study and patient, and of how many slices; None where all are plain images."""
    items = [ref.item for ref in refs]
    if not any(item and (len(item.refs) > 1 or item.study or item.patient) for item in items):
        return None
    return {
        "item": [item.kind if item else "image" for item in items],
        "series": [item.series if item else "" for item in items],
        "study": [item.study if item else "" for item in items],
        "patient": [item.patient if item else "" for item in items],
        "slices": [str(len(item.refs)) if item else "1" for item in items],
    }
