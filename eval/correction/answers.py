"""Which constants of learning from answers earn their place?

    python eval/correction/answers.py --data EVAL_DIR --work WORK_DIR --count 24

Problems of `problems.py` with 150 images, choosing seeds, features alone; true answers, spot checks first, then what the queue
asks, the same for every row. Each constant is halved and doubled (`ROUNDS` and lists of candidates: fewer and more). A problem
is a line of WORK_DIR/answers.jsonl: a stopped run goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))

from estimates import SIZE
from problems import CHOOSING, Problem, draw, encode, grid, quick, resumed
from rerun import commit

from autoannotate.evaluation.protocols.noise import smoothed
from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors import from_answers
from autoannotate.labelling.pipeline import checks_of, label, ranking
from autoannotate.labelling.queries.spot_checks import asked_next
from autoannotate.labelling.queries.strategies import DEFAULT
from autoannotate.labelling.task import Task

ANSWERS = (20, 40)
CONSTANTS: dict[str, tuple[Any, Any]] = {
    "ANSWER": (10.0, 40.0),
    "WEIGHTS": ((1.0, 0.1, 0.01), (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)),
    "STRENGTHS": ((4.0,), (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)),
    "SHARPNESS": ((4.0,), (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)),
    "LABEL_WORTH": (0.025, 0.1),
    "LANDMARKS": (75, 150),
    "USUAL": (0.6, 0.9),
    "OF_ESTIMATE": (0.5, 2.0),
    "BESIDE": (0.15, 0.6),
    "LEAN": (1.5, 6.0),
    "ROUNDS": (1, 6),
}
"""Less and more of each. Samples have 150 images, so there are no more landmarks than these: a half and all of them."""


@contextmanager
def constant(name: str, value: Any) -> Iterator[None]:
    """`from_answers` with another value of a constant."""
    before = getattr(from_answers, name)
    setattr(from_answers, name, value)
    try:
        yield
    finally:
        setattr(from_answers, name, before)


def answered(task: Task, truth: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """True answers to what the product asks of N images: (N,) each, -1 where none is, as many as `ANSWERS` says."""
    answers, found = np.full(len(truth), -1), []
    for count in ANSWERS:
        while len(groups := asked_next(checks := checks_of(replace(task, answers=answers), task.proposals))):
            if (answers >= 0).sum() >= count:
                break
            row = checks[groups[0]].ask[0]
            answers[row] = truth[row]
        now = replace(task, answers=answers.copy())
        left = ranking(now, label(now), DEFAULT)[: count - int((answers >= 0).sum())]
        answers[left] = truth[left]
        found.append(answers.copy())
    return found


def measured(problem: Problem, sets: dict[str, Any]) -> dict[str, Any]:
    """Percent of the labels that are right: as given, and with as many answers as `ANSWERS` says, for each constant."""
    sample = draw(problem, sets)
    names = [f"class {c}" for c in range(sample.classes)]
    task = Task(Features(sample.features), smoothed(sample.given, sample.classes), names, given=sample.given)
    task = replace(task, proposals=label(task).proposals)
    every = answered(task, sample.truth)

    def right() -> list[float]:
        return [float((label(replace(task, answers=a)).labels == sample.truth).mean()) for a in every]

    rows = {"as it is": right()}
    for name, values in CONSTANTS.items():
        for word, value in zip(("less", "more"), values, strict=True):
            with constant(name, value):
                rows[f"{name}, {word}"] = right()
    return {"problem": problem.name, "given": float((sample.given == sample.truth).mean()), "rows": rows}


def table(found: Iterable[dict[str, Any]]) -> str:
    """A row a variant: labels right, the difference to what is shipped with its 95% bootstrap interval, and the worst of it."""
    every = list(found)
    lines = [f"| variant | {' | '.join(f'right, {n} answers | difference | worst' for n in ANSWERS)} |"]
    lines.append(f"|{'---|' * (1 + 3 * len(ANSWERS))}")
    shipped = 100 * np.array([one["rows"]["as it is"] for one in every])
    draws = np.random.default_rng(0).integers(len(every), size=(2000, len(every)))
    for name in every[0]["rows"]:
        right = 100 * np.array([one["rows"][name] for one in every])
        cells = []
        for place in range(len(ANSWERS)):
            change = (right - shipped)[:, place]
            low, high = np.percentile(change[draws].mean(axis=1), [2.5, 97.5])
            cells.append(
                f"{right[:, place].mean():.2f} | {change.mean():+.2f} [{low:.2f}, {high:.2f}] | {change.min():.1f}"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the evaluation sets")
    parser.add_argument("--work", type=Path, required=True, help="where encodings and what is measured are kept")
    parser.add_argument("--count", type=int, default=24, help="problems")
    options = parser.parse_args()
    sets = encode(options.data, options.work)
    problems = quick(
        [one for one in grid(sets, CHOOSING[0]) if one.size == SIZE and one.noise != "right"], options.count
    )
    file = options.work / "answers.jsonl"
    found = resumed(problems, lambda problem: measured(problem, sets), file)
    given = 100 * np.mean([one["given"] for one in found])
    print(f"Commit {commit()}, {len(found)} problems, choosing seeds; {given:.2f}% of the given labels are right.\n")
    print(table(found))


if __name__ == "__main__":
    main()
