"""What a protocol asks of a method, and what a method answers. The truth is in neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.models.encoder import Encoder


class Clinician:
    """Answers a number of questions truly, and no more: what a method may know of the truth.

    Parameters
    ----------
    truth : (N,) array
        Class numbers.
    left : int
        Questions that may be asked.
    """

    def __init__(self, truth: np.ndarray, left: int) -> None:
        self._truth, self.left = truth, left

    def __call__(self, row: int) -> int:
        """The class of an image. Raises ValueError where no question is left."""
        if self.left < 1:
            raise ValueError("no question is left")
        self.left -= 1
        return int(self._truth[row])


@dataclass(frozen=True, eq=False)
class Problem:
    """N images with labels to be made better, K classes.

    Attributes
    ----------
    features : (N, F) and embeddings: (N, D), float32, of the frozen encoder, as the cache keeps them (embeddings have unit
        length and are not distribution-normalised)
    given : (N,) int64, the labels to start from: CLIP's in the pair protocol, noisy ones in the noise protocol
    probabilities : (N, K) float64, rows sum to 1, their argmax is `given`: zero-shot, or the given labels smoothed
    start : which of the two; a zero-shot start may be refined before it is corrected
    texts : (K, D) unit class embeddings, or None where words take no part (the noise protocol)
    logit_scale : the encoder's
    train : (N,) bool, all True but in the pair protocol, where the test images are False: an inductive method fits nothing on
        them; a transductive one may look at them, unlabelled, next to the others. Labels are wanted for all N.
    images : the picture of an index
    groups : (N,) int64, images of one patient or lesion share one; None where unknown
    encoder : for methods that train it further
    student : the network that they train (cnn.BACKBONES), or none
    trust, meaningful : what a run thinks of zero-shot here, without the truth (reliability.py); 1.0 and True in the noise
        protocol
    fast : whether time goes before quality
    clinician : gives one that answers so many questions; None where a protocol has none
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
    clinician: Callable[[int], Clinician] | None = None


@dataclass(frozen=True, eq=False)
class Solution:
    """labels: (N,) int64. probabilities: (N, K), rows sum to 1, for calibration, or None. doubt: (N,), higher is more
    doubtful about `Problem.given`, or None where the method ranks nothing. note: a sentence worth keeping, or ""."""

    labels: np.ndarray
    probabilities: np.ndarray | None = None
    doubt: np.ndarray | None = None
    note: str = ""
