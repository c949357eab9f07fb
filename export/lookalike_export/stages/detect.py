"""The detect stage: a letterboxed photo to the boxes, scores and classes of its garments."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.stages.backbone import CHANNELS, Backbone, Normalize, conv_bn
from lookalike_export.stages.contract import LETTERBOX_SIZE, ServedStage
from lookalike_export.stages.vocabulary import GARMENTS

__all__ = ["STRIDES", "WIDTH", "Detector", "ServedDetector", "anchor_centres", "suppress"]

STRIDES = (8, 16, 32)
WIDTH = 96


def anchor_centres(size: int = LETTERBOX_SIZE) -> tuple[Tensor, Tensor]:
    """Centres (a, 2) in pixels and strides (a,) of every cell, level by level."""
    centres, strides = [], []
    for stride in STRIDES:
        cells = torch.arange(size // stride, dtype=torch.float32) * stride + stride / 2
        y, x = torch.meshgrid(cells, cells, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()], dim=1))
        strides.append(torch.full((x.numel(),), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv_bn(inputs, inputs, 5, groups=inputs), conv_bn(inputs, outputs, 1))


class _Neck(nn.Module):
    """Top-down, then bottom-up (PANet, Liu et al., CVPR 2018), with separable 5x5 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(conv_bn(CHANNELS[s], WIDTH, 1) for s in STRIDES)
        self.down = nn.ModuleList(_separable(WIDTH, WIDTH) for _ in STRIDES[:-1])
        self.shrink = nn.ModuleList(conv_bn(WIDTH, WIDTH, 5, stride=2, groups=WIDTH) for _ in STRIDES[:-1])
        self.up = nn.ModuleList(_separable(WIDTH, WIDTH) for _ in STRIDES[1:])

    def forward(self, maps: dict[int, Tensor]) -> list[Tensor]:
        levels = [lateral(maps[s]) for s, lateral in zip(STRIDES, self.lateral, strict=True)]
        for i in range(len(levels) - 2, -1, -1):
            levels[i] = self.down[i](levels[i] + F.interpolate(levels[i + 1], scale_factor=2.0, mode="nearest"))
        for i in range(1, len(levels)):
            levels[i] = self.up[i - 1](levels[i] + self.shrink[i - 1](levels[i - 1]))
        return levels


def _tower(outputs: int, *, bias: float) -> tuple[nn.Sequential, nn.Conv2d]:
    """Two separable convolutions and a last plain one that starts with `bias`; the last one by itself as well."""
    trunk = (_separable(WIDTH, WIDTH), _separable(WIDTH, WIDTH))
    last = nn.Conv2d(WIDTH, outputs, 1)
    assert last.bias is not None
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(*trunk, last), last


class _Head(nn.Module):
    """Class logits and the four distances to the box's sides, for one level."""

    def __init__(self) -> None:
        super().__init__()
        self.classes, _ = _tower(len(GARMENTS), bias=-math.log(1 / 0.02 - 1))
        self.sides, last = _tower(4, bias=1.0)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.classes(x).flatten(2).transpose(1, 2), self.sides(x).flatten(2).transpose(1, 2)


class Detector(nn.Module):
    """Letterboxes (n, 3, s, s) uint8 -> class logits (n, a, 14), boxes (n, a, 4): x0 y0 x1 y1 in its pixels."""

    centres: Tensor  # (a, 2) pixels
    strides: Tensor  # (a, 1) pixels

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.backbone = Backbone(pretrained=pretrained)
        self.neck = _Neck()
        self.heads = nn.ModuleList(_Head() for _ in STRIDES)
        centres, strides = anchor_centres()
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("strides", strides.unsqueeze(1), persistent=False)

    def forward(self, letterbox: Tensor) -> tuple[Tensor, Tensor]:
        return self.read(self.levels(letterbox))

    def levels(self, letterbox: Tensor) -> list[Tensor]:
        """Feature maps (n, 96, s / stride, s / stride), one per stride."""
        levels: list[Tensor] = self.neck(self.backbone(self.normalize(letterbox)))
        return levels

    def read(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and boxes as `forward` returns them."""
        outputs = [head(level) for head, level in zip(self.heads, levels, strict=True)]
        logits = torch.cat([logits for logits, _ in outputs], dim=1).float()
        distances = torch.cat([sides for _, sides in outputs], dim=1).float().clamp(max=6).exp() * self.strides
        boxes = torch.cat([self.centres - distances[..., :2], self.centres + distances[..., 2:]], dim=2)
        return logits, boxes


def suppress(
    scores: Tensor, boxes: Tensor, *, candidates: int = 100, kept: int = 16, threshold: float = 0.6, steps: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    """Non-maximum suppression within each class, with static shapes (TensorRT and CUDA graphs need them).

    scores (n, a, c) probabilities, boxes (n, a, 4). A candidate falls when a better one of its class that stands
    overlaps it; unrolling that rule `steps` times equals the greedy loop unless chains of candidates are longer.
    Returns boxes (n, kept, 4), scores (n, kept), best first and 0 where unused, and classes (n, kept) int32.
    """
    classes = scores.shape[2]
    best, index = scores.flatten(1).topk(candidates, dim=1)
    label = index % classes
    anchor = torch.div(index, classes, rounding_mode="floor")
    chosen = boxes.gather(1, anchor.unsqueeze(2).expand(-1, -1, 4))
    overlaps = _overlaps_of_same_class(chosen, label)
    better = torch.ones(candidates, candidates, device=scores.device, dtype=scores.dtype).triu(diagonal=1)
    conflict = (overlaps > threshold).to(scores.dtype) * better
    stands = torch.ones_like(best)
    for _ in range(steps):
        stands = 1 - torch.matmul(stands.unsqueeze(1), conflict).squeeze(1).clamp(max=1)
    final, order = (best * stands).topk(kept, dim=1)
    return chosen.gather(1, order.unsqueeze(2).expand(-1, -1, 4)), final, label.gather(1, order).int()


def _overlaps_of_same_class(boxes: Tensor, label: Tensor) -> Tensor:
    """IoU (n, k, k), zero between boxes of different classes.

    Areas are of a letterbox of side 1: in pixels they would leave the range of half precision, which GPUs may use.
    """
    boxes = boxes / LETTERBOX_SIZE
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=3)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=2)
    same = (label.unsqueeze(2) == label.unsqueeze(1)).to(boxes.dtype)
    return same * shared / (area.unsqueeze(2) + area.unsqueeze(1) - shared).clamp(min=1e-6)


class ServedDetector(ServedStage):
    """The detect stage of the tensor contract: suppression included, boxes kept inside the letterbox."""

    inputs = ("letterbox",)
    outputs = ("boxes", "scores", "classes")

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, letterbox: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, boxes = self.detector(letterbox)
        return suppress(logits.sigmoid(), boxes.clamp(0, LETTERBOX_SIZE))
