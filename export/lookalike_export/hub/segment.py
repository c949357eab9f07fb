"""Clothes parsers as the segment stage: from a class for every pixel to the mask of the one garment in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.hub.names import Groups, is_part
from lookalike_export.hub.pictures import Pixels, Preparation
from lookalike_export.stages.contract import MASK_SIZE, ServedStage

__all__ = ["HubSegmenter"]

# A crop is cut around its garment, which so fills most of it: a wide window, for an open jacket leaves its middle to
# the shirt below.
_WINDOW = 0.35
# How decidedly the garment with the larger share wins; a share ahead by 0.1 takes 92 % of the mask.
_DECISION = 24.0


class HubSegmenter(ServedStage):
    """Crops (n, 3, 224, 224) uint8 -> mask (n, 56, 56) uint8.

    Every pixel's probabilities are added up per garment of ours. Each garment's share of the crop, seen through a
    window that favours the middle, decides softly which of them the crop is about, so that a near tie gives a
    mask of both and not a coin's toss. Pieces that a parser names by themselves (sleeves, collars) belong to it.
    """

    inputs, outputs = ("crops",), ("mask",)
    members: Tensor  # (groups, classes) 0 or 1
    pieces: Tensor  # (1, classes) 0 or 1
    window: Tensor  # (1, 1, 56, 56), sums to 1

    def __init__(self, network: nn.Module, preparation: Preparation, groups: Groups, *, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.pixels = Pixels(preparation)
        members = torch.zeros(len(groups), len(names))
        for row, indices in enumerate(groups.values()):
            members[row, indices] = 1
        self.register_buffer("members", members, persistent=False)
        self.register_buffer("pieces", torch.tensor([[float(is_part(name)) for name in names]]), persistent=False)
        middle = torch.linspace(-0.5, 0.5, MASK_SIZE)
        bell = (-(middle**2) / (2 * _WINDOW**2)).exp()
        window = torch.outer(bell, bell)
        self.register_buffer("window", (window / window.sum()).view(1, 1, MASK_SIZE, MASK_SIZE), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        found: Any = self.network(pixel_values=self.pixels(crops))
        logits: Tensor = found.logits
        if logits.shape[3] != MASK_SIZE:
            logits = F.interpolate(logits, size=(MASK_SIZE, MASK_SIZE), mode="bilinear", align_corners=False)
        pixels = logits.softmax(dim=1).flatten(2)  # (n, classes, cells)
        garments, pieces = torch.matmul(self.members, pixels), torch.matmul(self.pieces, pixels)
        seen = (garments * self.window.flatten(2)).sum(dim=2)  # (n, groups)
        share = seen / seen.sum(dim=1, keepdim=True).clamp(min=1e-6)
        chosen = (_DECISION * share).softmax(dim=1)
        mask = (garments * chosen.unsqueeze(2)).sum(dim=1) + pieces[:, 0]
        return (mask.clamp(0, 1) * 255).round().to(torch.uint8).view(-1, MASK_SIZE, MASK_SIZE)
