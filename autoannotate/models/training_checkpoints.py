"""Checkpoints of the student's training: a run that was killed goes on after its last whole epoch, to the same weights.

A file holds all that the next epoch depends on: weights, the state of the optimiser and of the random numbers, and what early
stopping remembers. Its name is a hash of all that the training began with, so that no other training can take it up.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoannotate._internal.files import write_files
from autoannotate.errors import OutputError

SUFFIX = ".pt"
KEPT = 7 * 24 * 3600  # seconds, after which a checkpoint of a run that was never gone on with is deleted


class Checkpoints:
    """The checkpoints of one run in a folder that runs share.

    Parameters
    ----------
    folder : Path
        Made when the first checkpoint is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._used: set[Path] = set()

    def of(self, *began_with: Any) -> Checkpoint:
        """The checkpoint of a training that began with these arrays, networks and values."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (torch.__version__, *began_with):
            for piece in _pieces(part):
                digest.update(piece)
        file = self.folder / f"{digest.hexdigest()}{SUFFIX}"
        self._used.add(file)
        return Checkpoint(file)

    def clear(self) -> None:
        """Delete those of this run, which is done, and those that nobody went on with."""
        with contextlib.suppress(OSError):
            for file in self.folder.iterdir():
                if file in self._used or time.time() - file.stat().st_mtime > KEPT:
                    file.unlink(missing_ok=True)


class Checkpoint:
    """The last checkpoint of one training."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def load(self) -> dict[str, Any] | None:
        """What was saved last; None where nothing was, or it cannot be read."""
        try:
            return dict(torch.load(self.file, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, ValueError, TypeError, EOFError, pickle.UnpicklingError):
            return None

    def save(self, state: dict[str, Any]) -> None:
        """Replace what was saved before; where the disk is full, training goes on without."""
        out = io.BytesIO()
        torch.save(state, out)
        with contextlib.suppress(OSError, OutputError):
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_files({self.file: out.getvalue()})


def _pieces(part: Any) -> Iterable[bytes]:
    if isinstance(part, torch.nn.Module):
        for name, tensor in part.state_dict().items():
            yield name.encode()
            yield tensor.detach().cpu().double().numpy().tobytes()
    elif isinstance(part, np.ndarray):
        yield repr((part.dtype.str, part.shape)).encode()
        yield np.ascontiguousarray(part).tobytes()
    else:
        yield repr(part).encode()
