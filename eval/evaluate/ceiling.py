"""How high the features let a correction get in the cells of noise.yaml: an oracle that is told what no method may know.

    python eval/evaluate/ceiling.py --data EVAL_DIR --runs 10

A probe learns from the true labels of the other images and judges each (five folds, the strength that is best for the truth);
it is made as sure as the truth bears out, and weighed against the given label with the true noise T[true, given] by Bayes'
rule. What learns from the noisy labels instead can get above it only by luck, or by other means than a linear look at the
features: the graph, where classes are islands, or a network that learns features of its own. Writes ceiling.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from rerun import HERE, commit, with_folder, with_table

from autoannotate._internal.progress import silent
from autoannotate.evaluation.baselines.shared import cross_validated
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.protocols.noise import make_problem
from autoannotate.evaluation.runner import prepare
from autoannotate.evaluation.study import Options
from autoannotate.labelling.features import standardised
from autoannotate.labelling.label_errors.out_of_sample import calibrated

STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def oracle(
    features: NDArray[np.floating], truth: NDArray[np.integer], given: NDArray[np.integer], k: int, seed: int
) -> tuple[float, float]:
    """The accuracy of the probe alone, and of its weighing against the given labels, (N,); features: (N, F)."""
    points, everyone, rows = standardised(features), np.ones(len(truth), dtype=bool), np.arange(len(truth))
    probes = [calibrated(cross_validated(points, truth, everyone, k, c, seed), truth) for c in STRENGTHS]
    best = max(probes, key=lambda p: float(np.log(p[rows, truth]).mean()))
    noise = np.eye(k)[truth].T @ np.eye(k)[given]
    noise /= np.maximum(noise.sum(axis=1, keepdims=True), 1e-12)
    weighed = best * noise[:, given].T
    return float((best.argmax(axis=1) == truth).mean()), float((weighed.argmax(axis=1) == truth).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--pages", type=Path, default=HERE, help="the folder of the pages")
    options = parser.parse_args()

    lines = [
        f"Measured at commit {commit()}, {options.runs} runs. What an oracle makes of the features, in percent: a probe",
        "taught the truth about the other images, and that probe weighed against the given label with the true noise.",
        "",
        "| cell | given | probe taught the truth | ceiling (worst run) | reach |",
        "|---|---|---|---|---|",
    ]
    for cell in yaml.safe_load((HERE / "noise.yaml").read_text())["cells"]:
        data = read_labelled([with_folder(source, options.data) for source in cell["data"]])
        seeds = list(range(options.runs))
        with tempfile.TemporaryDirectory() as out:
            study, _ = prepare(data, Options(noise=cell["noise"]), seeds, Path(out), "auto", True, silent)
        found = []
        for seed in seeds:
            problem, truth = make_problem(study, seed)
            probe, ceiling = oracle(problem.features, truth, problem.given, len(problem.class_names), seed)
            found.append((float((problem.given == truth).mean()), probe, ceiling))
        given, probe, ceiling = 100 * np.mean(found, axis=0)
        worst, reach = 100 * np.min(found, axis=0)[2], cell.get("reach")
        goal = f"{100 * reach:.1f}" if reach else ""
        lines.append(f"| {cell['name']} | {given:.1f} | {probe:.1f} | {ceiling:.1f} ({worst:.1f}) | {goal} |")
        print(lines[-1], flush=True)
    page = options.pages / "ceiling.md"
    page.write_text(with_table(page.read_text(), "\n".join(lines) + "\n"))


if __name__ == "__main__":
    main()
