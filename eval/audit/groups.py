"""What ignoring patients costs: HAM10000, whose lesions have up to six pictures, with and without `--groups lesion_id`.

    python eval/audit/groups.py --data DATA_DIR --work WORK_DIR

The lesions with several pictures (1,142 images of 506), true labels and a fifth of them made wrong, by image or by lesion: a
wrong diagnosis goes to all pictures of a lesion. Features only, no words, no student.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sets import encoded_set

from autoannotate.evaluation.metrics import average_precision, recall_at
from autoannotate.labelling.features import Features
from autoannotate.labelling.pipeline import label
from autoannotate.labelling.task import Task

RATE, SEEDS = 0.2, 3


def made_wrong(truth: NDArray[np.int64], units: NDArray[np.int64], classes: int, seed: int) -> NDArray[np.int64]:
    """Labels of which a fifth of the units have another class, drawn alike from all others."""
    rng, given = np.random.default_rng(seed), truth.copy()
    ids = np.unique(units)
    for unit in rng.permutation(ids)[: round(RATE * len(ids))]:
        rows = units == unit
        given[rows] = (truth[rows] + rng.integers(1, classes)) % classes
    return given


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    found = encoded_set(asked.data / "eval" / "skin_ham10000", asked.work)
    lesion = found.table["lesion_id"].astype("category").cat.codes.to_numpy().astype(np.int64)
    several = np.bincount(lesion)[lesion] > 1
    lesion, features = lesion[several], found.features[several]
    names, truth = np.unique(found.table["label"].to_numpy(dtype=str)[several], return_inverse=True)
    k, n = len(names), len(truth)
    print("| wrong labels | groups | predictions agree with the label | with the truth | error rate estimated (real) | "
          "recall at their number | average precision |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for kind, units in (("none", lesion), ("by image", np.arange(n)), ("by lesion", lesion)):
        rows: dict[str, list[list[float]]] = {"none": [], "lesion_id": []}
        for seed in range(SEEDS if kind != "none" else 1):
            given = truth if kind == "none" else made_wrong(truth, units, k, seed)
            for name, groups in (("none", None), ("lesion_id", lesion)):
                task = Task(
                    Features(features), np.full((n, k), 1 / k), names.tolist(), given=given, keep=True, groups=groups, seed=seed
                )  # fmt: skip
                found_now = label(task).corrected
                predicted, wrong = found_now.queue.out_of_sample.argmax(axis=1), given != truth
                rows[name].append(
                    [
                        float((predicted == given).mean()),
                        float((predicted == truth).mean()),
                        found_now.queue.error_rate,
                        float(wrong.mean()),
                        recall_at(wrong, found_now.doubt, int(wrong.sum())) if wrong.any() else np.nan,
                        average_precision(wrong, found_now.doubt) if wrong.any() else np.nan,
                    ]
                )
        for name, values in rows.items():
            agree, right, estimated, real, recall, precision = np.mean(values, axis=0)
            least, most = np.min(values, axis=0)[4], np.max(values, axis=0)[4]
            of_wrong = f"{recall:.1%} ({least:.1%} to {most:.1%}) | {precision:.3f}" if kind != "none" else " | "
            print(
                f"| {kind} | {name} | {agree:.1%} | {right:.1%} | {estimated:.1%} ({real:.1%}) | {of_wrong} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
