"""What part zero-shot should have in the order of doubts about given labels, on sets whose errors are made and known.

    python eval/audit/second_opinion.py --data EVAL_DIR --work WORK_DIR

Recall at the number of wrong labels. The sets, noise and seeds are for choosing; `wrong_labels.py` reports on others. No
student is trained. What is encoded is kept in WORK_DIR; `--sets` takes some of the sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sets import EncodedSet
from trusted import SENSES

from autoannotate import Annotator
from autoannotate.evaluation.metrics import recall_at
from autoannotate.evaluation.noise_injection import read_noise
from autoannotate.images import find_images
from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors.issues import roc_area
from autoannotate.labelling.label_errors.zero_shot_doubt import beside_zero_shot
from autoannotate.labelling.pipeline import label
from autoannotate.models.encoding import Encoded

TASKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "brain_mri": ((),), "chest_pneumonia": ((),), "breast_busi": ((),),
    "skin_ham10000": ((), ("mel", "nv"), ("bkl", "nv"), ("akiec", "bcc")),
    "blood_pbc": ((), ("ig", "neutrophil"), ("lymphocyte", "monocyte")),
}  # fmt: skip
"""By set, the classes that are told apart; none named: all."""
NOISES, SEEDS = ("instance:0.2", "instance:0.3", "symmetric:0.3"), (500, 501)
ENCODED, A_CLASS = 100, 65  # images of a class: that are encoded, and of a problem


def encoded_part(folder: Path, work: Path) -> EncodedSet:
    """The first `ENCODED` images of each class of a set, encoded once."""
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    table = table.groupby("label").head(ENCODED).reset_index(drop=True)
    kept = work / f"{folder.name}-{ENCODED}.npz"
    if not kept.exists():
        wanted = set(table["path"])
        found = Annotator(["one", "other"]).encode([ref for ref in find_images(folder) if ref.path in wanted])
        row = {ref.path: i for i, ref in enumerate(found.refs)}
        rows = np.array([row[path] for path in table["path"]])
        work.mkdir(parents=True, exist_ok=True)
        np.savez(kept, features=found.features[rows], embeddings=found.embeddings[rows])
    with np.load(kept) as held:
        return EncodedSet(held["features"], held["embeddings"], table)


def orders(
    doubt: NDArray[np.float64],
    labels: NDArray[np.int64],
    predicted: NDArray[np.float64],
    zero_shot: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """By its name each order of doubts, (N,), higher is more doubtful; parameters as of `beside_zero_shot`."""
    rows = np.arange(len(labels))
    ours, theirs = rankdata(doubt), -rankdata(rankdata(zero_shot, axis=0)[rows, labels])
    weight = float(np.clip(_beyond_chance(zero_shot, labels) / max(_beyond_chance(predicted, labels), 1e-3), 0.0, 1.0))
    surely = len(labels) * 10.0
    found = {"none: the noise estimate alone": doubt, "zero-shot's rank alone": theirs}
    for name, part in (("1", 1.0), ("w", weight), ("w²", weight**2)):
        mixed = ours - part * rankdata(-theirs)
        found[f"weight {name}"] = mixed
        found[f"weight {name}, more likely wrong than right first"] = mixed + surely * (doubt > 0.5)
    found["as the product does it"] = beside_zero_shot(doubt, labels, predicted, zero_shot)
    return found


def _beyond_chance(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The mean over classes of the area under the ROC curve, less a half."""
    here = [c for c in np.unique(labels).tolist() if (labels != c).any()]
    return (
        float(np.mean([roc_area(probabilities[labels == c, c], probabilities[labels != c, c])[0] for c in here])) - 0.5
    )


def measured(found: EncodedSet, classes: tuple[str, ...]) -> Iterator[tuple[str, dict[str, float]]]:
    """The noise of each problem, and by the name of each order its recall at the number of wrong labels."""
    names = classes or tuple(sorted(set(found.table["label"])))
    annotator = Annotator([SENSES.get(each, each) for each in names], student="none")
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        mine = [rng.permutation(np.flatnonzero(found.table["label"] == name))[:A_CLASS] for name in names]
        rows = np.sort(np.concatenate(mine))
        truth = np.array([names.index(name) for name in found.table["label"].to_numpy()[rows]])
        features, embeddings = found.features[rows], found.embeddings[rows]
        clip = annotator.zero_shot(embeddings)
        for noise in NOISES:
            given = read_noise(noise).inject(truth, features, seed)
            task = replace(
                annotator.task(Encoded([], embeddings, features, []), clip), features=Features(features),
                keep=True, given=given,
                image_names=found.table["path"].to_numpy()[rows].tolist(),
            )  # fmt: skip
            estimate = label(task).corrected.estimate
            assert estimate is not None
            at = np.arange(len(rows)), given
            doubt = 1.0 - (estimate.clean[at] + estimate.posterior[at]) / 2
            wrong = given != truth
            ordered = orders(doubt, given, estimate.predicted, task.zero_shot)
            yield noise, {name: recall_at(wrong, each, int(wrong.sum())) for name, each in ordered.items()}


def main() -> None:
    """Print a row an order of doubts: mean recall over all problems, by noise, and the most that it loses on one task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(TASKS))
    asked = parser.parse_args()
    rows = [
        {"task": f"{name} {' '.join(classes)}".strip(), "noise": noise, "order": order, "recall": 100 * recall}
        for name in asked.sets
        for classes in TASKS[name]
        for noise, recalls in measured(encoded_part(asked.data / name, asked.work), classes)
        for order, recall in recalls.items()
    ]
    table = pd.DataFrame(rows)
    by_noise = table.pivot_table("recall", "order", "noise", sort=False)
    by_task = table.pivot_table("recall", "task", "order", sort=False)
    gain = by_task.sub(by_task.iloc[:, 0], axis=0)
    print(f"{len(table) // table['order'].nunique()} problems\n")
    print(
        f"| order of doubts | all | {' | '.join(by_noise)} | most gained on a task | most lost |\n|{'---|' * (4 + len(NOISES))}"
    )
    for order, each in by_noise.iterrows():
        cells = [by_task[order].mean(), *each, gain[order].max(), gain[order].min()]
        print(f"| {order} | {' | '.join(f'{cell:.1f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
