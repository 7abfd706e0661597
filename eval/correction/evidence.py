"""What the product's out-of-sample models say of each problem, kept in files outside the repository.

Computing it is nearly all of the cost, and no variant of what follows changes it: so it is computed once for a problem and a
version of the code that computes it, whole files only, and a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from problems import EncodedSet, Problem, Sample, draw

import autoannotate
from autoannotate._internal.progress import Track
from autoannotate.labelling.features import standardised
from autoannotate.labelling.label_errors.suspects import PredictedProbabilities, predict_out_of_sample

MADE_BY = (
    "labelling/features.py",
    "labelling/neighbours.py",
    "labelling/label_errors/noisy_mixture.py",
    "labelling/label_errors/out_of_sample.py",
    "labelling/spectral_clustering.py",
    "evaluation/noise_injection.py",
)
"""Modules on which the evidence depends: when one of them changes, it is computed anew."""


@dataclass(frozen=True)
class Evidence:
    """truth, given: (N,). predicted: what the models say. reachable: (N,), the labels of `oracle`."""

    truth: NDArray[np.int64]
    given: NDArray[np.int64]
    predicted: PredictedProbabilities
    reachable: NDArray[np.int64]


def version() -> str:
    """A name for the code that computes the evidence."""
    package = Path(autoannotate.__file__).parent
    parts = [package / name for name in MADE_BY] + [Path(__file__)]
    return hashlib.sha256(b"\0".join(part.read_bytes() for part in parts)).hexdigest()[:12]


def evidence(
    problems: Sequence[Problem], sets: dict[str, EncodedSet], work: Path, track: Track, kept_as: str = ""
) -> list[tuple[Problem, Evidence]]:
    """The evidence of each problem, the missing computed, smallest first. kept_as: the version, if it is not the code's."""
    folder = work / f"evidence-{kept_as or version()}"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [problem for problem in problems if not (folder / f"{problem.name}.pickle").exists()]
    missing.sort(key=lambda problem: problem.size)
    for problem in track(missing, "out-of-sample probabilities", len(missing)):
        sample = draw(problem, sets)
        smooth = 0.1 / sample.classes + 0.9 * np.eye(sample.classes)[sample.given]
        predicted = predict_out_of_sample(sample.features, sample.given, smooth)
        partial = folder / f".{problem.name}.partial"
        partial.write_bytes(pickle.dumps(Evidence(sample.truth, sample.given, predicted, oracle(sample))))
        partial.replace(folder / f"{problem.name}.pickle")
    return [(problem, pickle.loads((folder / f"{problem.name}.pickle").read_bytes())) for problem in problems]


def oracle(sample: Sample) -> NDArray[np.int64]:
    """Labels, (N,), of a probe that learned the true labels of the other images, weighed by the true noise T[true, given].

    Five folds; of three strengths the one that is best for the truth. What learns from the noisy labels gets above it by luck
    or by other means than a linear look at the features.
    """
    from autoannotate.evaluation.baselines.shared import cross_validated
    from autoannotate.labelling.label_errors.out_of_sample import calibrated

    points, rows = standardised(sample.features), np.arange(len(sample.truth))
    everyone = np.ones(len(rows), dtype=bool)
    probes = [
        calibrated(cross_validated(points, sample.truth, everyone, sample.classes, strength, 0), sample.truth)
        for strength in (1e-3, 1e-2, 1e-1)
    ]
    best = max(probes, key=lambda each: float(np.log(each[rows, sample.truth]).mean()))
    noise = np.eye(sample.classes)[sample.truth].T @ np.eye(sample.classes)[sample.given]
    noise /= noise.sum(axis=1, keepdims=True)
    return (best * noise[:, sample.given].T).argmax(axis=1).astype(np.int64)
