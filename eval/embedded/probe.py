"""What an encoder's features tell of findings: how often a probe that was taught true labels is right, as a Markdown table.

Of each set a balanced sample is drawn, and a linear probe on its standardised features judges each image by the labels of
the others, in five folds. Nothing is fitted to the outcome.

    python eval/embedded/probe.py --data EVAL_DIR --model embedded
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from autoannotate import Annotator
from autoannotate.evaluation.baselines.shared import cross_validated
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.labelled_set import balanced_sample
from autoannotate.labelling.features import standardised

STRENGTH = 1e-2  # inverse regularisation of the probe
SETS = ("chest_pneumonia", "blood_pbc", "skin_ham10000", "breast_busi", "chest_nih", "brain_mri")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--count", type=int, default=100, help="images of each class")
    parser.add_argument("--samples", type=int, default=5, help="drawn of each set")
    options = parser.parse_args()

    print("| set | classes | images | right | balanced |\n|---|---|---|---|---|")
    for name in SETS:
        data = read_labelled([options.data / name])
        classes = len(data.class_names)
        features = Annotator(data.class_names, options.model).encode(data.refs).features
        found = []
        for seed in range(options.samples):
            rows = balanced_sample(data.labels, options.count, np.random.default_rng([400 + seed, 0]))
            points, truth = standardised(features[rows]), data.labels[rows]
            everyone = np.ones(len(rows), dtype=bool)
            outside = cross_validated(points, truth, everyone, classes, STRENGTH, seed)
            right = outside.argmax(axis=1) == truth
            found.append((right.mean(), np.mean([right[truth == k].mean() for k in range(classes)])))
        accuracy, balanced = np.mean(found, axis=0)
        print(f"| {name} | {classes} | {len(rows)} | {accuracy:.1%} | {balanced:.1%} |", flush=True)


if __name__ == "__main__":
    main()
