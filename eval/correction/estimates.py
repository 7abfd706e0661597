"""Is the share of labels that is said to be wrong true, before and after answers?

    python eval/correction/estimates.py --data EVAL_DIR --work WORK_DIR --count 24               # choosing seeds
    python eval/correction/estimates.py --data EVAL_DIR --work WORK_DIR --count 24 --reporting   # reporting seeds

Problems of `problems.py` with 150 images and features alone; `ANSWERS` true answers, spot checks first, then what the queue
asks. A problem is a line of WORK_DIR/estimates-SEEDS.jsonl: a stopped run goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))

from problems import CHOOSING, REPORTING, Problem, draw, encode, grid, quick, resumed

from autoannotate.evaluation.protocols.noise import smoothed
from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.error_rates import given_errors
from autoannotate.labelling.pipeline import checks_of, label, ranking
from autoannotate.labelling.queries.spot_checks import asked_next
from autoannotate.labelling.queries.strategies import DEFAULT
from autoannotate.labelling.task import Task

ANSWERS, SIZE = 40, 150


def measured(problem: Problem, sets: dict[str, Any]) -> dict[str, Any]:
    """What is said of a problem's labels before and after the answers, and what is true."""
    sample = draw(problem, sets)
    names = [f"class {c}" for c in range(sample.classes)]
    task = Task(Features(sample.features), smoothed(sample.given, sample.classes), names, given=sample.given)
    first = label(task)
    task = replace(task, proposals=first.proposals)
    answers = np.full(len(sample.truth), -1)
    while len(groups := asked_next(checks := checks_of(replace(task, answers=answers), first.proposals))):
        if (answers >= 0).sum() >= ANSWERS:
            break
        row = checks[groups[0]].ask[0]
        answers[row] = sample.truth[row]
    spots = int((answers >= 0).sum())
    second = label(replace(task, answers=answers)) if spots else first
    left = ranking(replace(task, answers=answers), second, DEFAULT)[: ANSWERS - spots]
    answers[left] = sample.truth[left]
    last = label(replace(task, answers=answers))
    assert first.corrected.estimate is not None
    share = given_errors(first.corrected.estimate, sample.given, np.full(len(answers), -1)).share(
        np.arange(len(answers))
    )
    said = first.corrected.queue.error_rate
    model = float((1.0 - last.confidence)[answers < 0].sum() / len(answers))
    return {
        "problem": problem.name,
        "given, as an audit says it": _said(share[0], sample.given != sample.truth, share[1:]),
        "before answers": _said(said, first.labels != sample.truth),
        "after answers": _said(last.corrected.queue.error_rate, last.labels != sample.truth),
        "after answers, by confidence": _said(model, last.labels != sample.truth),
        "explanations": [first.corrected.estimate.explanation, last.corrected.estimate.explanation],
    }


def _said(said: float | None, wrong: NDArray[np.bool_], interval: Sequence[float] = ()) -> dict[str, Any]:
    """The share said, None where it cannot be told, the true one, and the interval or bounds of an audit."""
    return {"said": said, "true": float(wrong.mean()), "interval": list(interval)}


def table(found: Iterable[dict[str, Any]]) -> str:
    """Mean share said and true, mean error, and in how many problems the interval, or the bounds, hold it."""
    lines = ["| | problems | said | true | mean absolute error | said less than half of it | interval holds it |"]
    lines.append(f"|{'---|' * 7}")
    every = list(found)
    for when in (name for name in every[0] if name not in ("problem", "explanations")):
        of_when = [one[when] for one in every]
        for words, each in (("", [one for one in of_when if one["said"] is not None]),
                            (", not told", [one for one in of_when if one["said"] is None])):  # fmt: skip
            if not each:
                continue
            inside = [low <= one["true"] <= high for one in each if one["interval"] for low, high in [one["interval"]]]
            said, true = (np.array([one[name] for one in each], dtype=float) for name in ("said", "true"))
            cells = ["–"] * 3 if words else [
                f"{100 * said.mean():.1f}%", f"{100 * abs(said - true).mean():.1f}", str((said < true / 2).sum())
            ]  # fmt: skip
            lines.append(
                f"| {when}{words} | {len(each)} | {cells[0]} | {100 * true.mean():.1f}% | {cells[1]} | {cells[2]} | "
                f"{f'{sum(inside)} of {len(inside)}' if inside else ''} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=())
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--reporting", action="store_true")
    options = parser.parse_args()
    sets = encode(options.data, options.work, options.sets)
    problems = [
        one
        for first in (REPORTING if options.reporting else CHOOSING[:1])
        for one in grid(sets, first)
        if one.size == SIZE
    ]
    problems = quick(problems, options.count)
    file = options.work / f"estimates-{'reporting' if options.reporting else 'choosing'}.jsonl"
    found = resumed(problems, lambda problem: measured(problem, sets), file)
    print(table(found))


if __name__ == "__main__":
    main()
