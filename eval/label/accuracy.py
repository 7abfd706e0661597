"""CLIP's labels and the labels of a whole run, on sets whose truth is known, at full resolution and at 28 pixels.

Runs the Annotator with default settings on COUNT images of each class, for several seeds, and prints a Markdown table.

    python eval/label/accuracy.py --data EVAL_DIR --count 300 --seeds 3
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from autoannotate import Annotator
from autoannotate.evaluation.datasets import read_labelled
from autoannotate.evaluation.labelled_set import balanced_sample
from autoannotate.images import read_image

PAIRS = {
    "chest / breast": {"chest": "chest_nih", "breast": "breast_busi"},
    "blood / skin": {"blood": "blood_pbc", "skin": "skin_ham10000"},
    "normal / pneumonia": {"normal": "chest_pneumonia:normal", "pneumonia": "chest_pneumonia:pneumonia"},
    "mel / nv": {"mel": "skin_ham10000:mel", "nv": "skin_ham10000:nv"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()

    print("| classes | pixels | seeds | CLIP right: mean (least) | labels right: mean (least) | trust | suspects |")
    print("|---|---|---|---|---|---|---|")
    for name, classes in PAIRS.items():
        found = read_labelled([f"{label}={options.data / source}" for label, source in classes.items()])
        for side in (None, 28):
            rows = []
            for seed in range(options.seeds):
                rng = np.random.default_rng(seed)
                with tempfile.TemporaryDirectory() as folder:
                    truth = {}
                    for i in balanced_sample(found.labels, options.count, rng):
                        picture, label = read_image(found.refs[i]), found.class_names[found.labels[i]]
                        if side:
                            picture = picture.resize((side, side), Image.Resampling.BICUBIC)
                        truth[f"{label}-{i}.png"] = label
                        picture.save(Path(folder) / f"{label}-{i}.png")
                    annotations = Annotator(list(classes), seed=seed, cache=False).label(folder)
                table = annotations.table
                expected = table["path"].map(truth)
                rows.append(
                    (
                        (table["clip_label"] == expected).mean(),
                        (table["label"] == expected).mean(),
                        annotations.run["reliability"]["trust"],
                        len(annotations.suspects) / len(table),
                    )
                )
            clip, label, trust, suspects = np.array(rows).T
            print(
                f"| {name} | {side or 'full'} | {options.seeds} | {clip.mean():.2%} ({clip.min():.2%}) "
                f"| {label.mean():.2%} ({label.min():.2%}) | {trust.mean():.2f} | {suspects.mean():.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
