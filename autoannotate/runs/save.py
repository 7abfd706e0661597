"""Saving a run: all of its files or none, and never over a clinician's answers."""

from __future__ import annotations

import json
import math
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoannotate._internal.files import Content, plain_errors, write_files
from autoannotate.errors import InputError, OutputError
from autoannotate.runs import student_predictions, tables
from autoannotate.runs.run import FINDINGS, FINDINGS_FILE, ISSUES_FILE, LABELS, Run

FILES = ("labels.csv", "suspects.csv", "unreadable.csv", "probabilities.csv", "report.html", "run.json")
"""What `save` writes, in the order in which the files are put in place: a folder with a run.json is whole. (Runs of 0.1.0 have
no probabilities.csv.)"""
OF_ROUNDS = (FINDINGS_FILE, ISSUES_FILE, *FILES)
"""What each round of a run keeps; findings.csv is of runs with several findings an image, issues.csv of audits."""
OPTIONAL = (FINDINGS_FILE, ISSUES_FILE, "probabilities.csv")


def save(run: Run, folder: str | Path, overwrite: bool = False) -> None:
    """Write `FILES` and, where a student was trained, student.npz: all or none.

    Raises
    ------
    OutputError
        As `ensure_writable` does, and where the disk is full.
    """
    folder = Path(folder)
    ensure_writable(folder, overwrite)
    written = contents(run)
    with plain_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    optional: dict[str, Content] = {student_predictions.FILE: run.student} if run.student is not None else {}
    if run.proposals is not None:
        optional[tables.PROPOSALS_FILE] = tables.csv_parts(run.proposals)
    write_files({folder / name: content for name, content in (optional | written).items()})
    for name in {student_predictions.FILE, tables.PROPOSALS_FILE, *OF_ROUNDS} - (optional | written).keys():
        with plain_errors(folder):
            (folder / name).unlink(missing_ok=True)
    for leftover in folder.glob(".*.partial"):  # of a save that was killed: this one holds the folder's lock
        with plain_errors(folder):
            leftover.unlink(missing_ok=True)
    object.__setattr__(run, "folder", folder)


def contents(run: Run) -> dict[str, Content]:
    """What `save` writes, by the name of the file."""
    from autoannotate.runs.report import render_report

    known: dict[str, Content] = (
        {} if run.probabilities is None else {"probabilities.csv": tables.csv_parts(run.probabilities)}
    )
    if run.findings is not None:
        known[FINDINGS_FILE] = tables.csv_parts(run.findings)
    if run.issues is not None:
        known[ISSUES_FILE] = tables.csv_parts(run.issues)
    return known | {
        "labels.csv": tables.csv_parts(run.table),
        "suspects.csv": tables.csv_parts(run.suspects),
        "unreadable.csv": tables.csv_parts(run.unreadable),
        "report.html": render_report(run).encode("utf-8", errors="replace"),
        "run.json": (json.dumps(_as_json(run.run), indent=2) + "\n").encode(),
    }


def ensure_writable(folder: Path, overwrite: bool = False) -> None:
    """Make sure, before any work starts, that a run can be saved in the folder; nothing is left behind.

    Only an empty or new folder takes a run; with `overwrite` also one that holds an earlier run, of which the files are
    replaced and all else stays. A folder with answers by clinicians is never written over.

    Raises
    ------
    OutputError
        With the ways out.
    """
    with plain_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is a file, and a run needs a folder: choose another with --out.")
        inside = folder.iterdir() if folder.exists() else []
        there = [item.name for item in inside if not item.name.startswith(".")]
        if "run.json" in there:
            if not overwrite:
                raise OutputError(
                    f"{folder} already holds a run: choose another folder with --out, or replace it with --overwrite. What has "
                    "been answered since, and images that joined, are taken in by: autoannotate update "
                    f"{shlex.quote(str(folder))}"
                )
            if _answered(folder, there):
                raise OutputError(
                    f"{folder} holds answers by clinicians, which are never written over: choose another "
                    "folder with --out."
                )
        elif there and not _interrupted(folder, there):
            raise OutputError(
                f"{folder} holds files that are not a run of autoannotate ({min(there)}), and they are left "
                "alone: choose a new or empty folder with --out."
            )
        existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        # Asking the system for permission is not enough (read-only disks, network shares): try it.
        if not existing.is_dir():
            raise OutputError(f"{existing} is a file, so {folder} cannot be made: choose another with --out.")
        with tempfile.TemporaryFile(dir=existing, prefix=".autoannotate-"):
            pass


def _interrupted(folder: Path, there: list[str]) -> bool:
    """Whether all that is in the folder was left by a save that was killed while it put its files in place."""
    known = {*FILES, student_predictions.FILE, ISSUES_FILE, FINDINGS_FILE}
    return known.issuperset(there) and any(folder.glob(".run.json.*.partial"))


def _answered(folder: Path, there: list[str]) -> bool:
    if any(name.startswith("answers") or name == "rounds" for name in there):
        return True
    try:
        of_findings = FINDINGS_FILE in there
        table = (
            tables.read(folder / FINDINGS_FILE, FINDINGS) if of_findings else tables.read(folder / "labels.csv", LABELS)
        )
        trusted, nothing = ("trusted_value", "-1") if of_findings else ("trusted_label", "")
        from_file = table[trusted].astype(str) != nothing if trusted in table else False
        return bool(((table["source"] == "clinician") & ~np.asarray(from_file)).any())
    except InputError:
        return "labels.csv" in there  # unreadable to us: it may hold anything, so it stays


def _as_json(value: Any) -> Any:
    """NumPy numbers and arrays, paths and numbers that are not finite, as every reader of JSON knows them."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):
        return _as_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} cannot be kept in run.json")
