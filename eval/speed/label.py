"""How long labelling takes from start to report, and how much memory, by stage; then again with the embeddings cached.

Copies COUNT images of two sets (half each) to a temporary folder and runs the command that users run, with a cache of its own.

    python eval/speed/label.py --first DIR --second DIR --classes chest,breast --count 1000
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path

import product


def main() -> None:
    options = product.options(__doc__, count=1000).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images, cache = Path(folder) / "images", Path(folder) / "cache"
        product.copy_images(options, images)
        print("| run | seconds | by stage |\n|---|---|---|")
        for name, classes in (("first", options.classes), ("second, other classes", f"{options.classes},brain")):
            out = Path(folder) / name.split(",")[0]
            seconds, _ = product.run(["label", str(images), "--classes", classes, "--out", str(out)], cache)
            stages = json.loads((out / "run.json").read_text())["timings"]
            print(f"| {name} | {seconds:.0f} | {', '.join(f'{stage} {s:.1f}' for stage, s in stages.items())} |")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"\n{options.count} images, {os.cpu_count()} cores, Python {sys.version.split()[0]}, peak memory {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
