"""An open_clip model behind two verbs: encode images, encode texts.

    encoder = load_encoder("embedded")
    encodings = encoder.encode_images(images)           # embeddings (N, D) and features (N, F)
    texts = encoder.encode_texts(["a chest X-ray", "an ultrasound image of the breast"])       # (2, D)
    similarity = encodings.embeddings @ texts.T

Importing this module imports torch and open_clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from autoannotate.errors import ModelError
from autoannotate.models import sources

# A tower's answer for a batch of pixels: the joint embedding (B, D) and the blocks (B, F_i) that describe the images.
Tower = Callable[[Tensor], tuple[Tensor, list[Tensor]]]


@dataclass(frozen=True)
class ImageEncodings:
    """What an encoder sees in N images.

    embeddings: (N, D) float32, rows of length 1, in the space of the texts
    features: (N, F) float32, rows of length 1: richer descriptors of the same images, for neighbours and probes, never
        compared with texts. They join blocks of equal weight, each of equal length in every row: for a convolutional tower
        the channel means of each stage and of the last layer before the projection, for a transformer the class token and
        the mean of the patch tokens after its last layer, and the joint embedding for any other tower.
    """

    embeddings: np.ndarray
    features: np.ndarray


class Encoder:
    """A CLIP model that encodes images and texts into one space.

    name: what was asked for; weights_hash: SHA-256 of the checkpoint file, in hex
    image_size: side of the square that the model sees, in pixels; embed_dim: D, the length of an embedding
    logit_scale: the factor that the model was trained to put on cosines before a softmax (already exponentiated)
    """

    def __init__(
        self,
        network: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        *,
        name: str,
        weights_hash: str,
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = name
        self.weights_hash = weights_hash
        self.device = torch.device(device)
        self._network = (
            network.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        )
        self._tokenizer = tokenizer
        self.logit_scale = float(network.logit_scale.exp())  # type: ignore[operator, union-attr]

        config = PreprocessCfg(**network.visual.preprocess_cfg)  # type: ignore[arg-type, union-attr]
        height, width = config.input_size[1:]
        self.image_size = max(height, width)
        # open_clip's own steps but the last two, which are done on whole batches of bytes instead: the same numbers, faster.
        self._geometry = image_transform_v2(config, is_train=False).transforms[:-2]
        std = torch.tensor(config.std, device=self.device).view(1, 3, 1, 1)
        self._scale = 1 / (255 * std)
        self._shift = -torch.tensor(config.mean, device=self.device).view(1, 3, 1, 1) / std

        probe = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        with torch.inference_mode():
            self._tower = _tower(self._network, self._normalised(probe))
            embedding, blocks = self._tower(self._normalised(probe))
        self.embed_dim = embedding.shape[1]
        self._feature_dim = sum(block.shape[1] for block in blocks)

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, image_size={self.image_size}, embed_dim={self.embed_dim}, device={str(self.device)!r})"

    def preprocess(self, image: Image.Image) -> Tensor:
        """The (3, H, W) float32 tensor that the network sees of an image, by the model's own rules for size and crop."""
        return self._normalised(self._pixels(image)[None])[0]

    def encode_images(self, images: Iterable[Image.Image], batch_size: int = 64) -> ImageEncodings:
        """Encode images in the order given.

        The images may come lazily: they are drawn and prepared in a second thread, at most two batches ahead of the network.
        """
        embeddings, features = (
            [np.empty((0, self.embed_dim), np.float32)],
            [np.empty((0, self._feature_dim), np.float32)],
        )
        with torch.inference_mode():
            for pixels in self._batches(images, batch_size):
                embedding, blocks = self._tower(self._normalised(pixels))
                embeddings.append(_rows(embedding))
                # Blocks of length 1, so that no stage outweighs another by its number of channels or by their size.
                features.append(
                    _rows(torch.cat([functional.normalize(block.float(), dim=1) for block in blocks], dim=1))
                )
        return ImageEncodings(np.concatenate(embeddings), np.concatenate(features))

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Encode M texts with the model's own tokenizer: (M, D) float32, rows of length 1, in the space of the images."""
        rows = [np.empty((0, self.embed_dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(texts), batch_size):
                tokens = self._tokenizer(list(texts[start : start + batch_size])).to(self.device)
                rows.append(_rows(self._network.encode_text(tokens)))  # type: ignore[operator]
        return np.concatenate(rows)

    def _batches(self, images: Iterable[Image.Image], batch_size: int) -> Iterator[np.ndarray]:
        """(B, H, W, 3) bytes, the next batch made while the network works on the last."""
        waiting = iter(images)

        def take() -> np.ndarray | None:
            batch = [self._pixels(image) for image in islice(waiting, batch_size)]
            return np.stack(batch) if batch else None

        with ThreadPoolExecutor(1) as worker:
            ahead = worker.submit(take)
            while (batch := ahead.result()) is not None:
                ahead = worker.submit(take)
                yield batch

    def _pixels(self, image: Image.Image) -> np.ndarray:
        if image.mode not in ("RGB", "L"):
            image = image.convert("RGB")
        for step in self._geometry:
            image = step(image)
        return np.asarray(image)

    def _normalised(self, pixels: np.ndarray) -> Tensor:
        bytes_ = (
            torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        )  # a view: channels_last is how bytes come
        return bytes_ * self._scale + self._shift


def load_encoder(model: str = "embedded", device: str = "auto") -> Encoder:
    """Load a CLIP model by a short name, an open_clip name, a hub id or a local path; see `autoannotate.models.sources`.

    device: auto (a CUDA GPU if there is one, else Apple's, else the CPU), cpu, cuda, cuda:1, mps
    Nothing is downloaded for the embedded model or a local path; for others only what the local caches lack.

    Raises ModelError if there is no such model or device, or the weights cannot be had or do not fit.

    >>> load_encoder("embedded").encode_texts(["a chest X-ray"]).shape[0]
    1
    """
    chosen = _device(device)
    source = sources.find(model)
    network, tokenizer = sources.build(source)
    return Encoder(network, tokenizer, name=model, weights_hash=source.weights_hash(), device=chosen)


def _device(name: str) -> torch.device:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, here in available.items() if here))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    here = device is not None and available.get(device.type, False)
    if (
        device is None
        or not here
        or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count())
    ):
        choices = ", ".join(["auto", *(kind for kind, is_here in available.items() if is_here)])
        raise ModelError(f"This machine has no device {name}: choose one of {choices}.")
    return device


def _rows(tensor: Tensor) -> np.ndarray:
    return functional.normalize(tensor.float(), dim=1).cpu().numpy()


def _tower(network: nn.Module, probe: Tensor) -> Tower:
    """The richest description of images that this network can give beside its embedding.

    Towers come from many makers, so a description counts only if, on the `probe` (B, 3, H, W), it runs and leaves the
    embedding as the model itself gives it.
    """
    visual: Any = network.visual
    expected = network.encode_image(probe)  # type: ignore[operator]
    if hasattr(visual, "trunk"):
        candidates = [_transformer] if hasattr(visual.trunk, "num_prefix_tokens") else [_convolutional_trunk]
    else:
        candidates = [_transformer] if hasattr(visual, "transformer") else [_stages]
    for candidate in candidates:
        try:
            embedding, blocks = candidate(visual, probe)
        except (AttributeError, TypeError, AssertionError, RuntimeError, KeyError, IndexError):
            continue
        if torch.allclose(embedding, expected, rtol=1e-3, atol=1e-4) and all(
            block.ndim == 2 for block in blocks
        ):
            return lambda pixels: candidate(visual, pixels)  # noqa: B023

    def joint_only(pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        embedding = network.encode_image(pixels)  # type: ignore[operator]
        return embedding, [embedding]

    return joint_only


def _convolutional_trunk(visual: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """timm's convolutional networks: channel means of every stage and the pooled last layer."""
    last, stages = visual.trunk.forward_intermediates(pixels, output_fmt="NCHW")
    pooled = visual.trunk.forward_head(last)
    blocks = [stage.mean((2, 3)) for stage in stages]
    return visual.head(pooled), blocks + ([pooled] if pooled.ndim == 2 else [])


def _stages(visual: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """open_clip's own ResNets: channel means of every stage."""
    out = visual.forward_intermediates(pixels)
    return out["image_features"], [stage.mean((2, 3)) for stage in out["image_intermediates"]]


def _transformer(visual: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """open_clip's and timm's vision transformers: class token and mean patch token of the last layer."""
    out = visual.forward_intermediates(
        pixels,
        indices=1,
        normalize_intermediates=getattr(visual, "attn_pool", None) is None,
        output_fmt="NLC",
        output_extra_tokens=True,
    )
    prefix = out.get("image_intermediates_prefix")
    blocks = [out["image_intermediates"][-1].mean(1)]
    if prefix is not None and prefix[-1].shape[1]:
        blocks.insert(0, prefix[-1][:, 0])
    return out["image_features"], blocks
