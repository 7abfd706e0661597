"""The queue: which images a person should look at next, in which order, and why each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.correction import Corrected
from autoannotate.labelling.queries.spot_checks import Check, asked_next, change
from autoannotate.labelling.queries.strategies import DEFAULT, Pool, order, pool_of

EACH_CLASS = 20  # images to ask for of each class where labels are guesses


@dataclass(frozen=True)
class Queue:
    """What to ask about.

    Attributes
    ----------
    rows : (Q,) int array
        The images, the first one first.
    reasons : tuple of Q str
    """

    rows: NDArray[np.int64]
    reasons: tuple[str, ...]


def flagged(corrected: Corrected) -> Queue:
    """What the correction doubts, the most doubtful first."""
    rows = np.flatnonzero(corrected.queue.flagged)
    rows = rows[np.argsort(-corrected.queue.score[rows], kind="stable")]
    return Queue(rows, tuple(corrected.queue.reasons[i] for i in rows))


def choose(
    features: Features | NDArray[np.floating],
    corrected: Corrected,
    class_names: Sequence[str],
    *,
    answered: NDArray[np.bool_] | None = None,
    unsure: NDArray[np.bool_] | None = None,
    groups: NDArray[np.integer] | None = None,
    meaningful: bool = True,
    strategy: str | None = None,
    view: NDArray[np.floating] | None = None,
    seed: int = 0,
) -> Queue:
    """Choose what to ask.

    As many as labels are estimated to be wrong, in the strategy's order, then the suspects that are not among them. Where
    the labels are guesses, so are all doubts about them: then the queue has the representatives, `EACH_CLASS` times the
    number of classes, less those answered, whatever is suspected; and images of none of the classes.

    Parameters
    ----------
    features : Features or (N, F) array
    corrected : Corrected
    class_names : sequence of K names
    answered : (N,) bool array, optional
        Settled.
    unsure : (N,) bool array, optional
        A reader could not tell: at the end, for another one, and near duplicates wait for it.
    groups : (N,) int array, optional
        Near duplicates share a number, and one of them is asked.
    meaningful : bool
        False where the labels are guesses.
    strategy : str, optional
        A name in `strategies.STRATEGIES`.
    view : (N, K) array, optional
        Probabilities beside those of the correction.
    seed : of the strategy
    """
    count = len(corrected.labels)
    answered = np.zeros(count, dtype=bool) if answered is None else answered
    unsure = np.zeros(count, dtype=bool) if unsure is None else unsure & ~answered
    waits = unsure if groups is None else np.isin(groups, groups[unsure])
    pool = pool_of(features, corrected, answered=answered | waits, groups=groups, view=view, seed=seed)
    name = strategy or (DEFAULT if meaningful else "representative")
    ranked = order(name, pool)
    if meaningful:
        wanted = int(np.ceil(corrected.queue.error_rate * (~answered).sum()))
        wanted_too = corrected.queue.flagged[ranked[wanted:]]
    else:
        wanted = max(EACH_CLASS * len(class_names) - int(answered.sum()), EACH_CLASS)
        wanted_too = corrected.queue.none_of_these[ranked[wanted:]]
    asked = np.concatenate([ranked[:wanted], ranked[wanted:][wanted_too]])
    waiting = np.flatnonzero(unsure)
    reasons = [_why(int(i), corrected, pool, class_names, name) for i in asked]
    reasons += ["a reader was not sure: another one should look"] * len(waiting)
    return Queue(np.concatenate([asked, waiting]), tuple(reasons))


def spot_checks_first(queue: Queue, checks: Sequence[Check], class_names: Sequence[str]) -> Queue:
    """The queue with the samples of waiting groups of proposals before it, a group after the other."""
    rows, reasons = [queue.rows[:0]], []
    for g in asked_next(checks):
        rows.append(checks[g].ask)
        why = f"spot check: {change(checks[g], class_names)} is proposed, if a sample bears it out"
        reasons += [why] * len(checks[g].ask)
    first = np.concatenate(rows)
    kept = np.flatnonzero(~np.isin(queue.rows, first))
    return Queue(np.concatenate([first, queue.rows[kept]]), (*reasons, *(queue.reasons[q] for q in kept)))


def _why(i: int, corrected: Corrected, pool: Pool, class_names: Sequence[str], strategy: str) -> str:
    if why := corrected.queue.reasons[i]:
        return why
    if strategy == "representative":
        return "typical of images that nobody has looked at yet"
    mean = pool.mean[i]
    first, second = np.argsort(-mean, kind="stable")[:2]
    return f"less sure than most: {class_names[first]} {mean[first]:.0%}, {class_names[second]} {mean[second]:.0%}"
