"""What the page proposes for an image: never a class that the reasons beside it argue against."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_NAMED_PICTURE = re.compile(r"nearly the same picture as .*, labelled ")


def argued_for(reason: str, classes: Sequence[str]) -> Counter[str]:
    """How many of the reasons name each class; a reason that names two speaks half for each.

    >>> argued_for("all labelled breast; CLIP says breast (81%)", ["chest", "breast"])
    Counter({'breast': 2.0})
    """
    names = "|".join(re.escape(name) for name in sorted(classes, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)({names})(?!\w)") if names else None
    votes: Counter[str] = Counter()
    for clause in reason.split("; "):
        found = set(pattern.findall(_NAMED_PICTURE.sub("labelled ", clause))) if pattern else set()
        for name in found:
            votes[name] += 1.0 / len(found)  # type: ignore[assignment]
    return votes


def proposal(suggested: str, reason: str, classes: Sequence[str]) -> str | None:
    """The class to propose: the suggested one, unless more reasons speak for another; None where they speak for several.

    >>> proposal("normal", "all labelled pneumonia; CLIP says pneumonia (81%)", ["normal", "pneumonia"])
    'pneumonia'
    >>> proposal("normal", "could be normal or pneumonia: 52% against 48%", ["normal", "pneumonia"])
    'normal'
    """
    if suggested not in classes:
        return None
    votes = argued_for(reason, classes)
    most = max(votes.values(), default=0.0)
    if not votes or votes[suggested] == most:
        return suggested
    best = [name for name, count in votes.items() if count == most]
    return best[0] if len(best) == 1 else None
