"""The k-NN graph of a set of images, and what can be read from it: spread labels, and how cleanly labels cut it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MANY = 20_000  # images, above which neighbours come from an approximate index, and features are read in blocks
RECALL, CHECKED = 0.95, 256  # the share of true neighbours that the index must find, of so many images that are checked
REFINED = 4  # times as many as are asked for are compared exactly, of those that are nearest by few bits
COSINES = 2**24  # held at once
CHUNK = 16  # columns that are looked at together for the largest of a row
DUPLICATE = 0.25  # near duplicates are at most this share of the usual distance to the nearest image apart


@dataclass(frozen=True)
class Neighbours:
    """The nearest other images of each image, nearest first.

    Attributes
    ----------
    index : (N, k) row numbers
    similarity : (N, k) cosines of the compact features, in [-1, 1]
    """

    index: NDArray[np.int64]
    similarity: NDArray[np.float64]


def nearest(points: NDArray[np.floating], k: int = 10) -> Neighbours:
    """The k nearest others of each unit row of (N, d) by cosine; k is at most N - 1.

    Exactly, in blocks; of more than `MANY` rows by `nearest_by_index`, where faiss is installed.
    """
    n = len(points)
    k = max(0, min(k, n - 1))
    if n > MANY and (found := nearest_by_index(points, k)) is not None:
        return found
    index = np.empty((n, k), dtype=np.int64)
    similarity = np.empty((n, k))
    block = _rows_at_once(n)
    for start in range(0, n if k else 0, block):
        cosines = points[start : start + block] @ points.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        best = _largest(cosines, k)
        index[start : start + block] = best
        similarity[start : start + block] = np.take_along_axis(cosines, best, 1)
    return Neighbours(index, np.clip(similarity, -1.0, 1.0))


def nearest_among(
    points: NDArray[np.floating], others: NDArray[np.floating], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k nearest of other unit rows (M, d) for each unit row of (N, d), exactly: row numbers and cosines, (N, k) each."""
    k = min(k, len(others))
    found = []
    block = _rows_at_once(len(others))
    for start in range(0, len(points), block):
        cosines = points[start : start + block] @ others.T
        best = _largest(cosines, k)
        found.append((best, np.take_along_axis(cosines, best, 1)))
    index, similarity = zip(*found, strict=True)
    return np.concatenate(index), np.clip(np.concatenate(similarity), -1.0, 1.0).astype(np.float64)


def nearest_by_index(points: NDArray[np.floating], k: int, recall: float = RECALL) -> Neighbours | None:
    """`nearest` by an inverted file of about √N cells (faiss; Jégou, Douze and Schmid 2011, section 4); None without faiss.

    Rows of a cell are compared by 4 bits a dimension (André, Kermarrec and Le Scouarnec 2015, "Cache locality is not
    enough"), and the nearest `REFINED` times k of them exactly. As many cells are searched as let it find the share `recall`
    of the true neighbours of `CHECKED` images. Where 4 bits cannot, as among many pictures that are nearly the same, all rows
    of a cell are compared exactly.
    """
    try:
        import faiss  # noqa: F401
    except ImportError:
        return None
    table = np.ascontiguousarray(points, dtype=np.float32)
    n = len(table)
    index = _index(table, f"PQ{table.shape[1]}x4fsr,RFlat", k + 1, recall) or _index(table, "Flat", k + 1, recall)
    assert index is not None  # all cells of exact rows find all
    made, likeness = np.empty((n, k), dtype=np.int64), np.empty((n, k))
    for start in range(0, n, 16_384):
        similarity, best = index.search(table[start : start + 16_384], k + 1)
        rows = np.arange(start, start + len(best))
        own = best == rows[:, None]
        own[~own.any(axis=1), -1] = True  # not found among copies of itself: the farthest goes
        made[rows], likeness[rows] = best[~own].reshape(-1, k), similarity[~own].reshape(-1, k)
    lost = made < 0  # the cells that were searched hold fewer
    made[lost], likeness[lost] = np.nonzero(lost)[0], -1.0
    return Neighbours(made, np.clip(likeness, -1.0, 1.0))


def _index(table: NDArray[np.float32], kind: str, k: int, recall: float) -> Any | None:
    """An inverted file of rows, (N, d), that finds the share `recall` of the k nearest; None where this kind finds fewer."""
    import faiss

    n, d = table.shape
    cells = max(1, int(np.sqrt(n)))
    index: Any = faiss.index_factory(d, f"IVF{cells},{kind}", faiss.METRIC_INNER_PRODUCT)
    inverted = faiss.extract_index_ivf(index if kind == "Flat" else index.base_index)
    if kind != "Flat":
        index.k_factor = REFINED
    inverted.cp.seed = 0
    index.train(table[np.random.default_rng(n).permutation(n)[: 64 * cells]])
    index.add(table)
    asked = table[np.random.default_rng([n, 1]).permutation(n)[:CHECKED]]
    true = nearest_among(asked, table, k)[0]
    searched = 4
    while True:
        inverted.nprobe = min(searched, cells)
        found = index.search(asked, k)[1]
        if np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, true, strict=True)]) >= recall * k:
            return index
        if searched >= cells:
            return index if kind == "Flat" else None
        searched += searched // 2


def _rows_at_once(others: int) -> int:
    """Of how many rows the cosines with so many others are held at once."""
    return max(1, min(1024, COSINES // max(others, 1)))


def _largest(values: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """The columns of the k largest of each row of (N, M), the largest first.

    Of many columns every `CHUNK`th go together: the k largest lie in the k chunks with the largest maxima, exactly, and one
    pass finds those.
    """
    many = values.shape[1]
    columns = many // CHUNK
    if columns < 4 * k:
        best = np.argpartition(values, many - k, axis=1)[:, many - k :]  # five times as fast as of their negatives
    else:
        whole = columns * CHUNK
        maxima = values[:, :whole].reshape(-1, CHUNK, columns).max(axis=1)
        chunks = np.argpartition(maxima, columns - k, axis=1)[:, columns - k :]
        among = (chunks[:, None, :] + columns * np.arange(CHUNK)[:, None]).reshape(len(values), -1)
        rest = np.broadcast_to(np.arange(whole, many), (len(values), many - whole))
        among = np.concatenate([among, rest], axis=1)
        found = _largest(np.take_along_axis(values, among, 1), k) if len(values) else among[:, :k]
        best = np.take_along_axis(among, found, 1)
    order = np.argsort(-np.take_along_axis(values, best, 1), axis=1, kind="stable")
    return np.take_along_axis(best, order, 1)


def near_duplicates(neighbours: Neighbours) -> NDArray[np.bool_]:
    """Which of its nearest other images are nearly the same picture as an image, (N, k) bool.

    Nearly the same: at most a quarter as far as images usually are from their nearest, and close to 1 as a cosine.
    """
    distance = 1.0 - neighbours.similarity
    if distance.shape[1] == 0:
        return np.zeros(distance.shape, dtype=bool)
    return distance <= min(DUPLICATE * float(np.median(distance[:, 0])), 0.05) + 1e-9


def near_duplicate_groups(neighbours: Neighbours) -> NDArray[np.int64]:
    """(N,) ids: images linked by being nearly the same picture share one."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n = len(neighbours.index)
    rows, columns = np.nonzero(near_duplicates(neighbours))
    links = csr_array((np.ones(len(rows)), (rows, neighbours.index[rows, columns])), shape=(n, n))
    return connected_components(links, directed=False)[1].astype(np.int64)


def graph_of(neighbours: Neighbours) -> csr_array:
    """The graph, (N, N) sparse and symmetric: an edge, weighted by its positive cosine, where either end is near the other."""
    from scipy.sparse import csr_array

    n, k = neighbours.index.shape
    rows = np.repeat(np.arange(n), k)
    weights = np.maximum(neighbours.similarity.ravel(), 0.0)
    directed = csr_array((weights, (rows, neighbours.index.ravel())), shape=(n, n))
    return csr_array(directed.maximum(directed.T))


def propagate(
    graph: csr_array, seeds: NDArray[np.floating], alpha: float = 0.9, steps: int = 50
) -> NDArray[np.float64]:
    """Spread (N, K) seed scores over the graph: F ← αSF + (1−α)Y with S = D^-½ W D^-½, rows made to sum to one.

    Label propagation as in Zhou et al. 2004, "Learning with Local and Global Consistency", section 2. Rows that no
    seed reaches are uniform.
    """
    from scipy.sparse import diags_array

    scale = diags_array(1.0 / np.sqrt(np.maximum(graph.sum(axis=1), 1e-12)))
    smooth = alpha * (scale @ graph @ scale)
    start = (1.0 - alpha) * np.asarray(seeds, dtype=np.float64)
    spread = np.asarray(seeds, dtype=np.float64)
    for _ in range(steps):
        spread = smooth @ spread + start
    spread = spread + 1e-9
    return spread / spread.sum(axis=1, keepdims=True)


def conductance(graph: csr_array, labels: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    """Per class, (K,), the share of edge weight that leaves it: 0 an island, 1 no cluster at all (or empty, or everything).

    φ(S) = cut(S, rest) / min(vol S, vol rest), e.g. Shi and Malik 2000.
    """
    members = np.eye(n_classes)[labels]
    between = members.T @ (graph @ members)
    volume = between.sum(axis=1)
    smaller = np.minimum(volume, volume.sum() - volume)
    leaving = volume - np.diag(between)
    return np.where(smaller > 0, np.minimum(leaving / np.maximum(smaller, 1e-12), 1.0), 1.0)
