"""The sets of these pages: images encoded once by the embedded encoder, with the columns of their tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoannotate import Annotator
from autoannotate.images import find_images


@dataclass(frozen=True, eq=False)
class EncodedSet:
    """features: (N, F). embeddings: (N, D). table: N rows, the set's labels.csv in the order of the images."""

    features: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    table: pd.DataFrame


def encoded_set(folder: Path, work: Path) -> EncodedSet:
    """A folder with labels.csv and images/, encoded once; what was encoded is kept in `work`."""
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    kept = work / f"{folder.name}.npz"
    if not kept.exists():
        found = Annotator(["one", "other"]).encode(find_images(folder))
        names = np.array([ref.path for ref in found.refs])
        work.mkdir(parents=True, exist_ok=True)
        np.savez(kept, features=found.features, embeddings=found.embeddings, names=names)
    with np.load(kept) as held:
        row = {name: i for i, name in enumerate(held["names"].tolist())}
        table = table[table["path"].isin(list(row))].reset_index(drop=True)
        rows = np.array([row[path] for path in table["path"]])
        return EncodedSet(held["features"][rows], held["embeddings"][rows], table)
