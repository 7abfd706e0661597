"""The columns of labels.csv, of one class an image; `COLUMNS` holds them in their order.

Adding a column is adding an entry: name, type, what it says, how it is made. A run loads without a column that is not in
`runs.run.LABELS`, so that older runs still do. What few runs have is put in where it is known: items (`runs.build`), labels
that existed (`answers.supervision`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from autoannotate.images import ImageRef
    from autoannotate.labelling.pipeline import Labelled

DUPLICATE = 0.95  # confidence in a label taken over from a picture that is nearly the same; about so often it is right


@dataclass(frozen=True)
class Made:
    """What columns are made of: N images with K classes.

    Attributes
    ----------
    refs : N
    names : (K,) names of the classes
    zero_shot : (N, K) probabilities
    labelled : what the pipeline made
    notes : what was assumed to show a picture, by path
    """

    refs: Sequence[ImageRef]
    names: NDArray[np.object_]
    zero_shot: NDArray[np.floating]
    labelled: Labelled
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Column:
    """A column: its values are N of `kind` (str, float or int)."""

    name: str
    kind: type
    says: str
    values: Callable[[Made], Sequence[Any] | NDArray[Any]]


def _confidence(made: Made) -> NDArray[np.float64]:
    return np.where(made.labelled.duplicate_of >= 0, DUPLICATE, made.labelled.confidence)


COLUMNS = (
    Column("path", str, "the image, below the folder", lambda made: [ref.path for ref in made.refs]),
    Column("label", str, "its class", lambda made: made.names[made.labelled.labels]),
    Column("confidence", float, "in the label, 0 to 1", _confidence),
    Column("source", str, "what gave the label its value", lambda made: made.labelled.source),
    Column("suspect", int, "1 in the queue, else 0",
           lambda made: np.isin(np.arange(len(made.refs)), made.labelled.queue.rows).astype(int)),
    Column("suspect_score", float, "0 to 1, higher is more doubtful", lambda made: made.labelled.suspect_score),
    Column("clip_label", str, "what zero-shot says", lambda made: made.names[made.zero_shot.argmax(1)]),
    Column("clip_confidence", float, "in `clip_label`, 0 to 1", lambda made: made.zero_shot.max(1)),
    Column("note", str, "what was assumed to show the picture",
           lambda made: [made.notes.get(ref.path, "") for ref in made.refs]),
    Column("proposed", str, "a class that waits for spot checks",
           lambda made: np.append(made.names, "")[made.labelled.waiting]),
)  # fmt: skip
