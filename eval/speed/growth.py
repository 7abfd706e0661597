"""How time and memory of labelling grow with the number of images: made embeddings, from their file to report.html.

Each row is a process of its own: `autoannotate label --embeddings`, no pictures, no student. The embeddings lie around the
sentences of the classes, with labels that overlap a little and near duplicates among them.

    python eval/speed/growth.py --counts 10000 100000 1000000
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CLASSES = ["chest X-ray", "breast ultrasound", "blood cell", "skin"]
BLOCK = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--fit-on", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where the embeddings and runs go, and stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print("| images | seconds | CPU seconds | peak memory, GiB | by stage |\n|---|---|---|---|---|")
        for count in options.counts:
            file, out = folder / f"{count}.npy", folder / f"run-{count}"
            apart(make, file, count)
            command = ["label", "--embeddings", str(file), "--classes", ",".join(CLASSES), "--out", str(out)]
            command += ["--fit-on", str(options.fit_on), "--no-cache", "--overwrite"]
            started = time.monotonic()
            child = subprocess.Popen([sys.executable, "-m", "autoannotate", *command], stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(child.pid, 0)
            seconds = time.monotonic() - started
            if status:
                sys.exit(f"label of {count} images failed")
            stages = json.loads((out / "run.json").read_text())["timings"]
            told = ", ".join(f"{stage} {s:.1f}" for stage, s in stages.items() if s >= 0.05)
            peak = used.ru_maxrss / 2**20
            print(
                f"| {count:,} | {seconds:.0f} | {used.ru_utime + used.ru_stime:.0f} | {peak:.2f} | {told} |", flush=True
            )
    print(f"\n{os.cpu_count()} cores, Python {sys.version.split()[0]}, fitted on {options.fit_on:,}")


def apart(work: Callable[..., None], *arguments: object) -> None:
    """Do it in a process of its own: what this one holds would count for its children."""
    child = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(f"{work.__name__} failed")


def make(file: Path, count: int) -> None:
    """Embeddings (count, D) in the embedded model's space, float32."""
    if file.exists():
        return
    from autoannotate.models.encoder import load_encoder

    texts = load_encoder("embedded").encode_texts([f"an image of {name}" for name in CLASSES])
    rng = np.random.default_rng(0)
    made = np.lib.format.open_memmap(file.with_suffix(".part"), "w+", np.float32, (count, texts.shape[1]))
    axes = rng.normal(size=(30, texts.shape[1])) / np.sqrt(texts.shape[1])
    for start in range(0, count, BLOCK):
        n = min(BLOCK, count - start)
        truth = rng.integers(0, len(CLASSES), n)
        values = texts[truth] + rng.normal(size=(n, 30)) @ axes * 0.25 + 0.01 * rng.normal(size=(n, texts.shape[1]))
        values[n // 2 : n // 2 + n // 100] = values[: n // 100] + 1e-4  # near duplicates
        made[start : start + n] = values / np.linalg.norm(values, axis=1, keepdims=True)
    made.flush()
    file.with_suffix(".part").rename(file)


if __name__ == "__main__":
    main()
