"""SimCLR from scratch on the images themselves: ResNet-18 at 64 pixels (Chen et al. 2020)."""

from __future__ import annotations

from autoannotate.evaluation.representations import Encode, Problem
from autoannotate.evaluation.representations.network import encode_by_backbone

EPOCHS, PICTURES = 20, 4000  # short: minutes on two cores


def learn(problem: Problem, start: str = "resnet18", epochs: int = EPOCHS) -> Encode:
    import math

    from autoannotate.models.pretraining.simclr import LARGER, pretrain_backbone
    from autoannotate.models.student_network import BACKBONES

    backbone = BACKBONES[start](problem.encoder, problem.seed)
    learned = pretrain_backbone(
        backbone, problem.pixels(math.ceil(LARGER * backbone.size), PICTURES), epochs=problem.epochs or epochs,
        seed=problem.seed, device=problem.device,
    )  # fmt: skip
    return encode_by_backbone(learned, problem.device)
