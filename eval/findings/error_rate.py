"""Does what an audit of findings says of wrong values hold the truth, before and after answers?

    python eval/findings/error_rate.py --data MORE_DIR

Values left out as in `measure.py`, one draw; then the true answers to `ANSWERS` images drawn at random.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from measure import FEWEST, NOISE, Data, noisy

from autoannotate.labelling.findings import label_findings
from autoannotate.runs.findings_issues import findings_audit

SETS, ANSWERS = ("derm_ph2", "fundus_odir"), 40


def main() -> None:
    """Print a row a set, share left out and number of answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    asked = parser.parse_args()
    print("| set | left out | answers | truly wrong | said | interval or bounds | findings whose interval or bounds hold it |\n"
          f"|{'---|' * 7}", flush=True)  # fmt: skip
    for name in SETS:
        data = Data(asked.data, name, cache=False)
        usual = [f for f, truth in enumerate(data.truth.T) if min(truth.sum(), (1 - truth).sum()) >= 2 * FEWEST]
        for rate in (0.0, *NOISE):
            given = np.stack([noisy(data.truth[:, f], rate, 0) if rate else data.truth[:, f] for f in usual], axis=1)
            wrong = (given != data.truth[:, usual]).mean(axis=0)
            answers = np.full(given.shape, -1)
            for count in (0, ANSWERS):
                tasks = [
                    data.task(f, given=given[:, i], groups=data.patients, keep=True, answers=answers[:, i])
                    for i, f in enumerate(usual)
                ]
                made = label_findings(tasks)
                said = findings_audit(tasks, made, None, None, {}, 0)[1]["error_rates"]
                names = [data.findings[f] for f in usual]
                bounds = {name: said[name][1:] for name in names if name in said}
                held = [low <= wrong[names.index(name)] <= high for name, (low, high) in bounds.items()]
                told, low, high = said["all"]
                cells = [
                    "not told" if told is None else f"{told:.1%}",
                    f"{low:.1%} to {high:.1%}",
                    f"{sum(held)} of {len(held)}",
                ]
                print(f"| {name} | {rate:.0%} | {count} | {wrong.mean():.1%} | {' | '.join(cells)} |", flush=True)
                first = np.random.default_rng(0).permutation(len(given))[:ANSWERS]
                answers[first] = data.truth[:, usual][first]


if __name__ == "__main__":
    main()
