"""How long an update takes after 50 answers, by stage, with the embeddings cached; and again with nothing answered.

Copies COUNT images of two sets (half each) to a temporary folder, labels them, answers 50 of them by the set each is from, and
runs the command that users run.

    python eval/speed/update.py --first DIR --second DIR --classes chest,breast --count 2000
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

from autoannotate.answers import Answer, AnswerStore


def run(command: list[str], cache: Path) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a command."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "AUTOANNOTATE_CACHE": str(cache)}
    subprocess.run(["autoannotate", *command], check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, required=True)
    parser.add_argument("--second", type=Path, required=True)
    parser.add_argument("--classes", default="chest,breast")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--answers", type=int, default=50)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        images, out, cache = Path(folder) / "images", Path(folder) / "run", Path(folder) / "cache"
        images.mkdir()
        truth = {}
        for source, label in zip((options.first, options.second), options.classes.split(","), strict=True):
            files = sorted(file for file in source.rglob("*") if file.is_file())
            for i in range(options.count // 2):  # a set that is too small is gone through again
                name = f"{label}-{i:06d}{files[i % len(files)].suffix}"
                shutil.copy(files[i % len(files)], images / name)
                truth[name] = label
        labelling = ["label", str(images), "--classes", options.classes, "--out", str(out)]
        commands = {"label": labelling, "update": ["update", str(out)], "update again": ["update", str(out)]}
        print("| run | seconds | CPU seconds | by stage |\n|---|---|---|---|")
        for name, command in commands.items():
            if name == "update":
                some = sorted(truth)[:: len(truth) // options.answers][: options.answers]
                with AnswerStore(out) as store:
                    store.add([Answer(path, "somebody", "label", truth[path]) for path in some])
            seconds, used = run(command, cache)
            stages = json.loads((out / "run.json").read_text())["timings"] if name != "update again" else {}
            print(f"| {name} | {seconds:.0f} | {used:.0f} | {', '.join(f'{s} {t:.1f}' for s, t in stages.items())} |")
    print(f"\n{options.count} images, {os.cpu_count()} cores, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
