"""The update: clinicians' answers become truth, all other labels learn from them, and the queue is made anew.

An update starts from the images, the arguments of the run and all answers that stand, never from the labels that it
replaces. So the order of answers and the number of updates between them change nothing, and a second update with
nothing answered gives the same labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autoannotate._internal.progress import Track, silent
from autoannotate._internal.wording import listed
from autoannotate.annotations import Annotations
from autoannotate.answers.calibration import reliability_diagram
from autoannotate.answers.consensus import Consensus, consensus
from autoannotate.answers.standing import LABEL_OF, Answered, about_images, standing_answers
from autoannotate.answers.store import Answer
from autoannotate.errors import InputError, UsageError
from autoannotate.images import ImageRef, find_images, read_image
from autoannotate.labelling.queries.strategies import find_strategy
from autoannotate.runs import history, student_predictions
from autoannotate.runs.run import UNREADABLE
from autoannotate.runs.save import contents

if TYPE_CHECKING:
    from autoannotate.annotator import Annotator
    from autoannotate.labelling.label_errors.correction import Corrected

PASSES = 1200  # images that the student trains on, so few that a clinician need not wait long
TWIN = 0.95  # confidence in a label taken over from a picture that is nearly the same; about so often it is right


def update(
    annotator: Annotator, annotations: Annotations, track: Track = silent, strategy: str | None = None
) -> Annotations:
    """The labels after all answers in the run's folder, kept there as a new round.

    strategy: by which images are asked next, a name in `strategies.STRATEGIES`. Nothing is written where labels and queue
    stay the same and no answer is new to them. Raises `InputError` where the run was never saved or its images are gone,
    and `OutputError` where it cannot be written; the run stays as it was then, as it does when this is interrupted.
    """
    from autoannotate._internal.progress import Clock
    from autoannotate.labelling.label_errors.correction import correct
    from autoannotate.labelling.neighbours import compact, near_duplicate_groups, nearest
    from autoannotate.labelling.queries.queue import choose
    from autoannotate.labelling.semi_supervised.initial_labels import start_from

    folder = annotations.folder
    if folder is None:
        raise InputError("The run has no folder, and so no answers: save it, and review it there.")
    if strategy is not None:
        find_strategy(strategy)
    previous, number = annotations, history.rounds(folder)[-1].number
    clock = Clock()
    with clock("find images"):
        found, vanished = _found(previous)
        standing, changed_files = standing_answers(folder, found)
    with clock("load the encoder"):
        encoder = annotator.encoder
    with clock("encode images"):
        encoded = annotator.encode(found, track)
    refs, features = encoded.refs, encoded.features
    names = [ref.path for ref in refs]

    with clock("zero-shot"):
        clip = annotator.zero_shot(encoded.embeddings)
    with clock("consensus"):
        guessed = dict(zip(names, clip.probabilities, strict=True))
        together = consensus(standing, annotator.classes, guessed)
        near = nearest(compact(features))
        groups = near_duplicate_groups(near)
        answered = about_images(together, names, annotator.classes, groups)
    with clock("pseudo-labels"):
        kept = annotations.student  # of the run; the one that is taught now takes part in this round only
        earlier = None if kept is None else student_predictions.about(kept, folder, refs, len(annotator.classes))
        start = start_from(annotator, clip, features, answered.truth, earlier, near)
        clip, meaningful = start.clip, start.clip.reliability.meaningful
    with clock("correction"):
        corrected = correct(
            features, start.probabilities, clip.probabilities, annotator.classes, answers=answered.truth,
            left_out=answered.left_out, images=lambda i: read_image(refs[i]), student=annotator.student, passes=PASSES,
            neighbours=near, encoder=encoder, image_names=names, meaningful=meaningful, earlier=earlier, seed=annotator.seed,
            device=annotator.device, track=track, fast=True,
        )  # fmt: skip
    with clock("queue"):
        settled = (answered.truth >= 0) | answered.left_out
        if start.moved is not None:  # no model sees the errors that it made itself; how sure it is tells more
            expected = float(np.where(settled, 0.0, 1.0 - corrected.confidence).mean())
            corrected = replace(
                corrected,
                by_student=corrected.by_student | start.moved,  # not CLIP's any more
                queue=replace(corrected.queue, error_rate=expected),
            )
        queue = choose(
            features, corrected, annotator.classes, answered=settled, unsure=answered.unsure, groups=groups,
            meaningful=meaningful, strategy=strategy, seed=annotator.seed, view=start.probabilities,
        )  # fmt: skip

    made = annotator.annotations(previous.run["arguments"]["images"], encoded, clip, corrected, clock.seconds, queue)
    table = _table(made.table, answered)
    lost = pd.DataFrame([(path, "it is no longer where the run found it") for path in vanished], columns=UNREADABLE)
    unreadable = pd.concat([made.unreadable, lost], ignore_index=True)

    changes = _changes(previous.table, table, answered, corrected)
    used = {answer.id for answer in standing if answer.id is not None}
    told = history.rounds(folder)
    was, learnt = set(told[-1].answers), history.learnt(told)
    run = {
        **{name: value for name, value in previous.run.items() if name not in made.run},
        **made.run,
        "arguments": previous.run["arguments"],
        "student": {**made.run["student"], "said": None if kept is None else student_predictions.digest(kept)},
        "round": number + 1,
        "counts": _counts(made.run["counts"], table, made.suspects, unreadable),
    }
    new = Annotations(table, made.suspects, unreadable, run, refs, folder, kept)
    record = history.Round(
        number + 1, "update", datetime.now(UTC).isoformat(timespec="seconds"), tuple(sorted(used)),
        tuple(sorted(used - was)), tuple(sorted((was | learnt) - used)), changes, strategy,
        history.numbers_of(previous), history.numbers_of(new), learnt=tuple(sorted(used - learnt)),
    )  # fmt: skip
    run["update"] = {
        "made_at": record.made_at,
        "before": record.before,
        "after": record.after,
        "new_answers": len(record.learnt),
        "readers": dict(Counter(answer.reader for answer in standing)),
        "reader_quality": dict(together.readers),
        "kappa": together.fleiss,
        "disagreements": len(together.disagreements),
        "settled_by_a_near_duplicate": len(answered.twin_of),
        "pictures_replaced_since_the_answer": changed_files,
        "changed": [{"path": c.path, "before": c.before, "after": c.after, "why": c.why} for c in changes],
        "calibration": reliability_diagram(*_confidences(folder, standing, together)),
    }
    if not record.learnt and not record.taken_back and _same(previous, new):
        return previous
    history.keep(folder, contents(new), record)
    return new


def _found(previous: Annotations) -> tuple[list[ImageRef], list[str]]:
    """The images of the run that are still there, and the paths of those that are not."""
    source = (previous.run.get("arguments") or {}).get("images")
    if not source:
        raise InputError("The run does not say where its images are, so it cannot be updated.")
    known = {*previous.table["path"], *previous.unreadable["path"]}
    found = [ref for ref in find_images(Path(source)) if ref.path in known]
    there = {ref.path for ref in found}
    return found, sorted(known - there)


def _table(table: pd.DataFrame, answered: Answered) -> pd.DataFrame:
    """The labels with what clinicians said in its place."""
    columns = ("label", "confidence", "source", "suspect", "suspect_score")
    label, confidence, source, suspect, score = (table[name].to_numpy(copy=True) for name in columns)
    for i, one in answered.said.items():
        if one.verdict != "unsure":
            label[i] = LABEL_OF.get(one.verdict, one.label)
            confidence[i] = 1.0 if one.agreed or one.quality is None else one.quality
            source[i] = "clinician"
            suspect[i] = score[i] = 0
    clip_label = table["clip_label"].to_numpy()
    for i in answered.twin_of:
        confidence[i] = TWIN
        if label[i] != clip_label[i]:
            source[i] = "student"
    return table.assign(label=label, confidence=confidence, source=source, suspect=suspect, suspect_score=score)


def _changes(
    before: pd.DataFrame, after: pd.DataFrame, answered: Answered, corrected: Corrected
) -> tuple[history.Change, ...]:
    """Which labels are others than before, and why."""
    labels = {str(path): str(label) for path, label in zip(before["path"], before["label"], strict=True)}
    by_clinician = {
        path for path, by in zip(before["path"], before["source"].tolist(), strict=True) if by == "clinician"
    }
    changes = []
    for i, (path, label) in enumerate(zip(after["path"], after["label"], strict=True)):
        path, label = str(path), str(label)
        if labels.get(path, label) == label:
            continue
        one = answered.said.get(i)
        if i in answered.twin_of:
            why = f"nearly the same picture as {after['path'][answered.twin_of[i]]}, which was answered"
        elif one is not None and one.verdict != "unsure" and one.agreed:
            why = f"{listed(one.readers)} answered"
        elif one is not None and one.verdict != "unsure":
            why = f"{listed(one.readers)} disagreed: their consensus ({one.quality or 0.0:.0%})"
        elif path in by_clinician:
            why = "an answer was taken back"
        elif corrected.by_student[i]:
            why = f"told by the other images and the answers ({corrected.confidence[i]:.0%} sure)"
        else:
            why = "weighed anew with the answers about images that look like it"
        changes.append(history.Change(path, labels[path], label, why))
    return tuple(changes)


def _counts(
    counts: Mapping[str, Any], table: pd.DataFrame, asked: pd.DataFrame, unreadable: pd.DataFrame
) -> dict[str, Any]:
    found = Counter(table["label"])
    return {
        **counts,
        "suspects": len(asked),
        "unreadable": len(unreadable),
        "clinician": int((table["source"] == "clinician").sum()),
        "per_class": {name: found[name] for name in counts["per_class"]},
    }


def _confidences(folder: Path, standing: Sequence[Answer], together: Consensus) -> tuple[list[float], list[bool]]:
    """The confidence that the machine had in each label when it was first asked about, and whether the readers agree."""
    first: dict[str, int] = {}
    for answer in standing:
        first[answer.path] = min(answer.round, first.get(answer.path, answer.round))
    tables = {number: _machine_labels(folder, number) for number in set(first.values())}
    confidences, right = [], []
    for path, number in sorted(first.items()):
        said, then = together.images[path], tables[number].get(path)
        if said.verdict != "unsure" and then is not None:
            confidences.append(then[1])
            right.append(said.label == then[0])
    return confidences, right


def _machine_labels(folder: Path, number: int) -> dict[str, tuple[str, float]]:
    try:
        table = history.load_round(folder, number).table
    except (InputError, UsageError):
        return {}
    table = table[table["source"] != "clinician"]
    return dict(zip(table["path"], zip(table["label"], table["confidence"], strict=True), strict=True))


def _same(previous: Annotations, new: Annotations) -> bool:
    from autoannotate.runs.tables import to_csv

    pairs = ((previous.table, new.table), (previous.suspects, new.suspects), (previous.unreadable, new.unreadable))
    return all(to_csv(a) == to_csv(b) for a, b in pairs)
