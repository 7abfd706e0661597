"""Proposals on disk: proposals.csv beside a run, and what became of each group, in run.json.

The file says what the first labels left to spot checks; updates read it and never write it, so that a sample stays a random
sample of the same group however many answers there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.wording import counted, listed
from autoannotate.labelling.proposals import Group, Proposals
from autoannotate.labelling.queries.spot_checks import APPLIED, OPEN, REFUSED, UNSEEN, WAITING, Check
from autoannotate.runs.tables import PROPOSALS

if TYPE_CHECKING:
    import pandas as pd

WORDS = {
    "clusters": "clusters of the images",
    "mixture": "a mixture model that knows of wrong labels",
    "other_images": "the other images",
    "transduction": "TransCLIP",
}
"""What stands behind a group, in words, by the name of the source."""


def table_of(proposals: Proposals | None, paths: Sequence[str], classes: Sequence[str]) -> pd.DataFrame | None:
    """The rows of proposals.csv; None where nothing is proposed."""
    import pandas as pd

    if proposals is None or not proposals.groups:
        return None
    rows = np.flatnonzero(proposals.group >= 0).tolist()
    return pd.DataFrame(
        {
            "path": [paths[i] for i in rows],
            "group": [str(proposals.group[i] + 1) for i in rows],
            "label": [classes[proposals.labels[i]] for i in rows],
            "proposed": [classes[proposals.proposed[i]] for i in rows],
        }
    )


def record_of(
    checks: Sequence[Check], paths: Sequence[str], classes: Sequence[str], readers: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """What run.json says of each group. readers: who answered, by path."""
    return [
        {
            "group": number,
            "given": None if one.group.given is None else classes[one.group.given],
            "proposed": None if one.group.proposed is None else classes[one.group.proposed],
            "support": list(one.group.support),
            "images": one.group.size,
            "estimated_right": round(one.group.estimated_right, 1),
            "state": one.state,
            "answers": len(one.sample),
            "right": one.right,
            "wrong": one.wrong,
            "bound": None if one.bound is None else round(one.bound, 4),
            "readers": sorted({name for i in one.sample for name in readers.get(paths[i], ())}),
            "ask": [paths[i] for i in one.ask],
        }
        for number, one in enumerate(checks, 1)
    ]


def recounted(
    record: Sequence[Mapping[str, Any]], proposed: pd.DataFrame | None, labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The groups of run.json with how many images of each have the proposed label now (`changed`).

    Parameters
    ----------
    proposed : the rows of proposals.csv, see `table_of`
    labels : by path, those of the run
    """
    if proposed is None:
        return [dict(one) for one in record]
    changed = Counter(
        int(group) for path, group, new in zip(proposed["path"], proposed["group"], proposed["proposed"], strict=True)
        if labels.get(path) == new
    )  # fmt: skip
    return [{**one, "changed": changed[int(one["group"])]} for one in record]


def read_proposals(
    table: pd.DataFrame | None, record: Sequence[Mapping[str, Any]], paths: Sequence[str], classes: Sequence[str]
) -> Proposals | None:
    """The proposals of an earlier run for the images that are still there; None where it made none."""
    if table is None:
        return None
    number = {name: k for k, name in enumerate(classes)}
    row_of = {path: i for i, path in enumerate(paths)}
    labels, proposed, group = (np.full(len(paths), -1) for _ in range(3))
    for path, its_group, label, new in table[list(PROPOSALS)].itertuples(index=False, name=None):
        if path in row_of and label in number and new in number:
            i = row_of[path]
            labels[i], proposed[i], group[i] = number[label], number[new], int(its_group) - 1
    groups = tuple(
        Group(
            number.get(one["given"]),
            number.get(one["proposed"]),
            tuple(one["support"]),
            int((group == g).sum()),
            float(one["estimated_right"]),
        )
        for g, one in enumerate(record)
    )
    return Proposals(labels, proposed, group, groups)


def change_in_words(one: Mapping[str, Any]) -> str:
    """What a group of run.json would change, beside what answers changed already.

    >>> change_in_words({"images": 143, "given": "normal", "proposed": "pneumonia"})
    '143 labels would change from normal to pneumonia'
    >>> change_in_words({"images": 143, "changed": 12, "given": "normal", "proposed": "pneumonia"})
    '131 more labels would change from normal to pneumonia'
    """
    done = one.get("changed", 0)
    return f"{counted(one['images'] - done, 'more label' if done else 'label')} would change {_between(one)}"


def _between(one: Mapping[str, Any]) -> str:
    several = one["given"] is None or one["proposed"] is None
    return "between several classes" if several else f"from {one['given']} to {one['proposed']}"


def waiting_in_words(one: Mapping[str, Any]) -> str:
    """A group that waits, with what supports it and what to do: see `change_in_words`."""
    behind = listed([WORDS.get(name, name) for name in one["support"]])
    so_far = f", {one['right']} right and {one['wrong']} wrong of {one['answers']} so far" if one["answers"] else ""
    undecided = "answers did not decide it" if one["state"] == OPEN else "too few to check"
    ask = f"check {len(one['ask'])} of them" if one["ask"] else undecided
    return f"{change_in_words(one)} (by {behind}; an estimated {round(one['estimated_right']):,} right{so_far}): {ask}"


def decided_in_words(one: Mapping[str, Any]) -> str:
    """What was decided of a group, on whose sample, and with which bound."""
    labels = one["images"] if one["state"] == REFUSED else one.get("changed", one["images"])
    what = f"{counted(labels, 'label')} {_between(one)}"
    if one["state"] == UNSEEN:
        return f"applied unseen: {what}"
    by = f" checked by {listed(one['readers'])}" if one["readers"] else " checked"
    which, share = ("proposed", "applied") if one["state"] == APPLIED else ("given", "refused")
    return (
        f"{share}: {what}; of {one['answers']}{by} the proposed label was right in {one['right']} and the given one in "
        f"{one['wrong']}, so the {which} labels are right in at least {100 * float(one['bound'] or 0):.1f}% of the cases "
        "where one of them is (95%, sign test by betting, Ville's inequality)"
    )


def decided(record: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The groups that were applied or refused."""
    return [one for one in record if one["state"] in (APPLIED, REFUSED, UNSEEN)]


def applied_unseen(record: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The groups that were applied without a check, as `--accept-proposals` does."""
    return [one for one in record if one["state"] == UNSEEN]


def waiting(record: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The groups that wait for answers."""
    return [one for one in record if one["state"] in (WAITING, OPEN)]
