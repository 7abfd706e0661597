"""A map: two dimensions in which near images stay near. Array in, array out."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoannotate.errors import UsageError

PERPLEXITY = 30.0
FEWEST = 10  # images, below which the first two principal components are the map


def layout(points: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.float32]:
    """The map of points (N, D): (N, 2), centred, the same on every call.

    Notes
    -----
    t-SNE by openTSNE (Policar, Strazar and Zupan 2024), begun from principal components, as Kobak and Berens (2019,
    doi 10.1038/s41467-019-13056-x) advise. Measured against UMAP and PaCMAP in eval/explore/map.md: the most faithful at
    some thousand images, and quicker than UMAP.

    Raises
    ------
    UsageError
        Where the extra `explore` is not installed.
    """
    points = np.asarray(points, dtype=np.float32)
    if len(points) < FEWEST:
        return principal_components(points)
    tsne = extra("openTSNE").TSNE(
        perplexity=min(PERPLEXITY, (len(points) - 1) / 3), initialization="pca", random_state=seed, n_jobs=1
    )
    found = np.asarray(tsne.fit(points), dtype=np.float32)
    return found - found.mean(axis=0)


def principal_components(points: NDArray[np.floating], dimensions: int = 2) -> NDArray[np.float32]:
    """The leading principal components of points (N, D), (N, `dimensions`); zeros where the points have fewer."""
    from autoannotate.labelling.features import principal_axes

    centred = np.asarray(points, dtype=np.float64) - np.mean(points, axis=0, dtype=np.float64)
    found = centred @ principal_axes(centred, dimensions)
    return np.pad(found, ((0, 0), (0, dimensions - found.shape[1]))).astype(np.float32)


def standardised_components(features: NDArray[np.floating], dimensions: int = 64) -> NDArray[np.float32]:
    """Principal components of features (N, F) of unit variance: what covariates are predicted from.

    On OASIS they tell age and brain volume better than components of the features as they are: eval/explore/associations.md.
    """
    features = np.asarray(features, dtype=np.float32)
    spread = features.std(axis=0)
    return principal_components((features - features.mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0), dimensions)


def extra(module: str) -> Any:
    """A module of the extra `explore`.

    Raises
    ------
    UsageError
        With the way out where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError("Exploring needs two more packages: pip install 'autoannotate[explore]'") from None
