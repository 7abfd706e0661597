"""Repeat a protocol over seeds and methods: in several processes or one, to be stopped and taken up again, always with the
same numbers.

One unit of work is one method in one run. Each finished unit is a line of DIR/runs.jsonl, written at once; a second call
with the same settings does the units that are missing. Every unit is computed with one thread, whatever the number of
processes: sums then have one order, and a table made on two cores can be made again on eight.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from autoannotate._internal.files import plain_errors, write_files
from autoannotate._internal.progress import Track, silent
from autoannotate._internal.version import __version__
from autoannotate.errors import AutoannotateError, InputError, UsageError
from autoannotate.evaluation.labelled_set import LabelledSet, balanced_sample, squashed
from autoannotate.evaluation.protocols import EvaluationProtocol, chosen_methods, find_protocol
from autoannotate.evaluation.study import SAMPLE, Options, Study, annotator_for
from autoannotate.models.student_checkpoint import check_student

RECORDS = "runs.jsonl"
MIXED = "Some runs were made before the code of autoannotate changed: for one table of one code, repeat it with --overwrite."


@dataclass(frozen=True)
class Record:
    """One method in one run: metrics by name, the points of its curve, the sentence with which it failed or ""."""

    run: int
    seed: int
    method: str
    metrics: dict[str, float]
    curve: list[dict[str, float]]
    failed: str
    note: str
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """Everything a report needs: what was asked, and a record for each run and method, runs first, in order."""

    protocol: str
    methods: tuple[str, ...]
    records: list[Record]
    settings: dict[str, Any]
    notes: tuple[str, ...]


def evaluate(
    protocol: str,
    data: LabelledSet,
    out: Path,
    *,
    runs: int = 5,
    seed: int = 0,
    jobs: int = 1,
    methods: Sequence[str] = (),
    options: Options | None = None,
    device: str = "auto",
    cache: Path | str | bool = True,
    overwrite: bool = False,
    track: Track = silent,
) -> Evaluation:
    """Run a protocol `runs` times with the seeds `seed`, `seed` + 1, … and keep its records in `out`.

    A method that raises becomes a record that says why. A call that was stopped goes on where it was when it is repeated, and
    tries again what failed.

    Parameters
    ----------
    methods : the protocol's usual ones if none are named, all that the data allows for ("all",)

    Raises
    ------
    UsageError
        For a protocol, method or option that there is not.
    InputError
        For data that the protocol cannot use and for an `out` that holds another evaluation.
    OutputError
        Where `out` cannot be written.
    """
    options = options or Options()
    module = find_protocol(protocol)
    names = chosen_methods(module, methods, data, options)
    if unread := sorted(options.changed() - module.OPTIONS):
        raise UsageError(f"The protocol {protocol} has no option --{unread[0].replace('_', '-')}.")
    if runs < 1 or jobs < 1:
        raise UsageError("--runs and --jobs are at least 1.")
    check_student(options.student)
    module.check(data, options)
    if options.count < module.LEAST:
        raise UsageError(f"--count is at least {module.LEAST} images of each class for the protocol {protocol}.")

    settings = _settings(protocol, module, data, options)
    log = Log(out, settings, overwrite)
    wanted = [(run, name) for run in range(runs) for name in names]
    todo = [(run, name) for run, name in wanted if log.is_missing(run, seed + run, name)]
    if todo:
        seeds = [seed + run for run in range(runs)]
        study, notes = prepare(data, options, seeds, out, device, cache, track, module.LEAST)
        log.begin(notes)
        for record in track(_work(protocol, study, todo, seed, jobs), f"evaluating {protocol}", len(todo)):
            log.add(record)
    records = [log.records[run, seed + run, name] for run, name in wanted]
    about = {
        **settings,
        "seed": seed,
        "runs": runs,
        "classes": data.class_names,
        "images": data.counts(),
        "data": data.name,
    }
    return Evaluation(protocol, names, records, about, (*data.notes, *log.notes))


def prepare(
    data: LabelledSet,
    options: Options,
    seeds: Sequence[int],
    out: Path,
    device: str,
    cache: Any,
    track: Track,
    least: int = 1,
) -> tuple[Study, tuple[str, ...]]:
    """Draw the sample of every run and encode each image of them once.

    What could not be read is noted, and replaced where a class has more images.

    Raises
    ------
    InputError
        Where fewer than `least` of a class can be read.
    """
    annotator = annotator_for(data, options, device=device, cache=cache)
    readable = np.ones(len(data), dtype=bool)
    squares = out / (f"images-{options.pixels}px-{data.digest()[:8]}" if options.pixels else "")
    while True:
        drawn = {
            s: np.flatnonzero(readable)
            if data.values is not None  # all images: findings have no common balance
            else balanced_sample(data.labels, options.count, np.random.default_rng([s, SAMPLE]), readable)
            for s in seeds
        }
        union = np.unique(np.concatenate(list(drawn.values())))
        if options.pixels:
            data, read = squashed(data, union, options.pixels, squares, track)
            if not read.all():
                readable &= read
                continue
        refs = [data.refs[row] for row in union]
        encoded = annotator.encode(refs, track)
        if len(encoded.refs) == len(refs):
            break
        bad = {path for path, _ in encoded.unreadable}
        readable &= np.array([ref.path not in bad for ref in data.refs])
        if data.values is None:
            data.take(np.flatnonzero(readable)).require(least, "of those that can be read, the protocol")
    samples = {s: np.searchsorted(union, chosen_rows) for s, chosen_rows in drawn.items()}
    count = int((~readable).sum())
    notes = (
        (f"{count} image{'s' * (count != 1)} could not be read, and others of the class were drawn where it has more.",)
        if count
        else ()
    )
    return Study(data.take(union), options, encoded.embeddings, encoded.features, samples, device, cache), notes


def _settings(protocol: str, module: EvaluationProtocol, data: LabelledSet, options: Options) -> dict[str, Any]:
    """What makes two evaluations the same: their numbers may stand in one table."""
    read = {name: value for name, value in asdict(options).items() if name in module.OPTIONS}
    files = {
        one: digest for name, value in read.items() for one, file in _files(name, value) if (digest := _digest(file))
    }
    return {
        "protocol": protocol,
        "version": __version__,
        "options": json.loads(json.dumps(read)),
        "data_sha256": data.digest(),
        **({"files_sha256": files} if files else {}),
    }


def _files(name: str, value: Any) -> list[tuple[str, Path]]:
    """The files that an option names: itself, or NAME=FILE several times."""
    if isinstance(value, str):
        return [(name, Path(value))] if value else []
    if not isinstance(value, tuple):
        return []
    return [(one, Path(one if Path(one).is_file() else one.partition("=")[2])) for one in value]


def _digest(place: Path) -> str:
    """A name for what a file, or the files of a folder, hold; "" where there is none."""
    digest, found = hashlib.sha256(), False
    for file in sorted([place, *place.glob("*")] if place.is_dir() else [place]):
        if file.is_file():
            found = True
            digest.update(file.name.encode("utf-8", "surrogateescape") + b"\0")
            with file.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest() if found else ""


class Log:
    """The records of an evaluation in DIR/runs.jsonl: a line with the settings, then a line a finished unit.

    A line that a kill cut short is dropped. Raises `InputError` where the file is of another evaluation.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], overwrite: bool = False) -> None:
        self.file = folder / RECORDS
        self.settings = settings
        self.notes: tuple[str, ...] = ()
        self.code: str | None = code()
        self.records: dict[tuple[int, int, str], Record] = {}
        with plain_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lines = [] if overwrite else self._lines()
        if lines:
            self._refuse_others(lines[0].get("settings"), settings)
            self.notes = tuple(lines[0].get("notes", ()))
            self.code = lines[0].get("code")
            try:
                records = [Record(**line) for line in lines[1:]]
            except TypeError:
                raise InputError(
                    f"{self.file} holds lines that no evaluation wrote: choose another place with --out, or replace what is "
                    "there with --overwrite."
                ) from None
            self.records = {(one.run, one.seed, one.method): one for one in records}
        self._rewrite()

    def begin(self, notes: tuple[str, ...]) -> None:
        """Say what there is to say of the images, and of records made by other code, before records are added."""
        mixed = MIXED in self.notes or (bool(self.records) and self.code != code())
        self.notes, self.code = (*notes, *([MIXED] if mixed else [])), code()
        self._rewrite()

    def _rewrite(self) -> None:
        lines = [
            {"settings": self.settings, "notes": self.notes, "code": self.code},
            *map(asdict, self.records.values()),
        ]
        write_files({self.file: "".join(_line(line) for line in lines).encode()})

    def _lines(self) -> list[dict[str, Any]]:
        try:
            text = self.file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.file} cannot be read ({error}): choose another place with --out.") from None
        lines = []
        for line in text.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
        return lines

    def _refuse_others(self, there: Any, settings: dict[str, Any]) -> None:
        if there == settings:
            return
        different = "settings"
        if isinstance(there, dict):
            old = {**there, **there.get("options", {})}
            new = {**settings, **settings["options"]}
            what = next((k for k in new if k != "options" and old.get(k) != new[k]), "options")
            others = {
                "data_sha256": "other images or labels",
                "files_sha256": "other prompts or weights in the same place",
            }
            shown = others.get(what) or f"{what} {old.get(what)!r}, not {new.get(what)!r}"
            different = f"settings ({shown})"
        raise InputError(
            f"{self.file.parent} holds an evaluation with other {different}: choose another place with --out, or replace "
            "it with --overwrite."
        )

    def is_missing(self, run: int, seed: int, method: str) -> bool:
        """Whether the unit was not done, or failed."""
        record = self.records.get((run, seed, method))
        return record is None or bool(record.failed)

    def add(self, record: Record) -> None:
        """Keep a record, on disk before this returns."""
        self.records[record.run, record.seed, record.method] = record
        with plain_errors(self.file), self.file.open("a", encoding="utf-8") as handle:
            handle.write(_line(asdict(record)))
            handle.flush()
            os.fsync(handle.fileno())


@cache
def code() -> str:
    """A name for the source that this program runs; it changes when any of its modules does."""
    import autoannotate

    folder = Path(autoannotate.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"


def _work(protocol: str, study: Study, todo: Sequence[tuple[int, str]], seed: int, jobs: int) -> Iterator[Record]:
    """The records of all units, as they are finished."""
    if jobs == 1:
        with one_thread():
            for run, method in todo:
                yield do(protocol, study, run, seed + run, method)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(todo)), context, _begin, (protocol, study))
    try:
        units = [pool.submit(_unit, run, seed + run, method) for run, method in todo]
        for unit in as_completed(units):
            yield unit.result()
        pool.shutdown()
    except BrokenProcessPool:
        raise AutoannotateError(
            "A process of the evaluation was ended from outside, most likely for want of memory. What was finished is kept: "
            "run the same command to go on, with fewer --jobs."
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


_STUDY: tuple[str, Study] | None = None


def _begin(protocol: str, study: Study) -> None:
    """Set up a worker: one thread, deaf to Ctrl-C (the parent ends it), and gone when the parent is."""
    global _STUDY
    _STUDY = protocol, study
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _unit(run: int, seed: int, method: str) -> Record:
    assert _STUDY is not None
    with one_thread():
        return do(*_STUDY, run, seed, method)


def do(protocol: str, study: Study, run: int, seed: int, method: str) -> Record:
    """One method in one run; whatever it raises becomes the record's sentence."""
    started = time.monotonic()
    try:
        outcome = find_protocol(protocol).run_once(study, seed, method)
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        failed = said if isinstance(error, AutoannotateError) else f"{type(error).__name__}: {said}"
        return Record(run, seed, method, {}, [], failed, "", round(time.monotonic() - started, 2))
    metrics = {name: float(value) for name, value in outcome.metrics.items()}
    curve = [{name: float(value) for name, value in point.items()} for point in outcome.curve]
    return Record(run, seed, method, metrics, curve, "", outcome.note, round(time.monotonic() - started, 2))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside the block, in torch and in every BLAS and OpenMP library."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
