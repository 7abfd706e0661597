"""Which library draws the map: how faithful openTSNE, UMAP and PaCMAP are, and how long each takes.

pip install umap-learn pacmap
python eval/explore/map_libraries.py IMAGES_DIR              # the encoder's features of a folder of images
python eval/explore/map_libraries.py 20000                   # made points, see large.py

Each library makes the map of 64 principal components, unit rows, as `explore` does, seed 0, one thread, twice, each time in
a process of its own, as a command does. Trustworthiness (Venna and Kaski 2001) at 15 neighbours and the share of the 10 nearest
that stay are of 2,000 images drawn by the seed, with neighbours among all; seconds are of CPU, imports and compiling
counted.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from large import drawn

from autoannotate.annotator.annotator import Annotator
from autoannotate.explore import collection, maps
from autoannotate.images import find_images

ASKED, NEAR, KEPT = 2000, 15, 10


def umap(points: np.ndarray) -> np.ndarray:
    """UMAP with its own settings, one thread where the seed is set."""
    from umap import UMAP

    return UMAP(random_state=0, n_jobs=1).fit_transform(points)


def pacmap(points: np.ndarray) -> np.ndarray:
    """PaCMAP with its own settings."""
    from pacmap import PaCMAP

    return PaCMAP(random_state=0).fit_transform(points)


LIBRARIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "openTSNE": maps.layout,
    "UMAP": umap,
    "PaCMAP": pacmap,
    "two principal components": maps.principal_components,
}


def faithful(points: np.ndarray, place: np.ndarray) -> tuple[float, float]:
    """Trustworthiness, and the share of the nearest that stay; distances are Euclidean in both spaces."""
    n = len(points)
    rows = np.sort(np.random.default_rng(1).permutation(n)[:ASKED])
    penalty, stay = 0.0, 0.0
    for row in rows:
        far = ((points - points[row]) ** 2).sum(axis=1)
        far[row] = np.inf
        rank = np.empty(n, dtype=np.int64)
        rank[np.argsort(far, kind="stable")] = np.arange(1, n + 1)
        there = ((place - place[row]) ** 2).sum(axis=1)
        there[row] = np.inf
        near = np.argpartition(there, NEAR)[:NEAR]
        penalty += np.maximum(rank[near] - NEAR, 0).sum()
        near = near[np.argsort(there[near])][:KEPT]
        stay += (rank[near] <= KEPT).mean()
    return 1 - penalty * 2 / (len(rows) * NEAR * (2 * n - 3 * NEAR - 1)), stay / len(rows)


def apart(name: str, points: np.ndarray, send: object) -> None:
    """One map, in a process of its own: the places and the CPU it took."""
    spent = time.process_time()
    place = np.asarray(LIBRARIES[name](points), dtype=np.float64)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    send.send((place, time.process_time() - spent, peak))  # type: ignore[attr-defined]


def points_of(given: str) -> np.ndarray:
    """(N, 64) unit rows: made, or of images."""
    if given.isdigit():
        return drawn(int(given))
    encoded = Annotator(collection.NO_CLASSES, "embedded").encode(find_images(Path(given)))
    return collection.Projection.of(encoded.features).unit(encoded.features)


def main() -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"
    spawn = multiprocessing.get_context("spawn")
    for given in sys.argv[1:]:
        points = points_of(given)
        print(f"\n{Path(given).name}: {len(points):,} points\n")
        print("| library | trustworthiness | kNN | CPU seconds | peak memory, GiB | same again |")
        print("|---|---:|---:|---:|---:|---|")
        for name in LIBRARIES:
            found = []
            for _ in range(2):
                receive, send = spawn.Pipe(duplex=False)
                child = spawn.Process(target=apart, args=(name, points, send))
                child.start()
                send.close()  # so that a library that ends without a map ends the waiting
                found.append(receive.recv())
                child.join()
            trust, stay = faithful(points, found[0][0])
            same = "yes" if np.array_equal(found[0][0], found[1][0]) else "no"
            seconds = ", ".join(f"{one[1]:.1f}" for one in found)
            print(f"| {name} | {trust:.3f} | {stay:.3f} | {seconds} | {found[0][2]:.2f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
