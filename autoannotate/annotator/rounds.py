"""What updates have in common: a saved run with its pictures and answers as they are now, and the round that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoannotate.annotator.annotations import Annotations
from autoannotate.answers.findings_supervision import FindingsSupervision, findings_supervision_of
from autoannotate.answers.standing import standing_answers
from autoannotate.answers.supervision import LabelSupervision, supervision_of
from autoannotate.answers.update_record import account, changes_of, new_round
from autoannotate.errors import InputError
from autoannotate.runs import history
from autoannotate.runs.growth import FileChanges, file_changes
from autoannotate.runs.picture_stamps import stamps
from autoannotate.runs.pictures import all_pictures, place_of, vanished
from autoannotate.runs.save import contents
from autoannotate.runs.student_predictions import about as predictions_kept
from autoannotate.runs.tables import same

if TYPE_CHECKING:
    from autoannotate.answers.consensus import Consensus
    from autoannotate.answers.standing import Answered
    from autoannotate.answers.store import Answer
    from autoannotate.images import ImageRef
    from autoannotate.runs.run import Run


@dataclass(frozen=True)
class Reopened:
    """A saved run at the start of an update.

    Attributes
    ----------
    place : where its pictures are, None where it has none
    found : the images that take part
    files : what changed among them
    standing : the answers that were not taken back
    replaced : paths of pictures that are others than when they were answered
    """

    folder: Path
    place: str | None
    found: list[ImageRef]
    gone: list[str]
    files: FileChanges
    known: LabelSupervision | FindingsSupervision
    standing: list[Answer]
    replaced: list[str]


def reopen(run: Run, images: Path | str | None = None, rows: Sequence[ImageRef] | None = None) -> Reopened:
    """A saved run with its pictures and answers as they are now.

    Parameters
    ----------
    images : where the images are now, if they were moved
    rows : the images of a run that has embeddings and no pictures

    Raises
    ------
    InputError
        Where the run was never saved, or its images are gone.
    """
    folder = run.folder
    if folder is None:
        raise InputError("The run has no folder, and so no answers: save it, and review it there.")
    if rows is not None:
        place, found = None, list(rows)
    else:
        place, found = place_of(run.record, images, folder), all_pictures(run.record, run.paths, images, folder)
    if place is None or run.record.arguments.get("part"):  # others are there that were never meant
        found = [ref for ref in found if ref.path in set(run.paths)]
    gone, files = vanished(run.paths, found), file_changes(run, found)
    known = (findings_supervision_of if run.record.findings else supervision_of)(run, found)
    found = [ref for ref in found if ref.path not in known.without]
    return Reopened(folder, place, found, gone, files, known, *standing_answers(folder, found))


def next_round(
    run: Run,
    before: Reopened,
    made: Run,
    answered: Answered,
    together: Consensus,
    duplicate_of: np.ndarray,
    strategy: str | None,
) -> Annotations:
    """What an update made, kept in the run's folder as its next round; the run as it was where nothing is new.

    Parameters
    ----------
    made : the new labels, with the answers among them
    duplicate_of : (N,) int, the answered image whose answer a row took over, -1 where none was
    """
    unreadable = made.unreadable.copy()
    for path, why in [
        *before.known.without.items(),
        *((path, "it is no longer where the run found it") for path in before.gone),
    ]:
        unreadable.loc[len(unreadable)] = [path, why]
    moved = {name: made.run["arguments"][name] for name in ("images", "place", "accept_proposals")}
    record = {
        **run.run,
        **made.run,
        "arguments": {**run.record.arguments, **moved},
        "round": history.rounds(before.folder)[-1].number + 1,
        "counts": {
            **made.run["counts"],
            "unreadable": len(unreadable),
            "clinician": int((made.table["source"] == "clinician").sum()),
        },
        "student": _student(run.run.get("student", made.run["student"])),
    }
    new = Annotations.of(
        replace(
            made, run=record, unreadable=unreadable, folder=before.folder, student=run.student, proposals=run.proposals
        )
    )
    changes = changes_of(run.table, new.table, answered, duplicate_of)
    counts = before.files.counts if before.files else {}
    told = new_round(before.folder, run, new, before.standing, changes, strategy, counts)
    record["update"] = account(
        before.folder, told, before.standing, together, int((duplicate_of >= 0).sum()), before.replaced
    )
    if not (told.learnt or told.taken_back or before.files) and _same(run, new):
        return run if isinstance(run, Annotations) else Annotations.of(run)
    history.keep(before.folder, contents(new), told)
    return new


def _student(earlier: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the student after an update, which trains none: ten minutes changed no label."""
    note = (
        "No student was trained, and an update trains none." if earlier.get("kind") == "none" else earlier.get("note")
    )
    return {**earlier, "note": note}


def _same(previous: Run, new: Run) -> bool:
    pairs = [(previous.table, new.table), (previous.suspects, new.suspects), (previous.unreadable, new.unreadable)]
    if previous.findings is not None and new.findings is not None:
        pairs.append((previous.findings, new.findings))
    if previous.issues is not None and new.issues is not None:
        pairs.append((previous.issues, new.issues))
    return all(same(a, b) for a, b in pairs)


def student_predictions(run: Run, refs: Sequence[ImageRef], classes: int) -> NDArray[np.float64] | None:
    """What the run's student predicted for these images, (N, classes); None where there was none."""
    if run.student is None or run.folder is None:
        return None
    paths = history.load_round(run.folder, 0).table["path"].tolist()
    known = stamps(run.folder, 0, {ref.path: ref for ref in refs})
    return predictions_kept(run.student, paths, known, refs, classes)
