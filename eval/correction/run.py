"""How much better labels come out of the correction, over hundreds of problems, and whom it harms.

    python eval/correction/run.py --data EVAL_DIR --cache WORK_DIR                 # the seeds for choosing
    python eval/correction/run.py --data EVAL_DIR --cache WORK_DIR --reporting     # the seeds for reporting
    python eval/correction/run.py --data EVAL_DIR --cache WORK_DIR --quick 400

EVAL_DIR holds one folder a set, with labels.csv and images/. The first run encodes the sets and computes out-of-sample
probabilities, about a second a problem, and keeps both in WORK_DIR; later ones take minutes. No student takes part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))

from evidence import Evidence, evidence
from problems import REPORTING, Problem, encode, grid, quick
from rerun import commit
from scores import Score, legend, score, summarise, table

from autoannotate._internal.progress import on_stderr

Variant = Callable[[Evidence], NDArray[np.int64]]


def ours(problem: Evidence) -> NDArray[np.int64]:
    """The product's correction, without a student."""
    return problem.asked.belief().better(problem.given)


VARIANTS: dict[str, Variant] = {
    "given": lambda problem: problem.given,
    "reachable": lambda problem: problem.reachable,
    "ours": ours,
}


def measure(variant: Variant, problems: Sequence[tuple[Problem, Evidence]]) -> list[Score]:
    """The scores of one variant."""
    return [score(p, each.truth, each.given, variant(each), each.reachable) for p, each in problems]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the evaluation sets")
    parser.add_argument("--cache", type=Path, required=True, help="where encodings and evidence are kept")
    parser.add_argument("--reporting", action="store_true", help="the seeds that never chose anything")
    parser.add_argument("--quick", type=int, metavar="COUNT", help="a stratified subset of about this many problems")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path, help="write the table here too")
    options = parser.parse_args()

    sets = encode(options.data, options.cache)
    problems = list(grid(sets, REPORTING if options.reporting else 0))
    if options.quick:
        problems = quick(problems, options.quick)
    found = evidence(problems, sets, options.cache, on_stderr)
    seeds = "reporting" if options.reporting else "choosing"
    text = f"Commit {commit()}, {len(found)} problems, seeds for {seeds}.\n\n"
    text += table((name, summarise(measure(VARIANTS[name], found))) for name in options.variants)
    print(f"{text}\n\n{legend()}")
    if options.out:
        options.out.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
