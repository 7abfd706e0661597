"""Out-of-sample class probabilities: what the other images, and their labels, say about each image.

No view of the data wins everywhere (regularised probes where classes overlap, the graph where they are clusters), so
seven views that never see the label they judge are calibrated, for `belief.py` to weigh.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.label_errors.noise_estimate import blind_noise, share_wrong
from autoannotate.labelling.label_errors.spectral_clustering import SHORE, cut_and_name
from autoannotate.labelling.neighbours import Neighbours, conductance, propagate, separation
from autoannotate.labelling.semi_supervised.ridge import Ridge, likeness
from autoannotate.labelling.zero_shot.reliability import kappa

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FOLDS = 5
# inverse regularisation of the logistic probes: much noise wants the first, many classes the second
STRENGTHS = (1e-3, 1e-2)
# self-training: a class that the second probe gives at least this probability takes the label's place, and it learns again
CONFIDENT, ROUNDS = 0.6, 4
# the kernel machine, which is better calibrated and corrects less: its width, its ridge (the variance of noise that it allows
# for), what its scores are multiplied with before they are calibrated, how many images others are compared with
CAUTIOUS, WIDTH, ALLOWED, SHARP, LANDMARKS = 0.85, 0.3, 0.5, 8.0, 1000
# of the twins: how far their discriminants are shrunk, and how many images they learn from per dimension. Stiffer ones, or ones
# taught more, quarrel too little: what overlapping classes leave open they answer alike.
TWIN_SHRINK, TAUGHT = 0.2, 2
# classes are clusters where spreading labels cuts the graph more cleanly by at least this share, at most that share of a
# cluster's edges leaves it, and labels that contradict their cluster lie about as if thrown: a class sticks together
CLUSTERED, ISLAND, SCATTERED = 0.65, 0.12, 0.8
BORDER = 1.75  # images for which the graph errs, per share of edges between its clusters
MORE = 2.0  # wrong labels that clusters must find for each that opinions see as blind noise
BEYOND_CHANCE = 3.0  # standard deviations by which labels must agree with islands
THIN, FAIR = 0.06, 0.3  # of a touching cluster's edges; Cohen's kappa with the labels
# what spreading makes of the labels must agree with what self-training makes of them, by Cohen's kappa, with the labels more
# than by chance, and with these hardly less than self-training does: else the clusters are something else than the classes
CONFIRMED, RELATED, HARDLY = 0.72, 0.2, 0.15


@dataclass(frozen=True)
class OutOfSample:
    """What models that never saw an image's label say of it.

    opinions: (V, N, K), calibrated, rows sum to one, the kernel machine's, the self-trained probe's and the graph's last.
    twins: (2, N, K), two models taught by different halves of the other images; corrected_twins: the same, of models that
    learned from their own sure corrections. seen: (N, K) bool, classes that the models of an image had other images of. error:
    where classes are clusters, the share of images for which the graph errs; else None.
    """

    opinions: NDArray[np.float64]
    twins: NDArray[np.float64]
    corrected_twins: NDArray[np.float64]
    seen: NDArray[np.bool_]
    error: float | None


def out_of_sample(
    points: NDArray[np.float64],
    labels: NDArray[np.integer],
    classes: int,
    neighbours: Neighbours,
    graph: csr_array,
    *,
    groups: NDArray[np.integer] | None = None,
    seed: int = 0,
    track: Track = silent,
) -> OutOfSample:
    """Class probabilities of each image from models that saw the other images' labels only.

    points: (N, d), `features.standardised`. labels: (N,) in 0 … K-1, where classes may be missing or have one member.
    neighbours, graph: of the same images. groups: (N,) ids; an image is judged by models that saw no image of its group (one
    patient's, say). Raises ValueError where all images are of one group.
    """
    n, k = len(labels), classes
    if groups is not None and len(np.unique(groups)) < 2:
        raise ValueError("All images are of one group: out-of-sample probabilities need two groups or more.")
    alike = likeness(points, WIDTH, LANDMARKS, seed)
    names = ("nearest", *map(str, STRENGTHS), "discriminant", "kernel", "self-trained", "graph")
    votes = {name: np.zeros((n, k)) for name in names}
    twins, corrected_twins = np.zeros((2, n, k)), np.zeros((2, n, k))
    seen = np.zeros((n, k), dtype=bool)
    dealt = [(np.setdiff1d(np.arange(n), fold), fold) for fold in folds(labels, seed, groups)]
    for number, (rest, fold) in enumerate(track(dealt, "cross-validating", None)):
        present = np.unique(labels[rest])
        seen[np.ix_(fold, present)] = True
        columns = np.ix_(fold, present)
        if len(present) < 2:
            for view in (*votes.values(), *twins, *corrected_twins):
                view[columns] = 1.0
            continue
        for strength in STRENGTHS:
            votes[str(strength)][columns] = _logistic(points[rest], labels[rest], points[fold], strength)
        votes["discriminant"][columns] = _discriminant(points[rest], labels[rest], points[fold])
        seeds = np.zeros((n, k))
        seeds[rest, labels[rest]] = 1.0
        votes["graph"][columns] = propagate(graph, seeds)[columns]
        both = halves(rest, labels, TAUGHT * points.shape[1], np.random.default_rng([seed, 9, number]))
        for twin, half in zip(twins, both, strict=True):
            twin[np.ix_(fold, np.unique(labels[half]))] = _discriminant(
                points[half], labels[half], points[fold], TWIN_SHRINK
            )
        both = halves(rest, labels, 2 * LANDMARKS, np.random.default_rng([seed, 9, number]))
        for twin, half in zip(corrected_twins, both, strict=True):
            known = np.isin(np.arange(k), labels[half])
            twin[fold] = SelfTrainedKernel(alike[half], labels[half], np.tile(known, (len(half), 1))).of(alike[fold])
    votes["nearest"] = _nearest(neighbours, labels, k, groups) * seen
    votes["kernel"] = SelfTrainedKernel(alike, labels, seen, groups).left_out
    votes["self-trained"], corrected = self_trained(points, labels, votes[str(STRENGTHS[-1])], dealt, track)

    opinions = np.stack([calibrated(view, labels, seen) for view in votes.values()])
    blind = blind_noise(opinions, labels.astype(np.int64))
    spread = votes["graph"].argmax(axis=1)
    error = _error_of_clusters(graph, labels, spread, k, blind) if _confirmed(spread, corrected, labels, k) else None
    on = clusters(graph, labels, corrected, k)
    if on is not None and (by_cut := _error_of_clusters(graph, labels, on, k, blind)) is not None:
        opinions[-1], error = calibrated(np.eye(k)[on] * seen, labels, seen), by_cut
    return OutOfSample(opinions, twins, corrected_twins, seen, error)


def self_trained(
    points: NDArray[np.float64],
    labels: NDArray[np.integer],
    view: NDArray[np.float64],
    dealt: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    track: Track = silent,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A probe that learned from its own sure corrections: what it says, (N, K), and the labels as it leaves them, (N,).

    points: (N, d). view: (N, K), what it said when it learned from the `labels`, (N,). dealt: rows to learn from and held-out
    rows, fold by fold. It never judges an image by its own label, and where it is not sure the label stays (progressive
    correction, Zhang et al. 2021, arXiv 2103.07756).
    """
    corrected = np.array(labels, dtype=np.int64)
    for number, (rest, fold) in enumerate(track(ROUNDS * dealt, "self-training", None)):
        if number % len(dealt) == 0:
            corrected = np.where(view.max(axis=1) >= CONFIDENT, view.argmax(axis=1), corrected)
            view = np.zeros_like(view)
        present = np.unique(corrected[rest])
        one = len(present) < 2
        view[np.ix_(fold, present)] = (
            1.0 if one else _logistic(points[rest], corrected[rest], points[fold], STRENGTHS[-1])
        )
    return view, np.where(view.max(axis=1) >= CONFIDENT, view.argmax(axis=1), corrected)


class SelfTrainedKernel:
    """A kernel ridge regression that learned from its own sure corrections, as the probe of `self_trained` does.

    basis: (N, D), see `likeness`. labels: (N,). seen: (N, K) bool, classes that other images have. Each image, or all images
    of its group, (N,) ids, is left out in closed form, so that a round costs one product instead of five fits. The regression
    is the mean of a Gaussian process, and its ridge the variance of the labels' noise (Rasmussen and Williams 2006, section
    2.2 and equation 5.12).
    left_out: (N, K), what it says of each image.
    """

    def __init__(
        self,
        basis: NDArray[np.float64],
        labels: NDArray[np.integer],
        seen: NDArray[np.bool_],
        groups: NDArray[np.integer] | None = None,
    ) -> None:
        from scipy.special import softmax

        machine = Ridge(basis, np.ones(len(basis)), ALLOWED, groups)
        centred = np.eye(seen.shape[1]) - 1.0 / seen.shape[1]

        def says(now: NDArray[np.int64]) -> NDArray[np.float64]:
            return calibrated(softmax(SHARP * machine.left_out(centred[now]), axis=1), now, seen)

        corrected = np.array(labels, dtype=np.int64)
        self.left_out = says(corrected)
        for _ in range(ROUNDS):
            corrected = np.where(self.left_out.max(axis=1) >= CAUTIOUS, self.left_out.argmax(axis=1), corrected)
            self.left_out = says(corrected)
        self._weights, self._known = machine.taught(centred[corrected]), seen.any(axis=0)

    def of(self, others: NDArray[np.float64]) -> NDArray[np.float64]:
        """What it says, not calibrated, of M other images, (M, D) on the same basis: (M, K)."""
        from scipy.special import softmax

        return softmax(np.where(self._known, SHARP * (others @ self._weights), -np.inf), axis=1)


def halves(
    rows: NDArray[np.int64], labels: NDArray[np.integer], most: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`rows` dealt into two halves, every class as evenly as it allows, of `most` rows or fewer."""
    shuffled = rng.permutation(rows)
    dealt = shuffled[np.argsort(labels[shuffled], kind="stable")]
    both = []
    for half in (dealt[::2], dealt[1::2]):
        both.append(np.sort(half[np.unique(np.linspace(0, len(half) - 1, min(most, len(half))).astype(int))]))
    return both[0], both[1]


def _confirmed(
    spread: NDArray[np.integer], corrected: NDArray[np.integer], labels: NDArray[np.integer], k: int
) -> bool:
    """Whether labels (N,) spread over the graph are what self-training makes of them too.

    Images may form clusters by scanner or view; right labels of classes that overlap lie over these as if thrown.
    """
    related = kappa(spread, labels, k)
    return (
        kappa(spread, corrected, k) >= CONFIRMED
        and related >= RELATED
        and kappa(corrected, labels, k) - related <= HARDLY
    )


def _error_of_clusters(
    graph: csr_array, labels: NDArray[np.integer], spread: NDArray[np.integer], k: int, blind: float
) -> float | None:
    """How often the labels spread over the graph are wrong where classes are clusters; None where they are not.

    Labels thrown wrongly into clean clusters at rate d make 2 d (1 − d) of the edges join unlike labels; images that
    belong together but not to their cluster's class make far fewer, and there the graph is wrong and the labels are right.
    So it may be where opinions see blind noise by themselves, at the rate `blind`, and clusters hardly more wrong labels.
    """
    if len(np.unique(labels)) < 2:
        return None
    moved = float((spread != labels).mean())
    border, was = (float(conductance(graph, each, k).mean()) for each in (spread, labels))
    clustered = separation(graph, labels, spread, k) >= CLUSTERED and border <= ISLAND
    scattered = was >= SCATTERED * 2.0 * moved * (1.0 - moved)
    error = BORDER * border
    more = share_wrong(moved, error, k) >= MORE * blind
    return error if clustered and scattered and moved > 2.0 * error and more else None


def clusters(
    graph: csr_array, labels: NDArray[np.integer], corrected: NDArray[np.integer], k: int
) -> NDArray[np.int64] | None:
    """The class of each image's cluster, (N,), where the images form one cluster a class, whatever their labels; else None.

    Much noise that depends on the image moves the border to which labels spread; a cut made without labels stays where it is.
    Each cluster must be about as large as its class. Islands need only agree with the labels beyond chance; clusters that
    touch may be something else, such as two scanners, and must agree with the labels fairly (Landis and Koch 1977), and
    with the labels that self-training corrected, (N,).
    """
    named = cut_and_name(graph, labels)
    if named is None:
        return None
    islands = named.border <= SHORE and named.agreement >= BEYOND_CHANCE
    touching = named.border <= THIN and named.kappa >= FAIR and _confirmed(named.labels, corrected, labels, k)
    size, labelled = named.sizes
    alike = ((size >= labelled / 2) & (size <= labelled * 2)).all()
    return named.labels if alike and (islands or touching) else None


def folds(
    labels: NDArray[np.integer], seed: int, groups: NDArray[np.integer] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Held-out rows, fold by fold, every class dealt out as evenly as its size allows; no fold is empty.

    groups: (N,) ids; a group, of the class that most of its images have, is never divided.
    """
    rng = np.random.default_rng([seed, 5])  # not the plain seed: who injects noise with it would put it all in one fold
    ids = np.arange(len(labels)) if groups is None else _in_order_seen(groups)
    size = np.bincount(ids)
    votes = np.zeros((len(size), int(labels.max()) + 1))
    np.add.at(votes, (ids, labels), 1)
    shuffled = rng.permutation(len(size))
    dealt = shuffled[np.lexsort((-size[shuffled], votes.argmax(axis=1)[shuffled]))]
    for fold in range(min(FOLDS, len(size))):
        yield np.flatnonzero(np.isin(ids, dealt[fold::FOLDS]))


def _in_order_seen(groups: NDArray[np.integer]) -> NDArray[np.int64]:
    """The groups numbered by their first image, so that the ids themselves decide nothing."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _logistic(
    train: NDArray[np.float64], labels: NDArray[np.integer], test: NDArray[np.float64], strength: float
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(train, labels).predict_proba(test)


def _discriminant(
    train: NDArray[np.float64], labels: NDArray[np.integer], test: NDArray[np.float64], shrink: float = 0.5
) -> NDArray[np.float64]:
    """Linear discriminant analysis with the shared covariance shrunk half-way to a sphere (Friedman 1989, eq. 18)."""
    from scipy.special import softmax

    classes, members = np.unique(labels, return_inverse=True)
    counts = np.bincount(members)
    means = np.eye(len(classes))[members].T @ train / counts[:, None]
    within = train - means[members]
    covariance = within.T @ within / len(train)
    sphere = np.trace(covariance) / len(covariance)
    covariance = (1.0 - shrink) * covariance + (shrink * sphere + 1e-9) * np.eye(len(covariance))
    directions = np.linalg.solve(covariance, means.T)
    offsets = np.log(counts / counts.sum()) - 0.5 * np.einsum("kd,dk->k", means, directions)
    return softmax(test @ directions + offsets, axis=1)


def _nearest(
    neighbours: Neighbours, labels: NDArray[np.integer], k: int, groups: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """The vote of the nearest others, of other groups, with half a vote a class (the Jeffreys prior)."""
    votes = np.eye(k)[labels][neighbours.index]
    if groups is not None:
        votes = votes * (groups[neighbours.index] != groups[:, None])[:, :, None]
    votes = votes.sum(axis=1) + 0.5
    return votes / votes.sum(axis=1, keepdims=True)


def calibrated(
    view: NDArray[np.floating], labels: NDArray[np.integer], seen: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Probabilities (N, K) after temperature scaling (Guo et al. 2017, arXiv 1706.04599, eq. 9) on the given labels, (N,),
    within the classes seen, (N, K) bool, by default all."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    seen = np.ones(view.shape, dtype=bool) if seen is None else seen
    logs = np.where(seen, np.log(np.clip(view, 1e-4, None)), -np.inf)
    rows = np.flatnonzero(seen[np.arange(len(labels)), labels] & (seen.sum(axis=1) > 1))
    if len(rows) == 0:
        return np.exp(log_softmax(logs, axis=1))

    def loss(sharpness: float) -> float:
        return -float(log_softmax(sharpness * logs[rows], axis=1)[np.arange(len(rows)), labels[rows]].mean())

    sharpness = minimize_scalar(loss, bounds=(0.05, 20.0), method="bounded").x
    return np.exp(log_softmax(sharpness * logs, axis=1))
