"""Belief: what opinions that never saw an image's label, and that label, together say about its true class.

Opinions that agree with the given labels may have learned their mistakes, so three things are estimated apart, none of
them with the truth: how to weigh the opinions, how often labels are wrong, and how often the opinions are. Labels may
only be changed where the opinions are clearly the better of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.zero_shot.reliability import kappa

# labels change where the opinions are right more often than they are, by this share of the images, …
LEAD = 0.01
HALF = 0.5  # … or the labels are wrong at least this often for each time that the opinions are …
WARY = 0.6  # … and another class is at least this probable, …
# … or noise that hits every image alike is seen with 99 % confidence (chi-squared, one degree), or with 95 % where opinions
# agree with the labels moderately (Cohen's kappa): what hardly agrees with them tells overlap and noise apart less well …
BLIND, RATHER_BLIND, MODERATE = 6.63, 3.84, 0.4
LEAST = 0.03  # … and hits at least this share of the labels
# clusters may be something else than the classes where labels are wrong less often than this for each image for which they
# err, …
CLEARLY = 1.5
# … or where they have more error than APART and agree with the labels less than FAINT (Cohen's kappa), unless the likeliest
# rate of blind noise is this share of the labels that contradict them
APART, FAINT, LIKELY = 0.03, 0.3, 0.6
LEARNED = 0.025  # opinions that contradict this share of labels less than clusters do have learned as many mistakes
FEWEST = 10  # with fewer images nothing can be estimated
FEW = 5  # labels of a class, below which nothing can be said of it
TELLING = 0.4  # learners that agree less than this beyond chance say nothing about the labels
CHANCE = 2.326  # standard deviations above which, with 99 % confidence, it is more than chance
USUAL = 0.2  # each row of the noise leans towards noise that is the same for all classes, with this share of its images


@dataclass(frozen=True)
class Twins:
    """What two learners that were taught different labels say of the same N images, (N, K) each.

    The first never saw the label it judges. first_only: the second saw it. corrected: both learned from their own sure
    corrections.
    """

    first: NDArray[np.floating]
    second: NDArray[np.floating]
    first_only: bool = False
    corrected: bool = False

    def agreement(self, labels: NDArray[np.integer]) -> float:
        """How often those that never saw a label, (N,), would have given it."""
        return 1.0 - float(self.contradictions(labels).mean())

    def contradictions(self, labels: NDArray[np.integer]) -> NDArray[np.float64]:
        """How often each label, (N,), is contradicted by those that never saw it, (N,)."""
        judges = (self.first,) if self.first_only else (self.first, self.second)
        return np.mean([judge.argmax(axis=1) != labels for judge in judges], axis=0)

    @property
    def quarrels(self) -> NDArray[np.bool_]:
        """Where they contradict each other, (N,)."""
        return self.first.argmax(axis=1) != self.second.argmax(axis=1)

    def swallow(self, labels: NDArray[np.integer]) -> bool:
        """Whether either leaves a class less than half of its labels, (N,)."""
        size = np.bincount(labels, minlength=self.first.shape[1])
        said = (np.bincount(each.argmax(axis=1), minlength=len(size)) for each in (self.first, self.second))
        return any(bool((each < size / 2).any()) for each in said)


@dataclass(frozen=True)
class Opinion:
    """What a learner that never saw the label it judges says of N images, (N, K), rows sum to one; and its twins."""

    probabilities: NDArray[np.float64]
    twins: Twins

    def among(self, rows: NDArray[np.int64]) -> Opinion:
        """The same of some images."""
        twins = replace(self.twins, first=self.twins.first[rows], second=self.twins.second[rows])
        return Opinion(self.probabilities[rows], twins)


@dataclass(frozen=True)
class Clusters:
    """Classes are clusters: which opinions, by number, follow them, and how often these are wrong."""

    opinions: tuple[int, ...]
    error: float


@dataclass(frozen=True)
class Belief:
    """Beliefs about the true classes of N images.

    predicted: (N, K), what the opinions together say of the given label, unseen. clean: (N, K), what they say of the true
    class, as sure as they are right. posterior: (N, K), with the given label weighed in. noise: T[true, given], (K, K).
    error_rate: the share of labels estimated to be wrong; opinion_error: the share of `clean`'s favourites. blind: the share
    that noise which does not depend on the image has surely made wrong. sure: what a new label's posterior must reach, 0 where
    opinions are trusted and above 1 where no label may change. known: (K,) bool, classes with enough labels to be judged; a
    label of another is kept.
    """

    predicted: NDArray[np.float64]
    clean: NDArray[np.float64]
    posterior: NDArray[np.float64]
    noise: NDArray[np.float64]
    error_rate: float
    opinion_error: float
    blind: float
    sure: float
    known: NDArray[np.bool_]

    @property
    def may_change(self) -> bool:
        """Whether any label may change."""
        return self.sure <= 1.0

    def better(self, labels: NDArray[np.integer]) -> NDArray[np.int64]:
        """The labels, (N,), changed to the class that is likely to be worth most.

        A right label raises accuracy by 1/N and balanced accuracy by one share of its class, so it is worth 1 + 1/(K π), π
        the share of its class: where one class is rare, what raises the one may lower the other.
        """
        share = np.maximum(self.posterior.mean(axis=0), 1e-12)
        best, rows = (self.posterior * (1.0 + 1.0 / (len(share) * share))).argmax(axis=1), np.arange(len(labels))
        change = (self.posterior[rows, best] >= self.sure) & self.known[best] & self.known[labels]
        return np.where(change, best, labels).astype(np.int64)


def believe(
    opinions: Sequence[NDArray[np.floating]],
    labels: NDArray[np.int64],
    twins: Sequence[Twins] = (),
    clusters: Clusters | None = None,
    correctors: Sequence[int] = (),
    blind: float = 0.0,
) -> Belief:
    """Weigh opinions, (N, K) each, of images whose labels, (N,), they did not see.

    - Pool: softmax(Σ_v w_v log p_v), weights by the likelihood of the labels (a logarithmic opinion pool, Genest and
      Zidek 1986), once for right labels and once for labels of which a share is wrong whatever the image. Twice the
      gain in log-likelihood tells blind noise from classes that overlap: where classes overlap, the surest opinions are
      still right; under blind noise even they are contradicted at a constant rate.
    - Error of the opinions without truth: two learners taught by different labels quarrel about as often as one of them
      errs (Jiang et al. 2022, arXiv 2106.13799, theorem 4.1), even where labels are wrong, since the noise that both
      learned is no quarrel and the noise that neither learned is none. Labels that contradict them more often than they
      contradict each other are wrong: d = e + r (1 − e K/(K−1)). Of several twins, the pair that sees least decides whether
      there is noise, and if there is, the pair that would have given the labels most often may say that there is more,
      if the opinions then err at most half as often as the labels: where classes are hard, learners share errors and quarrel
      too little. So it may under blind noise, which an opinion that joins does not undo: `blind` is what was seen without it.
      Twins that corrected labels have learned less noise and see more of it; those that lost a class see nothing, and
      blind noise is told better without them. Where classes are clusters e is known better. All of these miss noise that
      they learned, so the one that finds most is believed.
    - Whom to hear: all, unless they learned mistakes. Those that follow clusters alone, if they find most, contradict
      clearly more labels than all together do, and noise is not likely to be blind, which nobody learns; the correctors, by
      number, where noise is seen that is not blind, so that some of it can be learned and who corrected it has learned the
      least.
    - The pool is sharpened until it is as sure as it is right, and weighed against the label by Bayes' rule,
      P(t | x, given) ~ P(t | x) T[t, given], T alike for all classes or, where labels bear that out, by EM (Dawid and
      Skene 1979).

    That learners of different kinds agree with each other more than with the labels proves nothing: where classes overlap they
    err on the same images, and right labels would be changed.
    """
    n, k = np.shape(opinions[0])
    if n < FEWEST or len(np.unique(labels)) < 2:
        mean = np.mean(opinions, axis=0)
        return Belief(mean, mean, mean, np.eye(k), 0.0, 0.0, 0.0, 2.0, np.zeros(k, dtype=bool))
    logs = _logs(opinions)
    predicted, _, without = _pool(logs, labels, blind=False)
    likeliest, surely = _blind(logs, labels, predicted, without)
    blind = surely or blind
    telling = (pair for pair in twins if not (pair.corrected and (blind or pair.swallow(labels))))
    by_twins = sorted((pair.agreement(labels), _from_quarrels(pair, labels, k)) for pair in telling)
    least = min((seen for _, seen in by_twins), default=0.0)

    def pooled(which: Sequence[int]) -> NDArray[np.float64]:
        return _pool(logs[list(which)], labels, blind=False)[0]

    rate, heard = max(blind, least), predicted
    if correctors and least >= LEAST and not blind:
        heard = pooled(correctors)
    if clusters is not None:
        follow = pooled(clusters.opinions)
        against = _against(follow, labels)
        by_clusters = share_wrong(against, clusters.error, k)
        if by_clusters > max(rate, CLEARLY * clusters.error):
            learned = against - _against(predicted, labels) >= LEARNED and likeliest < LIKELY * against
            rate, heard = by_clusters, follow if learned else predicted
    clean, noise, posterior, opinion_error = weighed(heard, labels, rate)
    if by_twins and max(blind, least) >= LEAST and (more := by_twins[-1][1]) > rate:
        bolder = weighed(heard, labels, more)
        if bolder.opinion_error <= HALF * more:
            rate, (clean, noise, posterior, opinion_error) = more, bolder
    ahead = rate >= opinion_error + LEAD
    behind = rate >= max(LEAST, HALF * opinion_error)
    sure = 0.0 if ahead or blind else WARY if behind else 2.0
    known = np.bincount(labels, minlength=k) >= FEW
    return Belief(predicted, clean, posterior, noise, rate, opinion_error, blind, sure, known)


class Weighed(NamedTuple):
    """The fields of the same names of `Belief`."""

    clean: NDArray[np.float64]
    noise: NDArray[np.float64]
    posterior: NDArray[np.float64]
    opinion_error: float


def weighed(
    predicted: NDArray[np.float64], labels: NDArray[np.int64], rate: float, answers: NDArray[np.integer] | None = None
) -> Weighed:
    """Opinions as sure as they are right, and labels heard beside them.

    predicted: (N, K), of labels that they did not see. labels: (N,), of which the share `rate` is wrong. answers: (N,) class
    numbers, -1 where there is none: of the true classes; the noise is learned from them too.
    """
    k = predicted.shape[1]
    truth = np.full(len(labels), -1) if answers is None else np.asarray(answers)
    others = truth < 0
    against = _against(predicted[others], labels[others]) if others.any() else 0.0
    opinion_error = float(np.clip(_unmixed(against, rate, k), min(0.01, against), 1.0 - 1.0 / k))
    clean = _as_sure_as(predicted, 1.0 - opinion_error)
    known = np.where(others[:, None], clean, np.eye(k)[truth])
    noise = _noise(known, labels, rate, answered=answers is not None)
    return Weighed(clean, noise, _posterior(clean, noise, labels), opinion_error)


def _against(opinion: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The share of labels, (N,), that an opinion, (N, K), contradicts."""
    return float((opinion.argmax(axis=1) != labels).mean())


def _from_quarrels(pair: Twins, labels: NDArray[np.int64], k: int) -> float:
    """The share of labels that must be wrong for how often the twins contradict them, and each other; 0 where the images are
    so few that this may be chance."""
    against, apart = pair.contradictions(labels), pair.quarrels
    more = against - apart
    if more.mean() < CHANCE * more.std() / np.sqrt(len(more)):
        return 0.0
    return share_wrong(float(against.mean()), float(apart.mean()), k)


def share_wrong(against: float, error: float, k: int) -> float:
    """The share r of labels that must be wrong for an opinion with this error to contradict `against` of them."""
    beyond_chance = 1.0 - error * k / (k - 1)
    if beyond_chance < TELLING:
        return 0.0
    return float(np.clip((against - error) / beyond_chance, 0.0, 1.0 - 1.0 / k))


def _unmixed(against: float, rate: float, k: int) -> float:
    """The error e of an opinion that contradicts this share of labels, of which `rate` are wrong: d = e + r (1 − e K/(K−1))."""
    return (against - rate) / max(1.0 - rate * k / (k - 1), 0.05)


def blind_noise(opinions: Sequence[NDArray[np.floating]] | NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The share of labels, (N,), that noise which does not depend on the image has surely made wrong, by opinions (N, K)."""
    if len(labels) < FEWEST or len(np.unique(labels)) < 2:
        return 0.0
    logs = _logs(opinions)
    predicted, _, without = _pool(logs, labels, blind=False)
    return _blind(logs, labels, predicted, without)[1]


def _blind(
    logs: NDArray[np.float64], labels: NDArray[np.int64], predicted: NDArray[np.float64], without: float
) -> tuple[float, float]:
    """The likeliest rate of blind noise, and the same where it is sure, else 0. predicted: (N, K), what all say without such
    noise, and without: minus the log-likelihood of the labels then."""
    k = predicted.shape[1]
    _, rate, with_noise = _pool(logs, labels, blind=True)
    evidence = 2.0 * (without - with_noise)
    sure = evidence > BLIND or (evidence > RATHER_BLIND and kappa(predicted.argmax(axis=1), labels, k) >= MODERATE)
    return rate, rate if rate >= LEAST and sure else 0.0


def are_classes(
    error: float,
    follows: NDArray[np.floating],
    opinions: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    labels: NDArray[np.int64],
) -> bool:
    """Whether clusters with this error are the classes, by the opinion that follows them and all together, (N, K) each.

    Those that labels, (N,), hardly agree with may be scanners or views, unless blind noise is likely to have made these wrong;
    those that contradict half of them or more are never believed.
    """
    against = _against(follows, labels)
    if against >= 0.5:
        return False
    if error <= APART or kappa(follows.argmax(axis=1), labels, follows.shape[1]) >= FAINT:
        return True
    return _pool(_logs(opinions), labels, blind=True)[1] >= LIKELY * against


def _logs(opinions: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> NDArray[np.float64]:
    return np.stack([np.log(np.clip(each, 1e-4, 1.0)) for each in opinions])


def _pool(
    logs: NDArray[np.float64], labels: NDArray[np.int64], *, blind: bool
) -> tuple[NDArray[np.float64], float, float]:
    """Pooled probabilities (N, K), the rate of blind noise, and minus the log-likelihood of the labels.

    logs: (V, N, K). P(given | x) = (1 − r) p_given + r (1 − p_given) / (K−1) with p = softmax(Σ_v w_v log p_v); w > 0, and
    r = 0 unless blind. Weak normal priors on log w keep the fit in one place where labels say little.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, softmax

    views, n, k = logs.shape
    rows = np.arange(n)
    usual = np.full(views, np.log(1.5 / views))

    def unpacked(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        weights = np.exp(x[:views])
        return weights, softmax(np.tensordot(weights, logs, 1), axis=1), 0.9 * float(expit(x[views])) if blind else 0.0

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, p, r = unpacked(x)
        of_given = p[rows, labels]
        kept = 1.0 - r - r / (k - 1)
        chance = np.maximum(kept * of_given + r / (k - 1), 1e-12)
        pull = kept * of_given / chance
        slope = pull[:, None] * p
        slope[rows, labels] -= pull
        lean = x[:views] - usual
        gradient = np.tensordot(logs, slope, axes=([1, 2], [0, 1])) * weights + lean
        if blind:
            by_rate = ((of_given * k / (k - 1) - 1.0 / (k - 1)) / chance).sum()
            gradient = np.append(gradient, by_rate * r * (1.0 - r / 0.9))
        return float(-np.log(chance).sum() + 0.5 * (lean**2).sum()), gradient

    start = np.append(usual, -3.0) if blind else usual
    bounds = [(-6.0, 3.0)] * views + [(-8.0, 3.0)] * blind
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    _, p, rate = unpacked(found.x)
    return p, rate, float(found.fun)


def _as_sure_as(probabilities: NDArray[np.float64], accuracy: float) -> NDArray[np.float64]:
    """The power of the probabilities, (N, K), rows summing to one, whose mean certainty is this accuracy."""
    from scipy.special import softmax

    return softmax(sharpness(probabilities, accuracy) * np.log(np.clip(probabilities, 1e-6, 1.0)), axis=1)


def sharpness(probabilities: NDArray[np.float64], accuracy: float) -> float:
    """The exponent of that power, from e⁻³ to e³."""
    from scipy.special import softmax

    logs = np.log(np.clip(probabilities, 1e-6, 1.0))
    low, high = -3.0, 3.0
    for _ in range(30):
        middle = (low + high) / 2
        if softmax(np.exp(middle) * logs, axis=1).max(axis=1).mean() < accuracy:
            low = middle
        else:
            high = middle
    return float(np.exp(low))


def _noise(
    clean: NDArray[np.float64], labels: NDArray[np.int64], rate: float, *, answered: bool, rounds: int = 20
) -> NDArray[np.float64]:
    """T[true, given], (K, K), that explains the labels, each row leaning towards noise of this rate that is alike for all.

    Where nothing was answered it is such noise itself, unless the labels bear out what more T says of them (Schwarz 1978, the
    Bayesian information criterion). Answers teach T, and that there is more noise than this rate.
    """
    n, k = clean.shape
    alike = np.full((k, k), max(rate, 0.002) / (k - 1))
    np.fill_diagonal(alike, 1.0 - max(rate, 0.002))
    lean = alike * (USUAL * clean.sum(axis=0)[:, None] + 5.0)
    given, noise = np.eye(k)[labels], alike
    for _ in range(rounds):
        noise = _posterior(clean, noise, labels).T @ given + lean
        noise /= noise.sum(axis=1, keepdims=True)
    if answered:
        return noise

    def likelihood(noise: NDArray[np.float64]) -> float:
        return float(np.log(np.maximum((clean * noise[:, labels].T).sum(axis=1), 1e-12)).sum())

    more = 2.0 * (likelihood(noise) - likelihood(alike))
    return noise if more > (k * (k - 1) - 1) * np.log(n) else alike


def _posterior(
    clean: NDArray[np.float64], noise: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """P(t | x, given) ~ P(t | x) T[t, given], (N, K)."""
    posterior = clean * noise[:, labels].T
    return posterior / np.maximum(posterior.sum(axis=1, keepdims=True), 1e-12)
