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
_REACH = 0.05  # of the crop: where a landmark counts as found
_SHARPNESS = 6.0


class LandmarkFinder(nn.Module):
    """Crops (n, 3, 224, 224) uint8 -> (n, 8, 3): x, y in 0..1 of the crop, visibility as a logit.

    A landmark is where most of its heat lies within reach: the heat map is summed over a Gaussian window, the sums
    are sharpened, and their mean is taken (integral regression, Sun et al., ECCV 2018: finer than the map's cells,
    and free of an argmax that exports badly). The plain mean of a map with two peaks, left and right sleeve, would
    lie between them and hit neither.
    """

    window: Tensor  # (cells, cells)
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
        window = (-(centres - centres.unsqueeze(1)).square() / (2 * _REACH**2)).exp()
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("x", centres.repeat(cells).view(1, 1, -1), persistent=False)
        self.register_buffer("y", centres.repeat_interleave(cells).view(1, 1, -1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Landmarks (n, 8, 3)."""
        return self.describe(crops)[0]

    def describe(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks, and the logarithm of the heat maps (n, 8, cells * cells) that they are read from."""
        x = F.interpolate(self.normalize(crops), size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False)
        maps = self.backbone(x)
        decoded = self.decoder(maps)
        log_heat = self.heat(decoded).flatten(2).log_softmax(dim=2)
        heat = self._within_reach(log_heat.exp())
        pooled = torch.cat([maps[32].mean(dim=(2, 3)), decoded.mean(dim=(2, 3))], dim=1)
        points = torch.stack([(heat * self.x).sum(dim=2), (heat * self.y).sum(dim=2), self.visible(pooled)], dim=2)
        return points, log_heat

    def _within_reach(self, heat: Tensor) -> Tensor:
        """Shares (n, 8, cells * cells) that grow with the heat around each cell, to the power of `_SHARPNESS`."""
        cells = self.window.shape[0]
        squares = heat.reshape(-1, LANDMARKS, cells, cells)
        around = torch.matmul(torch.matmul(self.window, squares), self.window).flatten(2)
        return (_SHARPNESS * around.clamp(min=1e-6).log()).softmax(dim=2)
