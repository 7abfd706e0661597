"""What the clinicians' answers say of the images of a run, as they are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoannotate.answers.consensus import Consensus, Settled
from autoannotate.answers.merge import LABEL_OF
from autoannotate.answers.store import Answer, AnswerStore
from autoannotate.errors import InputError, UnreadableImageError
from autoannotate.images import ImageRef, fingerprint, stamp
from autoannotate.runs.picture_stamps import stamps


@dataclass(frozen=True)
class Answered:
    """What the readers' answers say of the N images of a run.

    Attributes
    ----------
    answers : (N,) class numbers, -1 where nobody gave a class
    excluded : (N,) bool, of no class or not usable
    unsure : (N,) bool, looked at, and nobody could tell, or readers are tied
    said : the consensus by row, a tie as unsure
    """

    answers: np.ndarray
    excluded: np.ndarray
    unsure: np.ndarray
    said: Mapping[int, Settled]


def standing_answers(folder: Path, found: Sequence[ImageRef]) -> tuple[list[Answer], list[str]]:
    """The answers in the run's folder that were not taken back, and the paths of pictures replaced since they were seen.

    The answer to a picture that was replaced is left out.

    Parameters
    ----------
    found : the images as they are
    """
    if not AnswerStore.exists(folder):
        return [], []
    with AnswerStore(folder) as store:
        answers = store.current()
    replaced = about_replaced(answers, folder, {ref.path: ref for ref in found})
    standing = [answer for answer in answers if answer.id not in replaced]
    return standing, sorted({answer.path for answer in answers if answer.id in replaced})


def about_replaced(answers: Sequence[Answer], folder: Path, refs: Mapping[str, ImageRef]) -> set[int | None]:
    """The ids of those answers whose picture was replaced since it was seen.

    A picture is the same if its fingerprint is, or its stamp (moving the folder changes the first, not the second). Where
    most stamps changed since the run was made, the folder was copied, and nothing can be told by them.
    """
    by_round: dict[int, dict[str, str]] = {}
    replaced = set()
    for answer in answers:
        ref = refs.get(answer.path)
        if ref is None or not answer.fingerprint or answer.fingerprint == _fingerprint(ref):
            continue
        if answer.round not in by_round:
            by_round[answer.round] = stamps(folder, answer.round, refs)
        known = by_round[answer.round]
        if known and known.get(answer.path) != stamp(ref):
            replaced.add(answer.id)
    return replaced


def _fingerprint(ref: ImageRef) -> str:
    try:
        return fingerprint(ref)
    except UnreadableImageError:
        return ""


def about_images(together: Consensus, names: Sequence[str], classes: Sequence[str]) -> Answered:
    """What the consensus says of each row.

    Raises
    ------
    InputError
        Where an answer gives a class that the run does not have.
    """
    number = {name: k for k, name in enumerate(classes)}
    row_of = {path: i for i, path in enumerate(names)}
    said = {
        row_of[path]: replace(one, verdict="unsure", label=None, quality=None) if one.tied else one
        for path, one in together.images.items()
        if path in row_of
    }
    if unknown := [one.label for one in said.values() if one.label is not None and one.label not in number]:
        raise InputError(
            f"An answer gives the class {unknown[0]!r}, which the run does not have: label again with "
            f"--classes {','.join([*classes, unknown[0]])}, or take that answer back."
        )
    answers = np.full(len(names), -1)
    for i, one in said.items():
        if one.label is not None:
            answers[i] = number[one.label]
    excluded = np.array([i in said and said[i].verdict in LABEL_OF for i in range(len(names))], dtype=bool)
    unsure = np.array([i in said and said[i].verdict == "unsure" for i in range(len(names))], dtype=bool)
    return Answered(answers, excluded, unsure, said)
