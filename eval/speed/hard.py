"""How long correction takes where it is hard: COUNT images of one labelled set, every fifth label wrong, as a run meets them.

`label.py` measures sets that are told apart at a glance, where the student stops early. Here it trains for as long as it may,
twice. From reading the images to the queue, nothing cached, default settings and `--fast`.

    python eval/speed/hard.py --data skin_ham10000 --count 2000
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import numpy as np

from autoannotate import Annotator
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.noise_injection import read_noise
from autoannotate.labelling.features import Features
from autoannotate.labelling.pipeline import label
from autoannotate.labelling.task import Task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with labels.csv, or a sub-folder a class")
    parser.add_argument("--count", type=int, default=2000)
    options = parser.parse_args()

    data = read_labelled([options.data])
    rows = np.sort(np.random.default_rng(0).permutation(len(data))[: options.count])
    refs, truth = [data.refs[row] for row in rows], data.labels[rows]
    print("| run | seconds | of these reading and encoding | image passes of the student |\n|---|---|---|---|")
    for name, fast in (("label --fast", True), ("label", False)):
        started = time.monotonic()
        annotator = Annotator(data.class_names, cache=False, fast=fast)
        encoded = annotator.encode(refs)
        encoding = time.monotonic() - started
        given = read_noise("symmetric:0.2").inject(truth, encoded.features, seed=0)
        nothing = np.full((len(given), len(data.class_names)), 1 / len(data.class_names))
        task = Task(Features(encoded.features), nothing, data.class_names, given=given)
        corrected = label(task, trainer=annotator.trainer(refs)).corrected
        seconds = time.monotonic() - started
        print(f"| {name} | {seconds:.0f} | {encoding:.0f} | {corrected.student.image_passes} |", flush=True)
    print(f"\n{len(rows)} images, {os.cpu_count()} cores, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
