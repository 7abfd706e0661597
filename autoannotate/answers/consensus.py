"""What several readers say together: one answer an image, how good each reader is, how far they agree.

An image that one reader answered has that answer. Where several did, the cleanlab library weighs their answers by the
quality of each reader, estimated from the images they share (CROWDLAB, Goh, Tkachenko and Mueller 2022, arXiv
2210.06812). Agreement beyond chance is Cohen's kappa (1960) for two readers and Fleiss' kappa (1971) for all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from autoannotate.answers.store import Answer

DECIDED = ("label", "none", "discard")  # the verdicts that settle an image; unsure settles nothing


@dataclass(frozen=True)
class Settled:
    """What the readers say of one image.

    Attributes
    ----------
    verdict : label, none, discard, or unsure where nobody decided
    label : the class, with the verdict label only
    quality : how likely the verdict is right, in [0, 1]; None where fewer than two readers decided
    agreed : all who decided said the same
    open : another reader should look, since the vote is tied or nobody was sure
    readers : who answered
    """

    path: str
    verdict: str
    label: str | None
    quality: float | None
    agreed: bool
    open: bool
    readers: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether the image has an answer: somebody decided, and no other answer has as many votes."""
        return self.verdict in DECIDED and not self.open

    @property
    def tied(self) -> bool:
        """Whether readers decided otherwise than each other, so that a third has to settle it."""
        return self.verdict in DECIDED and self.open


@dataclass(frozen=True)
class Consensus:
    """The answers of all readers together.

    Attributes
    ----------
    images : by path
    readers : the quality of each in [0, 1], None for one who shares no image with another
    cohen : kappa by pair of readers, in name order, None where they share no image
    fleiss : kappa of all, None where no image is shared. Both are in [-1, 1], 1 for agreement and 0 for chance.
    """

    images: Mapping[str, Settled]
    readers: Mapping[str, float | None]
    cohen: Mapping[tuple[str, str], float | None]
    fleiss: float | None

    @property
    def disagreements(self) -> tuple[str, ...]:
        """The paths that another reader should look at, in path order."""
        return tuple(sorted(path for path, settled in self.images.items() if settled.open))


def consensus(
    answers: Iterable[Answer],
    classes: Sequence[str],
    probabilities: Mapping[str, NDArray[np.floating]] | None = None,
) -> Consensus:
    """What readers say together.

    Parameters
    ----------
    answers : of any number of readers; undone ones are passed over, and the latest of a reader on an image counts
    classes : the K names
    probabilities : by path, (K,) the machine's probabilities, which cleanlab weighs beside the readers where several answered;
        without it they are weighed by each other alone
    """
    said = latest(answers)
    readers = sorted({reader for _, reader in said})
    labels = {answer.label for answer in said.values() if answer.verdict == "label"}
    names = [*classes, *sorted(str(name) for name in labels - set(classes))]
    codes: dict[tuple[str, str | None], int] = {("label", name): i for i, name in enumerate(names)}
    codes |= {("none", None): len(names), ("discard", None): len(names) + 1}
    meanings = {code: meaning for meaning, code in codes.items()}

    votes: dict[str, dict[str, int]] = defaultdict(dict)
    for (path, reader), answer in said.items():
        votes[path]
        if answer.verdict in DECIDED:
            votes[path][reader] = codes[answer.verdict, answer.label if answer.verdict == "label" else None]
    shared = {path: vote for path, vote in votes.items() if len(vote) > 1}
    quality, of_reader = _weighed(shared, probabilities or {}, len(codes))

    asked: dict[str, list[str]] = defaultdict(list)
    for path, reader in said:
        asked[path].append(reader)
    images = {}
    for path, vote in votes.items():
        given = quality.get(path) or dict.fromkeys(vote.values(), 1.0)
        best = max(sorted(given), key=given.__getitem__, default=None)
        verdict, label = ("unsure", None) if best is None else meanings[best]
        images[path] = Settled(
            path=path,
            verdict=verdict,
            label=label,
            quality=given[best] if best is not None and path in shared else None,
            agreed=len(set(vote.values())) == 1,
            open=_tied(list(vote.values())),
            readers=tuple(sorted(asked[path])),
        )
    return Consensus(
        images=images,
        readers={reader: of_reader.get(reader) for reader in readers},
        cohen={pair: cohen_kappa(*_common(votes, *pair)) for pair in combinations(readers, 2)},
        fleiss=fleiss_kappa([list(vote.values()) for vote in shared.values()]),
    )


def latest(answers: Iterable[Answer]) -> dict[tuple[str, str], Answer]:
    """The answer that counts, by (path, reader): the last one given that was not undone."""
    said = {}
    for answer in sorted(answers, key=lambda each: (each.answered_at, each.id or 0)):
        if answer.undone_at is None:
            said[answer.path, answer.reader] = answer
    return said


def cohen_kappa(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Agreement of two readers beyond chance, from their answers to the same images; None without any.

    κ = (p_o − p_e) / (1 − p_e), p_e the agreement of two who draw from these readers' own shares (Cohen 1960). 1 where both
    gave one and the same answer to everything.

    >>> cohen_kappa([0, 0, 1, 1], [0, 0, 1, 0])
    0.5
    """
    if len(first) == 0:
        return None
    a, b = np.asarray(first), np.asarray(second)
    by_chance = sum(float((a == c).mean() * (b == c).mean()) for c in np.unique(np.r_[a, b]))
    return _beyond(float((a == b).mean()), by_chance)


def fleiss_kappa(votes: Sequence[Sequence[int]]) -> float | None:
    """Agreement of any number of readers beyond chance; each item holds the answers to one image; None without two.

    P_i = Σ_c n_ic (n_ic − 1) / (n_i (n_i − 1)), P_e = Σ_c p_c² (Fleiss 1971, eqs. 2 and 5), where the number of readers n_i may
    differ between images.

    >>> fleiss_kappa([[0, 0], [1, 1], [0, 1], [0, 0]])
    0.4666666666666667
    """
    shared = [Counter(vote) for vote in votes if len(vote) > 1]
    if not shared:
        return None
    pairs = [sum(n * (n - 1) for n in vote.values()) / (vote.total() * (vote.total() - 1)) for vote in shared]
    everyone = sum(shared, Counter())
    return _beyond(float(np.mean(pairs)), sum((n / everyone.total()) ** 2 for n in everyone.values()))


def _beyond(agreed: float, by_chance: float) -> float:
    return 1.0 if by_chance >= 1.0 else (agreed - by_chance) / (1.0 - by_chance)


def _tied(vote: Sequence[int]) -> bool:
    """Whether no answer has more votes than any other (so also where there is no vote)."""
    counts = [n for _, n in Counter(vote).most_common(2)]
    return not counts or (len(counts) == 2 and counts[0] == counts[1])


def _common(votes: Mapping[str, Mapping[str, int]], first: str, second: str) -> tuple[list[int], list[int]]:
    both = [vote for vote in votes.values() if first in vote and second in vote]
    return [vote[first] for vote in both], [vote[second] for vote in both]


def _weighed(
    shared: Mapping[str, Mapping[str, int]], probabilities: Mapping[str, NDArray[np.floating]], codes: int
) -> tuple[dict[str, dict[int, float]], dict[str, float]]:
    """The quality of each answer given, by path and code, and of each reader, on images with two readers or more."""
    if not shared:
        return {}, {}
    import warnings

    from cleanlab.multiannotator import get_label_quality_multiannotator

    readers = sorted({reader for vote in shared.values() for reader in vote})
    table = np.array([[vote.get(reader, np.nan) for reader in readers] for vote in shared.values()], dtype=float)
    machine = np.full((len(shared), codes), 1.0)
    for row, path in zip(machine, shared, strict=True):
        if path in probabilities:
            known = np.asarray(probabilities[path], dtype=np.float64)
            row[:] = 0.01
            row[: len(known)] += known
    machine -= 1e-9 * np.arange(codes)  # cleanlab breaks the ties that are left by a throw of dice
    machine /= machine.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_label_quality_multiannotator(table, machine, consensus_method="best_quality", verbose=False)
    scores = found["detailed_label_quality"].to_numpy()
    stats = found["annotator_stats"].sort_index()
    quality = {
        path: {vote[reader]: float(score) for reader, score in zip(readers, row, strict=True) if reader in vote}
        for (path, vote), row in zip(shared.items(), scores, strict=True)
    }
    of_reader = {reader: float(stats["annotator_quality"].iloc[i]) for i, reader in enumerate(readers)}
    return quality, {reader: min(max(value, 0.0), 1.0) for reader, value in of_reader.items()}
