"""Trained students that judge new images, and how they are kept: tensors by name, and a few words about them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from autoannotate.models.student_network import Classifier


@dataclass(frozen=True, eq=False)
class Students:
    """Students that share a frozen stem.

    Attributes
    ----------
    kind : str
        The backbone, as `--student` names it.
    networks : tuple of Classifier
    size : int
        Pixels of a picture's side.
    mirrorings : tuple
        See `student_network.Symmetries`.
    sharpness : float
        By which log-probabilities are multiplied.
    """

    kind: str
    networks: tuple[Classifier, ...]
    size: int
    mirrorings: tuple[tuple[int, ...], ...]
    sharpness: float

    def predict(self, images: Iterable[Image.Image], device: str = "auto") -> np.ndarray:
        """Class probabilities (N, K), calibrated; images come one after the other, and are not held."""
        from scipy.special import softmax

        from autoannotate.labelling.label_errors.out_of_sample import sharpened
        from autoannotate.models.encoder import choose_device
        from autoannotate.models.student_network import PREDICT_BATCH, jointly, predict, to_pixels

        where = choose_device(device)
        together = jointly([network.to(where) for network in self.networks])
        waiting: Iterator[Image.Image] = iter(images)
        parts = [np.empty((0, self.networks[0].head.out_features))]
        while batch := [to_pixels(image, self.size) for image in islice(waiting, PREDICT_BATCH)]:
            logits = predict(together, np.stack(batch), where, self.mirrorings)
            parts.append(softmax(logits.astype(np.float64), axis=-1).mean(axis=1))
        return sharpened(np.concatenate(parts), self.sharpness)

    def about(self) -> dict[str, Any]:
        """What to write beside the tensors."""
        return {
            "backbone": _backbone_of(self.kind),
            "count": len(self.networks),
            "classes": self.networks[0].head.out_features,
            "mirrorings": [list(axes) for axes in self.mirrorings],
            "sharpness": self.sharpness,
        }

    def tensors(self) -> dict[str, Tensor]:
        """By name: the stem once, then body and head of each network."""
        found = {f"stem.{name}": tensor for name, tensor in self.networks[0].stem.state_dict().items()}
        for k, network in enumerate(self.networks):
            for part in ("body", "head"):
                held = getattr(network, part).state_dict()
                found |= {f"{k}.{part}.{name}": tensor for name, tensor in held.items()}
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}

    @classmethod
    def of(cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Students:
        """What `about` and `tensors` gave.

        Raises
        ------
        KeyError
            Or.
        RuntimeError
            Where they do not fit each other.
        """
        from autoannotate.models.student_architectures import architecture_backbone, is_architecture
        from autoannotate.models.student_network import BACKBONES, Classifier

        name = about["backbone"]
        backbone = architecture_backbone(name, 0, empty=True) if is_architecture(name) else BACKBONES[name](None, 0)
        networks = []
        backbone.stem.load_state_dict(_under("stem.", tensors))
        for k in range(about["count"]):
            network = Classifier(backbone, about["classes"])
            network.body.load_state_dict(_under(f"{k}.body.", tensors))
            network.head.load_state_dict(_under(f"{k}.head.", tensors))
            networks.append(network.eval())
        mirrorings = tuple(tuple(axes) for axes in about["mirrorings"])
        return cls(name, tuple(networks), backbone.size, mirrorings, about["sharpness"])


def _under(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _backbone_of(kind: str) -> str:
    """The kind of network behind a name, without where its weights came from: they are kept."""
    from autoannotate.models.student_architectures import SCRATCH, is_architecture
    from autoannotate.models.student_checkpoint import ABOUT

    if is_architecture(kind):
        name, _, weights = kind.partition("@")
        return kind if weights == SCRATCH else name
    about = Path(kind) / ABOUT
    return json.loads(about.read_text(encoding="utf-8"))["backbone"] if about.is_file() else kind
