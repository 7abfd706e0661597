"""Contrastive training of a CLIP-style encoder on image-text pairs, where many captions can be true of one image.

A batch holds B images and the T distinct captions drawn for them. Which of the B x T pairs are true is known from the table,
so captions that mean the same are never pushed apart: the target of each image is spread evenly over its true captions, and
of each caption over its true images (UniCL, Yang et al. 2022, arXiv 2204.03610, eq. 2-4; with one caption an image it is
CLIP's loss). Similarities come from open_clip's ClipLoss. The text tower is anchored: its embeddings are held near those it
started with, so that words that no caption holds keep the place they had. What is kept is an exponential moving average.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.loss import ClipLoss
from open_clip.transform import PreprocessCfg
from PIL import Image
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Subset

from autoannotate._internal.progress import Track, silent
from autoannotate.errors import InputError, OutputError, UsageError
from autoannotate.models.encoder import choose_device
from autoannotate.models.loading import sources
from autoannotate.models.loading.build import build
from autoannotate.models.loading.weights import save_weights
from autoannotate.models.pretraining.augment import augment
from autoannotate.models.pretraining.pairs import Pairs, read_pairs

CAPTIONS_AN_IMAGE = 2  # drawn from its true captions at each step
ANCHORS_A_STEP = 64
EMA_DECAY = 0.995
SAVE_SECONDS = 300

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class TrainingResult:
    """What a training run made: the folder of the checkpoint (`--model FOLDER` loads it) and how well it reads."""

    folder: Path
    steps: int
    held_out_images: int
    held_out_captions: int
    before: float  # share of held-out images whose best caption, of all held-out captions, is true: at the start
    after: float  # the same at the end


def moving_average(average: Tensors, current: Tensors, steps: Tensor | int) -> None:
    """Exponential moving average in place, over fewer steps at the start of a run, when the first weights mean little."""
    decay = min(EMA_DECAY, (1 + int(steps)) / (10 + int(steps)))
    get_ema_multi_avg_fn(decay)(average, current, steps)


class SoftTargetClipLoss(ClipLoss):
    """CLIP's loss with many true captions an image and many true images a caption."""

    def forward(self, images: Tensor, texts: Tensor, scale: Tensor, truth: Tensor) -> Tensor:
        """images (B, D) and texts (T, D) unit rows, truth (B, T) of 0 and 1 with a 1 in every row and column."""
        by_image, by_text = self.get_logits(images, texts, scale)
        return (
            nn.functional.cross_entropy(by_image, truth / truth.sum(1, keepdim=True))
            + nn.functional.cross_entropy(by_text, truth.T / truth.T.sum(1, keepdim=True))
        ) / 2


class Draws(Dataset[tuple[Tensor, int]]):
    """The images of one epoch in the order they are drawn, each augmented by its own random generator."""

    def __init__(self, pairs: Pairs, rows: np.ndarray, key: tuple[int, int], size: tuple[int, int]) -> None:
        self.pairs, self.rows, self.key, self.size = pairs, rows, key, size

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        row = int(self.rows[position])
        rng = np.random.default_rng([*self.key, position])
        return to_tensor(augment(open_rgb(self.pairs.paths[row]), self.size, rng)), row


class Whole(Dataset[tuple[Tensor, int]]):
    """The images as they are, at the encoder's size."""

    def __init__(self, pairs: Pairs, size: tuple[int, int]) -> None:
        self.pairs, self.size = pairs, size

    def __len__(self) -> int:
        return len(self.pairs.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return to_tensor(open_rgb(self.pairs.paths[row]).resize(self.size, Image.Resampling.BICUBIC)), row


def open_rgb(path: Path) -> Image.Image:
    """The picture as RGB; a training table of broken files is the user's to mend, so say which file."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (320, 320))
            return image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read ({error}); take it out of the pairs table.") from None


def to_tensor(image: Image.Image) -> Tensor:
    """(3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


class Trainer:
    """One training run: the model, its average, the optimiser, and where in the run we are."""

    def __init__(
        self, init: str, device: str, steps: int, lr: float, text_lr: float, anchor: float, anchors: list[str]
    ) -> None:
        source = sources.find(init)
        network: Any
        network, self.tokenizer = build(source)
        self.device = choose_device(device)
        self.model = network.float().to(self.device).to(memory_format=torch.channels_last)
        settings = PreprocessCfg(**network.visual.preprocess_cfg)
        self.config = {"model_cfg": source.model_cfg, "preprocess_cfg": source.preprocess_cfg}
        height, width = settings.input_size[1:]
        self.size = (width, height)
        self.mean = torch.tensor(settings.mean, device=self.device).view(3, 1, 1) * 255
        self.std = torch.tensor(settings.std, device=self.device).view(3, 1, 1) * 255
        self.start: Any = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.average = AveragedModel(self.model, multi_avg_fn=moving_average, use_buffers=True)
        self.loss, self.anchor, self.step, self.steps = SoftTargetClipLoss(), anchor, 0, steps
        self.anchors = self.tokenizer(anchors)

        # A gain or bias that is not a matrix is not decayed; a fresh projection learns faster than a trained trunk.
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            rate = lr if name.startswith("visual.") else text_lr
            rate = 2 * lr if name == "logit_scale" or name.startswith("visual.head.") else rate
            groups.setdefault((rate, 0.05 if parameter.ndim > 1 else 0.0), []).append(parameter)
        self.rates = [rate for rate, _ in groups]
        self.optimiser = torch.optim.AdamW(
            [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]
        )

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) uint8 as the network takes them, float32."""
        pixels = pixels.to(self.device, non_blocking=True).float()
        return ((pixels - self.mean) / self.std).to(memory_format=torch.channels_last)

    def train_step(self, pixels: Tensor, tokens: Tensor, truth: Tensor, rng: np.random.Generator) -> float:
        """One step on images (B, 3, H, W) uint8, their drawn captions (T, L) and which are true (B, T)."""
        self.model.train()
        warm_up, done = min(1.0, (self.step + 1) / min(200, self.steps / 4)), self.step / self.steps
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * warm_up * 0.5 * (1 + math.cos(math.pi * done))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            images = self.model.encode_image(self.normalise(pixels), normalize=True)
            some = self.anchors[rng.integers(len(self.anchors), size=ANCHORS_A_STEP)]
            read = torch.cat([tokens, some]).to(self.device)
            texts = self.model.encode_text(read, normalize=True)
            with torch.no_grad():
                started = self.start.encode_text(read, normalize=True)
        texts = texts.float()
        loss = self.loss(images.float(), texts[: len(tokens)], self.model.logit_scale.exp(), truth.to(self.device))
        loss = loss + self.anchor * (1 - (texts * started.float()).sum(1)).mean()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        self.average.update_parameters(self.model)
        self.step += 1
        return float(loss.detach())

    @torch.inference_mode()
    def score(self, model: Any, pairs: Pairs, workers: int, track: Track) -> float:
        """Share of images whose best caption, of all captions true of any of them, is true."""
        model.eval()
        columns = np.flatnonzero(pairs.truth.sum(0) > 0)
        tokens = self.tokenizer([pairs.captions[i] for i in columns])
        texts = torch.cat([model.encode_text(part.to(self.device), normalize=True) for part in tokens.split(512)])
        right = 0.0
        loader = DataLoader(Whole(pairs, self.size), batch_size=64, num_workers=workers)
        for pixels, rows in track(loader, "scoring held-out images", len(loader)):
            images = model.encode_image(self.normalise(pixels), normalize=True)
            best = (images @ texts.T).argmax(1).cpu().numpy()
            right += float(sum(pairs.truth[int(row), columns[column]] for row, column in zip(rows, best, strict=True)))
        return right / len(pairs.paths)

    def averaged(self) -> Any:
        """The averaged weights in a network of their own: averaging spoils what a checkpoint leaves out (a mask of -inf)."""
        model = copy.deepcopy(self.start)
        model.load_state_dict(self.average.module.state_dict())
        return model

    def state(self) -> dict[str, Any]:
        """All that `resume` needs."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])


def draw_captions(truth: csr_array, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Distinct captions of a batch: up to CAPTIONS_AN_IMAGE true ones for each of the rows (B,), as column numbers (T,)."""
    drawn = [
        rng.choice(columns, min(CAPTIONS_AN_IMAGE, len(columns)), replace=False)
        for columns in (truth.indices[truth.indptr[row] : truth.indptr[row + 1]] for row in rows)
    ]
    return np.unique(np.concatenate(drawn))


def batches(
    pairs: Pairs, seed: int, first: int, steps: int, batch_size: int, size: tuple[int, int], workers: int
) -> Iterator[tuple[int, Tensor, np.ndarray]]:
    """The batches of steps `first` to `steps`, the same whether or not the run was interrupted: (step, pixels, rows)."""
    an_epoch = math.ceil(len(pairs.paths) / batch_size)
    step = first
    while step < steps:
        epoch, within = divmod(step, an_epoch)
        order = np.random.default_rng([seed, epoch]).choice(len(pairs.paths), an_epoch * batch_size, p=pairs.weights)
        draws = Draws(pairs, order, (seed, epoch * an_epoch), size)
        rest = range(within * batch_size, min(an_epoch, within + steps - step) * batch_size)
        for pixels, rows in DataLoader(Subset(draws, rest), batch_size=batch_size, num_workers=workers):
            yield step, pixels, rows.numpy()
            step += 1


def pretrain_clip(
    images: Path,
    pairs: Path,
    out: Path,
    *,
    init: str = "embedded",
    epochs: float = 10,
    batch_size: int = 128,
    lr: float = 3e-4,
    text_lr: float = 1e-4,
    anchor: float = 2.0,
    anchor_texts: Path | None = None,
    held_out: float = 0.05,
    seed: int = 0,
    workers: int = 2,
    device: str = "auto",
    track: Track = silent,
) -> TrainingResult:
    """Train an encoder on image-text pairs and write it to `out` as an open_clip model folder that `--model` loads.

    A run that was stopped goes on where it was when called again with the same arguments.

    Parameters
    ----------
    images : the folder that paths in the table are relative to
    pairs : CSV, see `pairs.read_pairs`
    init : any name that `load_encoder` takes
    lr : peak rate of the image tower
    text_lr : of the text tower
    anchor : weight of the cosine distance of text embeddings to where they started
    anchor_texts : a file of phrases to hold besides the captions, one a line
    held_out : share of the groups kept aside for the score

    Raises
    ------
    InputError
        With what is wrong, and the way out.
    OutputError
        Where it cannot be written.
    UsageError
        ModelError.
    """
    if epochs <= 0 or batch_size < 2 or not 0 < held_out < 1:
        raise UsageError("--epochs must be positive, --batch-size at least 2, and --held-out between 0 and 1.")
    table = read_pairs(pairs, images)
    train, aside = table.split(held_out, seed)
    steps = math.ceil(epochs * math.ceil(len(train.paths) / batch_size))
    settings = {
        "init": init, "epochs": epochs, "batch_size": batch_size, "lr": lr, "text_lr": text_lr, "anchor": anchor,
        "held_out": held_out, "seed": seed, "pairs_sha256": hashlib.sha256(pairs.read_bytes()).hexdigest(),
    }  # fmt: skip
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "training.json").touch()
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror}); choose another --out.") from None

    phrases = anchor_texts.read_text().splitlines() if anchor_texts else list(table.captions)
    torch.manual_seed(seed)
    trainer = Trainer(init, device, steps, lr, text_lr, anchor, phrases)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=trainer.device, weights_only=True)
        if saved["settings"] != settings:
            raise OutputError(f"{out} holds a run with other settings; choose another --out, or remove {checkpoint}.")
        trainer.resume(saved["state"])
        before = saved["before"]
    else:
        before = trainer.score(trainer.start, aside, workers, track)

    tokens = trainer.tokenizer(list(table.captions))
    last_saved, log = time.monotonic(), (out / "log.csv").open("a", buffering=1)
    todo = batches(train, seed, trainer.step, steps, batch_size, trainer.size, workers)
    with log:
        for step, pixels, rows in track(todo, "training", steps - trainer.step):
            rng = np.random.default_rng([seed, step, 1])
            columns = draw_captions(train.truth, rows, rng)
            truth = torch.from_numpy(train.truth[rows][:, columns].toarray())
            loss = trainer.train_step(pixels, tokens[columns], truth, rng)
            log.write(f"{step},{loss:.4f}\n")
            if time.monotonic() - last_saved > SAVE_SECONDS or trainer.step == steps:
                partial = checkpoint.with_suffix(".partial")
                torch.save({"settings": settings, "before": before, "state": trainer.state()}, partial)
                partial.replace(checkpoint)
                last_saved = time.monotonic()

    averaged = trainer.averaged()
    after = trainer.score(averaged, aside, workers, track)
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in averaged.state_dict().items()
    }
    save_weights(half, out / "open_clip_model.safetensors")
    (out / "open_clip_config.json").write_text(json.dumps(trainer.config, indent=2) + "\n")
    result = TrainingResult(
        out, steps, len(aside.paths), int((aside.truth.sum(0) > 0).sum()), round(before, 4), round(after, 4)
    )
    summary = {**settings, **{key: value for key, value in asdict(result).items() if key != "folder"}}
    (out / "training.json").write_text(json.dumps(summary, indent=2) + "\n")
    return result
