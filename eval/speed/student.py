"""What the student gains and what it costs: labels with and without it, and whether a run would train it at all.

Each cell is a sample of a labelled set whose labels are right, or wrong in a known way. The same labels are corrected without a
student, as a run decides by itself, and with a student whatever the data say. Seconds are of CPU, so that a busy machine counts
for less; `easy` compares two stages of one run.

    python eval/speed/student.py gain --data DIR/eval --out WORK_DIR
    python eval/speed/student.py easy --first DIR/eval/chest_nih/images --second DIR/eval/breast_busi/images --count 300
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import product

from autoannotate import Annotator
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.labelled_set import balanced_sample
from autoannotate.evaluation.metrics import recall_at
from autoannotate.evaluation.noise_injection import read_noise
from autoannotate.labelling.features import Features
from autoannotate.labelling.label_errors import correction
from autoannotate.labelling.pipeline import Labelled, label
from autoannotate.labelling.task import Task

CELLS = (  # set, images of a class, noise; seed 4000, which chose nothing
    ("chest_pneumonia", 80, "symmetric:0.3"),
    ("blood_pbc", 22, "symmetric:0.2"),
    ("breast_busi", 54, "symmetric:0.2"),
    ("chest_pneumonia", 80, "instance:0.3"),
    ("skin_ham10000", 26, "symmetric:0.3"),
    ("chest_nih", 80, "symmetric:0"),
)
SEED = 4000


def timed(work: Callable[[], Labelled]) -> tuple[Labelled, float]:
    """What it gives, and its CPU seconds."""
    start = time.process_time()
    return work(), time.process_time() - start


def measure(folder: Path, many: int, noise: str, seed: int) -> dict[str, Any]:
    """One cell: accuracy and recall among the doubted, without a student, as decided, and with one."""
    data = read_labelled([str(folder)])
    rows = np.sort(balanced_sample(data.labels, many, np.random.default_rng([seed, 1])))
    truth, refs, names = data.labels[rows], [data.refs[row] for row in rows], data.class_names
    annotator = Annotator(names)
    encoded = annotator.encode(refs)
    given = read_noise(noise).inject(truth, encoded.features, seed)
    task = Task(
        Features(encoded.features), np.full((len(rows), len(names)), 1 / len(names)), names, given=given, seed=seed
    )
    _ = task.features.duplicate_groups  # computed once for all
    alone, before = timed(lambda: label(task))
    decided, chosen = timed(lambda: label(task, trainer=annotator.trainer(refs)))
    found, always = decided, chosen
    if decided.corrected.student.image_passes == 0:
        decide, correction.useless = correction.useless, lambda *_: None
        try:
            found, always = timed(lambda: label(task, trainer=annotator.trainer(refs)))
        finally:
            correction.useless = decide
    wrong = given != truth

    def scores(of: Labelled) -> dict[str, float | None]:
        right = float((of.labels == truth).mean())
        recall = float(recall_at(wrong, of.corrected.doubt, int(wrong.sum()))) if wrong.any() else None
        return {"right": right, "recall": recall}

    return {
        "cell": f"{folder.name}, {noise}", "images": len(rows), "given": float((given == truth).mean()),
        "decision": str(decided.corrected.student.decision), "alone": scores(alone), "with": scores(found),
        "seconds": {"alone": before, "decided": chosen, "with": always},
    }  # fmt: skip


def table(cells: list[dict[str, Any]]) -> str:
    """A row a cell."""
    lines = [
        "| set, noise | images | right as given | without | with a student | recall without | with | its minutes | points a "
        "minute | what a run decides |",
        f"|{'---|' * 10}",
    ]
    for cell in cells:
        alone, taught, seconds = cell["alone"], cell["with"], cell["seconds"]
        minutes = max(seconds["with"] - seconds["alone"], 1e-9) / 60
        gain = 100 * (taught["right"] - alone["right"])
        recall = ("–" if each["recall"] is None else f"{100 * each['recall']:.1f}" for each in (alone, taught))
        lines.append(
            f"| {cell['cell']} | {cell['images']} | {100 * cell['given']:.1f} | {100 * alone['right']:.1f} | "
            f"{100 * taught['right']:.1f} | {' | '.join(recall)} | {minutes:.1f} | {gain / minutes:+.1f} | {cell['decision']}, "
            f"{seconds['decided']:.0f} s |"
        )
    return "\n".join(lines)


def gain(options: argparse.Namespace) -> None:
    """Measure the cells that the file in `--out` lacks, and print the table of all."""
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "student.jsonl"
    cells = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    for name, many, noise in CELLS:
        if f"{name}, {noise}" not in {cell["cell"] for cell in cells}:
            cells.append(measure(options.data / name, many, noise, SEED))
            with file.open("a") as out:
                out.write(json.dumps(cells[-1]) + "\n")
            print(table(cells[-1:]), flush=True)
    print(table(cells))


def easy(options: argparse.Namespace) -> None:
    """How long a run corrects, as a share of how long it encodes, and again with the images encoded before."""
    with tempfile.TemporaryDirectory() as folder:
        images, cache = Path(folder) / "images", Path(folder) / "cache"
        product.copy_images(options, images)
        print("| run | seconds | encode | label | label / encode | student |\n|---|---|---|---|---|---|")
        for name in ("first", "second"):
            out = Path(folder) / name
            seconds, _ = product.run(["label", str(images), "--classes", options.classes, "--out", str(out)], cache)
            record = json.loads((out / "run.json").read_text())
            encode, correct = (record["timings"][stage] for stage in ("encode images", "label"))
            print(
                f"| {name} | {seconds:.0f} | {encode:.1f} | {correct:.1f} | {correct / encode:.2f} | "
                f"{record['student']['decision']} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True, metavar="gain|easy")
    one = parts.add_parser("gain", help="what the student gains a minute")
    one.add_argument("--data", type=Path, required=True, help="the folder of the sets")
    one.add_argument("--out", type=Path, required=True, help="a stopped measurement goes on from here")
    one.set_defaults(run=gain)
    other = parts.add_parser("easy", parents=[product.options(None, count=300)], add_help=False)
    other.set_defaults(run=easy)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
