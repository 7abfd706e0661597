"""A small CNN that learns from few, partly wrong labels on two CPU cores: the machinery under the student.

Images travel as uint8 arrays ``(N, S, S, 3)``; a `Backbone` says how they become features. To add one, write a
function that returns a `Backbone` and enter it in `BACKBONES`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoannotate.models.batch_norm import fold_batch_norm

if TYPE_CHECKING:
    from PIL import Image

    from autoannotate.models.training_checkpoints import Checkpoint

PREDICT_BATCH = 32
FROZEN_BLOCKS = 2
PERFECT = 0.999
PATIENCE = 4
Loss = Callable[[Tensor, Tensor, Tensor, float], Tensor]  # of logits, targets and weights of a batch, and the smoothing


@dataclass(frozen=True)
class Backbone:
    """A feature extractor in two parts, and how it likes to be trained.

    `stem` stays frozen (empty when everything trains), `body` is trained; together they map normalised images
    (B, 3, size, size) to feature maps (B, width, h, w), which are averaged. Every `fit` trains its own copy of the
    body. `cost` is the time of one training pass over one image in units of the
    embedded tower's (about 10 ms on one core), so that every backbone gets the same time.
    """

    stem: nn.Module
    body: nn.Module
    width: int
    size: int
    learning_rate: float
    head_learning_rate: float
    pretrained: bool
    cost: float = 1.0
    max_epochs: int = 12


def embedded_backbone(encoder: Any, seed: int) -> Backbone:
    """The image tower of the embedded encoder (EfficientNet-Lite0 at 128 px), all but its first three stages trained.

    The frozen stages look for texture at high resolution: they are a third of the cost of a training step and the
    part that least needs to change. Batch norm keeps its statistics: it is folded into the convolutions, which
    also halves the time of a forward pass.
    """
    if encoder is None or encoder.name != "embedded":
        from autoannotate.models.encoder import load_encoder

        encoder = load_encoder("embedded", "cpu")
    tower: Any = copy.deepcopy(encoder.model.visual.trunk).float().cpu().eval()
    for parameter in tower.parameters():
        parameter.requires_grad_(True)
    size = 128
    tower = fold_batch_norm(tower.to(memory_format=torch.channels_last), torch.zeros(1, 3, size, size))
    stem = nn.Sequential(tower.conv_stem, tower.bn1, *tower.blocks[:FROZEN_BLOCKS])
    body = nn.Sequential(*tower.blocks[FROZEN_BLOCKS:], tower.conv_head, tower.bn2)
    width = tower.conv_head.out_channels
    return Backbone(stem, body, width, size, learning_rate=2e-4, head_learning_rate=2e-3, pretrained=True)


def resnet18_backbone(encoder: Any, seed: int) -> Backbone:
    """torchvision's ResNet-18 from scratch at 64 px: knows nothing beforehand, so it needs many images."""
    from torchvision.models import resnet18

    with fixed_randomness(seed):
        net = resnet18(weights=None)
    body = nn.Sequential(*list(net.children())[:-2]).to(memory_format=torch.channels_last)
    return Backbone(
        nn.Identity(),
        body,
        width=512,
        size=64,
        learning_rate=1e-3,
        head_learning_rate=1e-3,
        pretrained=False,
        cost=1.5,
        max_epochs=30,
    )


BACKBONES: dict[str, Callable[[Any, int], Backbone]] = {
    "embedded": embedded_backbone,
    "resnet18": resnet18_backbone,
}


@contextmanager
def fixed_randomness(seed: int) -> Iterator[None]:
    """Seed torch inside the block and give the global generators back as they were."""
    with (
        torch.random.fork_rng(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        yield


def to_pixels(image: Image.Image, size: int) -> np.ndarray:
    """One image as (size, size, 3) uint8, squeezed to a square so that nothing at the border is lost."""
    from PIL import Image as PillowImage

    small = image.convert("RGB").resize((size, size), PillowImage.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small, dtype=np.uint8)


def to_tensor(pixels: np.ndarray, device: torch.device) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) float in [-1, 1], channels last."""
    batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)
    return (batch.float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Symmetries:
    """Which mirrorings of the images leave them looking like images of the same set and class."""

    horizontal: bool = False
    vertical: bool = False

    @property
    def mirrorings(self) -> list[tuple[int, ...]]:
        """The axes of (B, 3, S, S) to flip for each: as it is, left to right, upside down, both, as far as they hold."""
        left_right = [(), (3,)] if self.horizontal else [()]
        return [(*up, *along) for up in ([(), (2,)] if self.vertical else [()]) for along in left_right]


def augment(batch: Tensor, symmetries: Symmetries) -> Tensor:
    """Small changes that keep the label: turn up to 12 degrees, zoom 0.85 to 1.1, shift 6 %, brightness and contrast.

    Mirrors only along `symmetries`; quarter turns (a transposition beside the mirrors) only when both hold.
    `batch` is (B, 3, S, S) in [-1, 1] and stays so in shape and nearly in range. Uses torch's global generator.
    """
    count = len(batch)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count) * (high - low) + low

    def mirror(allowed: bool) -> Tensor:
        sign = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
        return sign if allowed else torch.ones(count)

    angle, zoom = uniform(-12, 12) * math.pi / 180, uniform(0.9, 1.18)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    flip_x, flip_y = mirror(symmetries.horizontal), mirror(symmetries.vertical)
    rows = [
        torch.stack([cosine * flip_x, -sine * flip_y, uniform(-0.06, 0.06)], dim=1),
        torch.stack([sine * flip_x, cosine * flip_y, uniform(-0.06, 0.06)], dim=1),
    ]
    affine = torch.stack(rows, dim=1)
    quarter = torch.rand(count) < 0.5
    if symmetries.horizontal and symmetries.vertical:
        affine[quarter] = affine[quarter][:, [1, 0]]
    contrast, brightness = uniform(0.85, 1.15), uniform(-0.12, 0.12)
    grid = F.affine_grid(affine, list(batch.shape), align_corners=False).to(batch.device)
    moved = F.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)
    shade = contrast[:, None, None, None].to(batch.device), brightness[:, None, None, None].to(batch.device)
    return (moved * shade[0] + shade[1]).contiguous(memory_format=torch.channels_last)


def mixed_precision(device: torch.device) -> torch.autocast:
    """On a GPU convolutions run in bfloat16, which needs no scaling of the loss; elsewhere nothing changes."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


class Classifier(nn.Module):
    """A backbone's frozen stem, its own copy of the body, and a linear head."""

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.stem = backbone.stem.eval().requires_grad_(False)
        self.body = copy.deepcopy(backbone.body)
        self.head = nn.Linear(backbone.width, classes)
        self.size = backbone.size
        self.live_norm = any(isinstance(m, nn.BatchNorm2d) for m in self.body.modules())
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.eval()

    def features(self, batch: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, width)."""
        with torch.no_grad(), mixed_precision(batch.device):
            low = self.stem(batch)
        return self.pooled(low)

    def pooled(self, low: Tensor) -> Tensor:
        """What the stem makes of a batch -> (B, width)."""
        with mixed_precision(low.device):
            maps = self.body(low)
        return maps.float().mean(dim=(2, 3))

    def forward(self, batch: Tensor) -> Tensor:
        """Logits (B, K) of a batch (B, 3, S, S)."""
        return self.head(self.features(batch))

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.head.weight.device


def jointly(models: Sequence[Classifier]) -> Callable[[Tensor], Tensor]:
    """What each of M models of one backbone says of a batch (B, 3, S, S): logits (B, M, K), the stem they share run once."""

    def logits(batch: Tensor) -> Tensor:
        with mixed_precision(batch.device):
            low = models[0].stem(batch)
        return torch.stack([model.head(model.pooled(low)) for model in models], dim=1)

    return logits


def predict(
    model: nn.Module | Callable[[Tensor], Tensor],
    pixels: np.ndarray,
    device: torch.device,
    mirrorings: Sequence[tuple[int, ...]] = ((),),
) -> np.ndarray:
    """Logits (or what else `model` gives) of uint8 images (N, S, S, 3), as float32.

    Parameters
    ----------
    mirrorings : see `Symmetries.mirrorings`; the mean over them is given (test-time augmentation, Krizhevsky et al. 2012).
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), PREDICT_BATCH):
            batch = to_tensor(pixels[start : start + PREDICT_BATCH], device)
            views = [model(batch.flip(axes) if axes else batch).float() for axes in mirrorings]
            parts.append(torch.stack(views).mean(dim=0).cpu().numpy())
    return np.concatenate(parts)


def robust_loss(logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy to labels of which a share `smoothing` is spread over all classes, a weighted mean.

    Smoothed labels keep the network from insisting on a wrong label; against symmetric noise they rival
    loss correction (Lukasik et al., ICML 2020, "Does label smoothing mitigate label noise?").
    logits (B, K), labels (B,), weights (B,) -> scalar.
    """
    per_image = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return (weights * per_image).sum() / weights.sum()


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train."""

    epochs: int
    batch_size: int = 16
    smoothing: float = 0.1
    weight_decay: float = 1e-2
    dropout: float = 0.2
    warm_start_steps: int = 60


def fit(
    backbone: Backbone,
    pixels: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    classes: int,
    recipe: Recipe,
    symmetries: Symmetries,
    *,
    score: Callable[[Classifier], float],
    walk: Iterable[int],
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    loss: Loss = robust_loss,
) -> Classifier:
    """Train a classifier on uint8 images (N, S, S, 3) and labels (N,), and return it as it was after its best epoch.

    First the head alone on fixed features, then head and body together (Kumar et al., ICLR 2022: features are
    distorted less), AdamW, cosine decay after a short warm-up. `score` is asked after every epoch, higher is better;
    training stops at a perfect score twice running or after `PATIENCE` worse than the best. `weights` (N,) are
    the images' weights in the loss; `walk` yields once an epoch, at most `recipe.epochs`
    times, so that it may show progress. `checkpoint` is written after every epoch; where one is there, training goes on
    after it. With another `loss` than `robust_loss`, labels and weights are of the shape that it takes.
    """
    with fixed_randomness(seed):
        model = Classifier(backbone, classes).to(device)
        target = torch.from_numpy(labels.astype(np.int64)).to(device)
        weight = torch.from_numpy((weights / weights.mean()).astype(np.float32)).to(device)
        before = checkpoint.load() if checkpoint is not None else None
        if backbone.pretrained and before is None:
            fit_head(
                model,
                torch.from_numpy(predict(model.features, pixels, device)).to(device),
                target,
                weight,
                recipe,
                loss,
            )
        steps, schedule = optimiser(backbone, model, recipe, recipe.epochs * math.ceil(len(pixels) / recipe.batch_size))
        best, best_state, stale, perfect, done = -math.inf, None, 0, 0, 0
        if before is not None:
            model.body.load_state_dict(before["body"])
            model.head.load_state_dict(before["head"])
            steps.load_state_dict(before["optimiser"])
            schedule.load_state_dict(before["schedule"])
            best, best_state, stale, perfect, done = (
                before[name] for name in ("best", "best_state", "stale", "perfect", "done")
            )
            _set_randomness(before["randomness"], device)
        for epoch, _ in enumerate(walk, start=1):
            if epoch <= done:
                if epoch == done and (perfect >= 2 or stale >= PATIENCE):
                    break
                continue
            model.train(model.live_norm)
            model.stem.eval()
            order = torch.randperm(len(pixels)).numpy()
            for start in range(0, len(order), recipe.batch_size):
                chosen = order[start : start + recipe.batch_size]
                if model.live_norm and len(chosen) < 2:
                    continue
                batch = augment(to_tensor(pixels[chosen], device), symmetries)
                features = F.dropout(model.features(batch), recipe.dropout)
                error = loss(model.head(features), target[chosen], weight[chosen], recipe.smoothing)
                steps.zero_grad(set_to_none=True)
                error.backward()
                steps.step()
                schedule.step()
            model.eval()
            now = score(model)
            perfect = perfect + 1 if now >= PERFECT else 0
            stale = stale + 1 if now < best else 0
            if now >= best:
                best, best_state = (
                    now,
                    copy.deepcopy({"body": model.body.state_dict(), "head": model.head.state_dict()}),
                )
            if checkpoint is not None:
                checkpoint.save(
                    {
                        "body": model.body.state_dict(), "head": model.head.state_dict(), "optimiser": steps.state_dict(),
                        "schedule": schedule.state_dict(), "best": best, "best_state": best_state, "stale": stale,
                        "perfect": perfect, "done": epoch, "randomness": _randomness(device),
                    }
                )  # fmt: skip
            if perfect >= 2 or stale >= PATIENCE:
                break
        if best_state is not None:
            model.body.load_state_dict(best_state["body"])
            model.head.load_state_dict(best_state["head"])
    return model.eval()


def _randomness(device: torch.device) -> list[Tensor]:
    """The state of the generators that training draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_randomness(states: Sequence[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def optimiser(
    backbone: Backbone, model: Classifier, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW with the backbone's rates, and their course over so many steps: a short warm-up, then cosine decay."""
    groups = [
        {"params": list(model.body.parameters()), "lr": backbone.learning_rate},
        {"params": list(model.head.parameters()), "lr": backbone.head_learning_rate},
    ]
    adamw = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    warm_up = max(1, steps // 6)
    return adamw, torch.optim.lr_scheduler.LambdaLR(
        adamw, lambda step: min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))
    )


def fit_head(
    model: Classifier, features: Tensor, target: Tensor, weight: Tensor, recipe: Recipe, loss: Loss = robust_loss
) -> None:
    """Logistic regression of the head on fixed features (N, width), stopped early: the body's starting point."""
    rate = 3e-2 / float(features.norm(dim=1).mean().clamp_min(1e-6))
    optimiser = torch.optim.AdamW(model.head.parameters(), lr=rate, weight_decay=1.0)
    for _ in range(recipe.warm_start_steps):
        optimiser.zero_grad(set_to_none=True)
        loss(model.head(features), target, weight, recipe.smoothing).backward()
        optimiser.step()


def find_symmetries(
    backbone: Backbone, pixels: np.ndarray, labels: np.ndarray, *, seed: int, device: torch.device
) -> Symmetries:
    """Mirror images in training only where a mirrored image of a class cannot be told from a real one.

    pixels (N, S, S, 3) uint8, labels (N,). Within each class, the untrained features of an image minus those of
    its mirror image are given a sign by a linear rule learnt on the other half: near one half right, the set has no
    left and right (cells, skin); well above, in all images or surely in one class, it has (hearts lie left), and a
    mirrored image would be a new kind of image, or another class. Classes with fewer than 12 images are not asked.
    """
    stem, body = backbone.stem.to(device), copy.deepcopy(backbone.body).to(device).eval()

    def features(batch: Tensor) -> Tensor:
        return body(stem(batch)).mean(dim=(2, 3))

    plain = predict(features, pixels, device)
    answers = []
    for axis in (2, 1):
        difference = plain - predict(features, np.flip(pixels, axis=axis), device)
        right, total = [], []
        for label in np.unique(labels):
            of_class = difference[labels == label]
            if len(of_class) < 12:
                continue
            half = np.random.default_rng(seed).permutation(len(of_class)) % 2
            scaled = of_class / np.maximum(of_class.std(axis=0), 1e-6)
            hits = [int((scaled[half != k] @ scaled[half == k].mean(axis=0) > 0).sum()) for k in (0, 1)]
            right.append(sum(hits))
            total.append(len(of_class))
        told_apart = any(hit / n > 0.5 + 1.6 / n**0.5 for hit, n in zip(right, total, strict=True))
        answers.append(bool(total) and not told_apart and sum(right) < 0.65 * sum(total))
    return Symmetries(horizontal=answers[0], vertical=answers[1])
