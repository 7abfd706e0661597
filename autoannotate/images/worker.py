"""A process that reads files for another one, so that a file which hangs or crashes its decoder costs only this process.

Requests and answers are a JSON object and some bytes, each with its length before it, on stdin and stdout.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from autoannotate.errors import UnreadableImageError
from autoannotate.images import reading
from autoannotate.images.isolation import receive, send
from autoannotate.images.ref import PassOver


def serve() -> None:
    """Answer requests until stdin ends. What libraries print goes nowhere."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":  # what the program that started this one ignores or holds back must end this one
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    while True:
        try:
            request, _ = receive(requests)
        except EOFError:
            return
        _limit(request["memory"], request["seconds"])
        try:
            send(answers, *_answer(request["what"], Path(request["file"]), request["frame"], request["side"]))
        except BrokenPipeError:
            return


def _limit(memory: int, seconds: float) -> None:
    """Let the system end this process where it takes more memory or, from now on, more processor time than this."""
    if sys.platform == "win32":
        return
    import resource

    signal.setitimer(signal.ITIMER_PROF, seconds)
    for kind, limit in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, memory)):
        most = resource.getrlimit(kind)[1]
        try:
            resource.setrlimit(kind, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
        except (ValueError, OSError):
            continue


def _answer(what: str, file: Path, frame: int | None, side: int | None) -> tuple[dict[str, Any], bytes]:
    try:
        if what == "frames":
            return {"frames": reading.frames_here(file)}, b""
        if what == "slices":
            return {"slices": reading.slices_here(file)}, b""
        if what == "places":
            return {"places": reading.places_here(file)}, b""
        if what == "picture":
            picture = reading.picture_here(file, frame, side)
            image = picture.image
            if image.mode != "L":
                bands = image.convert("RGB").split()
                grey = bands[0].tobytes() == bands[1].tobytes() == bands[2].tobytes()
                image = bands[0] if grey else image.convert("RGB")
            return {"mode": image.mode, "size": image.size, "notes": list(picture.notes)}, image.tobytes()
        grey_picture = reading.grey_here(file, frame)
        if grey_picture is None:
            return {"none": True}, b""
        values = np.ascontiguousarray(grey_picture.values)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        about = {
            "dtype": values.dtype.str,
            "shape": values.shape,
            "low": grey_picture.low,
            "high": grey_picture.high,
            "inverted": grey_picture.inverted,
            "mm": grey_picture.mm,
            "modality": grey_picture.modality,
        }
        return about, values.tobytes()
    except PassOver as over:
        return {"kind": over.kind, "reason": over.reason, "frames": over.frames}, b""
    except UnreadableImageError as error:
        return {"error": str(error)}, b""
