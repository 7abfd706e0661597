"""A small convolutional autoencoder's code of the images themselves (Hinton and Salakhutdinov 2006).

Four strided convolutions to 64 numbers and four transposed ones back, at 64 pixels in grey; squared error, AdamW.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoannotate.evaluation.representations import Encode, Problem

SIDE, CODE, EPOCHS, BATCH, RATE = 64, 64, 30, 32, 2e-3


def learn(problem: Problem) -> Encode:
    network = train(_grey(problem.pixels(SIDE, 4000)), 2, problem)

    def encode(pictures: Sequence[Any]) -> NDArray[np.float32]:
        from autoannotate.models.student_network import to_pixels

        return codes(network, _grey(np.stack([to_pixels(one, SIDE) for one in pictures])))

    return encode


def train(images: NDArray[np.float32], axes: int, problem: Problem) -> Any:
    """An autoencoder (encoder, decoder) of pictures or volumes (N, S, S[, S]), S divisible by 16."""
    import torch
    from torch import nn

    from autoannotate.models.student_network import fixed_randomness

    convolution: Any = nn.Conv2d if axes == 2 else nn.Conv3d
    back: Any = nn.ConvTranspose2d if axes == 2 else nn.ConvTranspose3d
    widths, least = (1, 16, 32, 48, 64), images.shape[1] // 16
    flat = widths[-1] * least**axes
    with fixed_randomness(problem.seed):
        down: list[Any] = [layer for a, b in pairwise(widths) for layer in (convolution(a, b, 4, 2, 1), nn.GELU())]
        up: list[Any] = [layer for a, b in pairwise(widths[::-1]) for layer in (back(a, b, 4, 2, 1), nn.GELU())][:-1]
        encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, CODE))
        decoder = nn.Sequential(nn.Linear(CODE, flat), nn.Unflatten(1, (widths[-1], *[least] * axes)), *up)
        both = nn.Sequential(encoder, decoder)
        optimiser = torch.optim.AdamW(both.parameters(), lr=RATE)
        data = torch.from_numpy(images)[:, None]
        for _ in range(problem.epochs or EPOCHS):
            for rows in torch.randperm(len(data)).split(BATCH):
                loss = nn.functional.mse_loss(both(data[rows]), data[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
    return both.eval()


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels.mean(axis=3, dtype=np.float32) / 255


def codes(network: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The bottleneck of each image or volume, (N, D), of arrays (N, S, S) or (N, S, S, S)."""
    import torch

    with torch.inference_mode():
        return torch.cat([network[0](part) for part in torch.from_numpy(images)[:, None].split(64)]).numpy()
