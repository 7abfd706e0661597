"""Whether spot checks decide rightly about proposed labels, and after how many answers.

    python eval/evaluate/proposals.py --data EVAL_DIR --work WORK_DIR [--seed 3000]

For each group of proposals of each problem a clinician who knows the truth answers its sample, one image after the other, until
the group is decided or 40 were asked. Prints a row a group, the estimate beside the true share, and a summary.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoannotate._internal.progress import on_stderr
from autoannotate.evaluation import datasets
from autoannotate.evaluation.methods import task_of
from autoannotate.evaluation.protocols import find_protocol
from autoannotate.evaluation.runner import prepare
from autoannotate.evaluation.study import Options
from autoannotate.labelling.pipeline import Labelled, label
from autoannotate.labelling.proposals import Proposals
from autoannotate.labelling.queries.spot_checks import APPLIED, MOST, REFUSED, WAITING, check, drawing_order

CELLS = (  # name, protocol, set, runs, options
    ("pair-pneumonia", "pair", "chest_pneumonia", 10, {"count": 150}),
    ("nih-right", "noise", "chest_nih", 4, {"count": 150, "noise": "symmetric:0"}),
    ("pneumonia-instance-30", "noise", "chest_pneumonia", 4, {"count": 200, "noise": "instance:0.3"}),
    ("pneumonia-instance-10", "noise", "chest_pneumonia", 4, {"count": 200, "noise": "instance:0.1"}),
    ("blood-instance-20", "noise", "blood_pbc", 3, {"count": 50, "noise": "instance:0.2"}),
    ("busi-symmetric-20", "noise", "breast_busi", 3, {"count": 130, "noise": "symmetric:0.2"}),
    ("skin-instance-20", "noise", "skin_ham10000", 3, {"count": 50, "noise": "instance:0.2"}),
)


@dataclass(frozen=True)
class Decided:
    """What became of a group, and what is true of it: the shares of proposed and of given labels that are right."""

    cell: str
    seed: int
    size: int
    estimate: float
    proposed: float
    given: float
    state: str
    answers: int
    support: str

    @property
    def better(self) -> bool:
        return self.proposed > self.given


def decided(cell: str, seed: int, found: Labelled, truth: np.ndarray, names: list[str]) -> list[Decided]:
    """Each group of proposals, asked about until it is decided."""
    proposals = found.proposals
    if proposals is None:
        return []
    drawn = drawing_order(names, seed)
    return [_decided(cell, seed, proposals, g, truth, drawn) for g in range(len(proposals.groups))]


def _decided(cell: str, seed: int, proposals: Proposals, g: int, truth: np.ndarray, drawn: np.ndarray) -> Decided:
    group, rows = proposals.groups[g], np.flatnonzero(proposals.group == g)
    order, state, asked = rows[np.argsort(drawn[rows])], WAITING, 0
    answers = np.full(len(truth), -1)
    while state == WAITING and asked < min(MOST, len(order)):
        answers[order[asked]] = truth[order[asked]]
        asked += 1
        state = check(proposals, answers, answers >= 0, drawn)[g].state
    return Decided(
        cell, seed, group.size, group.estimated_right / group.size, float((proposals.proposed == truth)[rows].mean()),
        float((proposals.labels == truth)[rows].mean()), state, asked, "+".join(group.support),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the evaluation sets")
    parser.add_argument("--work", type=Path, required=True, help="where squashed images would go")
    parser.add_argument("--seed", type=int, default=3000, help="of the first run of each cell")
    options = parser.parse_args()
    found: list[Decided] = []
    print("cell,seed,images,estimated,proposed right,given right,state,answers,support")
    for cell, protocol, name, runs, more in CELLS:
        module, seeds = find_protocol(protocol), range(options.seed, options.seed + runs)
        data = datasets.read_labelled([str(options.data / name)])
        study, _ = prepare(data, Options(student="none", **more), list(seeds), options.work, "cpu", True, on_stderr, 20)
        for seed in seeds:
            problem, truth = module.make_problem(study, seed)
            for one in decided(cell, seed, label(task_of(problem)), truth, list(problem.image_names)):
                found.append(one)
                print(
                    f"{cell},{seed},{one.size},{one.estimate:.2f},{one.proposed:.2f},{one.given:.2f},{one.state},{one.answers},"
                    f"{one.support}",
                    flush=True,
                )
    for cell in [*dict.fromkeys(one.cell for one in found), ""]:
        here = [one for one in found if cell in ("", one.cell)]
        many = [o.answers for o in here if o.state in (APPLIED, REFUSED)]
        applied, refused = ([o for o in here if o.state == state] for state in (APPLIED, REFUSED))
        print(
            f"{cell or 'all'}: {len(here)} groups; applied {len(applied)}, rightly {sum(o.better for o in applied)}; refused "
            f"{len(refused)}, rightly {sum(not o.better for o in refused)}; undecided "
            f"{len(here) - len(applied) - len(refused)}; answers to a decision, median {np.median(many or [np.nan]):.0f}"
        )


if __name__ == "__main__":
    main()
