"""From a network to a function of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from autoannotate.evaluation.representations import Encode
    from autoannotate.models.student_network import Backbone


def encode_by(network: Callable[[Tensor], Tensor], size: int, device: str) -> Encode:
    """Pictures, squashed to squares of `size` pixels in [-1, 1], through a network that gives (B, D)."""
    from autoannotate.models.encoder import choose_device
    from autoannotate.models.student_network import predict, to_pixels

    where = choose_device(device)
    if hasattr(network, "to"):
        network.to(where)

    def encode(pictures: Sequence[Any]) -> NDArray[np.float32]:
        return predict(network, np.stack([to_pixels(one, size) for one in pictures]), where)

    return encode


def encode_by_backbone(backbone: Backbone, device: str) -> Encode:
    """Pictures as the mean of a backbone's feature maps."""
    from torch import nn

    network = nn.Sequential(backbone.stem, backbone.body, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    return encode_by(network, backbone.size, device)
