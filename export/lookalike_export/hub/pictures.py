"""Pixels as other people's models want them; resized and normalised inside the graph, for the wire carries bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Pixels", "Preparation"]


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a model's preprocessor asks for: the side of its square in pixels, mean and deviation per channel, 0..1."""

    size: int
    mean: Sequence[float]
    deviation: Sequence[float]


class Pixels(nn.Module):
    """Pixels (n, 3, s, s), 0..255 of any type, to (n, 3, size, size) normalised."""

    scale: Tensor
    shift: Tensor

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        self.size = preparation.size
        mean, deviation = torch.tensor(preparation.mean), torch.tensor(preparation.deviation)
        self.register_buffer("scale", (1 / (255 * deviation)).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", (mean / deviation).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.float()
        if pixels.shape[3] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return x * self.scale - self.shift
