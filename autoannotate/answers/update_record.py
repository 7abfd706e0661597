"""What an update did, for the history and the report: which labels changed and why, and how the readers fared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.wording import listed
from autoannotate.answers.account import account_of
from autoannotate.answers.calibration import reliability_diagram
from autoannotate.answers.consensus import Consensus, consensus
from autoannotate.answers.standing import Answered
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError, UsageError
from autoannotate.runs import history
from autoannotate.runs.proposals import decided
from autoannotate.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

WHY = {
    "student": "by the student and the other images ({confidence:.0%} sure)",
    "correction": "by models that learned from the other images ({confidence:.0%} sure)",
    "proposal": "proposed, and borne out by a sample of the answers",
    "answers": "learned from the answers and the other images ({confidence:.0%} sure)",
}


def new_round(
    folder: Path,
    previous: Run,
    new: Run,
    standing: Sequence[Answer],
    changes: Sequence[history.Change],
    strategy: str | None,
    files: Mapping[str, int] | None = None,
) -> history.Round:
    """The record of the round that an update makes. files: how many images are new, gone and changed."""
    rounds = history.rounds(folder)
    used = {answer.id for answer in standing if answer.id is not None}
    was, learnt = set(rounds[-1].answers), history.learnt(rounds)
    answers: list[Answer] = []
    if AnswerStore.exists(folder):
        with AnswerStore(folder) as store:
            answers = store.current()
    replaced = {answer.id for answer in answers} - used
    became = account_of(answers, replaced, consensus(standing, new.classes), new)
    return history.Round(
        rounds[-1].number + 1, "update", datetime.now(UTC).isoformat(timespec="seconds"), tuple(sorted(used)),
        tuple(sorted(used - was)), tuple(sorted((was | learnt) - used)), tuple(changes), strategy,
        history.numbers_of(previous), history.numbers_of(new), learnt=tuple(sorted(used - learnt)),
        account=became, files=files or {}, proposals=_newly_decided(previous, new),
    )  # fmt: skip


def _newly_decided(previous: Run, new: Run) -> tuple[Mapping[str, Any], ...]:
    """The groups of proposals that the update decided."""
    before = {one["group"]: one["state"] for one in previous.record.proposals}
    return tuple(one for one in decided(new.record.proposals) if before.get(one["group"]) != one["state"])


def account(
    folder: Path,
    record: history.Round,
    standing: Sequence[Answer],
    together: Consensus,
    duplicates: int,
    replaced: Sequence[str],
) -> dict[str, Any]:
    """The part `update` of run.json."""
    return {
        "made_at": record.made_at,
        "before": record.before,
        "after": record.after,
        "new_answers": len(record.learnt),
        "readers": dict(Counter(answer.reader for answer in standing)),
        "reader_quality": dict(together.readers),
        "kappa": together.fleiss,
        "disagreements": len(together.disagreements),
        "settled_by_a_near_duplicate": duplicates,
        "pictures_replaced_since_the_answer": list(replaced),
        "changed": [{"path": c.path, "before": c.before, "after": c.after, "why": c.why} for c in record.changes],
        "calibration": reliability_diagram(*_confidences(folder, standing, together)),
    }


def changes_of(
    before: pd.DataFrame, after: pd.DataFrame, answered: Answered, duplicate_of: np.ndarray
) -> tuple[history.Change, ...]:
    """Which labels are others than before, and why.

    Parameters
    ----------
    before, after : DataFrame
        With the columns of labels.csv.
    duplicate_of : (N,) int array
        By row of `after`, the answered image whose answer was taken over, -1 where none was.
    """
    labels = {str(path): str(label) for path, label in zip(before["path"], before["label"], strict=True)}
    by_clinician = set(before.loc[before["source"] == "clinician", "path"])
    paths = after["path"].tolist()
    changes = []
    for i, (path, label, source, confidence) in enumerate(
        zip(paths, after["label"], after["source"], after["confidence"], strict=True)
    ):
        path, label = str(path), str(label)
        if labels.get(path, label) == label:
            continue
        one = answered.said.get(i)
        if duplicate_of[i] >= 0:
            other = "an example" if duplicate_of[i] == i else f"{paths[duplicate_of[i]]}, which was answered"
            why = f"nearly the same picture as {other}"
        elif one is not None and one.verdict != "unsure" and one.agreed:
            why = f"{listed(one.readers)} answered"
        elif one is not None and one.verdict != "unsure":
            why = f"{listed(one.readers)} disagreed: their consensus ({one.quality or 0.0:.0%})"
        elif path in by_clinician:
            why = "an answer was taken back"
        elif source in WHY:
            why = WHY[source].format(confidence=confidence)
        else:
            why = "weighed anew with the answers about images that look like it"
        changes.append(history.Change(path, labels[path], label, why))
    return tuple(changes)


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


def _machine_labels(folder: Path, number: int) -> Mapping[str, tuple[str, float]]:
    try:
        table = history.load_round(folder, number).table
    except (InputError, UsageError):
        return {}
    table = table[table["source"] != "clinician"]
    return dict(zip(table["path"], zip(table["label"], table["confidence"], strict=True), strict=True))
