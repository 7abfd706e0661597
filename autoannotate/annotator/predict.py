"""Label new images by a run or a saved labeller."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from autoannotate._internal.files import plain_errors, write_files
from autoannotate._internal.progress import Track, silent
from autoannotate.annotator.findings_annotator import annotator_of
from autoannotate.annotator.findings_labeller import FindingsLabeller, findings_digest, learn_findings
from autoannotate.annotator.labeller import ABOUT, FOLDER, Labeller, digest, learn
from autoannotate.errors import OutputError
from autoannotate.images import PassedOver, find
from autoannotate.images.hashed_paths import hashed
from autoannotate.images.items import items_of
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
        kept = load_labeller(place)
        if kept.about["labels"] == (findings_digest if several else digest)(run):
            return kept
    refs = pictures_of(run.record, list(run.table["path"]), images, folder)
    made = (learn_findings if several else learn)(run, refs, annotator_of(run, device=device), track)
    made.save(place)
    return made


def load_labeller(folder: Path) -> AnyLabeller:
    """The labeller that was saved in a folder, of classes or of findings. Raises `InputError` where it is broken."""
    try:
        several = "findings" in json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        several = False
    return FindingsLabeller.load(folder) if several else Labeller.load(folder)


def predict(
    labeller: AnyLabeller,
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
    scale, paths, findings = annotator.encoder.logit_scale, [ref.path for ref in encoded.refs], None
    if isinstance(labeller, FindingsLabeller):
        table, findings = labeller.predict(paths, encoded.features, encoded.embeddings, scale)
        shares = findings.pivot(index="path", columns="finding", values="probability")
        shares = shares.loc[paths, labeller.findings].reset_index()
    else:
        table = labeller.predict(encoded.features, encoded.embeddings, scale)
        table.insert(0, "path", paths)
        learned = labeller.model.classes_.astype(str)
        shares = pd.DataFrame(labeller.model.predict_proba(encoded.features), columns=learned)
        shares = shares.reindex(columns=labeller.classes, fill_value=0.0)
        shares.insert(0, "path", table["path"])
    table = table.assign(
        note=[encoded.notes.get(ref.path, "") for ref in encoded.refs], **(item_columns(encoded.refs) or {})
    )
    unreadable = pd.DataFrame(encoded.unreadable, columns=list(UNREADABLE))
    return Predicted(table, shares, unreadable, labeller, found.passed_over, findings)


def save(predicted: Predicted, folder: Path, overwrite: bool = False) -> None:
    """Write the tables. Raises `OutputError` where they are there already, or cannot be written."""
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
