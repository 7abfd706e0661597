"""Label new images by a run or a saved labeller."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoannotate._internal.files import plain_errors, write_files
from autoannotate._internal.progress import Track, silent
from autoannotate.annotator.annotator import STUDENT_SIDE
from autoannotate.annotator.embedded_rows import refs_of
from autoannotate.annotator.findings_annotator import annotator_of
from autoannotate.annotator.findings_labeller import FindingsLabeller, findings_digest, learn_findings
from autoannotate.annotator.labeller import ABOUT, FOLDER, Labeller, digest, learn
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.images import ImageRef, PassedOver, find, read_image
from autoannotate.images.hashed_paths import hashed, without_names
from autoannotate.images.items import items_of
from autoannotate.models.embeddings_file import read_embeddings
from autoannotate.runs import tables
from autoannotate.runs.build import item_columns
from autoannotate.runs.pictures import pictures_of
from autoannotate.runs.run import FINDINGS_FILE, UNREADABLE, Run

FILES = ("labels.csv", "probabilities.csv", "unreadable.csv")
AnyLabeller = Labeller | FindingsLabeller


@dataclass(frozen=True, eq=False)
class Predicted:
    """Tables as `predict` writes them, the labeller that made them, and files that are no images, by kind; findings where an
    image can show several."""

    table: pd.DataFrame
    probabilities: pd.DataFrame
    unreadable: pd.DataFrame
    labeller: AnyLabeller
    passed_over: tuple[PassedOver, ...] = ()
    findings: pd.DataFrame | None = None
    refs: tuple[ImageRef, ...] = ()


def labeller_of(
    folder: Path, *, device: str = "auto", images: Path | None = None, track: Track = silent
) -> AnyLabeller:
    """The labeller in a folder, or of the run in it: made once and kept in `labeller`, again where labels changed.

    Raises
    ------
    InputError
        Where there is neither, or the images of the run are gone.
    """
    if (folder / ABOUT).is_file():
        return load_labeller(folder)
    run = Run.load(folder)
    several = bool(run.record.findings)
    place = folder / FOLDER
    if (place / ABOUT).is_file():
        with suppress(InputError):  # broken, or of another version: it is made again
            kept = load_labeller(place)
            if kept.about["labels"] == (findings_digest if several else digest)(run):
                return kept
    annotator, names = annotator_of(run, device=device), list(run.table["path"])
    by_file = annotator.embeddings is not None
    refs = refs_of(annotator.embeddings, names) if by_file else pictures_of(run.record, names, images, folder)
    made = (learn_findings if several else learn)(run, refs, annotator, track)
    made.save(place)
    return made


def load_labeller(folder: Path) -> AnyLabeller:
    """The labeller that was saved in a folder, of classes or of findings.

    Raises
    ------
    InputError
        Where it is broken.
    """
    try:
        several = "findings" in json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        several = False
    return FindingsLabeller.load(folder) if several else Labeller.load(folder)


def predict(
    labeller: AnyLabeller,
    images: str | Path | None,
    *,
    embeddings: Path | None = None,
    device: str = "auto",
    cache: Path | bool = True,
    item: str | None = None,
    hash_paths: bool = False,
    include: Collection[str] = (),
    track: Track = silent,
) -> Predicted:
    """Label images in one pass; nothing is learned from them.

    Parameters
    ----------
    embeddings : of the images, where the labeller learned from another model's; then `images` may be left out
    item : what gets one label, see `images.items.items_of`; by default what it was in the run
    hash_paths : keyed hashes in place of the names of files and folders, see `images.hashed_paths`
    include : kinds of files that are else passed over, see `images.find`

    Raises
    ------
    UsageError
        Where there are neither images nor embeddings, or the labeller learned from the other.
    InputError
        Where the embeddings are of another length.
    """
    if embeddings is not None or (isinstance(labeller, Labeller) and labeller.of_file):
        return _of_embeddings(labeller, images, embeddings)
    if images is None:
        raise UsageError("Name the new images, as in autoannotate predict DIR IMAGES.")
    annotator = labeller.annotator(device, cache)
    found = find(images, include)
    found = without_names(found) if hash_paths else found
    items = items_of(hashed(found.refs) if hash_paths else found.refs, item or str(labeller.about["item"]))
    encoded = annotator.encode([each.middle for each in items], track)
    scale, paths = annotator.encoder.logit_scale, [ref.path for ref in encoded.refs]
    if isinstance(labeller, FindingsLabeller):
        table, findings = labeller.predict(paths, encoded.features, encoded.embeddings, scale)
        shares = findings.pivot(index="path", columns="finding", values="probability")
        shares = shares.loc[paths, labeller.findings].reset_index()
        unreadable = pd.DataFrame(encoded.unreadable, columns=list(UNREADABLE))
        made = Predicted(table, shares, unreadable, labeller, findings=findings)
    else:
        steps = track(encoded.refs, "student", len(encoded.refs)) if labeller.students else ()
        pictures = (read_image(ref, STUDENT_SIDE) for ref in steps)
        table, probabilities = labeller.predict(encoded.features, encoded.embeddings, scale, pictures, device)
        made = _predicted(labeller, paths, table, probabilities, encoded.unreadable)
    table = made.table.assign(
        note=[encoded.notes.get(ref.path, "") for ref in encoded.refs], **(item_columns(encoded.refs) or {})
    )
    return replace(made, table=table, passed_over=found.passed_over, refs=tuple(encoded.refs))


def _of_embeddings(labeller: AnyLabeller, images: str | Path | None, embeddings: Path | None) -> Predicted:
    """By the embeddings of another model."""
    if not isinstance(labeller, Labeller) or not labeller.of_file:
        raise UsageError("This labeller learned from the encoder's own features: leave --embeddings out.")
    if embeddings is None:
        raise UsageError(
            "This labeller learned from embeddings of a file: give those of the new images by --embeddings."
        )
    given = read_embeddings(embeddings)
    paths = list(given.names) if images is None else [ref.path for ref in find(images).refs]
    values = given.values if images is None else given.of(paths)
    if values.shape[1] != labeller.model.n_features_in_:
        raise InputError(
            f"{embeddings} has embeddings of {values.shape[1]:,} numbers, and the labeller learned from "
            f"{labeller.model.n_features_in_:,}: they must be of the same model."
        )
    table, probabilities = labeller.predict(values, None, 1.0)
    return _predicted(labeller, paths, table, probabilities, [])


def _predicted(
    labeller: Labeller,
    paths: list[str],
    table: pd.DataFrame,
    probabilities: NDArray[np.float64],
    unreadable: Sequence[tuple[str, str]],
) -> Predicted:
    table.insert(0, "path", paths)
    shares = pd.DataFrame(probabilities, columns=labeller.model.classes_.astype(str))
    shares = shares.reindex(columns=labeller.classes, fill_value=0.0)
    shares.insert(0, "path", table["path"])
    return Predicted(table, shares, pd.DataFrame(unreadable, columns=list(UNREADABLE)), labeller)


def export_onnx(labeller: AnyLabeller, predicted: Predicted, file: Path) -> float:
    """Write a labeller as ONNX, checked on pictures that it just labelled, see `onnx_export.export`: the largest difference."""
    from autoannotate.annotator.onnx_export import CHECKED, export

    if not isinstance(labeller, Labeller):
        raise UsageError("--onnx is for runs with one class an image, and this one has findings.")
    if labeller.of_file:
        raise UsageError("This labeller reads another model's embeddings: there is no encoder to export.")
    pictures = [read_image(ref) for ref in predicted.refs[:CHECKED]]
    return export(labeller, labeller.annotator("cpu").encoder, pictures, file)


def save(predicted: Predicted, folder: Path, overwrite: bool = False) -> None:
    """Write the tables.

    Raises
    ------
    OutputError
        Where they are there already, or cannot be written.
    """
    with plain_errors(folder):
        if not overwrite and any((folder / name).exists() for name in FILES):
            raise OutputError(f"{folder} already holds labels: choose another folder with --out, or add --overwrite.")
        folder.mkdir(parents=True, exist_ok=True)
    parts = (predicted.table, predicted.probabilities, predicted.unreadable)
    written = {folder / name: tables.to_csv(part) for name, part in zip(FILES, parts, strict=True)}
    if predicted.findings is not None:
        written[folder / FINDINGS_FILE] = tables.to_csv(predicted.findings)
    write_files(written)
    if predicted.findings is None:
        with plain_errors(folder):
            (folder / FINDINGS_FILE).unlink(missing_ok=True)
