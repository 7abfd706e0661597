"""The rounds of a run: what it held after labelling and after each update, who answered what when, and what changed.

`rounds/0000`, `rounds/0001` and so on each hold all files of the run as that round left them, and `round.json` with the
reasons. Nothing is ever taken out: restoring an old round makes a new one that is like it. The newest round is what the
folder of the run shows; a change that was stopped between the two is finished when the folder is next opened.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoannotate._internal.files import OF_A_RUN, Content, parts_of, plain_errors, write_files
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.runs.run import Run
from autoannotate.runs.save import OF_ROUNDS, OPTIONAL

ROUNDS = "rounds"


@dataclass(frozen=True)
class Change:
    """A label that a round changed, and why."""

    path: str
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class Round:
    """What happened in a round.

    Attributes
    ----------
    what : label, update, apply, queue (a person put images first) or restore
    made_at : UTC, ISO 8601
    answers : ids of all answers that count in it
    new : those that the round before did not have
    learnt : those that the other labels learn from since this update; `apply` only puts answers in the place of labels
    taken_back : those that counted and were undone since
    changes : labels that differ from the round before
    before, after : numbers to compare
    restored : the round that this one is like
    account : what became of the answers, see `answers.account`
    files : how many images were new, gone and changed
    proposals : groups of proposals that it decided, see `runs.proposals`
    """

    number: int
    what: str
    made_at: str
    answers: tuple[int, ...] = ()
    new: tuple[int, ...] = ()
    taken_back: tuple[int, ...] = ()
    changes: tuple[Change, ...] = ()
    strategy: str | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    restored: int | None = None
    learnt: tuple[int, ...] = ()
    account: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    proposals: tuple[Mapping[str, Any], ...] = ()


def rounds(folder: str | Path) -> list[Round]:
    """All rounds of the run in the folder, oldest first; one, the run itself, where it was never updated."""
    folder = Path(folder)
    kept = [_read(folder, number) for number in _numbers(folder)]
    return kept or [_first(folder)]


def estimates(folder: str | Path) -> list[dict[str, Any]]:
    """By round, oldest first: how many labels are answers, and the share of labels estimated to be wrong where it is known.

    None where the run was never updated.
    """
    folder = Path(folder)
    after = [_read(folder, number).after for number in _numbers(folder)]
    return [
        {"answered": one.get("answered", 0), "error_rate": one["estimated_error_rate"]}
        for one in after
        if one.get("estimated_error_rate") is not None
    ]


def learnt(told: Sequence[Round]) -> set[int]:
    """The ids of the answers that the labels of the newest of these rounds, all of a run, learnt from."""
    one = told[-1]
    while one.what in ("apply", "restore", "queue"):
        one = told[one.number - 1 if one.restored is None else one.restored]
    return set(one.answers)


def find_round(folder: str | Path, number: int) -> Round:
    """What happened in a round.

    Raises
    ------
    UsageError
        Where there is no such round.
    """
    load_round(folder, number)
    return rounds(folder)[number]


def load_round(folder: str | Path, number: int) -> Run:
    """The labels as the round left them.

    Raises
    ------
    UsageError
        Where there is no such round.
    """
    folder = Path(folder)
    numbers = _numbers(folder)
    if not numbers and number == 0:
        return Run.load(folder)
    if number not in numbers:
        last = max(numbers, default=0)
        there = f"rounds 0 to {last}" if last else "only round 0, the run itself"
        raise UsageError(f"There is no round {number} in {folder}: it has {there}.")
    return Run.load(_place(folder, number))


def keep(folder: str | Path, contents: Mapping[str, Content], record: Round) -> None:
    """Make a round the newest: all of it, or nothing.

    Parameters
    ----------
    contents : the files of the run by name, as `save.contents` gives them

    Raises
    ------
    OutputError
        Where the disk is full, or where another update of the same run was faster.
    """
    folder = Path(folder)
    if record.number and not _numbers(folder):
        files = _files(folder)
        keep(folder, files, _first(folder))
    place = _place(folder, record.number)
    with plain_errors(place, OF_A_RUN):
        place.parent.mkdir(exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".round-", dir=place.parent))
        try:
            written = {aside / name: contents[name] for name in OF_ROUNDS if name not in OPTIONAL or name in contents}
            written[aside / "round.json"] = (json.dumps(asdict(record), indent=1) + "\n").encode()
            write_files(written, OF_A_RUN)
            aside.chmod(0o755)
            if place.exists():
                raise OutputError(f"Another update of {folder} was faster: run this one again.")
            aside.rename(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    settle(folder)


def restore(folder: str | Path, number: int) -> Round:
    """Make the labels of an old round the current ones, as a new round. Answers stay as they are.

    Raises
    ------
    UsageError
        Where there is no such round, or it is the current one.
    """
    folder = Path(folder)
    old, new = load_round(folder, number), rounds(folder)[-1]
    if new.number == number:
        raise UsageError(f"Round {number} is the current one: there is nothing to restore.")
    now = Run.load(folder)
    labels = dict(zip(now.table["path"], now.table["label"], strict=True))
    changes = [
        Change(path, str(labels[path]), str(label), f"as in round {number}")
        for path, label in zip(old.table["path"], old.table["label"], strict=True)
        if labels.get(path, label) != label
    ]
    was = _read(folder, number)
    record = Round(
        new.number + 1, "restore", _now(), answers=was.answers, changes=tuple(changes), strategy=was.strategy,
        before=numbers_of(now), after=numbers_of(old), restored=number,
    )  # fmt: skip
    place = _place(folder, number)
    run = {**json.loads((place / "run.json").read_bytes()), "round": record.number}
    keep(folder, _files(place) | {"run.json": (json.dumps(run, indent=2) + "\n").encode()}, record)
    return record


def settle(folder: str | Path) -> None:
    """Finish what was stopped: put the files of the newest round in the folder of the run, where they are not there yet.

    run.json is put in place last, so it tells.
    """
    folder = Path(folder)
    numbers = _numbers(folder)
    if not numbers:
        return
    newest = _place(folder, numbers[-1])
    run = folder / "run.json"
    if not run.exists() or run.read_bytes() != (newest / "run.json").read_bytes():
        write_files({folder / name: content for name, content in _files(newest).items()}, OF_A_RUN)


def numbers_of(annotations: Run) -> dict[str, Any]:
    """What of a round is compared with another."""
    table = annotations.table
    return {
        "images": len(table),
        "suspects": len(annotations.suspects),
        "answered": int((table["source"] == "clinician").sum()),
        "mean_confidence": round(float(table["confidence"].mean()), 6) if len(table) else None,
        "estimated_error_rate": annotations.record.estimated_error_rate,
        "per_class": annotations.per_class,
    }


def _first(folder: Path) -> Round:
    """The run as `label` made it."""
    annotations = Run.load(folder)
    made = datetime.fromtimestamp((folder / "run.json").stat().st_mtime, UTC).isoformat(timespec="seconds")
    return Round(0, "label", made, after=numbers_of(annotations))


def _read(folder: Path, number: int) -> Round:
    file = _place(folder, number) / "round.json"
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        known["changes"] = tuple(Change(**change) for change in known["changes"])
        known |= {name: tuple(known.get(name, ())) for name in ("answers", "new", "taken_back", "learnt", "proposals")}
        return Round(**known)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file} cannot be read ({error}).") from error


def _numbers(folder: Path) -> list[int]:
    with contextlib.suppress(OSError):
        return sorted(int(item.name) for item in (folder / ROUNDS).iterdir() if item.name.isdecimal())
    return []


def _files(place: Path) -> dict[str, Content]:
    """The files of a run or a round by name, read as they are written; the optional ones may be missing."""
    return {name: parts_of(place / name) for name in OF_ROUNDS if name not in OPTIONAL or (place / name).exists()}


def _place(folder: Path, number: int) -> Path:
    return folder / ROUNDS / f"{number:04}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
