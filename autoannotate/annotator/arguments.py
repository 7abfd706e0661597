"""The arguments of an annotator: as they are checked, as a run's record keeps them, and as they are read from one again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoannotate.errors import UsageError
from autoannotate.images import location
from autoannotate.images.hashed_paths import HIDDEN, remember_place

if TYPE_CHECKING:
    from autoannotate.models.encoder import Encoder
    from autoannotate.runs.record import RunRecord

KEPT = ("student", "prompts", "modality", "prior", "device", "cache", "cache_size", "fast", "item", "fit_on", "embeddings",
        "hash_paths", "include", "examples", "words", "accept_proposals", "probabilities")  # fmt: skip


def check_sentences(prompts: Mapping[str, str | Sequence[str]], classes: Sequence[str]) -> dict[str, list[str]]:
    """The sentences of each class, as a list.

    Raises
    ------
    UsageError
        For what is no class, and for a class without any.

    Examples
    --------
    >>> check_sentences({"chest": "a chest X-ray"}, ["chest", "breast"])
    {'chest': ['a chest X-ray']}
    """
    given = {str(name).strip(): [texts] if isinstance(texts, str) else list(texts) for name, texts in prompts.items()}
    if odd := [name for name in given if name not in classes]:
        raise UsageError(
            f"The prompts have sentences for {odd[0]!r}, which is none of the classes {', '.join(classes)}."
        )
    if empty := [name for name, texts in given.items() if not texts or not all(isinstance(t, str) for t in texts)]:
        raise UsageError(f"The sentences for {empty[0]!r} are a text, or a list of texts.")
    return given


def arguments_of(record: RunRecord) -> dict[str, Any]:
    """The arguments of the annotator that made a run; what it does not name has its default."""
    known: dict[str, Any] = {name: value for name in KEPT if (value := record.arguments.get(name)) is not None}
    if isinstance(place := known.get("cache"), str) and not os.access(place, os.W_OK):
        known["cache"] = True  # the folder that the run used is not there, or not ours
    return known | {"model": record.model.name, "seed": record.seed}


def settings(asked: Mapping[str, Any], images: str | Path | None, encoder: Encoder) -> dict[str, Any]:
    """What it takes to repeat a run, for `run.json`.

    Parameters
    ----------
    asked : mapping
        The attributes of an annotator.
    images : path, optional
        What was labelled; None where a file of embeddings stands for it.
    """
    place = None if images is None else location(images)
    hidden = asked["hash_paths"] and place is not None
    prior = None if asked["prior"] is None else dict(zip(asked["classes"], asked["prior"].tolist(), strict=True))
    return {
        "arguments": {
            **{name: _recorded(asked[name]) for name in KEPT},
            "probabilities": _recorded(asked["probabilities"]) or None,
            "prior": prior,
            "images": HIDDEN if hidden else place,
            "place": remember_place(place) if hidden and place is not None else None,
        },
        "seed": asked["seed"],
        "classes": asked["classes"],
        "model": {
            "name": asked["model"],
            "weights_sha256": encoder.weights_hash,
            "image_size": encoder.image_size,
            "device": str(encoder.device),
        },
    }


def _recorded(value: Any) -> Any:
    if isinstance(value, list):
        return [_recorded(one) for one in value]
    return value.absolute().as_posix() if isinstance(value, Path) else value
