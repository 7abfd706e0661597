"""What detectors add to `audit --boxes`, beside cleanlab's scores on the same detections; what repairs do to the boxes, and to
a detector that is trained on them.

    python eval/boxes/detector.py --boxes ../shared/data/more/boxes_blood --cache /tmp/boxes --rates 0.1 0.2 0.4

The pictures are split by patient (or smear), two thirds to be audited, a third to test. Faults are put into the boxes of the
first, the kinds of `measure.py`, and a thirtieth of the boxes is left out. The detectors of the audit judge pictures of
patients that they did not see. Then three detectors are trained on the audited pictures, with the boxes as given, as repaired
(all proposals taken) and true, and tested on the true boxes of the other third. `--given FILE` audits these boxes instead of
made faults. `--choosing` is what thresholds may be chosen on: other pictures and another seed than those of the tables. What
a detector finds is kept in `--cache` by the content of its input, so that a run goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.object_detection.rank import compute_badloc_box_scores, compute_swap_box_scores
from measure import KINDS, faulty
from numpy.typing import NDArray

from autoannotate._internal.version import __version__
from autoannotate.evaluation.metrics import average_precision, recall_at
from autoannotate.images import find_images, read_image
from autoannotate.labelling.label_errors.box_detections import Detections, detection_faults, one_each, together
from autoannotate.labelling.label_errors.box_faults import Boxes, Fault, find_faults, overlap
from autoannotate.labelling.label_errors.box_repairs import Repair, sure_repairs
from autoannotate.models import box_detector
from autoannotate.runs.box_repairs import CORNERS

CHOSEN_ON = 50  # pictures of boxes_blood, the first by name, on which thresholds were chosen with seed 0
DRAWS = 500  # bootstrap samples of pictures
HIT = 0.5


@dataclass(frozen=True, eq=False)
class Set:
    """Pictures of a set and its true boxes; groups: (N,) patient or smear."""

    folder: Path
    paths: list[str]
    sizes: NDArray[np.float64]
    groups: NDArray[np.str_]
    true: pd.DataFrame
    names: list[str]

    def boxes(self, table: pd.DataFrame) -> Boxes:
        """A table of boxes as the audit has it; spread is not looked at."""
        return Boxes(
            table[list(CORNERS)].to_numpy(float), table["label"].map(self.names.index).to_numpy(dtype=np.int64),
            table["path"].map(self.paths.index).to_numpy(dtype=np.int64), self.sizes, np.full(len(table), np.nan), self.names,
        )  # fmt: skip


def read_set(folder: Path, choosing: bool, images: int) -> Set:
    """The pictures with boxes: of boxes_blood those by which nothing was chosen, or only those."""
    table = pd.read_csv(folder / "boxes.csv")
    about = pd.read_csv(folder / "labels.csv").set_index("path")
    paths = sorted(set(table["path"]))
    if folder.name == "boxes_blood":
        paths = paths[:CHOSEN_ON] if choosing else paths[CHOSEN_ON:]
    paths = paths[:images]
    sides = table[list(CORNERS[2:])].to_numpy(float) - table[list(CORNERS[:2])].to_numpy(float)
    true = table[table["path"].isin(paths) & (sides > 1).all(axis=1)].reset_index(drop=True)
    refs = {ref.path: ref for ref in find_images(folder)}
    sizes = np.array([read_image(refs[path]).size for path in paths], dtype=float)
    group = about["group" if "group" in about else "patient"].astype(str)
    return Set(folder, paths, sizes, group.loc[paths].to_numpy(), true, sorted(set(true["label"])))


def parts(groups: NDArray[np.str_], shares: Sequence[float], seed: int) -> NDArray[np.int64]:
    """(N,) the part of each picture, whole groups in one, as near to the shares as groups allow."""
    names, of = np.unique(groups, return_inverse=True)
    sizes, made = np.bincount(of), np.zeros(len(names), dtype=np.int64)
    filled = np.zeros(len(shares))
    for g in sorted(np.random.default_rng([seed, 7]).permutation(len(names)), key=lambda g: -sizes[g]):
        made[g] = int((filled / np.array(shares)).argmin())
        filled[made[g]] += sizes[g]
    return made[of]


class Detectors:
    """Detectors on the pictures of a set; what they find is kept."""

    def __init__(self, made: Set, cache: Path) -> None:
        self.set, self.cache, self.seconds = made, cache / made.folder.name, 0.0
        self.cache.mkdir(parents=True, exist_ok=True)
        self._maps: box_detector.Maps | None = None

    def maps(self) -> box_detector.Maps:
        if self._maps is None:
            began = time.process_time()
            refs = {ref.path: ref for ref in find_images(self.set.folder)}
            self._maps = box_detector.feature_maps(lambda i: read_image(refs[self.set.paths[i]]), len(self.set.paths))
            self.seconds += time.process_time() - began
        return self._maps

    def found(
        self, boxes: Boxes, judged: Sequence[tuple[NDArray[np.integer], NDArray[np.integer]]], seed: int
    ) -> list[Detections]:
        """What detectors find in the judged rows that were trained on the boxes of the training rows."""
        usable = ~boxes.degenerate & (boxes.outside < 1)
        content = hashlib.sha256(repr((box_detector.STEPS, box_detector.BATCH, seed, self.set.paths)).encode())
        for each in (boxes.corners[usable].round(6), boxes.labels[usable], boxes.pictures[usable], *sum(judged, ())):
            content.update(np.ascontiguousarray(each).tobytes() + b"|")
        file = self.cache / f"{content.hexdigest()[:20]}.npz"
        if not file.exists():
            maps, began = self.maps(), time.process_time()
            detected = box_detector.detect_out_of_fold(
                maps, boxes.corners[usable], boxes.labels[usable], boxes.pictures[usable], boxes.sizes,
                len(boxes.class_names), judged=judged, seed=seed,
            )  # fmt: skip
            self.seconds += time.process_time() - began
            rows = np.repeat(np.arange(len(detected)), [len(each.scores) for each in detected])
            stacked = {n: np.concatenate([getattr(e, n) for e in detected]) for n in ("corners", "labels", "scores")}
            partial = file.with_suffix(".part.npz")
            np.savez(partial, rows=rows, **stacked)
            partial.rename(file)
        with np.load(file) as kept:
            rows, corners, labels, scores = (kept[name] for name in ("rows", "corners", "labels", "scores"))
        return [Detections(corners[rows == p], labels[rows == p], scores[rows == p]) for p in range(len(boxes.sizes))]


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


def repaired(boxes: Boxes, repairs: Sequence[Repair]) -> Boxes:
    """The boxes that are left where all proposals are taken."""
    of = {each.box: each for each in repairs if each.box is not None}
    kept = [i for i in range(len(boxes.labels)) if i not in of or of[i].change != "dropped"]
    added = [each for each in repairs if each.box is None]
    corners = [of[i].corners if i in of else boxes.corners[i] for i in kept] + [each.corners for each in added]
    labels = [of[i].label if i in of else int(boxes.labels[i]) for i in kept] + [each.label for each in added]
    pictures = [int(boxes.pictures[i]) for i in kept] + [each.picture for each in added]
    return Boxes(
        np.array(corners).reshape(-1, 4), np.array(labels, dtype=np.int64), np.array(pictures, dtype=np.int64),
        boxes.sizes, np.full(len(labels), np.nan), boxes.class_names,
    )  # fmt: skip


def nearest(true: Boxes, made: Boxes) -> NDArray[np.float64]:
    """(T,) the overlap of each true box with the nearest box of its picture, of whatever class."""
    best = np.zeros(len(true.labels))
    for p in np.unique(true.pictures):
        mine = true.pictures == p
        best[mine] = overlap(true.corners[mine], made.corners[made.pictures == p]).max(axis=1, initial=0.0)
    return best


def one_to_one(true: Boxes, made: Boxes) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each picture the overlap of boxes of a class that are paired one to one, and how many there are of both."""
    from scipy.optimize import linear_sum_assignment

    total, n = np.zeros(len(true.sizes)), len(true.sizes)
    for p in np.unique(true.pictures):
        a, b = true.pictures == p, made.pictures == p
        near = overlap(true.corners[a], made.corners[b]) * (true.labels[a][:, None] == made.labels[b][None])
        total[p] = near[linear_sum_assignment(near, maximize=True)].sum()
    return total, np.bincount(true.pictures, minlength=n), np.bincount(made.pictures, minlength=n)


def detection_precision(
    true: Boxes, found: Sequence[Detections], rows: NDArray[np.integer], draws: int, seed: int
) -> NDArray[np.float64]:
    """(1 + draws,) mean over classes of the average precision at an overlap of a half; first of all pictures, then of bootstrap
    samples of them."""
    rng = np.random.default_rng([seed, 9])
    samples = [rows, *(rng.choice(rows, len(rows)) for _ in range(draws))]
    each: list[NDArray[np.float64]] = []
    for k in range(len(true.class_names)):
        hits, scores, counts = {}, {}, {}
        for p in rows.tolist():
            there = true.corners[(true.pictures == p) & (true.labels == k)]
            mine = np.flatnonzero(found[p].labels == k)
            near, taken, hit = overlap(found[p].corners[mine], there), set[int](), np.zeros(len(mine), dtype=bool)
            for i in np.argsort(-found[p].scores[mine], kind="stable").tolist():
                best = int(near[i].argmax()) if len(there) else -1
                hit[i] = best >= 0 and near[i, best] >= HIT and best not in taken
                taken |= {best} if hit[i] else set()
            hits[p], scores[p], counts[p] = hit, found[p].scores[mine], len(there)
        if not sum(counts.values()):
            continue
        values = np.full(len(samples), np.nan)
        for s, sample in enumerate(samples):
            total = sum(counts[p] for p in sample.tolist())
            hit, score = (np.concatenate([each_[p] for p in sample.tolist()]) for each_ in (hits, scores))
            if total:
                values[s] = average_precision(hit, score) * hit.sum() / total if hit.any() else 0.0
        each.append(values)
    return np.nanmean(np.array(each), axis=0)


def interval(values: NDArray[np.float64]) -> str:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"{low:.3f} to {high:.3f}"


def by_picture(values: NDArray[np.float64], pictures: NDArray[np.integer], seed: int) -> NDArray[np.float64]:
    """(DRAWS,) the mean over boxes, of bootstrap samples of pictures."""
    names, of = np.unique(pictures, return_inverse=True)
    total, count = np.bincount(of, values), np.bincount(of)
    drawn = np.random.default_rng([seed, 8]).integers(len(names), size=(DRAWS, len(names)))
    return np.asarray(total[drawn].sum(axis=1) / count[drawn].sum(axis=1))


def cell(
    made: Set, detectors: Detectors, rate: float | None, given: pd.DataFrame | None, seed: int, precise: bool
) -> None:
    """One share of faults: what is found, what repairs do, and what is learned from the boxes."""
    part = parts(made.groups, (2, 1), seed)
    audited, tested = np.flatnonzero(part == 0), np.flatnonzero(part == 1)
    mine = made.true[made.true["path"].isin([made.paths[i] for i in audited])].reset_index(drop=True)
    missing, kinds = mine.iloc[:0], np.zeros(0)
    if given is not None:
        table = given[given["path"].isin(set(mine["path"])) & given["label"].isin(made.names)].reset_index(drop=True)
    else:
        assert rate is not None
        table, done = faulty(mine, rate, seed)
        untouched = [i for i, kind in enumerate(done) if not kind]
        gone = np.random.default_rng(seed).permutation(untouched)[: max(3, len(untouched) // 30)]
        kept = np.setdiff1d(np.arange(len(table)), gone)
        missing, kinds = table.iloc[gone], np.array([done[i] for i in kept])
        table = table.iloc[kept].reset_index(drop=True)
    boxes, true = made.boxes(table), made.boxes(made.true)
    of_audited = made.boxes(mine)
    fold = parts(made.groups[audited], [1] * box_detector.FOLDS, seed)
    judged = [(audited[fold != f], audited[fold == f]) for f in range(box_detector.FOLDS)]
    found = detectors.found(boxes, judged, seed)
    first = find_faults(boxes)
    second, repairs = detection_faults(boxes, found)
    sure = sure_repairs(boxes, first)
    name = "given as they are" if rate is None else f"{rate:.0%}"
    print(f"\n### {made.folder.name}, {name}: {len(table):,} boxes in {len(audited)} images, {len(tested)} to test\n")
    if len(kinds):
        _print_found(boxes, kinds, {"without a detector": first, "detector alone": second, "both": together(first, second)},
                     cleanlab_scores(boxes, found))  # fmt: skip
        alone = [each for each in second if each.box is None]
        where = made.boxes(missing)
        real, again = (_hits(alone, each) for each in (of_audited, where))
        print(
            f"\nLeft out: {len(missing)}, found {again}; {len(alone)} said to be not boxed, {real} of them a true box."
        )
    print(
        "\n| boxes | mean IoU with the nearest | change, 95% interval | one to one | average precision, 95% interval |"
    )
    print("|---|---|---|---|---|")
    before, curve = nearest(of_audited, boxes), None
    for what, those in (
        ("given", boxes), ("sure repairs", repaired(boxes, sure)), ("all repairs", repaired(boxes, one_each(sure, repairs))),
        ("true", of_audited),
    ):  # fmt: skip
        after = nearest(of_audited, those)
        change = by_picture(after - before, of_audited.pictures, seed)
        total, there, drawn = one_to_one(of_audited, those)
        told = f"{after.mean():.4f} | {(after - before).mean():+.4f}, {interval(change)}"
        told += f" | {2 * total.sum() / (there + drawn).sum():.4f}"
        if precise and what != "sure repairs":
            learned = detectors.found(those, [(audited, tested)], seed + 1)
            values = detection_precision(true, learned, tested, DRAWS, seed)
            curve = values if curve is None else curve
            told += f" | {values[0]:.3f}, {interval(values[1:])}; {values[0] - curve[0]:+.3f}, {interval((values - curve)[1:])}"
        else:
            told += " | "
        print(f"| {what} | {told} |", flush=True)
    moved = [each for each in repairs if each.change == "moved"]
    if moved:
        old, new = (np.array(each) for each in zip(*(_best(each, boxes, of_audited) for each in moved), strict=True))
        print(f"\n{len(moved)} moved: overlap with the nearest true box {old.mean():.3f} to {new.mean():.3f}; "
              f"it fell for {(new < old).sum()}.")  # fmt: skip


def _print_found(boxes: Boxes, kinds: NDArray[np.str_], by: dict[str, list[Fault]], doubt: NDArray[np.float64]) -> None:
    wrong, there = kinds != "", [kind for kind in KINDS if (kinds == kind).any()]
    print(
        f"| method | precision | recall | {' | '.join(there)} | average precision, 95% interval | recall at their number |"
    )
    print(f"|{'---|' * (len(there) + 5)}")
    rows = [(name, scored(faults, len(kinds)), True) for name, faults in by.items()] + [
        ("cleanlab, the same detections", doubt, False)
    ]
    for name, said, decides in rows:
        cells = " | ".join(f"{(said[kinds == kind] > 0).mean():.0%}" if decides else "" for kind in there)
        told = (
            f"{wrong[said > 0].mean():.0%} | {(said[wrong] > 0).mean():.0%}" if decides and (said > 0).any() else " | "
        )
        names = np.unique(boxes.pictures)
        rng, draws = np.random.default_rng(0), []
        by_name = {p: np.flatnonzero(boxes.pictures == p) for p in names}
        for _ in range(DRAWS):
            rows_ = np.concatenate([by_name[p] for p in rng.choice(names, len(names))])
            draws.append(average_precision(wrong[rows_], said[rows_]) if wrong[rows_].any() else np.nan)
        print(f"| {name} | {told} | {cells} | {average_precision(wrong, said):.3f}, {interval(np.array(draws))} | "
              f"{recall_at(wrong, said, int(wrong.sum())):.0%} |")  # fmt: skip


def _hits(faults: Sequence[Fault], boxes: Boxes) -> int:
    """How many of the boxes, where they are fewer, or of the places said to be not boxed, the others meet."""
    count = 0
    for each in faults:
        assert each.corners is not None
        near = overlap(each.corners[None], boxes.corners[boxes.pictures == each.picture])
        count += bool(near.max(initial=0.0) >= HIT)
    return count


def _best(repair: Repair, boxes: Boxes, true: Boxes) -> tuple[float, float]:
    """The overlap with the nearest true box before and after a repair."""
    assert repair.box is not None
    there = true.corners[true.pictures == repair.picture]
    both = overlap(np.stack([boxes.corners[repair.box], repair.corners]), there).max(axis=1, initial=0.0)
    return float(both[0]), float(both[1])


def main() -> None:
    """Print the tables of a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--rates", type=float, nargs="*", default=[0.1, 0.2, 0.4])
    parser.add_argument("--given", type=Path, help="boxes to audit instead of made faults")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--choosing", action="store_true")
    parser.add_argument(
        "--no-precision", action="store_true", help="train no detectors on the boxes given, repaired and true"
    )
    asked = parser.parse_args()
    box_detector.FOLDS, box_detector.STEPS = asked.folds, asked.steps
    made = read_set(asked.boxes, asked.choosing, asked.images)
    detectors, seed = Detectors(made, asked.cache), 0 if asked.choosing else 1
    print(
        f"autoannotate {__version__}, seed {seed}, {asked.folds} folds of {asked.steps} steps, {len(made.paths)} images"
    )
    if asked.given is not None:
        cell(made, detectors, None, pd.read_csv(asked.given), seed, not asked.no_precision)
    for rate in asked.rates if asked.given is None else ():
        cell(made, detectors, rate, None, seed, not asked.no_precision)
    print(f"\n{detectors.seconds:.0f} CPU seconds of detectors in this run")


if __name__ == "__main__":
    main()
