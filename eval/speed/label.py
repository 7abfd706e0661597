"""How long labelling takes from start to report, and how much memory, by stage; then again with the embeddings cached.

Copies COUNT images of two sets (half each) to a temporary folder and runs the command that users run, with a cache of its own.

    python eval/speed/label.py --first DIR --second DIR --classes chest,breast --count 1000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(images: Path, classes: str, out: Path, cache: Path) -> tuple[float, dict[str, float]]:
    """Wall-clock seconds of one run, and of its stages."""
    started = time.monotonic()
    subprocess.run(
        ["autoannotate", "label", str(images), "--classes", classes, "--out", str(out)],
        check=True,
        env={**os.environ, "AUTOANNOTATE_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - started, json.loads((out / "run.json").read_text())["timings"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, required=True)
    parser.add_argument("--second", type=Path, required=True)
    parser.add_argument("--classes", default="chest,breast")
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for source in (options.first, options.second):
            files = sorted(file for file in source.rglob("*") if file.is_file())
            for i in range(options.count // 2):  # a set that is too small is gone through again
                file = files[i % len(files)]
                shutil.copy(file, images / f"{source.parent.name}-{i:06d}{file.suffix}")
        print("| run | seconds | by stage |\n|---|---|---|")
        for name, classes in (("first", options.classes), ("second, other classes", f"{options.classes},brain")):
            seconds, stages = run(images, classes, Path(folder) / name.split(",")[0], Path(folder) / "cache")
            print(f"| {name} | {seconds:.0f} | {', '.join(f'{stage} {s:.1f}' for stage, s in stages.items())} |")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"\n{options.count} images, {os.cpu_count()} cores, Python {sys.version.split()[0]}, peak memory {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
