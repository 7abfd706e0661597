"""Runs of `label` (of `audit` with --labels) that are killed again and again, and end as a run that never was.

python tests/interrupted.py IMAGES WORK KILLS SEED [OPTION …]

Each process is forked from this one, which has imported everything, so that a kill costs no start. Two kinds of kills: at a
random time, and at each step at which a save puts a file in place.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import open_clip  # noqa: F401  (before the forks)
import torch

from autoannotate._internal import files
from autoannotate.cli.main import app

CLASSES = "chest,breast"


def started(images: Path, out: Path, cache: Path, options: list[str], killed_at_save: int | None = None) -> int:
    """The process of a command in a fork; with `killed_at_save` it kills itself before it puts that file in place."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    torch.set_num_threads(1)
    with out.with_suffix(".log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if killed_at_save is not None:
        put, count = Path.replace, iter(range(killed_at_save))

        def replace(self: Path, target: Path) -> Path:
            if next(count, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return put(self, target)

        files.Path.replace = replace  # type: ignore[method-assign]
    status = 1
    try:
        if "--labels" in options:
            os.environ["AUTOANNOTATE_CACHE"] = str(cache)
            app(["audit", str(images), "--out", str(out), *options])
        else:
            app(["label", str(images), "--classes", CLASSES, "--out", str(out), "--cache", str(cache), *options])
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        os._exit(status)


def killed_while_training(images: Path, work: Path, options: list[str], expected: list[bytes], kills: int) -> None:
    """A run that is killed once a checkpoint of the student is there, again and again, goes on from it to the same labels."""
    out, cache = work / "training", work / "cache-training"
    done: set[str] = set()
    for _ in range(kills):
        process, written = started(images, out, cache, options), 0
        before = {file: file.stat().st_mtime_ns for file in cache.glob("students/*.pt")}
        while written < 1 and os.waitpid(process, os.WNOHANG)[0] == 0:
            now = {file: file.stat().st_mtime_ns for file in cache.glob("students/*.pt")}
            written = sum(before.get(file) != changed for file, changed in now.items())
            time.sleep(0.02)
        assert written, f"no student was trained: {out.with_suffix('.log').read_text()}"
        os.kill(process, signal.SIGKILL)
        ended(process)
        done |= {str(torch.load(file, weights_only=True)["done"]) + file.name for file in cache.glob("students/*.pt")}
    assert len(done) >= kills, (
        f"after {kills} kills there are these epochs: {sorted(done)}"
    )  # each went on from the last
    assert ended(started(images, out, cache, options)) == 0, out.with_suffix(".log").read_text()
    assert labels(out) == expected, "a run that was killed while its student trained has other labels"
    assert not list(cache.glob("students/*.pt"))
    print(f"{kills} kills while the student trained, each later than the one before: the same labels", flush=True)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def labels(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in ("labels.csv", "suspects.csv", "probabilities.csv")]


def two_at_once(images: Path, work: Path, options: list[str], expected: list[bytes]) -> None:
    """Two processes fill one cache, each for a run of its own; of two that want one folder the second is refused."""
    outs = [work / "first", work / "second"]
    pair = [started(images, out, work / "cache-shared", options) for out in outs]
    assert [ended(process) for process in pair] == [0, 0], [out.with_suffix(".log").read_text() for out in outs]
    assert [labels(out) for out in outs] == [expected, expected]
    same = [started(images, work / "same", work / "cache-shared", options) for _ in range(2)]
    statuses, said = sorted(ended(process) for process in same), (work / "same.log").read_text()
    assert labels(work / "same") == expected
    assert statuses == [0, 1], said
    assert "Another run is being made" in said or "already holds a run" in said
    print("two processes at once on one cache: the same labels; on one folder: the second is refused", flush=True)


def main(images: Path, work: Path, kills: int, seed: int, options: list[str]) -> None:
    rng = random.Random(seed)
    whole = work / "whole"
    start = time.monotonic()
    assert ended(started(images, whole, work / "cache-whole", options)) == 0, whole.with_suffix(".log").read_text()
    seconds = time.monotonic() - start
    expected = labels(whole)
    trains = "--labels" in options
    if trains:
        killed_while_training(images, work, options, expected, min(3, kills))
    else:
        two_at_once(images, work, options, expected)
    done = at_save = early = runs = training = 0
    while done < kills:
        out, cache = work / f"run-{runs}", work / f"cache-{runs}"
        for _ in range(min(10 if trains else 3, kills - done)):
            if runs % 4 == 3:
                status = ended(started(images, out, cache, options, killed_at_save=rng.randrange(5)))
                at_save += status == -signal.SIGKILL
            else:
                process = started(images, out, cache, options)
                time.sleep(rng.uniform(0, seconds / 2 if trains else seconds))  # a training goes on where it was
                os.kill(process, signal.SIGKILL)  # of one that has ended already, nothing happens: it waits to be asked
                status = ended(process)
            done += status == -signal.SIGKILL
            training += status == -signal.SIGKILL and any(cache.glob("students/*.pt"))
            early += status == 0
        assert ended(started(images, out, cache, options)) == 0, out.with_suffix(".log").read_text()
        assert labels(out) == expected, f"{out} has other labels"
        assert not list(out.glob(".*.partial")), f"{out} has leftovers"
        runs += 1
        parts = f"{at_save} of them while files were put in place, {training} after a checkpoint of the student"
        print(f"{done} kills, {parts}; {runs} runs the same", flush=True)
        shutil.rmtree(cache)
    print(f"{early} processes had ended before their kill; an undisturbed run took {seconds:.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
