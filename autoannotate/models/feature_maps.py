"""Networks of other libraries as a student's backbone: images as they were trained on, and feature maps (B, width, h, w)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, by which published weights were trained


class Standardise(nn.Module):
    """Images in [-1, 1] to the mean and deviation of ImageNet."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN)[None, :, None, None])
        self.register_buffer("deviation", torch.tensor(DEVIATION)[None, :, None, None])

    def forward(self, batch: Tensor) -> Tensor:
        """Pixels (B, 3, S, S) in [-1, 1] as a network of ImageNet takes them."""
        return ((batch + 1.0) / 2.0 - self.mean) / self.deviation


class FeatureMaps(nn.Module):
    """A network whose output becomes maps (B, width, h, w): tokens (B, T, C) and channels-last maps are turned.

    Attributes
    ----------
    example : (1, 3, S, S), a batch that says which of these it gives; by its channels, which are more than rows or columns
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            made = network(example)
        if made.ndim not in (3, 4):
            raise ValueError(f"its output has {made.ndim} dimensions")
        self.turned = made.ndim == 4 and made.shape[3] > made.shape[1]
        self.width = int(made.shape[2] if made.ndim == 3 else made.shape[3 if self.turned else 1])

    def forward(self, batch: Tensor) -> Tensor:
        """Maps (B, width, h, w) of a batch (B, 3, S, S)."""
        made = self.network(batch)
        if made.ndim == 3:
            return made.transpose(1, 2)[..., None]
        return made.permute(0, 3, 1, 2) if self.turned else made
