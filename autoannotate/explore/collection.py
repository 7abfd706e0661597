"""A collection to explore: a run, or images before any labels, with its map, groups, covariates and what goes with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoannotate._internal.progress import Track, silent
from autoannotate.annotator.annotator import Annotator
from autoannotate.annotator.embedded_rows import refs_of, rows_of
from autoannotate.annotator.findings_annotator import annotator_of
from autoannotate.errors import InputError, UsageError
from autoannotate.explore import groups as grouping
from autoannotate.explore import maps
from autoannotate.explore.dicom_tags import with_tags
from autoannotate.explore.groups import Cluster
from autoannotate.images import ImageRef, find_images
from autoannotate.labelling.features import principal_axes
from autoannotate.labelling.neighbours import Neighbours, near_duplicate_groups, nearest
from autoannotate.runs.metadata import Column, Metadata, read_metadata
from autoannotate.runs.run import Run

if TYPE_CHECKING:
    from autoannotate.models.encoder import Encoder

DIMENSIONS = 64
NEIGHBOURS = 15
FOUND, LEAST_FOUND = 200, 24  # images that a search finds: at most, and at least where there are as many
OF_RUN = ("label", "confidence", "suspect", "suspect_score", "source", "clip_label")
NO_CLASSES = ("image", "other")  # an Annotator wants two classes, though nothing is labelled here


@dataclass(frozen=True)
class Projection:
    """Features centred and on their first principal axes; `unit` gives rows of length 1."""

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    @classmethod
    def of(cls, features: NDArray[np.floating], dimensions: int = DIMENSIONS) -> Projection:
        """The principal axes of features (N, F)."""
        mean = features.mean(axis=0, dtype=np.float64)
        return cls(mean.astype(np.float32), principal_axes(features - mean, dimensions).astype(np.float32))

    def unit(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, F) features as (N, d) unit rows."""
        found = (np.asarray(features, dtype=np.float32) - self.mean) @ self.axes
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-12))


@dataclass(frozen=True, eq=False)
class Collection:
    """N images to look at.

    Parameters
    ----------
    title : str
    refs : sequence of ImageRef
        Where the pictures are.
    embeddings : ndarray of shape (N, D)
        In the space of the texts, unit rows.
    points : ndarray of shape (N, d)
        The features that neighbours, groups and the map come from, unit rows, by `projection`.
    components : ndarray of shape (N, d)
        Standardised components of the features: what covariates are predicted from.
    neighbours : Neighbours
    place : ndarray of shape (N, 2)
        The map.
    levels : ndarray of shape (L, N)
        Clusters, coarse levels first.
    same : ndarray of shape (N,)
        Ids of near-duplicate groups.
    outlier_scores : ndarray of shape (N,)
    metadata : Metadata
    run : Run, optional
        The labels, where there are some.
    pictures : bool
        Whether there are pictures to look at: embeddings of a file may come without.
    """

    title: str
    refs: Sequence[ImageRef]
    embeddings: NDArray[np.float32]
    projection: Projection
    points: NDArray[np.float32]
    components: NDArray[np.float32]
    neighbours: Neighbours
    place: NDArray[np.float32]
    levels: NDArray[np.int64]
    same: NDArray[np.int64]
    outlier_scores: NDArray[np.float64]
    metadata: Metadata
    annotator: Annotator
    seed: int
    run: Run | None = None
    pictures: bool = True

    @cached_property
    def paths(self) -> list[str]:
        """(N,) paths, in the order of the images."""
        return [ref.path for ref in self.refs]

    @property
    def encoder(self) -> Encoder:
        """The encoder that search by words and pictures asks."""
        return self.annotator.encoder

    @cached_property
    def rows_of_run(self) -> Mapping[str, NDArray]:
        """The columns of labels.csv in the order of the images; empty before any labels."""
        if self.run is None:
            return {}
        table = self.run.table.set_index("path").reindex(self.paths)
        return {name: table[name].to_numpy() for name in OF_RUN}

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) number of each label in `classes`; -1 before any labels, and for a label that is no class."""
        if self.run is None:
            return np.full(len(self.refs), -1)
        number = {name: k for k, name in enumerate(self.classes)}
        return np.array([number.get(str(name), -1) for name in self.rows_of_run["label"]], dtype=np.int64)

    @property
    def classes(self) -> list[str]:
        """The classes of the run; none where there is no run."""
        return [] if self.run is None else list(self.run.record.classes)

    @cached_property
    def columns(self) -> list[Column]:
        """What the map can be coloured by: the run's columns, clusters, then the metadata."""
        own = [_of_run(name, values) for name, values in self.rows_of_run.items()]
        clusters = [
            Column(f"cluster, level {level + 1}", codes, tuple(str(k + 1) for k in range(int(codes.max()) + 1)))
            for level, codes in enumerate(self.levels)
        ]
        taken = {column.name for column in own}
        given = [
            Column(f"{column.name} (metadata)", column.values, column.levels) if column.name in taken else column
            for column in self.metadata.columns
        ]
        return own + clusters + given + [Column("outlier score", self.outlier_scores)]

    @cached_property
    def clusters(self) -> list[Cluster]:
        """The clusters of all levels, the coarsest level first."""
        return grouping.describe(self.levels, self.points, self.same)

    @cached_property
    def duplicates(self) -> list[NDArray[np.int64]]:
        """Groups of two and more that are nearly the same picture, the largest first."""
        order = np.argsort(self.same, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(self.same))[:-1])
        return sorted((part for part in parts if len(part) > 1), key=lambda part: (-len(part), part[0]))

    @cached_property
    def outliers(self) -> NDArray[np.int64]:
        """Rows of the images that are least like any other, the oddest first."""
        return grouping.outliers(self.outlier_scores)

    @cached_property
    def words(self) -> list[list[str]]:
        """For each cluster, what kinds of image it looks like by the text tower."""
        from autoannotate.labelling.zero_shot.classifier import class_embeddings
        from autoannotate.labelling.zero_shot.prompts import modality_prompts

        if not self.speaks:
            return [[] for _ in self.clusters]
        kinds = modality_prompts(self.annotator.prompts)
        texts = class_embeddings([self.encoder.encode_texts(kind.texts) for kind in kinds])
        centres = np.stack([self.embeddings[cluster.rows].mean(axis=0) for cluster in self.clusters])
        return [[kinds[k].name for k in row] for row in grouping.words_of(centres, self.embeddings, texts, most=2)]

    @property
    def speaks(self) -> bool:
        """Whether the embeddings are in the space of the encoder's texts."""
        return self.embeddings.shape[1] == self.encoder.embed_dim

    def search(self, words: str) -> NDArray[np.int64]:
        """The rows that fit the words best, the best first: `FOUND`, or a tenth of a small collection."""
        if not self.speaks:
            raise InputError(
                "These embeddings are another model's, which knows no words: search by a picture of the map."
            )
        query = self.encoder.encode_texts([words])[0].astype(np.float32)
        return _best(self.embeddings @ query)

    def similar(self, row: int) -> NDArray[np.int64]:
        """The rows most like one, itself first."""
        return _best(self.points @ self.points[row])

    def like_picture(self, picture: Any) -> NDArray[np.int64]:
        """The rows most like a picture (a PIL image) that need not be of the collection."""
        if self.annotator.embeddings is not None:
            raise InputError("The map is of another model's embeddings, which are not known of this picture.")
        features = self.encoder.encode_images([picture], closer=True).features
        return _best(self.points @ self.projection.unit(features)[0])


def open_collection(
    source: Path,
    *,
    images: Path | None = None,
    metadata: Path | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
    model: str = "embedded",
    device: str = "auto",
    cache: Path | bool = True,
    seed: int = 0,
    track: Track = silent,
) -> Collection:
    """A run's folder, or images, as a collection.

    Parameters
    ----------
    source : Path
        The folder of a run, or images.
    images : Path, optional
        Where a run's images are now, if they moved.
    metadata, group
        See `read_metadata`.
    tags
        DICOM attributes that are covariates too, see `dicom_tags.SAFE`.
    model, device, cache
        For images before any labels; a run knows its own.

    Raises
    ------
    InputError
        There is no image to look at, or the metadata is about none of them.
    """
    if group is not None and metadata is None:
        raise UsageError("--group names a column of --metadata: give that table too, or leave --group out.")
    run = Run.load(source) if (source / "run.json").is_file() else None
    if run is None:
        refs, pictures = find_images(source), True
        annotator = Annotator(NO_CLASSES, model, device=device, cache=cache, seed=seed)
    else:
        from autoannotate.review.server import pictures_of

        annotator = annotator_of(run, device=device)
        pictures = annotator.embeddings is None or run.record.arguments.get("images") is not None or images is not None
        refs = pictures_of(source, images) if pictures else refs_of(annotator.embeddings, list(run.table["path"]))
    if len(refs) < 2:
        raise InputError("A map needs two images or more.")
    encoded = annotator.encode(refs, track) if pictures else rows_of(annotator.embeddings, refs)
    known = Metadata.none(len(encoded.refs))
    if metadata is not None:
        known = read_metadata(metadata, [ref.path for ref in encoded.refs], group)
    if tags:
        known = with_tags(known, encoded.refs, tags, track)
    steps = iter(track(["neighbours", "groups", "map"], "making the map", 3))
    next(steps)
    projection = Projection.of(encoded.features)
    points = projection.unit(encoded.features)
    near = nearest(points.astype(np.float64), NEIGHBOURS)
    next(steps)
    levels = grouping.cluster_levels(near, seed)
    next(steps)
    place = maps.layout(points, seed=seed)
    next(steps, None)
    return Collection(
        title=source.resolve().name,
        refs=encoded.refs,
        embeddings=np.asarray(encoded.embeddings, dtype=np.float32),
        projection=projection,
        points=points,
        components=maps.standardised_components(encoded.features, DIMENSIONS),
        neighbours=near,
        place=place,
        levels=levels,
        same=near_duplicate_groups(near),
        outlier_scores=grouping.outlier_scores(near),
        metadata=known,
        annotator=annotator,
        seed=seed,
        run=run,
        pictures=pictures,
    )


def _of_run(name: str, values: NDArray) -> Column:
    """One column of labels.csv: text and yes or no as categories, the others as numbers."""
    if name == "suspect":
        return Column(name, np.array([-1 if v != v else int(v) for v in values], dtype=np.int64), ("no", "yes"))
    if name in ("confidence", "suspect_score"):
        return Column(name, np.asarray(values, dtype=np.float64))
    levels = sorted({str(v) for v in values if v == v})
    number = {level: i for i, level in enumerate(levels)}
    return Column(name, np.array([number.get(str(v), -1) for v in values], dtype=np.int64), tuple(levels) or ("",))


def _best(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """The rows with the highest scores, the highest first."""
    most = min(FOUND, len(scores), max(LEAST_FOUND, len(scores) // 10))
    rows = np.argpartition(-scores, most - 1)[:most]
    return rows[np.argsort(-scores[rows], kind="stable")]
