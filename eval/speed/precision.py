"""What cheaper arithmetic is worth for an encoder on this CPU: time, and how near its outputs are to float32's.

torch as shipped (float32, channels last), with channels first, compiled (`torch.compile`) and in bfloat16 (autocast); ONNX
Runtime in float32 and int8.

Post-training quantisation with per-channel weights (Jacob et al. 2018, arXiv 1712.05877), calibrated on half of the pictures.
The encoder is taken as `label` runs it: the embedding and all blocks of the features, at each look. One thread; extra `onnx`.

    python eval/speed/precision.py --images DIR --count 64 --classes "normal chest X-ray,chest X-ray with pneumonia"
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from autoannotate.images import find_images, read_picture
from autoannotate.models.encoder import Encoder, load_encoder


class Tower(torch.nn.Module):
    """The image tower as the encoder calls it: pixels to the embedding and the blocks of the features."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.call = encoder._tower.func
        self.held = torch.nn.ModuleList(encoder._tower.args)  # so that its weights are found

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        embedding, means, others = self.call(*self.held, pixels)
        return (embedding, *means, *others)


class Pictures(CalibrationDataReader):
    """Batches of pixels for the calibration."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._left: Iterator[int] = iter(range(0, len(pixels), 4))
        self._pixels = pixels

    def get_next(self) -> dict[str, np.ndarray] | None:
        start = next(self._left, None)
        return None if start is None else {"pixels": self._pixels[start : start + 4]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--classes", default="normal chest X-ray,chest X-ray with pneumonia")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder("embedded", "cpu")
    encoder.freeze()
    found = find_images(options.images)
    chosen = np.random.default_rng(0).permutation(len(found))[: options.count]
    pictures = [read_picture(found[i], encoder.reads_at).image for i in chosen]
    texts = encoder.encode_texts([f"an image of {name}" for name in options.classes.split(",")])
    print("| arithmetic | look | ms | embedding, least cosine | features, least cosine | same label |")
    print("|---|---:|---:|---:|---:|---:|")
    for looks in encoder.looks(pictures):
        compare(Tower(encoder).eval(), encoder._normalised(looks), texts)


def compare(tower: Tower, pixels: torch.Tensor, texts: np.ndarray) -> None:
    """A row for each arithmetic at one look; pixels: (N, 3, S, S)."""
    side, batch = pixels.shape[-1], 4 if pixels.shape[-1] > 200 else 16
    plain = pixels.contiguous().numpy()
    expected: list[np.ndarray] | None = None

    def tell(name: str, run: Callable[[int], Sequence[Any]]) -> None:
        nonlocal expected
        started, parts = time.process_time(), []
        with torch.inference_mode():
            for start in range(0, len(pixels), batch):
                parts.append([np.asarray(each) for each in run(start)])
        spent = 1000 * (time.process_time() - started) / len(pixels)
        outputs = [_unit(np.concatenate(blocks)) for blocks in zip(*parts, strict=True)]
        embedding, features = outputs[0], _unit(np.concatenate(outputs[1:], axis=1))
        expected = expected or [embedding, features]
        same = ((embedding @ texts.T).argmax(1) == (expected[0] @ texts.T).argmax(1)).mean()
        near = [(a * b).sum(1).min() for a, b in zip((embedding, features), expected, strict=True)]
        print(f"| {name} | {side} | {spent:.1f} | {near[0]:.4f} | {near[1]:.4f} | {same:.1%} |", flush=True)

    tell("torch float32, channels last", lambda start: tower(pixels[start : start + batch]))
    first = copy.deepcopy(tower).to(memory_format=torch.contiguous_format)
    tell("torch float32, channels first", lambda start: first(torch.from_numpy(plain[start : start + batch])))

    def bfloat16(start: int) -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return [each.float() for each in tower(pixels[start : start + batch])]

    tell("torch bfloat16", bfloat16)
    with tempfile.TemporaryDirectory() as temporary:
        exported, prepared, quantised = (str(Path(temporary) / name) for name in ("a.onnx", "b.onnx", "c.onnx"))
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                tower, (pixels[:2].contiguous(),), exported, input_names=["pixels"], opset_version=17, dynamo=False,
                dynamic_axes={"pixels": {0: "batch"}},
            )  # fmt: skip
        quant_pre_process(exported, prepared, skip_symbolic_shape=True)
        session = _session(exported)
        tell("ONNX Runtime float32", lambda start: session.run(None, {"pixels": plain[start : start + batch]}))
        for name, settings in _ways(prepared).items():
            quantize_static(
                prepared, quantised, Pictures(plain[: len(plain) // 2]), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=["Conv"], **settings,
            )  # fmt: skip
            session = _session(quantised)
            tell(name, lambda start: session.run(None, {"pixels": plain[start : start + batch]}))  # noqa: B023
    compiled = torch.compile(copy.deepcopy(tower))
    with torch.inference_mode():
        compiled(pixels[:batch])  # compiles
    tell("torch float32, compiled", lambda start: compiled(pixels[start : start + batch]))


def _ways(prepared: str) -> dict[str, dict[str, Any]]:
    convolutions = [node for node in onnx.load(prepared).graph.node if node.op_type == "Conv"]
    first = [convolutions[0].name]
    depthwise = [
        node.name for node in convolutions if any(each.name == "group" and each.i > 1 for each in node.attribute)
    ]
    return {
        "int8, min-max": {},
        "int8, 7-bit weights": {"reduce_range": True},
        "the same, by percentiles": {"reduce_range": True, "calibrate_method": CalibrationMethod.Percentile},
        "the same, without the first convolution": {"reduce_range": True, "nodes_to_exclude": first},
        "the same, without depthwise convolutions": {"reduce_range": True, "nodes_to_exclude": first + depthwise},
    }


def _session(file: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


if __name__ == "__main__":
    main()
