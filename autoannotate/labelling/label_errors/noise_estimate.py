"""Label noise: how many labels are wrong, which, and whether the images know better, without the truth.

Probabilities of models that never saw an image's label are pooled; one of three explanations of where they contradict the
labels is accepted, or none: classes may just overlap, and then no label changes. The accepted explanation gives P(t | x) and
the noise matrix T[true, given], and Bayes' rule weighs both. `docs/concepts/correction.md` is this module in one page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoannotate.labelling.calibration import sharpness
from autoannotate.labelling.label_errors.noisy_mixture import Mixture
from autoannotate.labelling.spectral_clustering import Named
from autoannotate.labelling.zero_shot.reliability import kappa


@dataclass(frozen=True)
class Settings:
    """The constants of the decision; each has its row in the ablation table of `eval/correction/parts.md`.

    Attributes
    ----------
    found : labels that the mixture must find wrong, unless its evidence is significant: among few images it errs as often as
        labels are wrong
    significant : the z of its likelihood of unseen labels against discriminant analysis from which it is (one-sided, 95 %;
        Vuong 1989)
    likelihood_ratio : twice the log-likelihood that symmetric noise must explain more than overlap does (χ², one degree of
        freedom, 99 %)
    border : the largest share of a cluster's edges that may leave it
    beyond_chance : standard deviations by which labels must agree with clusters
    agreement : Cohen's κ of labels and the mixture that did not see them
    contradicted : the share of its changes over which the pool may contradict it where z is not negative
    contradicted_if_unlikely : the same where z is negative
    """

    found: float = 25.0
    significant: float = 1.64
    likelihood_ratio: float = 6.63
    border: float = 0.02
    beyond_chance: float = 2.0
    agreement: float = 0.3
    contradicted: float = 0.75
    contradicted_if_unlikely: float = 0.375


SETTINGS = Settings()
TOO_FEW = 10  # images, with fewer of which nothing can be estimated
FEWEST = 5  # labels that a class must have to be judged


@dataclass(frozen=True)
class HeldOutMixture:
    """A `Mixture` of all images, and what mixtures and discriminants said of labels they had not seen.

    Attributes
    ----------
    fitted : of all labels
    clean : (N, K), P(t | x) by mixtures that did not see the label
    evidence : (N,), log-likelihood of the label by these less that by discriminant analysis, neither having seen it
    """

    fitted: Mixture
    clean: NDArray[np.float64]
    evidence: NDArray[np.float64]


@dataclass(frozen=True)
class NoiseEstimate:
    """What is known of the true classes of N images.

    Attributes
    ----------
    predicted : (N, K), the pool: P(given | x), the label unseen
    clean : (N, K), P(t | x)
    posterior : (N, K), P(t | x, given)
    noise_matrix : T[true, given], (K, K)
    error_rate : the share of labels estimated to be wrong
    model_error : of `clean`'s classes
    explanation : symmetric, clusters, mixture, answers, or "" where none is accepted
    may_change : whether labels may change
    known : (K,) bool, classes with enough labels to be judged; a label of another is kept
    """

    predicted: NDArray[np.float64]
    clean: NDArray[np.float64]
    posterior: NDArray[np.float64]
    noise_matrix: NDArray[np.float64]
    error_rate: float
    model_error: float
    explanation: str
    may_change: bool
    known: NDArray[np.bool_]

    def corrected(self, labels: NDArray[np.integer]) -> NDArray[np.int64]:
        """The labels, (N,), each changed to the class that is likely to be worth most, where labels may change.

        A right label raises accuracy by 1/N and balanced accuracy by one share of its class, so it is worth 1 + 1/(K π), π
        the share of its class: where one class is rare, what raises the one may lower the other.
        """
        if not self.may_change:
            return np.array(labels, dtype=np.int64)
        share = np.maximum(self.posterior.mean(axis=0), 1e-12)
        best = (self.posterior * (1.0 + 1.0 / (len(share) * share))).argmax(axis=1)
        return np.where(self.known[best] & self.known[labels], best, labels).astype(np.int64)


def estimate_noise(
    views: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    clusters: Named | None = None,
    mixture: HeldOutMixture | None = None,
    students: Sequence[NDArray[np.floating]] = (),
    settings: Settings = SETTINGS,
) -> NoiseEstimate:
    """Estimate the noise of N labels and the classes behind them.

    Parameters
    ----------
    views : V arrays (N, K)
        Out-of-sample probabilities of the given labels.
    labels : (N,) array
    clusters : Named, optional
        The cut of the images into one cluster a class, made without labels.
    mixture : HeldOutMixture, optional
    students : arrays (N, K)
        Out-of-sample probabilities of networks: they help to say which label is wrong, not how many are.

    Notes
    -----
    Symmetric noise is accepted by a likelihood-ratio test of the pool with it against the pool without: where classes
    overlap, the surest predictions are still right, under symmetric noise even they are contradicted at a constant rate.
    Clusters are, where they are islands that the labels name beyond chance. The mixture is, where it finds many labels
    wrong, more than symmetric noise and its own errors account for (how unsure it is, and how often it would change its mind
    had it not seen the label), the labels agree with it fairly, and the pool mostly sides with it. Where unseen labels are
    significantly likelier under it than under discriminant analysis, the wrong ones need not be many; where they are less
    likely, the pool must side with it more.
    Of several explanations clusters go first, then the one that finds most.
    """
    n, k = np.shape(views[0])
    known = np.bincount(labels, minlength=k) >= FEWEST
    if n < TOO_FEW or len(np.unique(labels)) < 2:
        mean = np.mean(views, axis=0)
        return NoiseEstimate(mean, mean, mean, np.eye(k), 0.0, 0.0, "", False, np.zeros(k, dtype=bool))
    without, symmetric = pool(views, labels), pool(views, labels, symmetric=True)
    rate = symmetric.rate if 2.0 * (without.loss - symmetric.loss) > settings.likelihood_ratio else 0.0
    predicted = without.probabilities
    everything = pool([*views, *students], labels).probabilities if len(students) else predicted

    found = None
    if clusters is not None and _are_classes(clusters, labels, rate, settings):
        found = _by_clusters(clusters, labels, k)
    elif mixture is not None and _fits(mixture, predicted, labels, rate, settings):
        fitted = mixture.fitted
        error = float((fitted.clean.argmax(axis=1) != mixture.clean.argmax(axis=1)).mean())
        wrong = float((fitted.posterior.argmax(axis=1) != labels).mean())
        found = NoiseEstimate(
            everything, fitted.clean, fitted.posterior, fitted.noise_matrix, wrong, error, "mixture", True, known
        )
    if found is None:
        clean, noise, posterior, error = weighed(everything, labels, rate)
        explanation = "symmetric" if rate else ""
        return NoiseEstimate(everything, clean, posterior, noise, rate, error, explanation, bool(rate), known)
    if len(students):
        clean = pool([found.clean, *students], labels, noise_matrix=found.noise_matrix).probabilities
        found = replace(found, clean=clean, posterior=bayes(clean, found.noise_matrix, labels))
    return replace(found, predicted=everything, known=known)


def _are_classes(clusters: Named, labels: NDArray[np.int64], rate: float, settings: Settings) -> bool:
    """Whether clusters are islands, named beyond chance, and find more than the rate."""
    more = float((clusters.labels != labels).mean()) > max(rate, clusters.border)
    islands = clusters.border <= settings.border and clusters.agreement >= settings.beyond_chance
    return bool(islands and more)


def _by_clusters(clusters: Named, labels: NDArray[np.int64], k: int) -> NoiseEstimate:
    error = max(clusters.border, 1.0 / (len(labels) + 1))
    sure = (1.0 - error) * np.eye(k)[clusters.labels] + error / k
    wrong = float((clusters.labels != labels).mean())
    noise = noise_matrix(sure, labels, wrong)
    return NoiseEstimate(
        sure, sure, bayes(sure, noise, labels), noise, wrong, error, "clusters", True, np.ones(k, dtype=bool)
    )


def _fits(
    mixture: HeldOutMixture,
    predicted: NDArray[np.float64],
    labels: NDArray[np.int64],
    rate: float,
    settings: Settings,
) -> bool:
    """Whether the mixture explains the labels better than overlap does: see `estimate_noise`."""
    fitted, unseen = mixture.fitted.clean.argmax(axis=1), mixture.clean.argmax(axis=1)
    wrong = float((mixture.fitted.posterior.argmax(axis=1) != labels).mean())
    error = max(float((fitted != unseen).mean()), float(1.0 - mixture.fitted.clean.max(axis=1).mean()))
    n, k = predicted.shape
    z = mixture.evidence.mean() / max(mixture.evidence.std() / np.sqrt(n), 1e-9)
    contradicted = settings.contradicted if z >= 0.0 else settings.contradicted_if_unlikely
    return bool(
        (wrong * n >= settings.found or z >= settings.significant)
        and wrong - error > rate
        and kappa(unseen, labels, k) >= settings.agreement
        and (predicted.argmax(axis=1) != fitted).mean() <= contradicted * wrong
    )


class Weighed(NamedTuple):
    """The fields of the same names of `NoiseEstimate`."""

    clean: NDArray[np.float64]
    noise_matrix: NDArray[np.float64]
    posterior: NDArray[np.float64]
    model_error: float


def weighed(
    predicted: NDArray[np.float64], labels: NDArray[np.int64], rate: float, answers: NDArray[np.integer] | None = None
) -> Weighed:
    """Probabilities as sure as they are right, and labels weighed beside them.

    The error e of the predictions follows from the share d of labels that they contradict: d = e + r (1 − e K/(K−1)).

    Parameters
    ----------
    predicted : (N, K), of labels that they did not see
    labels : (N,), of which the share `rate` is wrong
    answers : (N,) class numbers, -1 where there is none: of the true classes; the noise is learned from them too
    """
    k = predicted.shape[1]
    truth = np.full(len(labels), -1) if answers is None else np.asarray(answers)
    others = truth < 0
    against = float((predicted.argmax(axis=1) != labels)[others].mean()) if others.any() else 0.0
    error = (against - rate) / max(1.0 - rate * k / (k - 1), 0.05)
    error = float(np.clip(error, min(0.01, against), 1.0 - 1.0 / k))
    clean = _as_sure_as(predicted, 1.0 - error)
    noise = noise_matrix(np.where(others[:, None], clean, np.eye(k)[truth]), labels, rate, answered=answers is not None)
    return Weighed(clean, noise, bayes(clean, noise, labels), error)


class Pool(NamedTuple):
    """probabilities: (N, K). rate: of symmetric noise. loss: minus the penalised log-likelihood of the labels."""

    probabilities: NDArray[np.float64]
    rate: float
    loss: float


def pool(
    views: Sequence[NDArray[np.floating]] | NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    symmetric: bool = False,
    noise_matrix: NDArray[np.float64] | None = None,
    answers: NDArray[np.integer] | None = None,
    worth: float = 1.0,
    usual: NDArray[np.float64] | None = None,
    lean: float = 1.0,
) -> Pool:
    """The logarithmic opinion pool of V views, p = softmax(Σ_v w_v log p_v), under which the labels are likeliest.

    P(given | x) = Σ_t p_t T[t, given], T the identity, the noise matrix, or symmetric noise of a rate that is fitted too
    (Genest and Zidek 1986). Normal priors on log w keep the fit in one place where labels say little.

    Parameters
    ----------
    answers : (N,) true classes, -1 where none is known: these are predicted in the place of labels (stacking, Wolpert 1992)
    worth : what predicting another label counts beside an answer
    usual, lean : (V,) means and inverse variance of log w
    """
    from scipy.optimize import minimize
    from scipy.special import expit, softmax

    logs = np.stack([np.log(np.clip(each, 1e-4, 1.0)) for each in views])
    count, n, k = logs.shape
    rows = np.arange(n)
    usual = np.full(count, np.log(1.5 / count)) if usual is None else usual
    truth = np.full(n, -1) if answers is None else np.asarray(answers)
    known = np.flatnonzero(truth >= 0)
    right, counts = np.eye(k)[truth[known]], np.where(truth >= 0, 1.0, worth)
    wrong = (1.0 - np.eye(k)) / (k - 1)

    def unpacked(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
        p = softmax(np.tensordot(np.exp(x[:count]), logs, 1), axis=1)
        rate = 0.9 * float(expit(x[count])) if symmetric else 0.0
        noise = (1.0 - rate) * np.eye(k) + rate * wrong if noise_matrix is None else noise_matrix
        return p, rate, noise

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        p, rate, noise = unpacked(x)
        joint = p * noise[:, labels].T
        joint[known] = p[known] * right
        chance = np.maximum(joint.sum(axis=1), 1e-12)
        apart = x[:count] - usual
        slope = counts[:, None] * (p - joint / chance[:, None])
        gradient = np.tensordot(logs, slope, axes=([1, 2], [0, 1])) * np.exp(x[:count]) + lean * apart
        if symmetric:
            of_given = p[rows, labels]
            by_rate = ((of_given * k / (k - 1) - 1.0 / (k - 1)) / chance).sum()
            gradient = np.append(gradient, by_rate * rate * (1.0 - rate / 0.9))
        return float(-(counts * np.log(chance)).sum() + 0.5 * lean * (apart**2).sum()), gradient

    start = np.append(usual, -3.0) if symmetric else usual
    bounds = [(-6.0, 3.0)] * count + [(-8.0, 3.0)] * symmetric
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    p, rate, _ = unpacked(found.x)
    return Pool(p, rate, float(found.fun))


def _as_sure_as(probabilities: NDArray[np.float64], accuracy: float) -> NDArray[np.float64]:
    """The power of the probabilities, (N, K), rows summing to one, whose mean certainty is this accuracy."""
    from scipy.special import softmax

    return softmax(sharpness(probabilities, accuracy) * np.log(np.clip(probabilities, 1e-6, 1.0)), axis=1)


def noise_matrix(
    clean: NDArray[np.float64], labels: NDArray[np.int64], rate: float, *, answered: bool = False, rounds: int = 20
) -> NDArray[np.float64]:
    """T[true, given], (K, K), that explains the labels, by EM (Dawid and Skene 1979).

    Each row leans towards symmetric noise of this rate. Where nothing was answered it is such noise itself, unless the labels
    bear out what more T says of them (Schwarz 1978, the Bayesian information criterion). Answers teach T, and that there is
    more noise than this rate.
    """
    n, k = clean.shape
    alike = np.full((k, k), max(rate, 0.002) / (k - 1))
    np.fill_diagonal(alike, 1.0 - max(rate, 0.002))
    lean = alike * (0.2 * clean.sum(axis=0)[:, None] + 5.0)
    noise = dawid_skene(clean, labels, alike, lean, rounds)
    if answered:
        return noise

    def likelihood(noise: NDArray[np.float64]) -> float:
        return float(np.log(np.maximum((clean * noise[:, labels].T).sum(axis=1), 1e-12)).sum())

    more = 2.0 * (likelihood(noise) - likelihood(alike))
    return noise if more > (k * (k - 1) - 1) * np.log(n) else alike


def dawid_skene(
    clean: NDArray[np.float64],
    labels: NDArray[np.integer],
    noise: NDArray[np.float64],
    lean: NDArray[np.float64],
    rounds: int,
) -> NDArray[np.float64]:
    """T[true, given], (K, K), by EM from the noise, with a Dirichlet prior of `lean` labels (Dawid and Skene 1979)."""
    given = np.eye(clean.shape[1])[labels]
    for _ in range(rounds):
        noise = bayes(clean, noise, labels).T @ given + lean
        noise /= noise.sum(axis=1, keepdims=True)
    return noise


def bayes(clean: NDArray[np.float64], noise: NDArray[np.float64], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """P(t | x, given) ~ P(t | x) T[t, given], (N, K)."""
    posterior = clean * noise[:, labels].T
    return posterior / np.maximum(posterior.sum(axis=1, keepdims=True), 1e-12)
