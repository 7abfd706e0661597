"""Spot checks: a few answers about a random sample of each group of proposals accept the group, or refuse it.

A group is applied where its proposed labels are right more often than the given ones, by the sign test at 95 % that may be
looked at after every answer (`sign_test`), refused where the reverse is shown by the same, and asked about further while
neither is. Only answers to the sample count, in the order in which it was drawn, up to the first image that nobody has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.proposals import Group, Proposals, fewest
from autoannotate.labelling.queries.sign_test import crossed, lower_bound

FIRST, MORE = 12, 8  # images asked about at first, and then at a time …
MOST = 40  # … until so many were seen: then as many proposals are right as not, and nothing is gained by either
WAITING, APPLIED, REFUSED, OPEN, UNSEEN = "waiting", "applied", "refused", "undecided", "applied unseen"


@dataclass(frozen=True)
class Check:
    """What became of a group.

    Attributes
    ----------
    group : Group
    state : str
        waiting, applied, refused, undecided (`MOST` answers did not decide) or applied unseen.
    sample : (n,) int array
        The images of the sample that were looked at, in the order drawn.
    right, wrong : int
        Of these, where the proposed label, and where the given label was right.
    bound : float or None
        The share, of those where one of them is right, of proposed labels (refused: given labels) that are right is at least
        this, at 95 %; of half a point each where neither is.
    ask : (m,) int array
        Images to ask about next.
    """

    group: Group
    state: str
    sample: NDArray[np.int64]
    right: int
    wrong: int
    bound: float | None
    ask: NDArray[np.int64]


def drawing_order(names: Sequence[str], seed: int) -> NDArray[np.float64]:
    """A random number for each of N names, the same for a name and a seed whatever the other names: smallest drawn first."""
    digests = (hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8) for name in names)
    return np.array([int.from_bytes(each.digest(), "big") / 2.0**64 for each in digests])


def check(
    proposals: Proposals,
    truth: NDArray[np.integer],
    looked_at: NDArray[np.bool_],
    drawn: NDArray[np.floating],
    *,
    accept: bool = False,
) -> tuple[Check, ...]:
    """What the answers say of each group of proposals about N images.

    Parameters
    ----------
    truth : (N,) array
        Classes by answers, -1 where there is none.
    looked_at : (N,) bool array
        Images with an answer of any kind: of one that nobody could tell, or of none of the classes, neither label is right.
    drawn : (N,) array
        See `drawing_order`.
    accept : bool
        Apply what waits unseen.
    """
    return tuple(
        _check(group, np.flatnonzero(proposals.group == g), proposals, truth, looked_at, drawn, accept)
        for g, group in enumerate(proposals.groups)
    )


def _check(
    group: Group,
    rows: NDArray[np.int64],
    proposals: Proposals,
    truth: NDArray[np.integer],
    looked_at: NDArray[np.bool_],
    drawn: NDArray[np.floating],
    accept: bool,
) -> Check:
    order = rows[np.argsort(drawn[rows], kind="stable")]
    unseen = np.flatnonzero(~looked_at[order])
    sample = order[: unseen[0]] if len(unseen) else order
    right = truth[sample] == proposals.proposed[sample]
    wrong = truth[sample] == proposals.labels[sample]
    x = 0.5 + 0.5 * (right.astype(np.float64) - wrong)
    found = Check(group, WAITING, sample, int(right.sum()), int(wrong.sum()), None, rows[:0])
    up, down = crossed(x, len(rows)), crossed(1.0 - x, len(rows))
    if up is not None and (down is None or up < down):
        return replace(found, state=APPLIED, bound=lower_bound(x, len(rows)))
    if down is not None:
        return replace(found, state=REFUSED, bound=lower_bound(1.0 - x, len(rows)))
    if accept:
        return replace(found, state=UNSEEN)
    if len(sample) >= min(MOST, len(rows)):
        return replace(found, state=OPEN)
    until = FIRST if len(sample) < FIRST else FIRST + MORE * ((len(sample) - FIRST) // MORE + 1)
    ahead = order[len(sample) : min(until, MOST)]
    return replace(found, ask=ahead[~looked_at[ahead]])


def worth_asking(
    proposals: Proposals, checks: Sequence[Check], labels: NDArray[np.integer], settled: NDArray[np.bool_]
) -> tuple[Check, ...]:
    """The checks, without questions about groups of which what would still change is too little to be a group.

    Answers about one group teach the models, which may change most of another before its sample is drawn.

    Parameters
    ----------
    labels : (N,) array
        Class numbers, as they are now.
    settled : (N,) bool array
        Images with an answer, or left out.
    """
    still = (proposals.group >= 0) & (proposals.proposed != labels) & ~settled
    left = np.bincount(proposals.group[still], minlength=len(checks))
    return tuple(
        one if left[g] + len(one.sample) >= min(one.group.size, fewest(len(labels))) else replace(one, ask=one.ask[:0])
        for g, one in enumerate(checks)
    )


def asked_next(checks: Sequence[Check]) -> list[int]:
    """The places of the groups to ask about, the first one first: those with the fewest answers, by whole batches."""
    open_ = [g for g, one in enumerate(checks) if len(one.ask)]
    return sorted(open_, key=lambda g: len(checks[g].sample) + len(checks[g].ask))


def applied(proposals: Proposals, checks: Sequence[Check]) -> NDArray[np.int64]:
    """The labels of the groups that were applied, (N,), -1 elsewhere."""
    taken = np.array([each.state in (APPLIED, UNSEEN) for each in checks] + [False])
    return np.where(taken[proposals.group], proposals.proposed, -1)


def borne_out(checks: Sequence[Check], source: str) -> bool:
    """Whether samples applied a group of changes that the source supports, and refused none: that some labels are wrong is
    settled then, whichever of overlap and noise explains the labels better."""
    states = [one.state for one in checks if source in one.group.support]
    return APPLIED in states and REFUSED not in states


def expected_errors(checks: Sequence[Check]) -> float:
    """How many labels of applied groups are wrong, by their samples: the share (wrong + 1) / (answers + 2) of the rest."""
    return sum(
        (one.group.size - len(one.sample)) * (len(one.sample) - one.right + 1) / (len(one.sample) + 2)
        for one in checks
        if one.state == APPLIED
    )


def weighed(proposals: Proposals, checks: Sequence[Check], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities, (N, K), in which each group with answers has what its sample says of it: the proposed class has the share
    (right + 1) / (answers + 2) (Laplace's rule of succession), and the others share the rest as before."""
    found = np.array(probabilities, dtype=np.float64)
    for g, one in enumerate(checks):
        if len(one.sample):
            rows = np.flatnonzero(proposals.group == g)
            new, share = proposals.proposed[rows], (one.right + 1) / (len(one.sample) + 2)
            rest = 1.0 - found[rows, new]
            found[rows] *= ((1.0 - share) / np.maximum(rest, 1e-12))[:, None]
            found[rows, new] = share
    return found


def change(one: Check, class_names: Sequence[str]) -> str:
    """What a group would change, in words: a change of labels from normal to pneumonia."""
    group = one.group
    if group.given is None or group.proposed is None:
        return "a change of labels between several classes"
    return f"a change of labels from {class_names[group.given]} to {class_names[group.proposed]}"
