"""What goes with what in a collection: every test there is, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.explore import associations, risks
from autoannotate.explore.collection import Collection
from autoannotate.explore.risks import Shortcut, Slice
from autoannotate.runs.metadata import Column

MOST = 4000  # images that an association is measured on, drawn by the seed where there are more
DIRECTIONS = 10  # principal directions that are told of
FEWEST = 20  # known values, below which a column is not tried
FEWEST_OF_A_LEVEL = 5
ASSOCIATIONS = ("of", "column", "level", "statistic", "effect", "low", "high", "p", "q", "n")


@dataclass(frozen=True)
class Findings:
    """associations: a table with the columns `ASSOCIATIONS`; `of` is images, cluster …, or direction …."""

    associations: pd.DataFrame
    shortcuts: tuple[Shortcut, ...]
    slices: tuple[Slice, ...]
    notes: tuple[str, ...]


def find(collection: Collection, track: Track = silent) -> Findings:
    """Test every column of the metadata, and the labels, where there are some.

    q is Benjamini and Hochberg's, over all columns for the images as a whole, over all clusters and columns, and over all
    directions and columns. Clusters and directions are tested on one image a group, since images of a group are no
    independent witnesses.
    """
    rng = np.random.default_rng([collection.seed, 31])
    groups, notes = collection.metadata.groups, list(collection.metadata.notes)
    rows = np.sort(rng.permutation(len(groups))[:MOST])
    if len(rows) < len(groups):
        notes.append(f"Associations were measured on {len(rows):,} images, drawn by the seed.")
    columns = [column for column in collection.metadata.columns if column.known[rows].sum() >= FEWEST]
    few = [column.name for column in collection.metadata.columns if column.known[rows].sum() < FEWEST]
    notes += [f"{name} is known of fewer than {FEWEST} images: it was not tested." for name in few]
    whole = []
    for column in track(columns, "what images tell", len(columns)):
        values = common_values(column, rows)
        if values is None:
            notes.append(f"{column.name} has one value that is common enough: it was not tested.")
            continue
        found = associations.predictability(collection.components[rows], values, groups[rows], seed=collection.seed)
        n = int((values >= 0).sum() if column.is_category else (~np.isnan(values)).sum())
        whole.append(("images", column.name, "", found.statistic, found.value, found.low, found.high, found.p, n))
    one = np.sort(rng.permutation(rows))
    one = one[np.sort(np.unique(groups[one], return_index=True)[1])]
    tables = [
        _table(whole),
        _table(list(_clusters(collection, columns, one))),
        _table(list(_directions(collection, columns, one))),
    ]
    shortcuts: list[Shortcut] = []
    if collection.classes:
        for column in track(columns, "shortcuts", len(columns)):
            shortcuts += risks.shortcuts(
                collection.components, collection.labels, collection.classes, column.name, column.values, groups,
                seed=collection.seed,
            )  # fmt: skip
    shortcuts.sort(key=lambda one: (not one.risk, one.risk.startswith("partial"), -one.column_auroc))
    return Findings(pd.concat(tables, ignore_index=True), tuple(shortcuts), tuple(_slices(collection)), tuple(notes))


def common_values(column: Column, rows: NDArray[np.int64]) -> NDArray | None:
    """The values of some rows, rare categories as unknown; None where fewer than two are left."""
    values = column.values[rows]
    if not column.is_category:
        return values
    counts = np.bincount(values[values >= 0], minlength=len(column.levels))
    common = counts >= FEWEST_OF_A_LEVEL
    return np.where((values >= 0) & common[np.maximum(values, 0)], values, -1) if common.sum() > 1 else None


def _clusters(collection: Collection, columns: list[Column], rows: NDArray[np.int64]) -> Iterator[tuple]:
    for level, codes in enumerate(collection.levels):
        for number in range(int(codes.max()) + 1):
            inside = codes[rows] == number
            name = f"cluster {level + 1}.{number + 1}"
            if min(inside.sum(), (~inside).sum()) < FEWEST_OF_A_LEVEL:
                continue
            for column in columns:
                values = column.values[rows]
                if not column.is_category:
                    yield name, column.name, "", *_cells(associations.compare_means(inside, values))
                    continue
                known = values >= 0
                for code, of in enumerate(column.levels):
                    if (values == code).sum() >= FEWEST_OF_A_LEVEL:
                        effect = associations.compare_shares(inside[known], (values == code)[known])
                        yield name, column.name, of, *_cells(effect)


def _directions(collection: Collection, columns: list[Column], rows: NDArray[np.int64]) -> Iterator[tuple]:
    for number in range(min(DIRECTIONS, collection.components.shape[1])):
        scores = collection.components[rows, number]
        for column in columns:
            effect = associations.along_direction(scores, column.values[rows])
            yield f"direction {number + 1}", column.name, "", *_cells(effect)


def _cells(effect: associations.Effect) -> tuple:
    return tuple(asdict(effect).values())


def _table(rows: list[tuple]) -> pd.DataFrame:
    """Rows without q as a table with it, the strongest evidence first."""
    table = pd.DataFrame(rows, columns=[name for name in ASSOCIATIONS if name != "q"])
    table = table.dropna(subset=["p"])
    table.insert(ASSOCIATIONS.index("q"), "q", associations.benjamini_hochberg(table["p"].to_numpy(np.float64)))
    return table.sort_values(["q", "p"], kind="stable", ignore_index=True)


def _slices(collection: Collection) -> list[Slice]:
    """Where labels are doubtful, by metadata and by cluster."""
    if collection.run is None:
        return []
    wrong = collection.rows_of_run["suspect"] == 1
    parts = []
    for column in [
        *collection.metadata.columns,
        *(c for c in collection.columns if c.name.startswith("cluster, level")),
    ]:
        if column.is_category:
            parts.append((column.name, column.values, column.levels))
            continue
        edges = np.unique(np.nanquantile(column.values, [0.25, 0.5, 0.75]))
        codes = np.where(column.known, np.searchsorted(edges, column.values, side="right"), -1)
        names = [
            f"below {edges[0]:g}",
            *(f"{a:g} to {b:g}" for a, b in pairwise(edges)),
            f"{edges[-1]:g} and above",
        ]
        parts.append((column.name, codes.astype(np.int64), tuple(names)))
    return risks.slices(wrong, parts)
