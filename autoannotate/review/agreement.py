"""What several readers say together, for the page: numbers, and who is asked to settle a disagreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoannotate.answers.consensus import consensus
from autoannotate.answers.store import Answer


def agreement(answers: Sequence[Answer], classes: Sequence[str], reader: str) -> dict[str, Any]:
    """How the readers agree: numbers only, so that looking at them leaves everybody blind.

    answers: those that stand, of all readers. `for_you` counts the disagreements that this reader could settle.
    """
    together = consensus(answers, classes)
    paths = {name: {a.path for a in answers if a.reader == name} for name in together.readers}
    shared = [settled for settled in together.images.values() if len(settled.readers) > 1]
    return {
        "readers": [
            {"name": name, "answered": len(paths[name]), "quality": quality}
            for name, quality in together.readers.items()
        ],
        "pairs": [
            {"first": a, "second": b, "kappa": kappa, "shared": len(paths[a] & paths[b])}
            for (a, b), kappa in together.cohen.items()
        ],
        "fleiss": together.fleiss,
        "images": len(together.images),
        "shared": len(shared),
        "agreed": sum(settled.agreed for settled in shared),
        "disagreements": len(together.disagreements),
        "for_you": len(set(disputed(answers, classes, reader)) - paths.get(reader, set())),
    }


def disputed(answers: Sequence[Answer], classes: Sequence[str], reader: str) -> list[str]:
    """The paths that others disagree on, or were unsure of: those the reader was not asked, or settled as a third."""
    mine = {answer.path for answer in answers if answer.reader == reader}
    others = consensus([answer for answer in answers if answer.reader != reader], classes)
    return [path for path in others.disagreements if path not in mine or len(others.images[path].readers) > 1]


def said(answers: Sequence[Answer], classes: Sequence[str], path: str, reader: str) -> list[str]:
    """What others said of an image that the reader is asked to settle, without their names."""
    if path not in disputed(answers, classes, reader):
        return []
    return sorted(a.label or a.verdict for a in answers if a.path == path and a.reader != reader)
