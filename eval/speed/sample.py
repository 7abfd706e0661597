"""Whether models fitted on a sample give the labels of the exact way: the shares of the same and of right labels.

Each set is labelled by its class names and from labels of which every fifth is wrong: exactly, exactly with other folds (which
bounds what can agree), and with models fitted on a third and on two thirds of it. `mixed` is a few hundred images of every
set, labelled by the set they are from.

    python eval/speed/sample.py --data DIR/eval/chest_pneumonia DIR/eval/breast_busi DIR/eval/blood_pbc
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoannotate import Annotator
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.noise_injection import read_noise
from autoannotate.labelling.features import Features
from autoannotate.labelling.pipeline import label
from autoannotate.labelling.task import Task
from autoannotate.models.encoding import Encoded

MIXED = 400  # images of each set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="folders with labels.csv")
    parser.add_argument("--mixed", default="", help="class names for `mixed`, one a set, in the order of --data")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()

    print("| images | labels from | fitted on | same label as exactly | right |\n|---|---|---|---|---|")
    parts: list[tuple[Encoded, Annotator]] = []
    for folder in options.data:
        data = read_labelled([folder])
        annotator = Annotator(data.class_names)
        encoded = annotator.encode(data.refs)
        parts.append((encoded, annotator))
        _compare(Path(folder).name, annotator, encoded, data.labels, options.seeds)
    if options.mixed:
        names = options.mixed.split(",")
        truth = np.repeat(np.arange(len(names)), [min(MIXED, len(each.refs)) for each, _ in parts])
        every = Encoded(
            [ref for each, _ in parts for ref in each.refs[:MIXED]],
            np.concatenate([each.embeddings[:MIXED] for each, _ in parts]),
            np.concatenate([each.features[:MIXED] for each, _ in parts]),
            [],
        )
        _compare("mixed", Annotator(names), every, truth, options.seeds)


def _compare(name: str, annotator: Annotator, encoded: Encoded, truth: np.ndarray, seeds: int) -> None:
    clip = annotator.zero_shot(encoded.embeddings)
    for seed in range(seeds):
        plain = replace(annotator.task(encoded, clip), seed=seed)
        wrong = read_noise("symmetric:0.2").inject(truth, encoded.features, seed=seed)
        nothing = np.full(clip.probabilities.shape, 1.0 / len(annotator.classes))
        noisy = Task(Features(encoded.features), nothing, annotator.classes, given=wrong, seed=seed)
        for start, task in (
            ("CLIP" if clip.reliability.meaningful else "CLIP (guesses)", plain),
            ("noise of 20%", noisy),
        ):
            exact = label(task).labels
            ways = {
                "all": exact,
                "all, other folds": label(replace(task, seed=seed + 100)).labels,
                "a third": label(task, fit_on=len(task) // 3).labels,
                "two thirds": label(task, fit_on=2 * len(task) // 3).labels,
            }
            for way, labels in ways.items():
                same, right = float((labels == exact).mean()), float((labels == truth).mean())
                print(f"| {name}, {len(task):,} | {start} | {way} | {same:.2%} | {right:.1%} |", flush=True)


if __name__ == "__main__":
    main()
