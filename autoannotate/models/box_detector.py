"""A small detector that is trained on boxes that exist, and says of each picture what one that never saw it finds there.

FCOS (Tian, Shen, Chen and He 2019, "FCOS: Fully convolutional one-stage object detection", arXiv 1904.01355) as torchvision
has it, on a feature pyramid over the frozen image tower of the embedded encoder. What the tower sees of a picture and of its
mirror image is computed once, so that a fold trains the pyramid and the heads alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS, FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, batched_nms, box_iou

from autoannotate._internal.progress import Track, silent
from autoannotate.labelling.label_errors.box_detections import Detections
from autoannotate.models.student_network import embedded_backbone, fixed_randomness, to_pixels, to_tensor

SIDE = 320  # pixels of the square that a picture becomes
STRIDES = (8, 16, 32)
WIDTH, CONVOLUTIONS = 64, 2  # channels of the pyramid; layers of each head
FOLDS, STEPS, BATCH = 3, 250, 8
RATE = 2e-3
LEAST = 0.05  # score, below which nothing is detected
SAME = 0.5  # overlap of two detections of one thing


class Detector(FCOS):
    """FCOS on maps that are computed already: lists of (B, C, h, w), one a stride."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        pyramid = FeaturePyramidNetwork(list(channels), WIDTH)
        pyramid.out_channels = WIDTH
        super().__init__(
            pyramid, classes, head=FCOSHead(WIDTH, 1, classes, CONVOLUTIONS), score_thresh=LEAST, nms_thresh=SAME,
            anchor_generator=AnchorGenerator(tuple((s,) for s in STRIDES), ((1.0,),) * len(STRIDES)),
        )  # fmt: skip
        self.means: list[Tensor] = [torch.zeros(c) for c in channels]
        self.deviations: list[Tensor] = [torch.ones(c) for c in channels]

    def standardised(self, level: int, batch: Tensor) -> Tensor:
        """Maps of a stride as the pyramid takes them."""
        return (batch.float() - self.means[level][:, None, None]) / self.deviations[level][:, None, None]

    def _heads(self, maps: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[Tensor], list[int]]:
        levels = list(self.backbone(OrderedDict((str(i), one) for i, one in enumerate(maps))).values())
        count = len(maps[0])
        pictures = ImageList(torch.empty(count, 3, SIDE, SIDE), [(SIDE, SIDE)] * count)
        sizes = [level.shape[2] * level.shape[3] for level in levels]
        return self.head(levels), self.anchor_generator(pictures, levels), sizes

    def loss(self, maps: Sequence[Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
        """FCOS's loss of a batch: focal, GIoU and centre-ness."""
        outputs, anchors, sizes = self._heads(maps)
        losses = self.compute_loss(targets, outputs, anchors, sizes)
        return torch.stack(list(losses.values())).sum()

    def detect(self, maps: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """boxes, labels and scores of each picture, in pixels of the square."""
        outputs, anchors, sizes = self._heads(maps)
        split = {name: list(each.split(sizes, dim=1)) for name, each in outputs.items()}
        return self.postprocess_detections(
            split, [list(each.split(sizes)) for each in anchors], [(SIDE, SIDE)] * len(maps[0])
        )


Maps = tuple[list[Tensor], list[Tensor]]  # of N pictures and of their mirror images: (N, C, h, w) a stride


def detect_out_of_fold(
    maps: Maps,
    corners: NDArray[np.floating],
    labels: NDArray[np.integer],
    pictures: NDArray[np.integer],
    sizes: NDArray[np.floating],
    classes: int,
    *,
    judged: Sequence[tuple[NDArray[np.integer], NDArray[np.integer]]] | None = None,
    seed: int = 0,
    track: Track = silent,
) -> list[Detections]:
    """What a detector finds in each of N pictures that was trained on the boxes of other pictures.

    Parameters
    ----------
    maps : what `feature_maps` says of the pictures
    corners : (B, 4) array
        x_min, y_min, x_max, y_max in pixels; boxes without an inside are left out by the caller.
    labels : (B,) int array
        Class numbers below `classes`.
    pictures : (B,) int array
        Row numbers.
    sizes : (N, 2) array
        Width and height of each picture.
    judged : list of (training rows, judged rows), optional
        Which pictures teach and which are judged; else `FOLDS` folds. A picture that none judges has no detections.

    Returns
    -------
    list of N `Detections`
    """
    n = len(sizes)
    own, mirrored = maps
    scale = SIDE / np.asarray(sizes, dtype=np.float64)
    square = np.clip(np.asarray(corners, dtype=np.float64) * np.tile(scale[pictures], 2), 0, SIDE)
    square[:, 2:] = np.maximum(square[:, 2:], square[:, :2] + 1.0)
    found = [Detections(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), np.zeros(0)) for _ in range(n)]
    if judged is None:
        turn = np.random.default_rng([seed, 61]).permutation(n) % min(FOLDS, n)
        judged = [(np.flatnonzero(turn != f), np.flatnonzero(turn == f)) for f in np.unique(turn)]
    clock = iter(track(range(len(judged) * STEPS), "training detectors", len(judged) * STEPS))
    for fold, (train, asked) in enumerate(judged):
        model = _trained(own, mirrored, square, labels, pictures, train, classes, seed + fold, clock)
        for row, one in zip(asked.tolist(), _detected(model, own, mirrored, asked), strict=True):
            found[row] = Detections(one.corners / np.tile(scale[row], 2), one.labels, one.scores)
    for _ in clock:
        pass
    return found


def feature_maps(image: Callable[[int], Image.Image], n: int, track: Track = silent) -> Maps:
    """What the frozen tower sees of N pictures and of their mirror images: (N, C, h, w) a stride, in half precision."""
    from autoannotate.models.encoder import load_encoder

    backbone = embedded_backbone(load_encoder("embedded", "cpu"), 0)
    layers = [*backbone.stem.eval().children(), *backbone.body.eval().children()]
    last = {SIDE // stride for stride in STRIDES}
    kept: tuple[list[list[Tensor]], list[list[Tensor]]] = ([], [])
    with torch.inference_mode():
        for row in track(range(n), "looking at the pictures", n):
            pixels = to_pixels(image(row), SIDE)
            batch = to_tensor(np.stack([pixels, pixels[:, ::-1]]), torch.device("cpu"))
            seen: dict[int, Tensor] = {}
            for layer in layers[:-2]:  # without the layers to the joint space
                batch = layer(batch)
                if batch.shape[2] in last:
                    seen[batch.shape[2]] = batch
            for side, part in enumerate(kept):
                part.append([seen[SIDE // stride][side].half() for stride in STRIDES])
    return tuple([torch.stack([one[s] for one in part]) for s in range(len(STRIDES))] for part in kept)  # type: ignore[return-value]


def _trained(
    maps: Sequence[Tensor], mirrored: Sequence[Tensor], square: NDArray[np.float64], labels: NDArray[np.integer],
    pictures: NDArray[np.integer], train: NDArray[np.integer], classes: int, seed: int, clock: Iterator[int],
) -> Detector:  # fmt: skip
    rng = np.random.default_rng([seed, 62])
    with fixed_randomness(seed):
        model = Detector([one.shape[1] for one in maps], classes)
    model.means = [one[train].float().mean(dim=(0, 2, 3)) for one in maps]
    model.deviations = [one[train].float().std(dim=(0, 2, 3)) + 1e-3 for one in maps]
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS, pct_start=0.1)
    model.train()
    queue: list[int] = []
    for _ in range(STEPS):
        next(clock, None)
        while len(queue) < BATCH:
            queue.extend(rng.permutation(train).tolist())
        rows, queue = queue[:BATCH], queue[BATCH:]
        turned = rng.random(BATCH) < 0.5
        batch, targets = [], []
        for level in range(len(maps)):
            drawn = torch.stack([(mirrored if t else maps)[level][r] for r, t in zip(rows, turned, strict=True)])
            batch.append(model.standardised(level, drawn))
        for row, turn in zip(rows, turned, strict=True):
            mine = np.flatnonzero(pictures == row)
            boxes = square[mine].copy()
            if turn:
                boxes[:, [0, 2]] = SIDE - boxes[:, [2, 0]]
            targets.append(
                {
                    "boxes": torch.from_numpy(boxes).float().reshape(-1, 4),
                    "labels": torch.from_numpy(np.asarray(labels)[mine].astype(np.int64)),
                }
            )
        loss = model.loss(batch, targets)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def _detected(
    model: Detector, maps: Sequence[Tensor], mirrored: Sequence[Tensor], rows: NDArray[np.integer]
) -> list[Detections]:
    """Detections of the pictures and of their mirror images, fused: a box is the mean, by score, of all that it suppresses."""
    made = []
    for row in rows.tolist():
        views = [
            model.detect([model.standardised(i, one[row : row + 1]) for i, one in enumerate(side)])[0]
            for side in (maps, mirrored)
        ]
        views[1]["boxes"][:, [0, 2]] = SIDE - views[1]["boxes"][:, [2, 0]]
        boxes, scores, names = (torch.cat([view[key] for view in views]) for key in ("boxes", "scores", "labels"))
        kept = batched_nms(boxes, scores, names, SAME)
        corners, strengths = [], []
        near = box_iou(boxes[kept], boxes) >= 0.6 if len(kept) else torch.zeros(0, 0, dtype=torch.bool)
        for i, k in enumerate(kept.tolist()):
            same = near[i] & (names == names[k])
            weight = scores[same] ** 2
            corners.append((boxes[same] * weight[:, None]).sum(dim=0) / weight.sum())
            strengths.append(float(scores[same].topk(min(2, int(same.sum()))).values.sum() / 2))
        order = np.argsort(-np.array(strengths)) if strengths else np.zeros(0, dtype=int)
        where = torch.stack(corners).numpy().astype(np.float64)[order] if corners else np.zeros((0, 4))
        made.append(Detections(where, names[kept].numpy()[order].astype(np.int64), np.array(strengths)[order]))
    return made
