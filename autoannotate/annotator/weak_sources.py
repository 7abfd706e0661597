"""Weak sources of labels beside zero-shot: other models' probabilities, or rules over reports, weighed by a label model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.wording import counted, listed
from autoannotate.errors import InputError
from autoannotate.labelling.label_model import dawid_skene
from autoannotate.models.embeddings_file import check_probabilities
from autoannotate.runs.delimited import read_delimited
from autoannotate.runs.tables import fused

if TYPE_CHECKING:
    from autoannotate.labelling.zero_shot.label_images import ZeroShot

SURE = 0.98  # trust at most: sources that copy each other look better than they are


@dataclass(frozen=True)
class Source:
    """One source: how often it is right by the label model, over the images that it says something of; None where nothing
    tells."""

    name: str
    accuracy: float | None
    images: int


def weighed(
    clip: ZeroShot,
    files: Sequence[Path],
    paths: Sequence[str],
    classes: Sequence[str],
    known: NDArray[np.integer] | None = None,
) -> tuple[ZeroShot, tuple[Source, ...]]:
    """Zero-shot with `combined`: what it and the files say together, each weighed by how well it agrees with the others.

    Parameters
    ----------
    files : CSV files with `path` and a column a class
    paths : N images, in order
    known : (N,) class numbers by answers, -1 elsewhere: they teach which source to believe

    Raises
    ------
    InputError
        See `read_probabilities`.
    """
    names = [file.name for file in files]
    read = [read_probabilities(file, paths, classes) for file in files]
    given = [rows for rows, _ in read]
    if np.ptp(clip.probabilities, axis=1).max(initial=0.0) > 0:  # without words zero-shot says nothing
        names, given = ["zero-shot", *names], [clip.probabilities, *given]
    stack = np.stack(given)
    says: NDArray[np.bool_] = np.asarray(~np.isnan(stack).any(axis=2))
    found = dawid_skene(stack, known)
    shares = [_right(stack[s], known) for s in range(len(stack))]
    alone = not found.same.any()  # one source, or copies of one
    sources = tuple(
        Source(name, _rounded(share if alone else found.accuracy[s]), int(says[s].sum()))
        for s, (name, (share, _)) in enumerate(zip(names, shares, strict=True))
    )
    silent, asked = int((~says.any(axis=0)).sum()), max(many for _, many in shares)
    if alone:
        share, many = shares[0]
        if many:
            right = f"on the {counted(many, 'image')} answered it is right on {share:.0%}"
            verdict = f"The labels are what {names[0]} says, and the answers: {right}."
        else:
            nothing = "with one source and no answers, nothing tells how often it is right"
            verdict = f"The labels are what {names[0]} says: {nothing}."
    else:
        each = ", ".join(f"{one.name} {one.accuracy:.0%} of {counted(one.images, 'image')}" for one in sources)
        verdict = (
            f"{counted(len(sources), 'source')} of labels, weighed by how well they agree with each other and with answers; "
            f"by this they are right on: {each}."
        )
        if asked:
            each = ", ".join(
                f"{name} {share:.0%} of {many:,}" for name, (share, many) in zip(names, shares, strict=True) if many
            )
            verdict += f" On the answered images alone: {each}."
        elif len(np.unique(found.same)) == 2:
            verdict += " Of two sources without answers nothing tells which is the better one: answer some images."
    for first in np.unique(found.same):
        if len(copied := [names[s] for s in np.flatnonzero(found.same == first)]) > 1:
            verdict += f" {listed(copied)} say the same, and count as one source."
    for name, (_, unknown) in zip((file.name for file in files), read, strict=True):
        if unknown:
            verdict += f" {name} speaks of {counted(len(unknown), 'image')} not here: {listed(sorted(unknown), 3)}."
    if silent:
        verdict += f" No source says anything of {counted(silent, 'image')}."
    trust = float(np.clip(found.posterior.max(axis=1).mean(), 0.0, SURE))
    worth = replace(clip.reliability, trust=round(trust, 4), meaningful=True, verdict=verdict, advice="")
    return replace(clip, combined=found.posterior, reliability=worth), sources


def _right(given: NDArray[np.floating], known: NDArray[np.integer] | None) -> tuple[float, int]:
    """The share of answered images on which a source (N, K) is right, NaN without any, and of how many."""
    if known is None:
        return float("nan"), 0
    asked = (np.asarray(known) >= 0) & ~np.isnan(given).any(axis=1)
    right = given[asked].argmax(axis=1) == np.asarray(known)[asked]
    return (float(right.mean()) if asked.any() else float("nan")), int(asked.sum())


def _rounded(share: float) -> float | None:
    return None if np.isnan(share) else round(float(share), 4)


def nothing_to_say(classes: Sequence[str], images: int) -> ZeroShot:
    """Zero-shot of embeddings that are not in the space of any texts: all classes alike."""
    from autoannotate.labelling.zero_shot.label_images import by_example

    return by_example(classes, np.full((images, len(classes)), 1.0 / len(classes)))


def told_of_embeddings(features: NDArray[np.floating], labels: NDArray[np.integer], seed: int = 0) -> str:
    """A sentence where another model's embeddings look useless (rows of zeros; neighbours that agree by chance alone), or "".

    Of at most 2,000 images: the share of each one's five nearest with the same label, against the labels in random order.
    """
    from autoannotate.labelling.features import compact
    from autoannotate.labelling.neighbours import nearest

    said = ""
    if zero := int((~features.any(axis=1)).sum()):
        said = f" {counted(zero, 'embedding')} hold nothing but zeros."
    rng = np.random.default_rng([seed, 83])
    rows = np.sort(rng.permutation(len(labels))[:2000])
    labels = labels[rows]
    if len(rows) < 20 or len(np.unique(labels)) < 2:
        return said
    near = nearest(compact(features[rows]), 5).index
    agree = float((labels[near] == labels[:, None]).mean())
    chance = [float((mixed[near] == mixed[:, None]).mean()) for mixed in (rng.permutation(labels) for _ in range(99))]
    if agree > np.quantile(chance, 0.99):
        return said
    return (
        f"{said} The embeddings look useless for these classes: nearest images have the same label in {agree:.0%}, and "
        f"{np.mean(chance):.0%} would by chance. Are they of these images, in this order, and of a model of such images?"
    )


def read_probabilities(
    file: Path, paths: Sequence[str], classes: Sequence[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """Another model's probabilities, a CSV with `path` and a column a class, in the order of the images: (N, K); and the paths
    that are no image here.

    An image without a row, or with an empty one, gets NaN: that source says nothing of it.

    Raises
    ------
    InputError
        A column is missing, a cell is no number, rows do not sum to one, or none is about an image.
    """
    table = read_delimited(file)
    keys = [fused(name) for name in table.header]
    if twice := sorted({name for name in ("path", *classes) if keys.count(name) > 1}):
        raise InputError(f"{file} has more than one column {listed(twice)}: give each column its own name.")
    columns = {name: table.column([name]) if name == "path" else _place(keys, name) for name in ("path", *classes)}
    if lacking := [name for name, place in columns.items() if place is None]:
        raise InputError(f"{file} lacks the column {lacking[0]}: it needs path and one a class ({listed(classes)}).")
    found: dict[str, list[float]] = {}
    seen: set[str] = set()
    for _, cells in table.rows:
        cells = [*cells, *[""] * (len(table.header) - len(cells))]
        name = fused(cells[columns["path"]], "path")  # type: ignore[index]
        if name in seen:
            raise InputError(f"{file} has more than one row of {name}.")
        seen.add(name)
        said = [cells[columns[one]].strip() for one in classes]  # type: ignore[index]
        if any(said):
            found[name] = [_number(cell) for cell in said]
    given = check_probabilities(np.array([*found.values()]).reshape(-1, len(classes)), [*found], classes, file.name)
    place = {name: i for i, name in enumerate(found)}
    at = np.array([place.get(path, -1) for path in paths])
    if (at < 0).all():
        raise InputError(
            f"None of the rows of {file} is about one of the images: its first is {next(iter(found), '')!r}."
        )
    return np.where(at[:, None] >= 0, given[np.maximum(at, 0)], np.nan), [*found.keys() - set(paths)]


def _number(cell: str) -> float:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return float("nan")  # named by the check of a row


def _place(keys: Sequence[str], name: str) -> int | None:
    return keys.index(name) if name in keys else None
