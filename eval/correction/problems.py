"""The problems of the benchmark: samples of labelled sets whose labels are right, or wrong in a known way.

A *task* is a set of classes (all classes of a set, a pair of them, or two sets told apart). A *problem* is a sample of a
task with a size, a balance, a kind and a rate of noise, and a seed. Seeds below 2000 (`CHOOSING`) are for choosing between
variants, seeds from 8000 on (`REPORTING`) for reporting; no number that is reported comes from a seed that chose anything.
Those of 2000 to 2005 and of 4000 to 4005 were reported, then a rule was changed: they are used up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHOOSING, REPORTING = (0, 1000), (8000,)
"""The first seeds of the ranges for choosing, and of those for reporting."""
SIZES = (60, 150, 300, 800)
RATES = (0.05, 0.1, 0.2, 0.3, 0.4)
NOISES = ("symmetric", "class", "instance")
BALANCES = ("even", "1:5")
LEAST = 6
"""Images of the rarest class, below which a sample is no problem."""
ROUNDS = {"chest_nih": 6, "chest_pneumonia": 6, "brain_mri": 6, "breast_busi": 3, "modality": 1}
"""Seeds of a task, by set: sets with few tasks get more, so that blood and skin, with many pairs, do not decide alone."""


@dataclass(frozen=True)
class EncodedSet:
    """A set, encoded once. features: (N, F). labels: (N,). class_names: K."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """Classes to tell apart. sources: one (set, class names) an output class; several class names are one class."""

    name: str
    family: str
    sources: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Problem:
    """A sample of a task: see the module."""

    task: Task
    size: int
    balance: str
    noise: str
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """Readable, and the name of its file in the cache."""
        noise = "right" if self.noise == "right" else f"{self.noise}-{round(100 * self.rate):02d}"
        return f"{self.task.name}.{self.size}.{self.balance.replace(':', 'to')}.{noise}.{self.seed}"


@dataclass(frozen=True)
class Sample:
    """features: (N, F). truth, given: (N,) in 0 … classes − 1."""

    features: NDArray[np.float32]
    truth: NDArray[np.int64]
    given: NDArray[np.int64]
    classes: int


def encode(data: Path, work: Path, sets: Sequence[str] = ()) -> dict[str, EncodedSet]:
    """Each set of the folder, encoded once with the embedded encoder through the project's own cache.

    A set is a folder with a labels.csv; what was encoded is kept in `work` too, so that later calls need not read images.
    """
    from autoannotate import Annotator
    from autoannotate.evaluation.datasets import read_labelled

    found = {}
    annotator = Annotator(["this", "that"])
    for folder in sorted(path.parent for path in data.glob("*/labels.csv")):
        if sets and folder.name not in sets:
            continue
        file = work / "sets" / f"{folder.name}.npz"
        if not file.exists():
            read = read_labelled([str(folder)])
            encoded = annotator.encode(list(read.refs))
            place = {ref.path: row for row, ref in enumerate(read.refs)}
            rows = [place[ref.path] for ref in encoded.refs]
            save(file, features=encoded.features, labels=read.labels[rows], class_names=np.array(read.class_names))
        with np.load(file) as kept:
            names = tuple(str(name) for name in kept["class_names"])
            found[folder.name] = EncodedSet(kept["features"], kept["labels"], names)
    return found


def resumed(
    problems: Sequence[Problem], measure: Callable[[Problem], dict[str, Any]], file: Path
) -> list[dict[str, Any]]:
    """What was measured of the problems, with its `problem` by name; a line of the file each, so that a stopped run goes on."""
    from autoannotate._internal.progress import on_stderr

    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    known = {one["problem"] for one in found}
    for problem in on_stderr([one for one in problems if one.name not in known], "problems", len(problems)):
        found.append(measure(problem))
        with file.open("a") as out:
            out.write(json.dumps(found[-1]) + "\n")
    return found


def save(file: Path, **arrays: NDArray) -> None:
    """An .npz that is whole or not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(file)


def tasks(sets: dict[str, EncodedSet]) -> list[Task]:
    """All classes of each set, each pair of them, and pairs of sets (is it a chest X-ray or an ultrasound?)."""
    found = []
    for name, data in sets.items():
        classes = data.class_names
        if len(classes) > 2:
            found.append(Task(f"{name}.all", name, tuple((name, (c,)) for c in classes)))
        for first, second in combinations(classes, 2):
            words = "-".join(word.replace(" ", "_") for word in (first, second))
            found.append(Task(f"{name}.{words}", name, ((name, (first,)), (name, (second,)))))
    for first, second in combinations(sets, 2):
        pair = tuple((name, sets[name].class_names) for name in (first, second))
        found.append(Task(f"{first}.or.{second}", "modality", pair))
    return found


def grid(sets: dict[str, EncodedSet], first_seed: int = 0) -> Iterator[Problem]:
    """Every task at every size and balance it has the images for: right labels, and each noise at a rate that takes turns."""
    for task in tasks(sets):
        available = [len(_rows(sets, source)) for source in task.sources]
        for seed in range(first_seed, first_seed + ROUNDS.get(task.family, 1)):
            for size in SIZES:
                for balance in BALANCES:
                    wanted = _sizes(size, balance, len(task.sources), seed)
                    if min(wanted) < LEAST or any(w > a for w, a in zip(wanted, available, strict=True)):
                        continue
                    turn = _turn(task.name, size, balance, seed)
                    yield Problem(task, size, balance, "right", 0.0, seed)
                    for place, noise in enumerate(NOISES):
                        rate = RATES[(turn + 2 * place) % len(RATES)]
                        yield Problem(task, size, balance, noise, rate, seed)


def quick(problems: Sequence[Problem], count: int) -> list[Problem]:
    """At most `count` of the problems, as evenly as they allow over families, noises and sizes, always the same ones."""
    strata: dict[tuple, list[Problem]] = {}
    for problem in sorted(problems, key=lambda p: hashlib.sha256(p.name.encode()).hexdigest()):
        strata.setdefault((problem.task.family, problem.noise, problem.size), []).append(problem)
    ranked = sorted((rank, key) for key, members in strata.items() for rank in range(len(members)))
    return [strata[key][rank] for rank, key in ranked[:count]]


def draw(problem: Problem, sets: dict[str, EncodedSet]) -> Sample:
    """The images of a problem in a random order, their true labels and the given ones."""
    from autoannotate.evaluation.noise_injection import Noise

    rng = np.random.default_rng([problem.seed, int(hashlib.sha256(repr(asdict(problem)).encode()).hexdigest()[:8], 16)])
    wanted = _sizes(problem.size, problem.balance, len(problem.task.sources), problem.seed)
    features, truth = [], []
    for label, (source, many) in enumerate(zip(problem.task.sources, wanted, strict=True)):
        rows = rng.permutation(_rows(sets, source))[:many]
        features.append(sets[source[0]].features[rows])
        truth.append(np.full(many, label))
    order = rng.permutation(sum(wanted))
    stacked, labels = np.concatenate(features)[order], np.concatenate(truth)[order].astype(np.int64)
    given = labels
    if problem.noise != "right":
        given = Noise(problem.noise, problem.rate).inject(labels, stacked, int(rng.integers(2**31)))
    return Sample(stacked, labels, given, len(wanted))


def _rows(sets: dict[str, EncodedSet], source: tuple[str, tuple[str, ...]]) -> NDArray[np.int64]:
    data = sets[source[0]]
    codes = [data.class_names.index(name) for name in source[1]]
    return np.flatnonzero(np.isin(data.labels, codes))


def _sizes(size: int, balance: str, classes: int, seed: int) -> list[int]:
    """Images of each class; with "1:5" every other class, from one that the seed picks on, has a fifth of the others'."""
    share = np.ones(classes)
    if balance != "even":
        share[(np.arange(classes) + seed) % 2 == 0] = 0.2
    return [int(many) for many in np.round(size * share / share.sum())]


def _turn(name: str, size: int, balance: str, seed: int) -> int:
    return int(hashlib.sha256(f"{name} {size} {balance} {seed}".encode()).hexdigest()[:8], 16)
