"""What the slices of an item say of its label."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from autoannotate.models.encoding import Encoded
    from autoannotate.runs.run import Run

Zero = Callable[[NDArray[np.floating]], NDArray[np.floating]]  # (N, D) embeddings to (N, K) probabilities


def label_by_slice(run: Run, encoded: Encoded, zero_shot: Zero) -> dict[str, dict[str, float]]:
    """How probable each slice makes the label of its item, by zero-shot: path by path, of items that have several."""
    slices = encoded.slices
    if slices is None or not slices.refs:
        return {}
    rows = {ref.path: row for row, ref in enumerate(slices.refs)}
    said = zero_shot(slices.embeddings)
    label = dict(zip(run.table["path"], run.table["label"], strict=True))
    column = {name: k for k, name in enumerate(run.classes)}
    return {
        ref.path: {
            part.path: float(said[rows[part.path], column[label[ref.path]]]) for part in ref.slices if part.path in rows
        }
        for ref in encoded.refs
        if len(ref.slices) > 1
    }
