"""How an answer about several findings is written: `a|b`, the others are not there; `a=1|b=0|c=-1`, each that is known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from autoannotate.errors import InputError
from autoannotate.runs.run import NONE_OF_THESE, NOT_USABLE, SEPARATOR
from autoannotate.runs.verdict_words import ALSO, OFFERED

PRESENT, ABSENT, UNSURE = 1, 0, -1
VALUES = {"1": PRESENT, "0": ABSENT, "-1": UNSURE}
NOTHING = ("none of them", "no finding", "no findings", "normal", "nothing", "healthy")


def understand_findings(text: str, names: Sequence[str]) -> tuple[str, str | None]:
    """The verdict and label (see `answers.store.Answer`) that a text means: findings, or that none or nothing can be told.

    >>> understand_findings("Mass | effusion", ["effusion", "mass"])
    ('label', 'effusion|mass')
    >>> understand_findings("effusion=0|mass=0", ["effusion", "mass"])
    ('none', None)

    Raises
    ------
    InputError
        Where a finding is none of `names`, with the nearest.
    """
    word = " ".join(text.split())
    exact = {name.casefold(): name for name in names}
    if word.casefold() not in exact:
        verdict = (OFFERED | ALSO).get(word.casefold(), "none" if word.casefold() in NOTHING else "")
        if verdict:
            return verdict, None
    tokens = [token.strip() for token in word.split(SEPARATOR) if token.strip()]
    stated = any(token.rpartition("=")[2].strip() in VALUES and "=" in token for token in tokens)
    values: dict[str, int] = {} if stated else dict.fromkeys(names, ABSENT)
    for token in tokens:
        name, equals, value = (part.strip() for part in token.rpartition("="))
        if not equals:
            name, value = token, "1"
        if value not in VALUES:
            raise InputError(f"{token!r} says neither 1, 0 nor -1 of a finding")
        if name.casefold() not in exact:
            near = difflib.get_close_matches(name.casefold(), exact, n=1)
            hint = f": did you mean {exact[near[0]]}?" if near else f": they are {', '.join(names)}."
            raise InputError(f"no finding of the run is called {name!r}{hint}")
        values[exact[name.casefold()]] = VALUES[value]
    return written(values, names)


def written(values: Mapping[str, int], names: Sequence[str]) -> tuple[str, str | None]:
    """The verdict and label that stand for values, 1, 0 or -1 (unsure) by finding; those that are missing stay open.

    >>> written({"effusion": 1, "mass": 0}, ["effusion", "mass"]), written({"mass": -1}, ["effusion", "mass"])
    (('label', 'effusion'), ('label', 'mass=-1'))
    """
    known = {name: values[name] for name in names if name in values}
    if len(known) == len(names) and UNSURE not in known.values():
        there = SEPARATOR.join(name for name, value in known.items() if value == PRESENT)
        return ("label", there) if there else ("none", None)
    if not known or (len(known) == len(names) and set(known.values()) == {UNSURE}):
        return "unsure", None
    return "label", SEPARATOR.join(f"{name}={value}" for name, value in known.items())


def values_of(verdict: str, label: str | None, names: Sequence[str]) -> dict[str, int]:
    """What an answer says of each finding, 1, 0 or -1 (unsure); nothing of one that it leaves open.

    >>> values_of("label", "mass", ["effusion", "mass"]), values_of("label", "mass=-1", ["effusion", "mass"])
    ({'effusion': 0, 'mass': 1}, {'mass': -1})
    """
    if verdict == "none":
        return dict.fromkeys(names, ABSENT)
    if verdict == "unsure":
        return dict.fromkeys(names, UNSURE)
    if verdict != "label" or label is None:
        return {}
    tokens = label.split(SEPARATOR)
    if all(token.rpartition("=")[2] in VALUES and "=" in token for token in tokens):
        said = {name: VALUES[value] for name, _, value in (token.rpartition("=") for token in tokens)}
        return {name: said[name] for name in names if name in said}
    return {name: int(name in tokens) for name in names}


def offered(names: Iterable[str]) -> list[str]:
    """What a tool offers beside the findings, which it lets choose several of.

    >>> offered(["effusion"])
    ['effusion', 'none-of-these', 'not-usable', 'unsure']
    """
    return [*names, NONE_OF_THESE, NOT_USABLE, "unsure"]
