"""What a protocol asks of a method, and what a method answers. The truth is in neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.models.encoder import Encoder


@dataclass(frozen=True, eq=False)
class Problem:
    """N images with labels to be made better, K classes.

    features: (N, F) and embeddings: (N, D), float32, of the frozen encoder, as the cache keeps them (embeddings have unit
    length and are not distribution-normalised). given: (N,) int64, the labels to start from: CLIP's in the pair protocol,
    noisy ones in the noise protocol. probabilities: (N, K) float64, rows sum to 1, their argmax is `given`: zero-shot, or
    the given labels smoothed. start: which of the two; a zero-shot start may be refined before it is corrected.
    texts: (K, D) unit class embeddings, or None where words take no part (the noise protocol). logit_scale: the encoder's.
    train: (N,) bool, all True but in the pair protocol, where the test images are False: an inductive method fits nothing
    on them; a transductive one may look at them, unlabelled, next to the others. Labels are wanted for all N.
    images: the picture of an index. groups: (N,) int64, images of one patient or lesion share one; None where unknown.
    encoder: for methods that train it further; student: the network that they train (cnn.BACKBONES), or none. trust,
    meaningful: what a run thinks of zero-shot here, without the truth (reliability.py); 1.0 and True in the noise
    protocol. fast: whether time goes before quality.
    """

    features: np.ndarray
    embeddings: np.ndarray
    probabilities: np.ndarray
    given: np.ndarray
    class_names: Sequence[str]
    texts: np.ndarray | None
    train: np.ndarray
    images: Callable[[int], Image.Image]
    groups: np.ndarray | None
    image_names: Sequence[str]
    encoder: Encoder | None
    seed: int
    fast: bool = False
    meaningful: bool = True
    trust: float = 1.0
    start: Literal["clip", "given"] = "given"
    student: str = "embedded"
    logit_scale: float = 100.0


@dataclass(frozen=True, eq=False)
class Solution:
    """labels: (N,) int64. probabilities: (N, K), rows sum to 1, for calibration, or None. doubt: (N,), higher is more
    doubtful about `Problem.given`, or None where the method ranks nothing. note: a sentence worth keeping, or ""."""

    labels: np.ndarray
    probabilities: np.ndarray | None = None
    doubt: np.ndarray | None = None
    note: str = ""
