"""Label new images by a run or a saved labeller."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from autoannotate._internal.files import plain_errors, write_files
from autoannotate._internal.progress import Track, silent
from autoannotate.annotator.annotator import Annotator
from autoannotate.annotator.labeller import ABOUT, FOLDER, Labeller, digest, learn
from autoannotate.errors import OutputError
from autoannotate.images import PassedOver, find
from autoannotate.images.hashed_paths import hashed
from autoannotate.images.items import items_of
from autoannotate.runs import tables
from autoannotate.runs.build import item_columns
from autoannotate.runs.pictures import pictures_of
from autoannotate.runs.run import UNREADABLE, Run, check_single_labels

FILES = ("labels.csv", "probabilities.csv", "unreadable.csv")


@dataclass(frozen=True, eq=False)
class Predicted:
    """Tables as `predict` writes them, the labeller that made them, and the files that are no images, by kind."""

    table: pd.DataFrame
    probabilities: pd.DataFrame
    unreadable: pd.DataFrame
    labeller: Labeller
    passed_over: tuple[PassedOver, ...] = ()


def labeller_of(folder: Path, *, device: str = "auto", images: Path | None = None, track: Track = silent) -> Labeller:
    """The labeller in a folder, or of the run in it: made once and kept in `labeller`, again where labels changed.

    Raises
    ------
    InputError
        Where there is neither, or the images of the run are gone.
    """
    if (folder / ABOUT).is_file():
        return Labeller.load(folder)
    run = Run.load(folder)
    check_single_labels(run, "predict")
    place = folder / FOLDER
    if (place / ABOUT).is_file():
        kept = Labeller.load(place)
        if kept.about["labels"] == digest(run):
            return kept
    made = learn(
        run,
        pictures_of(run.record, list(run.table["path"]), images, folder),
        Annotator.from_run(run, device=device),
        track,
    )
    made.save(place)
    return made


def predict(
    labeller: Labeller,
    images: str | Path,
    *,
    device: str = "auto",
    cache: Path | bool = True,
    item: str | None = None,
    hash_paths: bool = False,
    track: Track = silent,
) -> Predicted:
    """Label images in one pass; nothing is learned from them.

    Parameters
    ----------
    item : what gets one label, see `images.items.items_of`; by default what it was in the run
    hash_paths : keyed hashes in place of the names of files and folders, see `images.hashed_paths`
    """
    annotator = labeller.annotator(device, cache)
    found = find(images)
    refs = hashed(found.refs) if hash_paths else found.refs
    items = items_of(refs, item or str(labeller.about.get("item") or "image"))
    encoded = annotator.encode([each.middle for each in items], track)
    table = labeller.predict(encoded.features, encoded.embeddings, annotator.encoder.logit_scale)
    table.insert(0, "path", [ref.path for ref in encoded.refs])
    table = table.assign(
        note=[encoded.notes.get(ref.path, "") for ref in encoded.refs], **(item_columns(encoded.refs) or {})
    )
    shares = pd.DataFrame(labeller.model.predict_proba(encoded.features), columns=labeller.model.classes_.astype(str))
    shares = shares.reindex(columns=labeller.classes, fill_value=0.0)
    shares.insert(0, "path", table["path"])
    unreadable = pd.DataFrame(encoded.unreadable, columns=list(UNREADABLE))
    return Predicted(table, shares, unreadable, labeller, found.passed_over)


def save(predicted: Predicted, folder: Path, overwrite: bool = False) -> None:
    """Write the tables. Raises `OutputError` where they are there already, or cannot be written."""
    with plain_errors(folder):
        if not overwrite and any((folder / name).exists() for name in FILES):
            raise OutputError(f"{folder} already holds labels: choose another folder with --out, or add --overwrite.")
        folder.mkdir(parents=True, exist_ok=True)
    parts = (predicted.table, predicted.probabilities, predicted.unreadable)
    write_files({folder / name: tables.to_csv(part) for name, part in zip(FILES, parts, strict=True)})
