"""Weighing sources of labels: the mean, fractional votes, votes alone, and what the product does, where the truth is made.

python eval/label/sources.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autoannotate.labelling.label_model import dawid_skene

SEEDS = range(5)
ACCURACIES: dict[str, tuple[int, tuple[float, ...], float | None]] = {
    "three classes, sure of 0.8": (3, (0.9, 0.75, 0.4), 0.8),
    "three classes, sure of 0.99": (3, (0.9, 0.75, 0.4), 0.99),
    "two classes, sure of 0.7": (2, (0.9, 0.8), 0.7),
    "two classes, sure of 0.6": (2, (0.9, 0.6, 0.55), 0.6),
    "eight classes, sure of 0.3": (8, (0.8, 0.7, 0.6), 0.3),
    "four classes, calibrated": (4, (0.8, 0.7, 0.6), None),
}


def made(classes: int, accuracies: tuple[float, ...], sure: float | None, n: int, seed: int) -> tuple:
    """Truth (N,) and sources (S, N, K); `sure`: the usual largest probability, which tells nothing of being right."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    found = []
    for accuracy in accuracies:
        if sure is None:
            logits = 2 * accuracy * (rng.normal(size=(n, classes)) + 2 * accuracy * np.eye(classes)[truth])
            given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        else:
            said = np.where(rng.random(n) < accuracy, truth, (truth + rng.integers(1, classes, n)) % classes)
            top = np.clip(rng.normal(sure, 0.05, n), 1 / classes + 0.02, 0.99)[:, None]
            given = np.where(np.eye(classes, dtype=bool)[said], top, (1 - top) / (classes - 1))
        found.append(given)
    return truth, np.stack(found)


def fractional(sources: np.ndarray) -> np.ndarray:
    """Dawid and Skene with each row of probabilities as fractions of a vote, as until this was measured."""
    k = sources.shape[2]
    posterior = sources.mean(axis=0)
    for _ in range(100):
        prior = (posterior.sum(axis=0) + 1) / (len(posterior) + k)
        confusion = np.einsum("nk,snj->skj", posterior, sources) + 1 + 2 * np.eye(k)
        confusion /= confusion.sum(axis=2, keepdims=True)
        logs = np.log(prior) + np.einsum("snj,skj->nk", sources, np.log(confusion))
        posterior = np.exp(logs - logs.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior


def copied(kind: str, n: int, seed: int) -> tuple:
    """Truth (N,), and three sources right on 80%, 70% and 50%, of which the last comes three times, in some `kind`."""
    truth, found = made(3, (0.8, 0.7, 0.5), None, n, seed)
    rng = np.random.default_rng([seed, 1])
    more = []
    for _ in range(0 if kind == "none" else 2):
        noise = {"the same": 0.0, "rounded and mixed a little": 0.01, "trained again (correlated)": 0.5}[kind]
        again = found[2] * np.exp(noise * rng.normal(size=(n, 3)))
        more.append(again / again.sum(axis=1, keepdims=True))
    return truth, np.concatenate([found, np.stack(more)]) if more else found


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda sources: sources.mean(axis=0),
    "fractional votes": fractional,
    "votes alone": lambda sources: dawid_skene(np.eye(sources.shape[2])[sources.argmax(axis=2)]).posterior,
    "votes and how sure": lambda sources: dawid_skene(sources).posterior,
}


def main() -> None:
    print("| sources | images |", " | ".join(METHODS), "| \n|---|---:|" + "---:|" * len(METHODS))
    for name, (classes, accuracies, sure) in ACCURACIES.items():
        for n in (300, 2000):
            right = []
            for seed in SEEDS:
                truth, sources = made(classes, accuracies, sure, n, seed)
                right.append([(method(sources).argmax(axis=1) == truth).mean() for method in METHODS.values()])
            print(
                f"| {name} | {n:,} |", " | ".join(f"{share:.3f}" for share in np.mean(right, axis=0)), "|", flush=True
            )
    print("\n| copies of the worst of three | images | mean | votes and how sure | taken for copies |")
    print("|---|---:|---:|---:|---:|")
    for kind in ("none", "the same", "rounded and mixed a little", "trained again (correlated)"):
        for n in (300, 2000):
            rows = []
            for seed in SEEDS:
                truth, sources = copied(kind, n, seed)
                model = dawid_skene(sources)
                right = [(found.argmax(axis=1) == truth).mean() for found in (sources.mean(axis=0), model.posterior)]
                rows.append([*right, (model.same != np.arange(len(sources))).sum()])
            mean, model_right, many = np.mean(rows, axis=0)
            print(f"| {kind} | {n:,} | {mean:.3f} | {model_right:.3f} | {many:.1f} |", flush=True)
    answers()
    least_sure()


KINDS: dict[str, Callable[[int, int], tuple]] = {
    "independent (0.9, 0.75, 0.4)": lambda n, seed: made(3, (0.9, 0.75, 0.4), 0.8, n, seed),
    "independent, eight classes": lambda n, seed: made(8, (0.8, 0.7, 0.6), 0.3, n, seed),
    "two (0.9, 0.6)": lambda n, seed: made(2, (0.9, 0.6), 0.7, n, seed),
    "three of five share errors": lambda n, seed: copied("trained again (correlated)", n, seed),
}


def answered(truth: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(N,) the true classes of the images asked, -1 elsewhere."""
    known = np.full(len(truth), -1)
    known[asked] = truth[asked]
    return known


def answers() -> None:
    """What answers change: labels of the other images, and how far each source's share is from the truth."""
    print("\n| sources | images | answers | right | share off by |\n|---|---:|---:|---:|---:|")
    for name, kind in KINDS.items():
        for n in (300, 2000):
            for many in (0, 40, 100):
                rows = []
                for seed in SEEDS:
                    truth, sources = kind(n, seed)
                    known = answered(truth, np.random.default_rng([seed, 9]).permutation(n)[:many])
                    real = (sources.argmax(axis=2) == truth).mean(axis=1)
                    model = dawid_skene(sources, known)
                    right = (model.posterior.argmax(axis=1) == truth)[known < 0].mean()
                    rows.append([right, np.abs(model.accuracy - real).mean()])
                told = " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
                print(f"| {name} | {n:,} | {many} | {told} |", flush=True)


def least_sure() -> None:
    """The same, where the images answered are those that the sources together are least sure of."""
    print("\n| sources | images | answers | without | right | worst seed |\n|---|---:|---:|---:|---:|---:|")
    for name, kind in KINDS.items():
        for n in (300, 2000):
            for many in (40, 100):
                rows = []
                for seed in SEEDS:
                    truth, sources = kind(n, seed)
                    first = dawid_skene(sources)
                    known = answered(truth, np.argsort(first.posterior.max(axis=1), kind="stable")[:many])
                    models = [first, dawid_skene(sources, known)]
                    rows.append([(model.posterior.argmax(axis=1) == truth)[known < 0].mean() for model in models])
                without, right = np.mean(rows, axis=0)
                worst = min(row[1] - row[0] for row in rows)
                print(f"| {name} | {n:,} | {many} | {without:.3f} | {right:.3f} | {worst:+.3f} |", flush=True)


if __name__ == "__main__":
    main()
