"""Self-supervised pretraining of the student on unlabelled images: SimCLR (Chen et al. 2020, arXiv 2002.05709).

Two random views of each image go through backbone and projection head; the loss (NT-Xent, eq. 1) asks that each view
finds the other among all views of the batch. Views, head and loss are those of the `lightly` library. What is kept is the
backbone: the student then starts from it (`label --student FOLDER`).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from autoannotate._internal.progress import Track, silent
from autoannotate.errors import InputError, ModelError, OutputError, UnreadableImageError, UsageError
from autoannotate.models import student_network
from autoannotate.models.encoder import choose_device
from autoannotate.models.pretraining.checkpoint import Checkpoint
from autoannotate.models.student_checkpoint import NAMES, WEIGHTS, load_student, save_student

FEWEST = 16  # images: fewer give too few negatives to learn from
LARGER = 1.25  # pictures are kept this much larger than the network sees them, for crops
TEMPERATURE = 0.5  # section 5.1 of the paper: the best at batches of a few hundred
PROJECTED, HIDDEN = 128, 512
ASIDE = 256  # images kept aside for the score, at most
WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class SimclrResult:
    """The folder of the pretrained student (`--student FOLDER` takes it), and how well it knows an image again."""

    folder: Path
    backbone: str
    images: int
    unreadable: int
    steps: int
    held_out_images: int
    before: (
        float  # share of held-out images whose two views find each other among the views of all others, at the start
    )
    after: float  # the same at the end


@contextmanager
def _drawn_by(key: Sequence[int]) -> Iterator[None]:
    """Let the global generators of torch and NumPy, which lightly's transforms draw from, follow `key` inside the block."""
    seed = int(np.random.default_rng(list(key)).integers(2**32))
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)


def views(size: int, symmetries: student_network.Symmetries) -> Any:
    """lightly's SimCLR transform, gentler where medical images differ from photographs.

    A PIL image becomes two (3, S, S) in [-1, 1].

    Crops keep at least a fifth of the picture, since a finding may be small; colours move half as far and hue hardly,
    since stains carry meaning; mirrors and quarter turns only where the images themselves are found to have none.
    """
    from lightly.transforms import SimCLRTransform

    both = symmetries.horizontal and symmetries.vertical
    return SimCLRTransform(
        input_size=size,
        min_scale=0.2,
        cj_strength=0.5,
        cj_hue=0.1,
        gaussian_blur=0.3,
        sigmas=(0.1, 1.0),
        hf_prob=0.5 if symmetries.horizontal else 0.0,
        vf_prob=0.5 if symmetries.vertical else 0.0,
        rr_prob=0.5 if both else 0.0,
        normalize={"mean": [0.5] * 3, "std": [0.5] * 3},
    )


class Views(Dataset[tuple[Tensor, Tensor]]):
    """Two views of each drawn picture; `key` and the position decide which, whatever the number of workers."""

    def __init__(self, pixels: np.ndarray, rows: np.ndarray, key: Sequence[int], transform: Any) -> None:
        self.pixels, self.rows, self.key, self.transform = pixels, rows, key, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        from PIL import Image

        with _drawn_by([*self.key, position]):
            first, second = self.transform(Image.fromarray(self.pixels[self.rows[position]]))
        return first, second


class Trainer:
    """One training run over pictures (N, S, S, 3) uint8: the network, the optimiser, and where in the run we are."""

    def __init__(
        self,
        backbone: student_network.Backbone,
        pixels: np.ndarray,
        *,
        epochs: float,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        self.given, self.pixels, self.seed, self.device = backbone, pixels, seed, device
        self.batch_size = min(batch_size, len(pixels))
        self.an_epoch = len(pixels) // self.batch_size
        self.steps, self.step = max(1, round(epochs * self.an_epoch)), 0
        some = np.random.default_rng([seed, 11]).permutation(len(pixels))[:160]
        small = np.stack([_resized(pixels[i], backbone.size) for i in np.sort(some)])
        symmetries = student_network.find_symmetries(
            backbone, small, np.zeros(len(small), int), seed=seed, device=device
        )
        self.transform = views(backbone.size, symmetries)
        with student_network.fixed_randomness(seed):
            self.stem = copy.deepcopy(backbone.stem).to(device).eval().requires_grad_(False)
            self.body = copy.deepcopy(backbone.body).to(device)
            self.head = SimCLRProjectionHead(backbone.width, HIDDEN, PROJECTED).to(device)
        self.loss = NTXentLoss(temperature=TEMPERATURE)
        self.rates = (backbone.learning_rate, 1e-3)
        self.optimiser = torch.optim.AdamW(
            [{"params": self.body.parameters()}, {"params": self.head.parameters()}], weight_decay=WEIGHT_DECAY
        )

    def features(self, batch: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, width)."""
        with torch.no_grad():
            low = self.stem(batch.to(self.device).contiguous(memory_format=torch.channels_last))
        return self.body(low).mean(dim=(2, 3))

    def batches(self, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the steps that remain, the same whether or not the run was interrupted."""
        while self.step < self.steps:
            epoch, within = divmod(self.step, self.an_epoch)
            rows = np.random.default_rng([self.seed, epoch, 12]).permutation(len(self.pixels))
            here = min(self.an_epoch, within + self.steps - self.step)
            drawn = Views(self.pixels, rows, (self.seed, epoch, 13), self.transform)
            positions = range(within * self.batch_size, here * self.batch_size)
            yield from DataLoader(drawn, batch_size=self.batch_size, sampler=positions, num_workers=workers)

    def train_step(self, first: Tensor, second: Tensor) -> float:
        """One step on two views of B images, each (B, 3, S, S)."""
        live = any(isinstance(module, nn.BatchNorm2d) for module in self.body.modules())
        self.body.train(live)
        self.head.train()
        warm_up = min(1.0, (self.step + 1) / max(1.0, min(100, self.steps / 10)))
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * warm_up * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        projected = self.head(self.features(torch.cat([first, second])))
        loss = self.loss(*projected.float().chunk(2))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    @torch.inference_mode()
    def found_again(self, pixels: np.ndarray) -> float:
        """Share of views, of pictures (M, S, S, 3), whose nearest other view shows the same picture."""
        self.body.eval()
        drawn = Views(pixels, np.arange(len(pixels)), (self.seed, 0, 14), self.transform)
        pairs = [
            (self.features(first), self.features(second))
            for first, second in DataLoader(drawn, student_network.PREDICT_BATCH)
        ]
        both = torch.cat([torch.cat(side) for side in zip(*pairs, strict=True)]).float()
        both = nn.functional.normalize(both - both.mean(0), dim=1)
        near = (both @ both.T).fill_diagonal_(-2.0).argmax(1).cpu()
        return float((near == torch.arange(len(both)).roll(len(pixels))).float().mean())

    def backbone(self) -> student_network.Backbone:
        """What a student starts from: the backbone as it is now, on the CPU."""
        body = copy.deepcopy(self.body).cpu().eval()
        return replace(self.given, stem=self.stem.cpu(), body=body, pretrained=True)

    def state(self) -> dict[str, Any]:
        """All that `resume` needs."""
        return {
            "step": self.step,
            "body": self.body.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.step = state["step"]
        self.body.load_state_dict(state["body"])
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])


def pretrain_backbone(
    backbone: student_network.Backbone,
    pixels: np.ndarray,
    *,
    epochs: float = 20,
    batch_size: int = 64,
    seed: int = 0,
    device: str = "auto",
    track: Track = silent,
) -> student_network.Backbone:
    """The backbone after SimCLR on pictures (N, S, S, 3) uint8, S at least the backbone's size; the one given stays as it is.

    Raises
    ------
    ModelError
        Where the `ssl` extra is missing.
    UsageError
        Where there are fewer than 16 pictures.
    """
    _needs_lightly()
    if len(pixels) < FEWEST:
        raise UsageError(f"SimCLR needs at least {FEWEST} images to tell apart; here are {len(pixels)}.")
    where = choose_device(device)
    trainer = Trainer(backbone, pixels, epochs=epochs, batch_size=batch_size, seed=seed, device=where)
    for first, second in track(trainer.batches(0), "SimCLR: training", trainer.steps):
        trainer.train_step(first, second)
    return trainer.backbone()


def pretrain_simclr(
    images: Path,
    out: Path,
    *,
    init: str = "embedded",
    epochs: float = 20,
    batch_size: int = 64,
    held_out: float = 0.05,
    seed: int = 0,
    workers: int = 2,
    device: str = "auto",
    track: Track = silent,
) -> SimclrResult:
    """Train a student's backbone on the images of a folder, without labels, and write it to `out` for `label --student`.

    A run that was stopped goes on where it was when called again with the same arguments. Pictures are held in memory as bytes:
    77 kB each for `embedded`, 19 kB for `resnet18`.

    Parameters
    ----------
    images : a folder, read as `autoannotate label` reads it
    init : `embedded` (the embedded encoder's image tower), `resnet18` (from nothing) or the folder of an earlier run
    held_out : share kept aside for the score, at most 256 images

    Raises
    ------
    InputError
        With what is wrong, and the way out.
    OutputError
        Where it cannot be written.
    UsageError
        ModelError.
    """
    if epochs <= 0 or batch_size < 2 or not 0 <= held_out < 1:
        raise UsageError("--epochs must be positive, --batch-size at least 2, and --held-out at least 0 and under 1.")
    _needs_lightly()
    where = choose_device(device)
    kind, backbone = _start(init, seed)
    pixels, unreadable, content = _read(images, math.ceil(LARGER * backbone.size), track)
    settings = {
        "init": init, "epochs": epochs, "batch_size": batch_size, "held_out": held_out, "seed": seed, "images_sha256": content,
    }  # fmt: skip
    order = np.random.default_rng([seed, 10]).permutation(len(pixels))
    few = min(ASIDE, round(held_out * len(pixels)))
    aside, used = np.sort(order[:few]), np.sort(order[few:])
    if len(used) < FEWEST:
        raise InputError(
            f"SimCLR needs at least {FEWEST} images to tell apart; {images} holds {len(pixels)} that can be read."
        )

    checkpoint = Checkpoint(out, settings)
    trainer = Trainer(backbone, pixels[used], epochs=epochs, batch_size=batch_size, seed=seed, device=where)
    saved = checkpoint.load(where)
    if saved is None:
        before = trainer.found_again(pixels[aside]) if few > 1 else math.nan
    else:
        before = saved["before"]
        trainer.resume(saved["state"])
    last = time.monotonic()
    left = trainer.steps - trainer.step
    for first, second in track(trainer.batches(workers), "training", left):
        loss = trainer.train_step(first, second)
        checkpoint.log(trainer.step, loss)
        if time.monotonic() - last > checkpoint.seconds or trainer.step == trainer.steps:
            checkpoint.save({"before": before, "state": trainer.state()})
            last = time.monotonic()

    after = trainer.found_again(pixels[aside]) if few > 1 else math.nan
    result = SimclrResult(
        out, kind, len(used), unreadable, trainer.steps, few, *(round(share, 4) for share in (before, after))
    )
    told = {key: value for key, value in asdict(result).items() if key not in ("folder", "backbone")}
    told = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in told.items()}
    try:
        save_student(out, kind, trainer.backbone(), {**settings, **told})
    except OSError as error:
        raise OutputError(f"{out / WEIGHTS} cannot be written ({error.strerror}); free some disk space.") from None
    return result


def _start(init: str, seed: int) -> tuple[str, student_network.Backbone]:
    """The name of the kind of backbone, and the backbone to start from."""
    import json

    from autoannotate.models.student_checkpoint import ABOUT

    if init in NAMES:
        return init, student_network.BACKBONES[init](None, seed)
    if (Path(init) / ABOUT).is_file():
        backbone = load_student(init)
        return json.loads((Path(init) / ABOUT).read_text(encoding="utf-8"))["backbone"], backbone
    raise UsageError(f"--init takes {' or '.join(NAMES)}, or the folder of an earlier run, not {init!r}.")


def _read(images: Path, size: int, track: Track) -> tuple[np.ndarray, int, str]:
    """Pictures (N, size, size, 3) uint8 of a folder, how many could not be read, and a hash of them all."""
    import hashlib

    from autoannotate.images import find_images, read_image

    refs, kept, unreadable = find_images(images), [], 0
    for ref in track(refs, "reading", len(refs)):
        try:
            kept.append(student_network.to_pixels(read_image(ref), size))
        except UnreadableImageError:
            unreadable += 1
    if not kept:
        raise InputError(f"None of the {len(refs)} images in {images} could be read.")
    pixels = np.stack(kept)
    return pixels, unreadable, hashlib.sha256(pixels.tobytes()).hexdigest()


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image

    return student_network.to_pixels(Image.fromarray(pixels), size)


def _needs_lightly() -> None:
    try:
        import lightly.loss  # noqa: F401
    except ImportError:
        raise ModelError(
            "SimCLR needs the lightly library, which is not installed: pip install 'autoannotate[ssl]'"
        ) from None
