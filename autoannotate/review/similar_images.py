"""Which images of a run resemble each other: nearest neighbours to show, near-identical ones to answer at once.

The features are those that the run made, from the encoding cache; only where it lacks some are images encoded again, while
the page is already in use.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoannotate._internal.progress import Track, silent
from autoannotate.errors import AutoannotateError, UnreadableImageError
from autoannotate.images import ImageRef, fingerprint
from autoannotate.labelling.features import Features, Rows
from autoannotate.labelling.neighbours import MANY
from autoannotate.runs.record import RunRecord
from autoannotate.runs.run import Run

SHOWN = 8  # neighbours beside an image
MOST_ALIKE = 24  # more images than this are never one group: links in a chain, or empty pictures


@dataclass(frozen=True)
class Alike:
    """neighbours: by path, the nearest other images, nearest first. groups: by path, all that are nearly the same picture,
    the image itself among them; images without a near duplicate are not there."""

    neighbours: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


class LookAlikes:
    """Found in a thread; `found` is empty until then. `state` is working, ready or none, `note` says why none."""

    def __init__(self, annotations: Run, refs: Mapping[str, ImageRef], track: Track = silent) -> None:
        self.found, self.state, self.note = Alike(), "working", ""
        self._points: tuple[list[str], np.ndarray] = ([], np.zeros((0, 1)))
        self.soon = threading.Event()  # set when it is done, or known to take long
        self._run = annotations, refs, track
        threading.Thread(target=self._find, daemon=True, name="look-alikes").start()

    def _find(self) -> None:
        try:
            if len(self._run[0].table) > MANY:
                self.soon.set()
            self._points = self._compact(*self._run)
            self.found = _near(*self._points)
            self.state = "ready"
        except Exception as error:  # the page works without them
            self.state = "none"
            self.note = str(error) if isinstance(error, AutoannotateError) else "Similar images could not be found."
        finally:
            self.soon.set()

    def ranked(self, path: str) -> dict[str, int]:
        """All images by how near they are to one: 0 for the image itself, 1 for the nearest; empty where that is unknown."""
        paths, points = self._points
        if path not in paths:
            return {}
        near = np.argsort(-(points @ points[paths.index(path)]), kind="stable")
        order = [path, *(paths[i] for i in near.tolist() if paths[i] != path)]
        return {each: rank for rank, each in enumerate(order)}

    def _compact(self, annotations: Run, refs: Mapping[str, ImageRef], track: Track) -> tuple[list[str], np.ndarray]:
        keys: dict[str, str] = {}
        for path in annotations.table["path"]:
            try:
                keys[path] = fingerprint(refs[path])
            except (KeyError, UnreadableImageError):
                continue
        cached = from_cache(annotations.record, list(keys.values()))
        if cached is not None:
            return list(keys), cached
        self.soon.set()
        from autoannotate.annotator.findings_annotator import annotator_of

        encoded = annotator_of(annotations).encode([refs[path] for path in keys], track)
        return [ref.path for ref in encoded.refs], compact(encoded.features)


def from_cache(record: RunRecord, keys: Sequence[str]) -> np.ndarray | None:
    """`compact` of images by their fingerprints; None where the cache of the run lacks the features of any of them."""
    from autoannotate.models.embedding_cache import EncodingCache, default_folder

    weights, place = record.model.weights_sha256, record.arguments.get("cache")
    folder = Path(place) if isinstance(place, str) else default_folder()
    if not weights or not keys or not (folder / "encodings.sqlite").is_file():
        return None
    cache = EncodingCache(folder, weights)
    try:
        if len(cache.known(keys)) < len(set(keys)):
            return None
        return compact(cache.stored(keys) if len(keys) > MANY else cache.features(keys))
    finally:
        cache.close()


def alike(paths: Sequence[str], features: np.ndarray) -> Alike:
    """Neighbours and groups of N images from their features (N, F)."""
    return _near(paths, compact(features))


def _near(paths: Sequence[str], points: np.ndarray) -> Alike:
    from autoannotate.labelling.neighbours import near_duplicate_groups, nearest

    if len(paths) < 2:
        return Alike()
    close = nearest(points, k=SHOWN + 4)
    ids = near_duplicate_groups(close)
    members: dict[int, list[str]] = {}
    for path, group in zip(paths, ids.tolist(), strict=True):
        members.setdefault(group, []).append(path)
    groups = {path: group for group in members.values() if 1 < len(group) <= MOST_ALIKE for path in group}
    neighbours = {}
    for path, row in zip(paths, close.index.tolist(), strict=True):
        neighbours[path] = [paths[i] for i in row if paths[i] not in groups.get(path, ())][:SHOWN]
    return Alike(neighbours, groups)


def compact(features: Rows, dimensions: int = 64) -> np.ndarray:
    """Features (N, F) centred, on about their first principal axes and unit length: (N, min(dimensions, N, F)).

    As `neighbours.compact`, but by random projection (Halko, Martinsson and Tropp 2011, algorithm 4.4) and in NumPy alone:
    quick, and other threads run meanwhile, which SciPy's `eigh` does not let them. Of more than `MANY` images as
    `Features.compact`, which reads them block by block.
    """
    if len(features) > MANY:
        return Features(features).compact
    features = np.asarray(features)
    centred = features - features.mean(axis=0, dtype=np.float64).astype(features.dtype)
    n, f = centred.shape
    dimensions = min(dimensions, n, f)
    start = np.random.default_rng(0).normal(size=(f, min(dimensions + 16, n, f))).astype(centred.dtype)
    axes = np.linalg.qr(centred @ start)[0]
    for _ in range(3):
        axes = np.linalg.qr(centred @ np.linalg.qr(centred.T @ axes)[0])[0]
    _, _, right = np.linalg.svd(axes.T @ centred, full_matrices=False)
    scores = (centred @ right[:dimensions].T).astype(np.float64)
    return scores / np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-12)
