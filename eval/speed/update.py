"""How long an update takes after 50 answers, by stage, with the embeddings cached; and again with nothing answered.

Copies COUNT images of two sets (half each) to a temporary folder, labels them, answers 50 of them by the set each is from, and
runs the command that users run.

    python eval/speed/update.py --first DIR --second DIR --classes chest,breast --count 2000
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import product

from autoannotate.answers.store import Answer, AnswerStore


def main() -> None:
    parser = product.options(__doc__, count=2000)
    parser.add_argument("--answers", type=int, default=50)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        images, out, cache = Path(folder) / "images", Path(folder) / "run", Path(folder) / "cache"
        truth = product.copy_images(options, images)
        labelling = ["label", str(images), "--classes", options.classes, "--out", str(out)]
        commands = {"label": labelling, "update": ["update", str(out)], "update again": ["update", str(out)]}
        print("| run | seconds | CPU seconds | by stage |\n|---|---|---|---|")
        for name, command in commands.items():
            if name == "update":
                some = sorted(truth)[:: len(truth) // options.answers][: options.answers]
                with AnswerStore(out) as store:
                    store.add([Answer(path, "somebody", "label", truth[path]) for path in some])
            seconds, used = product.run(command, cache)
            stages = json.loads((out / "run.json").read_text())["timings"] if name != "update again" else {}
            print(f"| {name} | {seconds:.0f} | {used:.0f} | {', '.join(f'{s} {t:.1f}' for s, t in stages.items())} |")
    print(f"\n{options.count} images, {os.cpu_count()} cores, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
