"""Long work behind the page, in a process of its own: labelling, an update, an export. It can be watched, and stopped."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from autoannotate._internal.progress import Track
from autoannotate.errors import AutoannotateError, InputError
from autoannotate.review.allowed_folders import AllowedFolders
from autoannotate.runs.class_names import as_typed

T = TypeVar("T")
OFTEN = 0.2  # seconds between two reports of progress


class Job:
    """At most one piece of work at a time.

    `status` is idle, working, done, failed or stopped, with the step, how much of it is done, and what came of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: Any = None
        self._state: dict[str, Any] = {"state": "idle"}

    def status(self) -> dict[str, Any]:
        """How it stands."""
        with self._lock:
            return dict(self._state)

    def start(self, what: str, work: Callable[..., dict[str, Any]], *arguments: Any) -> None:
        """Begin `work(*arguments, track)`, which returns what came of it.

        Raises
        ------
        InputError
            While other work goes on.
        """
        with self._lock:
            if self._state["state"] == "working":
                raise InputError("Other work goes on already: wait until that is done, or stop it.")
            context = multiprocessing.get_context("spawn")
            mine, theirs = context.Pipe(duplex=False)
            self._process = context.Process(target=_run, args=(theirs, work, arguments), name=f"autoannotate {what}")
            self._process.start()
            theirs.close()
            self._state = {"state": "working", "what": what, "step": "starting", "done": 0, "total": None, "left": None}
        threading.Thread(target=self._follow, args=(mine, self._process), daemon=True).start()

    def stop(self) -> None:
        """Stop what is being done; the run is as it was."""
        with self._lock:
            if self._state["state"] != "working":
                return
            self._state = {"state": "stopped", "what": self._state["what"]}
            _end(self._process)

    def close(self) -> None:
        """Stop, and wait for the process."""
        self.stop()
        if self._process is not None:
            self._process.join(10)

    def _follow(self, reports: Connection, process: Any) -> None:
        try:
            while True:
                self._say(process, reports.recv())
        except (EOFError, OSError):
            process.join()
            message = "The work ended unexpectedly, perhaps for lack of memory. The run is as it was."
            self._say(process, {"state": "failed", "message": message})

    def _say(self, process: Any, news: dict[str, Any]) -> None:
        with self._lock:
            if process is self._process and self._state["state"] == "working":
                self._state |= news


def _end(process: Any) -> None:
    """End a process and those that it began."""
    try:
        os.killpg(process.pid, signal.SIGTERM)  # it leads a group of its own, see `_run`
    except (AttributeError, OSError):
        process.terminate()


def _run(reports: Connection, work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    """In the process: do the work and report."""
    if hasattr(os, "setsid"):
        os.setsid()
    try:
        reports.send({"state": "done", "result": work(*arguments, _reporting(reports))})
    except AutoannotateError as error:
        reports.send({"state": "failed", "message": str(error)})
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        reports.send(
            {
                "state": "failed",
                "message": f"Something went wrong that was not foreseen ({type(error).__name__}: {said}).",
            }
        )
    finally:
        reports.close()


def _reporting(reports: Connection) -> Track:
    def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        if total is None and isinstance(items, Sized):
            total = len(items)
        began, last = time.monotonic(), 0.0
        for done, item in enumerate(items):
            now = time.monotonic()
            if now - last > OFTEN:
                left = None if not total or not done else (now - began) / done * (total - done)
                reports.send({"step": description, "done": done, "total": total, "left": left})
                last = now
            yield item

    return track


def label_folder(
    allowed: AllowedFolders,
    images: Path,
    names: list[str],
    several: bool,
    given: dict[str, Any],
    out: Path,
    track: Track,
) -> dict[str, Any]:
    """`autoannotate label` of a folder that the page may see.

    Parameters
    ----------
    names : classes, one an image; or findings, where an image can show several
    given : further arguments of the annotator: fast, model, modality, prompts
    out : the folder of the run, which is made
    """
    from autoannotate.annotator.annotator import Annotator
    from autoannotate.annotator.findings_annotator import FindingsAnnotator
    from autoannotate.runs.lock import reserved

    allowed.check_links(images)
    kind, option = (FindingsAnnotator, "--findings") if several else (Annotator, "--classes")
    typed = ["autoannotate", "label", images.as_posix(), option, as_typed(names), "--out", out.as_posix()]
    for name, value in given.items():
        if value is True or (value and name != "fast" and (name, value) != ("model", "embedded")):
            typed += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    with reserved(out):
        made = kind(names, **given).label(images, track)
        made.run["command"] = shlex.join(typed)
        made.run["arguments"]["out"] = out.as_posix()
        made.save(out)
    return {"name": out.name, "images": made.record.counts.images, "suspects": made.record.counts.suspects}


def update_run(folder: Path, track: Track) -> dict[str, Any]:
    """`autoannotate update` of the run in the folder."""
    from autoannotate.annotator.annotations import Annotations
    from autoannotate.annotator.findings_annotator import annotator_of
    from autoannotate.runs.lock import alone

    with alone(folder):
        before = Annotations.load(folder)
        after = annotator_of(before).update(before, track=track)
    return {"new_round": after is not before, "round": after.record.round}


def export_run(folder: Path, format: str, what: str, place: Path, track: Track) -> dict[str, Any]:
    """`autoannotate export` of the run in the folder."""
    from autoannotate.annotator.annotations import Annotations

    made = Annotations.load(folder).export(format, place, what, track=track)  # type: ignore[arg-type]
    return {"made": [path.as_posix() for path in made]}
