"""How long does each step of `autoannotate explore` take at N images, and how faithful is the map?

python eval/explore/large.py 100000 [OUT.npz]

Points are drawn from 200 clusters of different size, spread and shape in 64 dimensions; seconds are CPU seconds of this process
(one thread), wall-clock seconds beside. Made data: real images are too few here.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from autoannotate.explore import groups, maps
from autoannotate.labelling.features import unit
from autoannotate.labelling.neighbours import near_duplicate_groups, nearest


def drawn(n: int, clusters: int = 200, dimensions: int = 64) -> np.ndarray:
    """Unit rows, (n, dimensions) float32."""
    rng = np.random.default_rng(0)
    sizes = rng.dirichlet(np.full(clusters, 0.7))
    of = rng.choice(clusters, n, p=sizes)
    centres = rng.normal(size=(clusters, dimensions))
    shapes = rng.normal(size=(clusters, 6, dimensions)) * rng.uniform(0.2, 1.0, (clusters, 1, 1))
    points = centres[of] + 0.25 * rng.normal(size=(n, dimensions))
    points += np.einsum("ni,nid->nd", rng.normal(size=(n, 6)), shapes[of])
    return unit(points).astype(np.float32)


def kept(points: np.ndarray, place: np.ndarray, k: int = 10, asked: int = 500) -> float:
    """Share of the k nearest neighbours that stay, of some points."""
    rows = np.random.default_rng(1).permutation(len(points))[:asked]
    shares = []
    for row in rows:
        here = np.argpartition(-(points @ points[row]), k + 1)[: k + 1]
        there = np.argpartition(((place - place[row]) ** 2).sum(axis=1), k + 1)[: k + 1]
        shares.append((len(np.intersect1d(here, there)) - 1) / k)
    return float(np.mean(shares))


def main() -> None:
    n, out = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    points = drawn(n)

    def timed(name: str, call: object) -> object:
        cpu, wall = time.process_time(), time.monotonic()
        found = call()  # type: ignore[operator]
        print(f"{name:12} {time.process_time() - cpu:8.1f} s of CPU, {time.monotonic() - wall:8.1f} s", flush=True)
        return found

    near = timed("neighbours", lambda: nearest(points.astype(np.float64), 15))
    levels = timed("groups", lambda: groups.cluster_levels(near))
    timed("duplicates", lambda: near_duplicate_groups(near))
    place = timed("map", lambda: maps.layout(points))
    print(f"{kept(points, place):.3f} of the 10 nearest stay, {levels.max(axis=1) + 1} groups")
    if out:
        np.savez(out, points=points, place=place, levels=levels)


if __name__ == "__main__":
    main()
