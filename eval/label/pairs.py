"""What refinement does to CLIP's labels for every pair of classes within the sets: a row a pair that it changes.

python eval/label/pairs.py --data EVAL_DIR --count 200 --seeds 1 2 3
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np

from autoannotate import Annotator
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.labelled_set import balanced_sample
from autoannotate.evaluation.metrics import balanced_accuracy
from autoannotate.labelling.semi_supervised.refinement import refine

SETS = ("chest_pneumonia", "breast_busi", "brain_mri", "skin_ham10000", "blood_pbc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()

    print("| pair | samples called guesses | CLIP right, balanced | refined |\n|---|---|---|---|")
    asked = 0
    for name in SETS:
        for pair in combinations(read_labelled([str(options.data / name)]).class_names, 2):
            data = read_labelled([f"{label}={options.data / name}:{label}" for label in pair])
            annotator = Annotator(list(pair))
            guesses = 0
            before: list[float] = []
            after: list[float] = []
            for seed in options.seeds:
                rng = np.random.default_rng([seed, 1])
                rows = balanced_sample(data.labels, options.count, rng, np.ones(len(data), dtype=bool))
                encoded = annotator.encode([data.refs[row] for row in rows])
                clip = annotator.zero_shot(encoded.embeddings)
                trust = clip.reliability.trust if clip.reliability.meaningful else 0.0
                refined = refine(encoded.features, clip.probabilities, trust=trust)
                guesses += not clip.reliability.meaningful
                for probabilities, right in ((clip.probabilities, before), (refined, after)):
                    right.append(balanced_accuracy(data.labels[rows], probabilities.argmax(axis=1)))
            asked += 1
            if before != after:
                told = (" / ".join(f"{100 * share:.1f}" for share in right) for right in (before, after))
                print(f"| {' / '.join(pair)} | {guesses} of {len(options.seeds)} | {' | '.join(told)} |", flush=True)
    print(f"\n{asked} pairs.")


if __name__ == "__main__":
    main()
