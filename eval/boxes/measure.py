"""Faults put into boxes that are right, and how many of them `audit --boxes` finds without a detector.

python eval/boxes/measure.py --boxes ../shared/data/more/boxes_blood
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from autoannotate.annotator.boxes import audit_boxes
from autoannotate.labelling.label_errors.box_faults import overlap
from autoannotate.runs.box_repairs import CORNERS

RATES, SEEDS = (0.1, 0.2, 0.4), (0, 1)
IOU = "IoU of true boxes with the nearest: given, repaired"
KINDS = ("jittered 10%", "enlarged twice", "halved", "shifted by half", "doubled", "over the border", "relabelled")


def faulty(table: pd.DataFrame, rate: float, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """The boxes with a share of them made wrong in one of `KINDS`, and what was done to each row."""
    rng = np.random.default_rng([seed, round(100 * rate)])
    made, done = table.copy(), [""] * len(table)
    names = sorted(set(table["label"]))
    kinds = [kind for kind in KINDS if kind != "relabelled" or len(names) > 1]
    extra = []
    for i in rng.permutation(len(table))[: round(rate * len(table))].tolist():
        kind = kinds[int(rng.integers(len(kinds)))]
        x, y, right, bottom = table.loc[i, list(CORNERS)].astype(float)
        width, height = right - x, bottom - y
        middle, half = np.array([x + width / 2, y + height / 2]), np.array([width, height]) / 2
        if kind == "jittered 10%":
            middle = middle + rng.normal(0, 0.1, 2) * half * 2
        elif kind in ("enlarged twice", "halved"):
            half = half * (2.0 if kind == "enlarged twice" else 0.5)
        elif kind == "shifted by half":
            middle = middle + half * rng.choice([-1, 1], 2)
        elif kind == "over the border":
            middle = np.array([-0.25 * width, middle[1]])
        elif kind == "relabelled":
            made.loc[i, "label"] = rng.choice([name for name in names if name != table.loc[i, "label"]])
        if kind == "doubled":
            extra.append({**table.loc[i].to_dict(), "x_min": x + 0.02 * width})
            continue
        made.loc[i, list(CORNERS)] = [*(middle - half), *(middle + half)]
        done[i] = kind
    return pd.concat([made, pd.DataFrame(extra)], ignore_index=True), done + ["doubled"] * len(extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=Path, required=True)
    folder = parser.parse_args().boxes
    first = audit_boxes(folder, folder / "boxes.csv")
    own = {int(where.split()[1]) - 2 for where in first.issues["where"]}  # faults of the source itself
    table = pd.read_csv(folder / "boxes.csv").drop(index=sorted(own)).reset_index(drop=True)
    print(f"{len(table):,} boxes; {len(own)} with a fault of the source are left out\n")
    print(f"| share made wrong | precision | recall | {' | '.join(KINDS)} | {IOU} |")
    print(f"|{'---|' * (len(KINDS) + 4)}")
    for rate in RATES:
        hits, count, right, found, mean = defaultdict(int), defaultdict(int), 0, 0, []
        for seed in SEEDS:
            made, done = faulty(table, rate, seed)
            with tempfile.TemporaryDirectory() as place:
                made.to_csv(file := Path(place) / "boxes.csv", index=False)
                audit = audit_boxes(folder, file, repair=True)
            flagged = {int(where.split()[1]) - 2 for where in audit.issues["where"]}
            for i, kind in enumerate(done):
                if kind:
                    count[kind] += 1
                    hits[kind] += i in flagged
            found += len(flagged)
            right += sum(bool(done[i]) for i in flagged)
            assert audit.repaired is not None
            mean.append([_iou(table, each) for each in (audit.boxes, audit.repaired)])
        recall = [f"{hits[kind] / max(count[kind], 1):.0%}" for kind in KINDS]
        before, after = np.mean(mean, axis=0)
        print(
            f"| {rate:.0%} | {right / max(found, 1):.0%} | {sum(hits.values()) / sum(count.values()):.0%} | "
            f"{' | '.join(recall)} | {before:.4f}, {after:.4f} |", flush=True,
        )  # fmt: skip


def _iou(true: pd.DataFrame, boxes: pd.DataFrame) -> float:
    """The mean over true boxes of the overlap with the nearest box of the picture."""
    by_path = dict(list(boxes.groupby("path")))
    best: list[float] = []
    for path, theirs in true.groupby("path"):
        if path not in by_path:
            best.extend([0.0] * len(theirs))
            continue
        both = overlap(theirs[list(CORNERS)].to_numpy(float), by_path[path][list(CORNERS)].to_numpy(float))
        best.extend(both.max(axis=1))
    return float(np.mean(best))


if __name__ == "__main__":
    main()
