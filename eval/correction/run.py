"""How much better labels come out of the correction, over hundreds of problems, and whom it harms.

    python eval/correction/run.py --data EVAL_DIR --cache WORK_DIR                 # the seeds for choosing
    python eval/correction/run.py --data EVAL_DIR --cache WORK_DIR --reporting     # the seeds for reporting
    python eval/correction/run.py --data EVAL_DIR --cache WORK_DIR --quick 400     # of each range of seeds
    python eval/correction/run.py --data EVAL_DIR --cache WORK_DIR --quick 400 --ablate
    python eval/correction/run.py --data EVAL_DIR --cache WORK_DIR --quick 100 --ablate --models

EVAL_DIR holds one folder a set, with labels.csv and images/. The first run encodes the sets and computes out-of-sample
probabilities, about a second a problem, and keeps both in WORK_DIR; later ones take minutes. No student takes part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))

from evidence import Evidence, evidence, version
from problems import CHOOSING, REPORTING, Problem, encode, grid, quick
from rerun import commit
from scores import Score, legend, score, summarise, table

from autoannotate._internal.progress import on_stderr
from autoannotate.labelling.label_errors import out_of_sample
from autoannotate.labelling.label_errors.noise_estimate import SETTINGS, Settings

Variant = Callable[[Evidence], NDArray[np.int64]]


def ours(settings: Settings = SETTINGS, *without: str) -> Variant:
    """The product's correction, without a student; `without` parts of the evidence, by their names."""

    def labels(problem: Evidence) -> NDArray[np.int64]:
        left = replace(problem.predicted, **dict.fromkeys(without))
        return left.estimate(settings=settings).corrected(problem.given)

    return labels


def one_view(place: int) -> Variant:
    """The correction without the view at that place."""

    def labels(problem: Evidence) -> NDArray[np.int64]:
        views = np.delete(problem.predicted.views, place, axis=0)
        return replace(problem.predicted, views=views).estimate().corrected(problem.given)

    return labels


VARIANTS: dict[str, Variant] = {
    "given": lambda problem: problem.given,
    "reachable": lambda problem: problem.reachable,
    "ours": ours(),
}
OFF = {
    "found": 0.0, "significant": 1e9, "likelihood_ratio": 0.0, "border": 1.0, "beyond_chance": -1e9, "agreement": -1.0,
    "contradicted": 1e9, "contradicted_if_unlikely": 1e9,
}  # fmt: skip
"""The value of each constant of the decision with which it decides nothing."""
MODELS = {
    "SHRINK": (0.25, 1.0),
    "MIXTURE_SHRINK": (0.15, 0.6),
    "AXES": (8, 32),
    "IMAGES_AN_AXIS": (4, 16),
    "FOLDS": (3, 10),
}
"""Constants of the models, halved and doubled: the evidence is computed anew for each, so these are rows of `--models`."""


def ablation() -> dict[str, Variant]:
    """Each part removed; each constant of the decision removed, halved and doubled."""
    rows: dict[str, Variant] = {
        "all": ours(),
        "without clusters": ours(SETTINGS, "clusters"),
        "without the mixture": ours(SETTINGS, "mixture"),
        "without symmetric noise": ours(replace(SETTINGS, likelihood_ratio=1e9)),
        "without discriminant analysis in the pool": one_view(0),
        "without label propagation in the pool": one_view(1),
    }
    for name, off in OFF.items():
        now = getattr(SETTINGS, name)
        rows[f"{name} = {now:g}: removed"] = ours(replace(SETTINGS, **{name: off}))
        rows[f"{name}: halved"] = ours(replace(SETTINGS, **{name: now / 2}))
        rows[f"{name}: doubled"] = ours(replace(SETTINGS, **{name: now * 2}))
    return rows


def measure(variant: Variant, problems: Sequence[tuple[Problem, Evidence]]) -> list[Score]:
    """The scores of one variant."""
    return [score(p, each.truth, each.given, variant(each), each.reachable) for p, each in problems]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the evaluation sets")
    parser.add_argument("--cache", type=Path, required=True, help="where encodings and evidence are kept")
    parser.add_argument("--reporting", action="store_true", help="the seeds that never chose anything")
    parser.add_argument("--quick", type=int, metavar="COUNT", help="a stratified subset of about this many problems")
    parser.add_argument("--ablate", action="store_true", help="each part and each constant of the decision changed")
    parser.add_argument("--models", action="store_true", help="the constants of the models too; slow")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path, help="write the table here too")
    options = parser.parse_args()

    sets = encode(options.data, options.cache)
    problems: list[Problem] = []
    for first in REPORTING if options.reporting else CHOOSING:
        every = list(grid(sets, first))
        problems += quick(every, options.quick) if options.quick else every
    found = evidence(problems, sets, options.cache, on_stderr)
    variants = ablation() if options.ablate else {name: VARIANTS[name] for name in options.variants}
    rows = [(name, summarise(measure(variant, found))) for name, variant in variants.items()]
    if options.models:
        for name, values in MODELS.items():
            now = getattr(out_of_sample, name)
            for value in values:
                setattr(out_of_sample, name, value)
                anew = evidence(problems, sets, options.cache, on_stderr, f"{version()}-{name}-{value}")
                rows.append((f"{name} = {now:g}: {value:g}", summarise(measure(ours(), anew))))
            setattr(out_of_sample, name, now)
    seeds = "reporting" if options.reporting else "choosing"
    text = f"Commit {commit()}, {len(found)} problems, seeds for {seeds}.\n\n{table(rows)}"
    print(f"{text}\n\n{legend()}")
    if options.out:
        options.out.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
