"""What the timings share: a folder of two sets' images, and the command that users run."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path


def options(about: str | None, count: int) -> argparse.ArgumentParser:
    """The options of a timing that labels `count` images, half of each set."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, required=True)
    parser.add_argument("--second", type=Path, required=True)
    parser.add_argument("--classes", default="chest,breast")
    parser.add_argument("--count", type=int, default=count)
    return parser


def copy_images(found: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Copy the images to a new folder; the class of each file name."""
    folder.mkdir()
    truth = {}
    for source, label in zip((found.first, found.second), found.classes.split(","), strict=True):
        files = sorted(file for file in source.rglob("*") if file.is_file())
        for i in range(found.count // 2):  # a set that is too small is gone through again
            name = f"{label}-{i:06d}{files[i % len(files)].suffix}"
            shutil.copy(files[i % len(files)], folder / name)
            truth[name] = label
    return truth


def run(command: list[str], cache: Path) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a command of autoannotate."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "AUTOANNOTATE_CACHE": str(cache)}
    subprocess.run(["autoannotate", *command], check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, used
