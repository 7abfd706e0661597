"""How far readers agree: numbers only, so that looking at them leaves everybody blind; and who settles a disagreement.

Intervals are percentile bootstrap intervals over images (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoannotate.answers.consensus import DECIDED, latest
from autoannotate.answers.store import Answer

FEWEST = 20  # shared images below which an agreement is not worth a number
RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percentiles

Code = tuple[str, str | None]  # verdict and class


def agreement(answers: Sequence[Answer], classes: Sequence[str], reader: str) -> dict[str, Any]:
    """How the readers agree with each other.

    `quality` of a reader: the share of images, of those that the reader looked at one by one and others answered too, where the
    reader said what most of the others did; and Cohen's kappa of the same, which takes out what chance explains. `for_you`
    counts the disagreements that `reader` could settle.

    Parameters
    ----------
    answers : those that stand, of all readers
    """
    said = latest(answers)
    names = sorted({who for _, who in said})
    codes = sorted({(one.verdict, one.label) for one in said.values() if one.verdict in DECIDED}, key=str)
    column, number = {name: r for r, name in enumerate(names)}, {code: c for c, code in enumerate(codes)}
    row: dict[str, int] = {}
    at = [(row.setdefault(path, len(row)), column[who]) for path, who in said]
    answered, bulk = np.zeros((2, len(row), len(names)), dtype=bool)
    code = np.full(answered.shape, -1)
    if at:
        where = tuple(np.array(at).T)
        answered[where] = True
        bulk[where] = [one.source == "review" and one.seconds is None for one in said.values()]
        code[where] = [number.get((one.verdict, one.label), -1) for one in said.values()]
    counts = _counts(code, len(codes))
    shared = counts.sum(axis=1) > 1
    everyone = _together(counts[shared])
    mine = column.get(reader)
    others = np.delete(np.arange(len(names)), [] if mine is None else mine)
    settles = answered[:, others].any(axis=1) & _tied_rows(_counts(code[:, others], len(codes)))
    if mine is not None:
        settles &= ~answered[:, mine]
    return {
        "readers": [
            {"name": name, "answered": int(answered[:, r].sum()), "bulk": int(bulk[:, r].sum())}
            | {"quality": _quality(code[:, r], counts, shared & (code[:, r] >= 0) & ~bulk[:, r])}
            for name, r in column.items()
        ],
        "pairs": [
            {"first": names[a], "second": names[b], "shared": int((answered[:, a] & answered[:, b]).sum())}
            | cohen(code[(code[:, a] >= 0) & (code[:, b] >= 0)][:, [a, b]], len(codes))
            for a, b in combinations(range(len(names)), 2)
        ],
        "classes": [
            {"name": one[1] or one[0], "images": int((counts[shared, number[one]] > 0).sum())}
            | everyone["specific"][number[one]]
            for one in sorted(codes, key=lambda one: _place(one, classes))
        ] if shared.any() else [],
        "fleiss": everyone["fleiss"],
        "all_agree": everyone["all_agree"],
        "images": len(row),
        "shared": int(shared.sum()),
        "fewest": FEWEST,
        "disagreements": int(_tied_rows(counts).sum()),
        "for_you": int(settles.sum()),
    }  # fmt: skip


def _counts(code: NDArray[np.integer], codes: int) -> NDArray[np.float64]:
    """How many readers gave each of C codes, (I, C), from what each of R said, (I, R) code numbers, -1 for nothing decided."""
    counts = np.zeros((len(code), codes))
    images, readers = np.nonzero(code >= 0)
    np.add.at(counts, (images, code[images, readers]), 1)
    return counts


def _tied_rows(counts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(I,) whether no code has more votes than any other."""
    if not counts.shape[1]:
        return np.ones(len(counts), dtype=bool)
    return np.asarray((counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1) | (counts.max(axis=1) == 0)


def votes_of(answers: Any) -> dict[str, dict[str, Code]]:
    """Who decided what about each image; one who was unsure decided nothing."""
    votes: dict[str, dict[str, Code]] = defaultdict(dict)
    for answer in answers:
        if answer.verdict in DECIDED:
            votes[answer.path][answer.reader] = (answer.verdict, answer.label)
    return votes


def disagreements(answers: Any) -> list[str]:
    """The paths where no answer has more votes than any other, in path order."""
    answers = list(answers)
    votes = votes_of(answers)
    return sorted(path for path in {answer.path for answer in answers} if _tied(votes.get(path, {}).values()))


def disputed(answers: Sequence[Answer], reader: str) -> list[str]:
    """The paths that others disagree on, or were unsure of: those the reader was not asked, or settled as a third."""
    mine = {answer.path for answer in answers if answer.reader == reader}
    others = [answer for answer in latest(answers).values() if answer.reader != reader]
    asked = Counter(answer.path for answer in others)
    return [path for path in disagreements(others) if path not in mine or asked[path] > 1]


def said(answers: Sequence[Answer], path: str, reader: str) -> list[str]:
    """What others said of an image that the reader is asked to settle, without their names."""
    if path not in disputed(answers, reader):
        return []
    return sorted(a.label or a.verdict for a in answers if a.path == path and a.reader != reader)


def cohen(pairs: NDArray[Any], codes: int) -> dict[str, Any]:
    """Cohen's kappa (1960) and the share of equal answers of two readers, from (n, 2) code numbers; with intervals."""
    n = len(pairs)
    if n < FEWEST:
        return {"n": n, "agree": None, "kappa": None}
    table = np.zeros((codes, codes))
    np.add.at(table, tuple(pairs.T), 1)
    draws = np.random.default_rng(0).multinomial(n, table.ravel() / n, size=RESAMPLES).reshape(-1, codes, codes)

    def values(tables: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        agree = tables.trace(axis1=1, axis2=2) / n
        chance = (tables.sum(1) * tables.sum(2)).sum(1) / n**2
        return agree, _beyond(agree, chance)

    (agree, kappa), (agrees, kappas) = values(table[None]), values(draws)
    return {"n": n, "agree": _with_interval(agree[0], agrees), "kappa": _with_interval(kappa[0], kappas)}


def _together(counts: NDArray[np.float64]) -> dict[str, Any]:
    """Agreement of all readers on N shared images, from how many gave each of C codes: (N, C).

    Fleiss' kappa (1971); and by code the specific agreement Σ n_ic (n_ic − 1) / Σ n_ic (n_i − 1), how often another reader
    says the same where one says it (Cicchetti and Feinstein 1990).
    """
    if not len(counts):
        return {"fleiss": None, "all_agree": None, "specific": []}
    patterns, many = np.unique(counts, axis=0, return_counts=True)
    n = int(many.sum())
    readers = patterns.sum(axis=1)
    same = patterns * (patterns - 1)
    of_image = same.sum(axis=1) / (readers * (readers - 1))
    draws = np.random.default_rng(0).multinomial(n, many / n, size=RESAMPLES).astype(float)
    weights = np.vstack([many[None].astype(float), draws])
    given = weights @ patterns
    chance = ((given / given.sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
    fleiss = _beyond(weights @ of_image / n, chance)
    unanimous = weights @ ((patterns > 0).sum(axis=1) == 1) / n
    with np.errstate(invalid="ignore"):
        specific = (weights @ same) / (weights @ (patterns * (readers - 1)[:, None]))
    enough = n >= FEWEST
    shared_by = (counts > 0).sum(axis=0)
    return {
        "fleiss": _with_interval(fleiss[0], fleiss[1:]) if enough else None,
        "all_agree": _with_interval(unanimous[0], unanimous[1:]) if enough else None,
        "specific": [
            {"agree": _with_interval(one[0], one[1:]) if shared_by[c] >= FEWEST else None}
            for c, one in enumerate(specific.T)
        ],
    }


def _quality(said: NDArray[np.integer], counts: NDArray[np.float64], rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Of one reader: agreement with what most of the others said, where they are not tied.

    Parameters
    ----------
    said : (I,) code numbers
    counts : (I, C) of all readers
    rows : (I,) the images that count
    """
    own, others = said[rows], counts[rows]
    others[np.arange(len(own)), own] -= 1
    clear = ~_tied_rows(others)
    return cohen(
        np.column_stack([own, others.argmax(axis=1)])[clear] if clear.any() else np.empty((0, 2)), counts.shape[1]
    )


def _with_interval(value: float, draws: NDArray[np.float64]) -> dict[str, float]:
    draws = draws[np.isfinite(draws)]
    low, high = np.percentile(draws, INTERVAL) if len(draws) else (value, value)
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _beyond(agreed: NDArray[np.float64], by_chance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(by_chance >= 1.0, 1.0, (agreed - by_chance) / np.maximum(1.0 - by_chance, 1e-12))


def _tied(votes: Any) -> bool:
    counts = [n for _, n in Counter(votes).most_common(2)]
    return not counts or (len(counts) == 2 and counts[0] == counts[1])


def _place(code: Code, classes: Sequence[str]) -> tuple[int, str]:
    name = code[1] or code[0]
    return (list(classes).index(name) if name in classes else len(classes), name)
