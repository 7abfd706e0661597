"""Have files read by other processes, which are ended where a file takes too long, too much memory or crashes a decoder."""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from autoannotate.errors import UnreadableImageError
from autoannotate.images.ref import Box, Grey, PassOver, Picture

SECONDS = 8.0  # of processor time that one file may take
WALL_SECONDS = 60.0  # that it may take on a busy machine, or waiting for a slow drive
_MOST_WORKERS = 4
_TOO_SLOW = f"Reading the file took over {SECONDS:.0f} seconds, so it was given up: it is probably damaged."
_CRASHED = "Reading the file made its decoder crash: it is probably damaged."

_LENGTHS = struct.Struct("<IQ")


def send(stream: IO[bytes], message: dict[str, Any], data: bytes | memoryview = b"") -> None:
    """Write one message with its bytes."""
    text = json.dumps(message).encode()
    stream.write(_LENGTHS.pack(len(text), len(data)))
    stream.write(text)
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Read one message with its bytes.

    Raises
    ------
    EOFError
        Where the other side is gone.
    """
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        raise EOFError
    text, data = _LENGTHS.unpack(lengths)
    message = stream.read(text)
    content = stream.read(data)
    if len(message) < text or len(content) < data:
        raise EOFError
    return json.loads(message), content


def frames(file: Path) -> int | None:
    """How many frames the file holds; see `Reader.frames`.

    Raises
    ------
    PassOver
        For a file that holds no picture.
    """
    answer, _ = _ask("frames", file)
    return answer["frames"]


def slices(file: Path) -> int | None:
    """How many frames of the file are slices of one volume, see `Reader.slices`.

    Raises
    ------
    UnreadableImageError
        Where it cannot be read.
    """
    answer, _ = _ask("slices", file)
    return answer["slices"]


def places(file: Path) -> list[Box]:
    """Where the tiles of a slide lie, see `Reader.places`.

    Raises
    ------
    UnreadableImageError
        Where it cannot be read.
    """
    answer, _ = _ask("places", file)
    return [tuple(box) for box in answer["places"]]


def picture(file: Path, frame: int | None, side: int | None = None) -> Picture:
    """The frame as a picture, see `reading.read_picture`.

    Raises
    ------
    UnreadableImageError
        Where it cannot be read.
    """
    answer, data = _ask("picture", file, frame, side)
    image = Image.frombytes(answer["mode"], tuple(answer["size"]), data)
    return Picture(image, tuple(answer["notes"]))


def grey(file: Path, frame: int | None) -> Grey | None:
    """The frame's grey values, see `Reader.read_grey`.

    Raises
    ------
    UnreadableImageError
        Where it cannot be read.
    """
    answer, data = _ask("grey", file, frame)
    if answer.get("none"):
        return None
    values = np.frombuffer(data, answer["dtype"]).reshape(answer["shape"])
    return Grey(values, answer["low"], answer["high"], answer["inverted"], answer["mm"], answer["modality"])


class _Worker:
    """One process that reads."""

    def __init__(self) -> None:
        within = {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), "PYTHONWARNINGS": "ignore"}  # noqa: PTH109
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from autoannotate.images.worker import serve; serve()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **within, **threads},
        )  # fmt: skip

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(WALL_SECONDS, give_up)
        timer.daemon = True
        timer.start()
        try:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            send(self.process.stdin, request)
            return receive(self.process.stdout)
        except (EOFError, BrokenPipeError):
            self.end()
            return {"error": _TOO_SLOW if late.is_set() or self._out_of_time() else _CRASHED}, b""
        except BaseException:  # an answer that nobody took would be the next one's
            self.end()
            raise
        finally:
            timer.cancel()

    def _out_of_time(self) -> bool:
        return self.process.returncode == -getattr(signal, "SIGPROF", math.inf)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        if self.alive:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


_idle: list[_Worker] = []
_free = threading.BoundedSemaphore(_MOST_WORKERS)


def _worker() -> _Worker:
    """One that waits, or a new one."""
    while True:
        try:
            worker = _idle.pop()
        except IndexError:
            return _Worker()
        if worker.alive:
            return worker
        worker.end()


def _ask(what: str, file: Path, frame: int | None = None, side: int | None = None) -> tuple[dict[str, Any], bytes]:
    request = {
        "what": what, "file": str(file.absolute()), "frame": frame, "side": side, "memory": memory_limit(), "seconds": SECONDS,
    }  # fmt: skip
    with _free:
        worker = _worker()
        try:
            answer, data = worker.ask(request)
        finally:
            if worker.alive:
                _idle.append(worker)
    if "error" in answer:
        raise UnreadableImageError(answer["error"])
    if "kind" in answer:
        raise PassOver(answer["kind"], answer["reason"], answer["frames"])
    return answer, data


def memory_limit() -> int:
    """Bytes of memory that reading one file may take: a quarter of the machine's, from 2 to 8 GiB."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        machine = 0
    return max(2 * 2**30, min(machine // 4, 8 * 2**30))


def _end_all() -> None:
    while _idle:
        _idle.pop().end()


def _forget() -> None:
    """In a child made by fork: the workers are its parent's."""
    global _free
    _idle.clear()
    _free = threading.BoundedSemaphore(_MOST_WORKERS)


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
