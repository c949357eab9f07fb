"""The segment stage: a garment crop to the mask of the garment in its middle."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.stages.backbone import CHANNELS, Backbone, Normalize, conv_bn
from lookalike_export.stages.contract import MASK_SIZE

__all__ = ["INPUT_SIZE", "Decoder", "Segmenter"]

INPUT_SIZE = 160


def separable(inputs: int, outputs: int) -> nn.Sequential:
    """Depthwise 5x5, then pointwise."""
    return nn.Sequential(conv_bn(inputs, inputs, 5, groups=inputs), conv_bn(inputs, outputs, 1))


class Decoder(nn.Module):
    """Joins the trunk's maps top-down into one of `width` channels at `stride`."""

    def __init__(self, *, width: int = 64, stride: int = 4) -> None:
        super().__init__()
        self.strides = [s for s in (32, 16, 8, 4) if s >= stride]
        self.lateral = nn.ModuleList(conv_bn(CHANNELS[s], width, 1, act=False) for s in self.strides)
        self.smooth = nn.ModuleList(separable(width, width) for _ in self.strides)

    def forward(self, maps: dict[int, Tensor]) -> Tensor:
        x: Tensor | None = None
        for stride, lateral, smooth in zip(self.strides, self.lateral, self.smooth, strict=True):
            here = lateral(maps[stride])
            if x is None:
                x = here + here.mean(dim=(2, 3), keepdim=True)
            else:
                x = here + F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = smooth(x)
        assert x is not None
        return x


class Segmenter(nn.Module):
    """Crops (n, 3, 224, 224) uint8 -> mask logits (n, 56, 56)."""

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.backbone = Backbone(pretrained=pretrained)
        self.decoder = Decoder(width=64, stride=4)
        self.out = nn.Conv2d(64, 1, 1)

    def forward(self, crops: Tensor) -> Tensor:
        x = F.interpolate(self.normalize(crops), size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False)
        logits = self.out(self.decoder(self.backbone(x)))
        return F.interpolate(logits, size=(MASK_SIZE, MASK_SIZE), mode="bilinear", align_corners=False)[:, 0]
