"""The keypoints stage: a garment crop to eight landmarks (collars, sleeves, waist, hem)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.stages.backbone import CHANNELS, Backbone, Normalize
from lookalike_export.stages.contract import LANDMARKS
from lookalike_export.stages.segment import Decoder

__all__ = ["INPUT_SIZE", "LandmarkFinder"]

INPUT_SIZE = 160


class LandmarkFinder(nn.Module):
    """Crops (n, 3, 224, 224) uint8 -> (n, 8, 3): x, y in 0..1 of the crop, visibility as a logit.

    A landmark is the mean of its heat map (integral regression, Sun et al., ECCV 2018): finer than the map's
    cells, and free of an argmax that exports badly.
    """

    x: Tensor  # (1, 1, cells * cells), 0..1 of the crop
    y: Tensor

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.backbone = Backbone(pretrained=pretrained)
        self.decoder = Decoder(width=96, stride=8)
        self.heat = nn.Conv2d(96, LANDMARKS, 1)
        self.visible = nn.Linear(CHANNELS[32] + 96, LANDMARKS)
        cells = INPUT_SIZE // 8
        centres = (torch.arange(cells, dtype=torch.float32) + 0.5) / cells
        self.register_buffer("x", centres.repeat(cells).view(1, 1, -1), persistent=False)
        self.register_buffer("y", centres.repeat_interleave(cells).view(1, 1, -1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Landmarks (n, 8, 3)."""
        return self.describe(crops)[0]

    def describe(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks, and the logarithm of the heat maps (n, 8, cells * cells) that they are the means of."""
        x = F.interpolate(self.normalize(crops), size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False)
        maps = self.backbone(x)
        decoded = self.decoder(maps)
        log_heat = self.heat(decoded).flatten(2).log_softmax(dim=2)
        heat = log_heat.exp()
        pooled = torch.cat([maps[32].mean(dim=(2, 3)), decoded.mean(dim=(2, 3))], dim=1)
        points = torch.stack([(heat * self.x).sum(dim=2), (heat * self.y).sum(dim=2), self.visible(pooled)], dim=2)
        return points, log_heat
