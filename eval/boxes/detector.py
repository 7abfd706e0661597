"""What detectors add to `audit --boxes`, beside cleanlab's scores on the same detections, and what repairs do to the boxes.

    python eval/boxes/detector.py --boxes ../shared/data/more/boxes_blood --images 50 --folds 2 --steps 200

One share of faulty boxes (20%) and one seed: a detector takes minutes. Of each set the first pictures by name. Besides the
kinds of `measure.py` a thirtieth of the boxes is left out. A box counts as found where any issue names it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.object_detection.rank import compute_badloc_box_scores, compute_swap_box_scores
from measure import KINDS, faulty
from numpy.typing import NDArray

from autoannotate.evaluation.metrics import average_precision, recall_at
from autoannotate.images import find_images, read_image
from autoannotate.labelling.label_errors.box_detections import Detections, detection_faults, one_each, together
from autoannotate.labelling.label_errors.box_faults import Boxes, Fault, find_faults, overlap
from autoannotate.labelling.label_errors.box_repairs import Repair, sure_repairs
from autoannotate.models import box_detector
from autoannotate.runs.box_repairs import CORNERS

RATE, SEED = 0.2, 1  # seed 0 of blood was seen when the shares of box_detections were settled


def cleanlab_scores(boxes: Boxes, detections: Sequence[Detections]) -> NDArray[np.float64]:
    """(B,) doubt: one less the lower of cleanlab's scores for location and class."""
    rows = [np.flatnonzero(boxes.pictures == p) for p in range(len(detections))]
    labels = [{"bboxes": boxes.corners[here], "labels": boxes.labels[here]} for here in rows]
    predictions = []
    for found in detections:
        each = np.empty(len(boxes.class_names), dtype=object)
        for k in range(len(each)):
            mine = found.labels == k
            each[k] = np.hstack([found.corners[mine], found.scores[mine][:, None]])
        predictions.append(each)
    doubt = np.zeros(len(boxes.labels))
    for scores in (compute_badloc_box_scores, compute_swap_box_scores):
        for here, said in zip(rows, scores(labels=labels, predictions=predictions), strict=True):
            if len(here):
                doubt[here] = np.maximum(doubt[here], 1.0 - np.nan_to_num(np.asarray(said, dtype=float), nan=1.0))
    return doubt


def scored(faults: Sequence[Fault], count: int) -> NDArray[np.float64]:
    """(B,) the highest score of a fault of each box."""
    made = np.zeros(count)
    for each in faults:
        if each.box is not None:
            made[each.box] = max(made[each.box], each.score)
    return made


def mean_overlap(true: pd.DataFrame, paths: Sequence[str], boxes: Boxes, repairs: Sequence[Repair]) -> float:
    """The mean over true boxes of the overlap with the nearest box of the picture, once the repairs are taken."""
    of = {each.box: each for each in repairs if each.box is not None}
    there = [
        (int(boxes.pictures[i]), of[i].corners if i in of else boxes.corners[i])
        for i in range(len(boxes.labels))
        if i not in of or of[i].change != "dropped"
    ] + [(each.picture, each.corners) for each in repairs if each.box is None]
    best: list[float] = []
    for path, theirs in true.groupby("path"):
        near = np.array([box for p, box in there if p == paths.index(str(path))]).reshape(-1, 4)
        both = overlap(theirs[list(CORNERS)].to_numpy(float), near)
        best.extend(both.max(axis=1, initial=0.0))
    return float(np.mean(best))


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    asked = parser.parse_args()
    box_detector.FOLDS, box_detector.STEPS = asked.folds, asked.steps
    true = pd.read_csv(asked.boxes / "boxes.csv")
    paths = sorted(set(true["path"]))[: asked.images]
    sides = true[list(CORNERS[2:])].to_numpy(float) - true[list(CORNERS[:2])].to_numpy(float)
    true = true[true["path"].isin(paths) & (sides > 1).all(axis=1)].reset_index(drop=True)
    made, done = faulty(true, RATE, SEED)
    untouched = [i for i, kind in enumerate(done) if not kind]
    gone = np.random.default_rng(SEED).permutation(untouched)[: max(3, len(untouched) // 30)]
    missing, kept = made.iloc[gone], np.setdiff1d(np.arange(len(made)), gone)
    made, kinds = made.iloc[kept].reset_index(drop=True), np.array([done[i] for i in kept])
    refs = {ref.path: ref for ref in find_images(asked.boxes)}
    pictures = [read_image(refs[path]) for path in paths]
    names = sorted(set(true["label"]))
    corners = made[list(CORNERS)].to_numpy(float)
    boxes = Boxes(
        corners, made["label"].map(names.index).to_numpy(), made["path"].map(paths.index).to_numpy(),
        np.array([each.size for each in pictures], dtype=float), np.full(len(made), np.nan), names,
    )  # fmt: skip
    began = time.process_time()
    usable = ~boxes.degenerate & (boxes.outside < 1)
    found = box_detector.detect_out_of_fold(
        lambda i: pictures[i], corners[usable], boxes.labels[usable], boxes.pictures[usable], boxes.sizes, len(names)
    )
    seconds = time.process_time() - began
    first = find_faults(boxes)
    second, repairs = detection_faults(boxes, found)
    both = together(first, second)
    wrong = kinds != ""
    print(f"{len(made):,} boxes in {len(paths)} images, {wrong.sum()} wrong; {seconds:.0f} CPU seconds\n")
    there = [kind for kind in KINDS if (kinds == kind).any()]
    print(f"| method | precision | recall | {' | '.join(there)} | average precision | recall at their number |")
    print(f"|{'---|' * (len(there) + 5)}")
    for name, faults in (("without a detector", first), ("detector alone", second), ("both", both)):
        said = scored(faults, len(made))
        cells = " | ".join(f"{(said[kinds == kind] > 0).mean():.0%}" for kind in there)
        print(
            f"| {name} | {wrong[said > 0].mean():.0%} | {(said[wrong] > 0).mean():.0%} | {cells} | "
            f"{average_precision(wrong, said):.3f} | {recall_at(wrong, said, int(wrong.sum())):.0%} |"
        )
    doubt = cleanlab_scores(boxes, found)
    print(
        f"| cleanlab, the same detections | | |{' |' * len(there)} {average_precision(wrong, doubt):.3f} | "
        f"{recall_at(wrong, doubt, int(wrong.sum())):.0%} |\n"
    )
    alone = [each for each in second if each.box is None]
    real = sum(_there(each, true, paths) for each in alone)
    again = sum(any(_there(each, missing.iloc[[i]], paths) for each in alone) for i in range(len(missing)))
    print(f"Left out: {len(missing)}, found {again}; {len(alone)} said to be not boxed, {real} of them a true box.\n")
    sure = sure_repairs(boxes, first)
    given, surely, all_ = (mean_overlap(true, paths, boxes, each) for each in ([], sure, one_each(sure, repairs)))
    print(f"Mean overlap of true boxes with the nearest: given {given:.4f}, sure repairs {surely:.4f}, all {all_:.4f}.")


def _there(fault: Fault, true: pd.DataFrame, paths: Sequence[str]) -> bool:
    """Whether a true box is where something is said to be not boxed."""
    assert fault.corners is not None
    here = true[true["path"] == paths[fault.picture or 0]][list(CORNERS)].to_numpy(float)
    return bool(len(here) and overlap(fault.corners[None], here)[0].max() >= 0.5)


if __name__ == "__main__":
    main()
