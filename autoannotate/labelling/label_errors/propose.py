"""Proposals: what a bolder change of labels would be, in groups that a few answers can accept or refuse.

Correction changes a label only where something explains why the images contradict it; without truth, overlapping classes and
noise that depends on the image look alike, so much that could be put right stays. What could is proposed: each source says of
all images what their labels would be, and images with the same label now, the same label proposed and the same sources behind
it are one group. Groups wait: `queries.spot_checks` draws a sample of each, and clinicians' answers decide.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.label_errors.correction import Corrected
from autoannotate.labelling.proposals import FEWEST, NOBODY, Group, Proposals, fewest
from autoannotate.labelling.semi_supervised.transclip import transclip
from autoannotate.labelling.task import Task

BORDER = 0.2  # clusters of which more of the edges leave one are none
SURE = (
    0.6  # the probability from which other images' contradiction is a proposal, as in `evaluation.baselines.selftrain`
)

Source = Callable[[Task, Corrected], NDArray[np.float64] | None]
SOURCES: dict[str, Source] = {}


def source(function: Source) -> Source:
    """Register the function under its own name: it gives probabilities, (N, K), that propose their likeliest class, or None."""
    SOURCES[function.__name__] = function
    return function


@source
def clusters(task: Task, corrected: Corrected) -> NDArray[np.float64] | None:
    """The images' own clusters, one a class, named by the labels (`spectral_clustering.cut_and_name`)."""
    named = None if corrected.evidence is None else corrected.evidence.clusters
    if named is None or named.border > BORDER:
        return None
    k = task.zero_shot.shape[1]
    return (1.0 - named.border) * np.eye(k)[named.labels] + named.border / k


@source
def mixture(task: Task, corrected: Corrected) -> NDArray[np.float64] | None:
    """Discriminant analysis that knows that labels may be wrong (`noisy_mixture`), and Bayes' rule with its noise matrix.

    Not of guesses: it would repeat them.
    """
    found = None if corrected.evidence is None else corrected.evidence.mixture
    return None if found is None or _guesses(task) else found.fitted.posterior


@source
def other_images(task: Task, corrected: Corrected) -> NDArray[np.float64] | None:
    """Models that did not see the label, the student's too where there is one, where they are sure of another class.

    Not of guesses: they would repeat them.
    """
    if _guesses(task):
        return None
    outside = corrected.queue.out_of_sample
    sure = outside.max(axis=1) >= SURE
    return np.where(sure[:, None], outside, np.eye(outside.shape[1])[corrected.labels])


@source
def transduction(task: Task, corrected: Corrected) -> NDArray[np.float64] | None:
    """TransCLIP's EM from zero-shot probabilities, where labels are zero-shot's."""
    if task.given is not None or corrected.evidence is None:  # as of sets too large to look at whole
        return None
    return transclip(task.features.values, np.asarray(task.zero_shot, dtype=np.float64), task.features.neighbours)


def _guesses(task: Task) -> bool:
    return task.given is None and not task.meaningful


def propose(task: Task, corrected: Corrected) -> Proposals:
    """What the sources would change in corrected labels.

    An image is proposed the class that more than half of the sources say, where that is another than its label. The sources
    that say so are its support. Pairs of classes with fewer than `FEWEST` images under one support go together; what is fewer
    still is not proposed.

    Parameters
    ----------
    task : Task
        N images, without answers.
    corrected : Corrected
        Their labels.

    Notes
    -----
    The estimate of how many are right is the linear opinion pool (Stone 1961) of all sources: the mean of what they give the
    proposed class.
    """
    labels, k = corrected.labels, task.zero_shot.shape[1]
    nothing = np.full(len(labels), NOBODY)
    if len(labels) < FEWEST:
        return Proposals(labels, nothing, nothing, ())
    found = {name: each(task, corrected) for name, each in SOURCES.items()}
    said = {name: each for name, each in found.items() if each is not None}
    if not said:
        return Proposals(labels, nothing, nothing, ())
    names, views = list(said), np.stack(list(said.values()))
    classes = views.argmax(axis=2)
    votes = np.eye(k)[classes].sum(axis=0)
    proposed = votes.argmax(axis=1)
    moved = (votes.max(axis=1) > len(names) / 2) & (proposed != labels)
    supports = _codes(classes == proposed)
    chance = views.mean(axis=0)[np.arange(len(labels)), proposed]

    least = fewest(len(labels))
    group = nothing.copy()
    groups: list[Group] = []
    exact = [*zip(labels.tolist(), proposed.tolist(), supports.tolist(), strict=True)]
    for pairs in (True, False):
        waiting: dict[tuple[int | None, int | None, int], list[int]] = {}
        for i in np.flatnonzero(moved & (group == NOBODY)):
            now, new, support = exact[i]
            waiting.setdefault((now, new, support) if pairs else (None, None, support), []).append(int(i))
        for (now, new, support), rows in sorted(waiting.items(), key=str):
            if len(rows) >= least:
                group[rows] = len(groups)
                behind = tuple(name for bit, name in enumerate(names) if support >> bit & 1)
                groups.append(Group(now, new, behind, len(rows), float(chance[rows].sum())))
    order = sorted(range(len(groups)), key=lambda g: -groups[g].estimated_right / groups[g].size)
    place = np.append(np.argsort(order), NOBODY) if groups else np.array([NOBODY])
    group = place[group]
    return Proposals(labels, np.where(group >= 0, proposed, NOBODY), group, tuple(groups[g] for g in order))


def _codes(behind: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which sources, (S, N) bool, as one number an image."""
    return (behind * (1 << np.arange(len(behind)))[:, None]).sum(axis=0)
