"""How far readers agree: numbers only, so that looking at them leaves everybody blind; and who settles a disagreement.

Intervals are percentile bootstrap intervals over images (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
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
Votes = Mapping[str, Mapping[str, Code]]  # by path and reader


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
    votes = votes_of(said.values())
    paths: dict[str, set[str]] = defaultdict(set)
    for path, who in said:
        paths[who].add(path)
    bulk = {(a.path, a.reader) for a in said.values() if a.source == "review" and a.seconds is None}
    shared = {path: vote for path, vote in votes.items() if len(vote) > 1}
    names = sorted(paths)
    codes = sorted({code for vote in votes.values() for code in vote.values()}, key=str)
    number = {code: i for i, code in enumerate(codes)}
    counts = np.zeros((len(shared), len(codes)))
    for row, vote in zip(counts, shared.values(), strict=True):
        for code in vote.values():
            row[number[code]] += 1
    everyone = _together(counts)
    return {
        "readers": [
            {"name": name, "answered": len(paths[name]), "bulk": sum(who == name for _, who in bulk)}
            | _quality(name, shared, bulk, number)
            for name in names
        ],
        "pairs": [
            {"first": a, "second": b, "shared": len(paths[a] & paths[b])}
            | cohen([(number[v[a]], number[v[b]]) for v in shared.values() if a in v and b in v], len(codes))
            for a, b in combinations(names, 2)
        ],
        "classes": [
            {"name": code[1] or code[0], "images": int((counts[:, number[code]] > 0).sum())}
            | everyone["specific"][number[code]]
            for code in sorted(codes, key=lambda code: _place(code, classes))
        ] if len(counts) else [],
        "fleiss": everyone["fleiss"],
        "all_agree": everyone["all_agree"],
        "images": len(votes) + len({path for path, _ in said} - set(votes)),
        "shared": len(shared),
        "fewest": FEWEST,
        "disagreements": len(disagreements(said.values())),
        "for_you": len(set(disputed(answers, reader)) - paths.get(reader, set())),
    }  # fmt: skip


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


def cohen(pairs: Sequence[tuple[int, int]], codes: int) -> dict[str, Any]:
    """Cohen's kappa (1960) and the share of equal answers of two readers, from pairs of code numbers; with intervals."""
    n = len(pairs)
    if n < FEWEST:
        return {"n": n, "agree": None, "kappa": None}
    table = np.zeros((codes, codes))
    np.add.at(table, tuple(np.array(pairs).T), 1)
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


def _quality(name: str, shared: Votes, bulk: set[tuple[str, str]], number: Mapping[Code, int]) -> dict[str, Any]:
    pairs = []
    for path, vote in shared.items():
        if name not in vote or (path, name) in bulk:
            continue
        others = Counter(code for who, code in vote.items() if who != name).most_common(2)
        if len(others) == 1 or others[0][1] > others[1][1]:
            pairs.append((number[vote[name]], number[others[0][0]]))
    return {"quality": cohen(pairs, len(number))}


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
