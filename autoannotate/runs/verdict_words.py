"""The words by which a clinician answers in a tool or a table: a class, or that none of them can be told."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from autoannotate.errors import InputError
from autoannotate.runs.run import NONE_OF_THESE, NOT_USABLE

UNSURE = "unsure"
OFFERED = {NONE_OF_THESE: "none", NOT_USABLE: "discard", UNSURE: "unsure"}
"""The verdict (`answers.VERDICTS`) behind each word that tools offer beside the classes."""
ALSO = {"none": "none", "none of these": "none", "discard": "discard", "not usable": "discard", "?": "unsure"}
"""What people type for them."""


def choices(classes: Sequence[str]) -> list[str]:
    """What a tool offers: the classes, then the other verdicts.

    >>> choices(["chest", "breast"])
    ['chest', 'breast', 'none-of-these', 'not-usable', 'unsure']
    """
    known = {name.casefold() for name in classes}
    return [*classes, *(word for word in OFFERED if word not in known)]


def understand(text: str, classes: Sequence[str]) -> tuple[str, str | None]:
    """The verdict and, with the verdict label, the class that a word means; case and space around it do not matter.

    A class comes first where it is named like another verdict.

    Raises
    ------
    InputError
        With the nearest class.

    Examples
    --------
    >>> understand(" Chest ", ["chest", "breast"]), understand("?", ["chest", "breast"])
    (('label', 'chest'), ('unsure', None))
    """
    word = " ".join(text.split())
    exact = {name: name for name in classes}
    folded = {name.casefold(): name for name in classes}
    if name := exact.get(word) or folded.get(word.casefold()):
        return "label", name
    if verdict := (OFFERED | ALSO).get(word.casefold()):
        return verdict, None
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    hint = f": did you mean {folded[near[0]]}?" if near else f": they are {', '.join(classes)}."
    raise InputError(f"no class of the run is called {word!r}{hint}")
