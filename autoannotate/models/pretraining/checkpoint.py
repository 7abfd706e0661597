"""Where a training run stands, so that a stopped one goes on: `checkpoint.pt` and `log.csv` in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from autoannotate.errors import OutputError

SAVE_SECONDS = 300


class Checkpoint:
    """The state of a training run on disk. A folder holds one run: its settings are saved with it and compared.

    Raises OutputError where the folder cannot be written.

    Attributes
    ----------
    settings : plain values that, when they differ, make another run
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = folder / "checkpoint.pt", settings
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._log = (folder / "log.csv").open("a", buffering=1)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written ({error.strerror}); choose another --out.") from None

    @property
    def seconds(self) -> float:
        """How much work an interruption may cost."""
        return SAVE_SECONDS

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """What was last saved, None where there is nothing; raises OutputError where it belongs to another run."""
        if not self.path.exists():
            return None
        saved = torch.load(self.path, map_location=device, weights_only=True)
        if saved["settings"] != self.settings:
            raise OutputError(
                f"{self.path.parent} holds a run with other settings; choose another --out, or remove {self.path}."
            )
        return saved

    def save(self, content: dict[str, Any]) -> None:
        """Replace what was saved, all or nothing."""
        partial = self.path.with_suffix(".partial")
        try:
            torch.save({"settings": self.settings, **content}, partial)
            partial.replace(self.path)
        except (OSError, RuntimeError) as error:  # torch's zip writer says RuntimeError for a full disk
            raise OutputError(f"{self.path} cannot be written ({error}); free some disk space.") from None

    def log(self, step: int, loss: float) -> None:
        """Write the loss of a step down."""
        self._log.write(f"{step},{loss:.4f}\n")
