"""A labeller as one ONNX file: pictures in, class probabilities out; checked against PyTorch before it is kept.

Inputs, float32 0 to 255, (B, 3, S, S): `look` and, where the encoder takes a closer look, `closer`: the picture as the
encoder's own resize makes it at those sizes; `student`, squashed to its size, where there are students. Outputs:
`probabilities` (B, K) in the order of the metadata's `classes`, and `features`. Sizes and class names are in the file's
metadata. What an image of the training set was labelled is not in it.
"""

from __future__ import annotations

import importlib
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoannotate._internal.files import write_files
from autoannotate.errors import ModelError, UsageError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from autoannotate.annotator.labeller import Labeller
    from autoannotate.models.encoder import Encoder

AS_CLOSE = 1e-3  # largest difference of a probability that rounding may make
OPSET = 17
CHECKED = 8  # pictures


def export(labeller: Labeller, encoder: Encoder, pictures: Sequence[Image.Image], file: Path) -> float:
    """Write the file.

    Parameters
    ----------
    pictures : sequence of PIL images
        What PyTorch and ONNX Runtime are compared on, at most `CHECKED` of them.

    Returns
    -------
    float
        The largest difference of a probability.

    Raises
    ------
    ModelError
        Where the encoder cannot be exported, or the file's probabilities are not PyTorch's; nothing is written then.
    UsageError
        Where the packages are missing, or the labeller reads embeddings of a file.
    """
    import torch

    if labeller.of_file:
        raise UsageError("This labeller reads another model's embeddings: there is no encoder to export.")
    for name in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise UsageError("ONNX needs two more packages: pip install 'autoannotate[onnx]'") from None
    pictures = list(pictures)[:CHECKED]
    if not pictures:
        raise UsageError("An export is checked on pictures: give IMAGES that can be read.")
    network, given = network_of(labeller, encoder), inputs(labeller, encoder, pictures)
    names = list(given)
    out: Any = io.BytesIO()
    batch = {name: {0: "batch"} for name in [*names, "probabilities", "features"]}
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = network(*given.values())[0].numpy()
            torch.onnx.export(
                network, tuple(given.values()), out, input_names=names, output_names=["probabilities", "features"],
                dynamic_axes=batch, opset_version=OPSET, dynamo=False,
            )  # fmt: skip
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise ModelError(f"The encoder {encoder.name} cannot be exported to ONNX ({reason}).") from error
    content = _described(out.getvalue(), labeller, {name: int(tensor.shape[-1]) for name, tensor in given.items()})
    difference = float(np.abs(_by_runtime(content, given)[0] - expected).max())
    own = _own(labeller, encoder, pictures)
    difference = max(difference, float(np.abs(own - expected).max()))
    if not difference <= AS_CLOSE:
        raise ModelError(
            f"ONNX Runtime's probabilities differ from PyTorch's by up to {difference:.2g}: nothing was written."
        )
    write_files({file: content})
    return difference


def inputs(labeller: Labeller, encoder: Encoder, pictures: Sequence[Image.Image]) -> dict[str, Tensor]:
    """What the exported network takes of some pictures, by name."""
    import torch

    from autoannotate.models.student_network import to_pixels

    looks = encoder.looks(pictures)
    found = dict(zip(("look", "closer"), looks, strict=False))
    if labeller.students is not None:
        found["student"] = np.stack([to_pixels(one, labeller.students.size) for one in pictures])
    return {
        name: torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32))
        for name, pixels in found.items()
    }


def network_of(labeller: Labeller, encoder: Encoder) -> nn.Module:
    """The whole labeller as a network of the `inputs`."""
    import torch
    from torch import nn
    from torch.nn import functional

    model, students = labeller.model, labeller.students
    sharpness = float(labeller.about["sharpness"])

    def tensor(values: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    class Whole(nn.Module):
        mean: Tensor
        scale: Tensor
        axes: Tensor
        weights: Tensor
        bias: Tensor

        def __init__(self) -> None:
            super().__init__()
            held = {
                "mean": model.mean_, "scale": model.scale_, "axes": model.axes_ / model.size_,
                "weights": model.coef_.T, "bias": model.intercept_,
            }  # fmt: skip
            for name, values in held.items():
                self.register_buffer(name, tensor(values))
            self.students = nn.ModuleList([] if students is None else students.networks)

        def forward(self, *given: Tensor) -> tuple[Tensor, Tensor]:
            looks = given[: len(given) - bool(len(self.students))]
            features = encoder.features_of_pixels(*looks)
            scores = (features - self.mean) / self.scale @ self.axes @ self.weights + self.bias
            if scores.shape[1] == 1:
                scores = torch.cat([torch.zeros_like(scores), scores], dim=1)
            logs = functional.log_softmax(scores, dim=1).clamp_min(float(np.log(1e-4)))
            probabilities = functional.softmax(sharpness * logs, dim=1)
            if students is not None:
                probabilities = (probabilities + self.by_students(given[-1] / 127.5 - 1.0)) / 2
            return probabilities, features

        def by_students(self, batch: Tensor) -> Tensor:
            assert students is not None
            each = []
            for network in self.students:
                views = [network(batch.flip(axes) if axes else batch) for axes in students.mirrorings]
                each.append(functional.softmax(torch.stack(views).mean(dim=0), dim=1))
            mean = torch.stack(each).mean(dim=0)
            logs = mean.log().clamp_min(float(np.log(1e-4)))
            return functional.softmax(students.sharpness * logs, dim=1)

    encoder.freeze()
    return Whole().eval().requires_grad_(False)


def _own(labeller: Labeller, encoder: Encoder, pictures: Sequence[Image.Image]) -> np.ndarray:
    """What the labeller itself predicts of the pictures, its memory of the training images aside."""
    features = encoder.encode_images(pictures, closer=True).features
    of_students = None if labeller.students is None else labeller.students.predict(pictures, "cpu")
    return labeller.probabilities(features, of_students)


def _by_runtime(content: bytes, given: dict[str, Tensor]) -> list[np.ndarray]:
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {name: tensor.numpy() for name, tensor in given.items()})


def _described(content: bytes, labeller: Labeller, sizes: dict[str, int]) -> bytes:
    """The file with class names, sizes and the card as metadata."""
    from autoannotate.annotator.labeller import card

    onnx = importlib.import_module("onnx")
    model = onnx.load_from_string(content)
    told = {
        "classes": json.dumps([str(name) for name in labeller.model.classes_]),
        "sizes": json.dumps(sizes),
        "encoder": labeller.about["encoder"]["name"],
        "card": card(labeller.about),
    }
    onnx.helper.set_model_props(model, told)
    return model.SerializeToString()
