"""An open_clip model behind two verbs: encode images, encode texts.

    encoder = load_encoder("embedded")
    encodings = encoder.encode_images(images)           # embeddings (N, D) and features (N, F)
    texts = encoder.encode_texts(["a chest X-ray", "an ultrasound image of the breast"])       # (2, D)
    similarity = encodings.embeddings @ texts.T

Importing this module imports torch and open_clip.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from autoannotate.errors import ModelError
from autoannotate.models.batch_norm import fold_batch_norm
from autoannotate.models.loading import sources
from autoannotate.models.loading.build import build
from autoannotate.models.loading.common import first_line

CLOSER = 224  # side of the square, in pixels, of a closer look
# of a stage's channels, what varies together: channels and numbers that are left of many, steps to a matrix's square root
CHANNELS, SKETCH, ITERATIONS = 64, 512, 5

# A batch of pixels -> the joint embedding (B, D), and blocks (B, F_i) that describe the images: those that are worth having
# from each of several looks, and the others.
Tower = Callable[[Tensor], tuple[Tensor, list[Tensor], list[Tensor]]]


@dataclass(frozen=True)
class ImageEncodings:
    """What an encoder sees in N images.

    The features join blocks, each of the same length in every row so that none outweighs another: for a
    convolutional tower the channel means and standard deviations of every stage, which of its channels vary
    together, and the last layer before the projection; for a transformer the class token and the mean of the patch
    tokens after its last layer; for any other tower the joint embedding. With a closer look these are what is seen
    there, after the means of the first look.

    Attributes
    ----------
    embeddings : (N, D) float32, rows of length 1, in the space of the texts features: (N, F) float32, rows of length 1: richer
        descriptors of the same images, for neighbours and probes, never compared with texts
    """

    embeddings: np.ndarray
    features: np.ndarray


class Encoder:
    """A CLIP model that encodes images and texts into one space.

    Attributes
    ----------
    name : what was asked for
    weights_hash : SHA-256 of the checkpoint file, in hex image_size: side of the square that the model sees, in pixels;
        embed_dim: D, the length of an embedding logit_scale: what the model was trained to multiply cosines with before a
        softmax (already exponentiated) reads_at: pixels of the shorter side from which on a larger picture shows it no more
        looks_closer: whether its tower can see more of an image at `CLOSER` pixels than at its own size
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
        self._network = network.to(self.device).to(memory_format=torch.channels_last)
        self._tokenizer = tokenizer
        self.logit_scale = float(network.logit_scale.detach().exp())  # type: ignore[operator]

        config = PreprocessCfg(**network.visual.preprocess_cfg)  # type: ignore[arg-type, union-attr]
        height, width = config.input_size[1:]
        self.image_size = max(height, width)
        self._geometry, self._closer = _geometry(config), _geometry(replace(config, size=CLOSER))
        std = torch.tensor(config.std, device=self.device).view(1, 3, 1, 1)
        self._scale = 1 / (255 * std)
        self._shift = -torch.tensor(config.mean, device=self.device).view(1, 3, 1, 1) / std

        probe = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        with torch.inference_mode():
            self._tower, any_size = _tower(self._network, self._normalised(probe))
            embedding, means, others = self._tower(self._normalised(probe))
        self.looks_closer = any_size and self.image_size < CLOSER
        self.reads_at = 2 * max(self.image_size, CLOSER if self.looks_closer else 0)
        self.embed_dim = embedding.shape[1]
        self._widths = [sum(block.shape[1] for block in blocks) for blocks in (means, others)]

    @property
    def model(self) -> nn.Module:
        """The open_clip model itself: the student starts from a copy of its image tower."""
        return self._network

    def __repr__(self) -> str:
        shape = f"image_size={self.image_size}, embed_dim={self.embed_dim}"
        return f"Encoder({self.name!r}, {shape}, device={str(self.device)!r})"

    def encode_images(
        self, images: Iterable[Image.Image], batch_size: int | None = None, *, closer: bool = False
    ) -> ImageEncodings:
        """Encode images in the order given.

        They may come lazily: a second thread draws and prepares them, at most two batches ahead of the network.

        The embeddings stay the same, the features tell more (of eight kinds of blood cells a probe with true labels told 88 %
        without and 94 % with it, before covariances were features) and take three times the time. The batch size changes
        the speed and not the result; by default it is 16 on a CPU, where larger batches fall out of the caches (110 against 175
        images a second of one core at 64 and 16, embedded model), 4 for a closer look (28 against 55 of two cores at 16 and 4),
        else 128.

        Parameters
        ----------
        closer : look at each image once more, at `CLOSER` pixels, where that `looks_closer`
        """
        closer &= self.looks_closer
        batch_size = batch_size or (128 if self.device.type != "cpu" else 4 if closer else 16)
        width = (1 + closer) * self._widths[0] + self._widths[1]
        embeddings = [np.empty((0, self.embed_dim), np.float32)]
        features = [np.empty((0, width), np.float32)]
        with torch.inference_mode():
            for looks in self._batches(images, batch_size, closer):
                embedding, blocks, others = self._tower(self._normalised(looks[0]))
                for look in looks[1:]:
                    _, more, others = self._tower(self._normalised(look))
                    blocks = blocks + more
                embeddings.append(_rows(embedding))
                equals = [functional.normalize(block.float(), dim=1) for block in blocks + others]
                features.append(_rows(torch.cat(equals, dim=1)))
        return ImageEncodings(np.concatenate(embeddings), np.concatenate(features))

    def looks(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """What the network is shown of images, (N, H, W, 3) bytes: at its own size and, where it `looks_closer`, larger."""
        geometries = [self._geometry, self._closer] if self.looks_closer else [self._geometry]
        rgb = [image.convert("RGB") for image in images]
        return [np.stack([_pixels(image, steps) for image in rgb]) for steps in geometries]

    def freeze(self) -> None:
        """No parameter asks for a gradient from now on, as exporting wants it."""
        for part in (self._network, *getattr(self._tower, "args", ())):
            part.requires_grad_(False)

    def features_of_pixels(self, *looks: Tensor) -> Tensor:
        """The features, (B, F), of pixels 0 to 255, (B, 3, H, W), as `looks` gives them: those of `encode_images`, closer."""
        _, blocks, others = self._tower(looks[0] * self._scale + self._shift)
        for look in looks[1:]:
            _, more, others = self._tower(look * self._scale + self._shift)
            blocks = blocks + more
        equals = [functional.normalize(block.float(), dim=1) for block in blocks + others]
        return functional.normalize(torch.cat(equals, dim=1), dim=1)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Encode M texts with the model's own tokenizer: (M, D) float32, rows of length 1."""
        rows = [np.empty((0, self.embed_dim), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(texts), batch_size):
                tokens = self._tokenizer(list(texts[start : start + batch_size])).to(self.device)
                rows.append(_rows(self._network.encode_text(tokens)))  # type: ignore[operator]
        return np.concatenate(rows)

    def _batches(self, images: Iterable[Image.Image], batch_size: int, closer: bool) -> Iterator[list[np.ndarray]]:
        """(B, H, W, 3) bytes for each look, the next batch made while the network works on the last."""
        waiting = iter(images)
        geometries = [self._geometry, self._closer] if closer else [self._geometry]

        def take() -> list[np.ndarray] | None:
            batch = list(islice(waiting, batch_size))
            return [np.stack([_pixels(image, steps) for image in batch]) for steps in geometries] if batch else None

        with ThreadPoolExecutor(1) as worker:
            ahead = worker.submit(take)
            while (batch := ahead.result()) is not None:
                ahead = worker.submit(take)
                yield batch

    def _normalised(self, pixels: np.ndarray) -> Tensor:
        # Bytes come with their channels last, which is the layout that convolutions are fastest in: no copy is made.
        return torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2) * self._scale + self._shift


def load_encoder(model: str = "embedded", device: str = "auto") -> Encoder:
    """Load a CLIP model by a short name, an open_clip name, a hub id or a local path.

    Parameters
    ----------
    model : see `autoannotate.models.loading.sources` for all that it may be device: auto (a CUDA GPU if there is one, else
        Apple's, else the CPU), cpu, cuda, cuda:1, mps Nothing is downloaded for the embedded model or a local path; for others
        only what the local caches lack

    Raises
    ------
    ModelError
        If there is no such model or device, or the weights cannot be had or do not fit.

    Examples
    --------
    >>> load_encoder("embedded").encode_texts(["a chest X-ray"]).shape[0]
    1
    """
    chosen = choose_device(device)
    source = sources.find(model)
    network, tokenizer = build(source)
    try:
        return Encoder(network, tokenizer, name=model, weights_hash=source.weights_hash(), device=chosen)
    except RuntimeError as error:  # too little memory, or an architecture that open_clip builds but cannot run
        raise ModelError(
            f"The model {model} does not run on {chosen} ({first_line(error)}): choose another model, "
            "such as embedded, or another device."
        ) from error


def choose_device(name: str) -> torch.device:
    """The device of that name, see `load_encoder`; raises ModelError if this machine does not have it."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, here in available.items() if here))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    here = device is not None and available.get(device.type, False)
    if device is None or not here or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        choices = ", ".join(["auto", *(kind for kind, is_here in available.items() if is_here)])
        raise ModelError(f"This machine has no device {name}: choose one of {choices}.")
    return device


def _geometry(config: PreprocessCfg) -> list[Callable[[Image.Image], Image.Image]]:
    """All of open_clip's steps but the last two, to_tensor and normalise: done on batches of bytes they are faster."""
    return list(image_transform_v2(config, is_train=False).transforms[:-2])


def _pixels(image: Image.Image, geometry: Sequence[Callable[[Image.Image], Image.Image]]) -> np.ndarray:
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    for step in geometry:
        image = step(image)
    return np.asarray(image)


def _rows(tensor: Tensor) -> np.ndarray:
    return functional.normalize(tensor.float(), dim=1).cpu().numpy()


def _tower(network: Any, probe: Tensor) -> tuple[Tower, bool]:
    """The richest description of images that this network can give beside its embedding, and whether at any size.

    Towers come from many makers, so a description counts only if, on the `probe` (B, 3, H, W), it runs and leaves
    the embedding as the model itself gives it.
    """
    visual = network.visual
    if hasattr(visual, "transformer") or hasattr(getattr(visual, "trunk", None), "num_prefix_tokens"):
        describe = _transformer
    elif hasattr(visual, "trunk"):
        describe = _convolutional_trunk
    else:
        describe = _stages
    embedding = network.encode_image(probe)
    for faster in (True, False):
        try:
            tower = _folded(visual, probe) if faster else visual
            found, means, others = describe(tower, probe)
            fits = torch.allclose(found, embedding, rtol=1e-3, atol=1e-4)
            if fits and all(block.ndim == 2 for block in means + others):
                return partial(describe, tower), describe is _convolutional_trunk
        except (AttributeError, TypeError, AssertionError, RuntimeError, KeyError, IndexError):
            continue

    def joint_only(pixels: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        embedding = network.encode_image(pixels)
        return embedding, [embedding], []

    return joint_only, False


def _folded(visual: nn.Module, probe: Tensor) -> nn.Module:
    """A copy of an image tower without the batch norms that it can do without: the same outputs in two thirds of the time."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in visual.modules()):
        return visual
    return fold_batch_norm(copy.deepcopy(visual), probe)


def _convolutional_trunk(visual: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """timm's convolutional networks: channel means and other moments of every stage, and the pooled last layer."""
    last, stages = visual.trunk.forward_intermediates(pixels, output_fmt="NCHW")
    pooled = visual.trunk.forward_head(last)
    means, others = _moments(stages)
    return visual.head(pooled), means, others + ([pooled] if pooled.ndim == 2 else [])


def _stages(visual: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """open_clip's own ResNets: channel means and other moments of every stage."""
    out = visual.forward_intermediates(pixels)
    return out["image_features"], *_moments(out["image_intermediates"])


def _moments(stages: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Channel means of maps (B, C, H, W), and what else is known of them: what is there, how unevenly, and what together.

    Means and standard deviations, (B, C) each, make up the style of a picture in Huang and Belongie 2017 (arXiv 1703.06868,
    eqs. 5 and 6): texture, which is what tells blood cells apart. See `_second_order` for the third.
    """
    means, deviations = [stage.mean((2, 3)) for stage in stages], [stage.std((2, 3), correction=0) for stage in stages]
    return means, deviations + [_second_order(stage) for stage in stages]


def _second_order(stage: Tensor) -> Tensor:
    """Which channels of a map (B, C, H, W) vary together, (B, at most `SKETCH`): the square root of their covariance.

    Second-order pooling with a matrix square root, which keeps a few strong directions from drowning all others: Newton
    and Schulz's iterations on the covariance divided by its trace (Li et al. 2018, arXiv 1712.01034). Channels first, and
    then the matrix, are projected at random where they are many.
    """
    maps = stage.float().flatten(2)
    maps = maps - maps.mean(2, keepdim=True)
    channels = int(maps.shape[1])
    if channels > CHANNELS:
        maps, channels = _directions(channels, CHANNELS, maps.device).T @ maps, CHANNELS
    covariance = maps @ maps.transpose(1, 2)
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-12)
    identity = torch.eye(channels, device=maps.device)
    root, inverse = covariance / trace[:, None, None], identity.expand_as(covariance)
    for _ in range(ITERATIONS):
        step = 0.5 * (3.0 * identity - inverse @ root)
        root, inverse = root @ step, step @ inverse
    row, column = torch.triu_indices(channels, channels, device=maps.device)
    triangle = root[:, row, column]
    width = channels * (channels + 1) // 2
    return triangle if width <= SKETCH else triangle @ _directions(width, SKETCH, maps.device)


@cache
def _directions(source: int, target: int, device: torch.device) -> Tensor:
    """A fixed random projection, (source, target), that keeps distances well (Johnson and Lindenstrauss 1984)."""
    drawn = np.random.default_rng([source, target]).standard_normal((source, target)) / np.sqrt(target)
    return torch.from_numpy(drawn.astype(np.float32)).to(device)


def _transformer(visual: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
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
    return out["image_features"], blocks, []
