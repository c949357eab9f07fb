"""The embed stage: crop, mask and landmarks to one vector, and to category, pattern, material and colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.stages.backbone import CHANNELS, HEAD_CHANNELS, Backbone, Normalize
from lookalike_export.stages.colours import ColourShares
from lookalike_export.stages.contract import EMBEDDING_SIZE, LANDMARKS, ServedStage
from lookalike_export.stages.vocabulary import CATEGORIES, COLOURS, MATERIALS, PATTERNS

__all__ = ["SIZE", "Described", "Embedder", "ServedEmbedder"]

SIZE = 208
"""Pixels that the trunk sees."""

_LOCAL = 32
_ROWS = 3
_LOOK = HEAD_CHANNELS + sum(2 * CHANNELS[s] for s in (8, 16, 32)) + sum(_ROWS * CHANNELS[s] for s in (16, 32))
_KIND = 0.6
"""Weight of the category beside the look: how much a neighbour of another category has to look alike."""

Described = dict[str, Tensor]


class _Standard(nn.BatchNorm1d):
    """Batch normalisation without learnt scale; written out for the export, which asks for a known shape."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(features, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else (x - self.running_mean) / (self.running_var + self.eps).sqrt()


class Embedder(nn.Module):
    """One garment crop -> unit vector and logits.

    The crop's background is painted over through the (slightly grown) mask before the trunk sees it, and every map
    is read under the mask, so a wall or a neighbour's sleeve reaches neither.

    Two garments of one kind differ in cloth and detail, which the trunk's last mean has forgotten. So the look is
    read from several depths: mean and deviation of the maps (the deviation tells a texture from a plain cloth: Gatys et
    al., CVPR 2016), and means of three bands from top to bottom (as person re-identification does: Sun et al., PCB,
    ECCV 2018). The vector is the look, and beside it the square roots of the category's probabilities, whose product
    is the Bhattacharyya coefficient of two garments' categories.

    Around each visible landmark a finer map is read as well: collars, cuffs and hems tell kinds of garments apart.
    """

    def __init__(self, *, size: int = SIZE, pretrained: bool = True) -> None:
        super().__init__()
        self.size = size
        self.normalize = Normalize()
        self.backbone = Backbone(head=True, pretrained=pretrained)
        self.colours = ColourShares()
        self.local = nn.Conv2d(CHANNELS[16], _LOCAL, 1)
        self.standard = _Standard(_LOOK + len(COLOURS))
        self.look = nn.Linear(_LOOK + len(COLOURS), EMBEDDING_SIZE - len(CATEGORIES))
        features = HEAD_CHANNELS + LANDMARKS * _LOCAL + _LOOK + len(COLOURS)
        self.dropout = nn.Dropout(0.2)
        self.category = nn.Linear(features, len(CATEGORIES))
        self.pattern = nn.Linear(features, len(PATTERNS))
        self.material = nn.Linear(features, len(MATERIALS))

    def forward(self, crops: Tensor, mask: Tensor, keypoints: Tensor) -> Described:
        """crops (n, 3, 224, 224) uint8, mask (n, 56, 56) in 0..1, keypoints (n, 8, 3)."""
        whole = (mask.mean(dim=(1, 2), keepdim=True) < 0.01).to(mask.dtype)
        mask = torch.maximum(mask, whole)  # a mask that found nothing must not hide everything
        grown = F.max_pool2d(mask.unsqueeze(1), 5, 1, 2)
        maps = self.backbone(self._painted_over(crops, grown))
        colours, shades = self.colours(crops, mask)
        standing = self.standard(torch.cat([self._look_of(maps, grown), shades], dim=1))
        named = torch.cat([_mean(maps[0], grown), self._around_landmarks(maps[16], keypoints), standing], dim=1)
        named = self.dropout(named)
        look, category = F.normalize(self.look(standing), dim=1, eps=1e-6), self.category(named)
        kind = category.softmax(dim=1).clamp(min=1e-6).sqrt()
        return {
            "embedding": F.normalize(torch.cat([look, _KIND * kind], dim=1), dim=1, eps=1e-6),
            "look": look,
            "category": category,
            "pattern": self.pattern(named),
            "material": self.material(named),
            "colours": colours,
        }

    def _painted_over(self, crops: Tensor, grown: Tensor) -> Tensor:
        shape = (self.size, self.size)
        pixels = F.interpolate(self.normalize(crops), size=shape, mode="bilinear", align_corners=False)
        return pixels * F.interpolate(grown, size=shape, mode="bilinear", align_corners=False)

    def _look_of(self, maps: dict[int, Tensor], grown: Tensor) -> Tensor:
        found = [_mean_and_deviation(maps[0], grown)[1]]
        for stride in (32, 16, 8):
            found += _mean_and_deviation(maps[stride], grown)
        for stride in (16, 32):
            found += [_mean(maps[stride], grown, row=row) for row in range(_ROWS)]
        return torch.cat(found, dim=1)

    def _around_landmarks(self, features: Tensor, keypoints: Tensor) -> Tensor:
        local = self.local(features)
        cells = local.shape[2]
        centres = (torch.arange(cells, dtype=torch.float32, device=local.device) + 0.5) / cells
        x, y = keypoints[..., 0:1] - centres, keypoints[..., 1:2] - centres  # (n, 8, cells)
        near_x, near_y = (-(x * x) * 72).exp(), (-(y * y) * 72).exp()
        weight = (near_y.unsqueeze(3) * near_x.unsqueeze(2)).flatten(2)  # (n, 8, cells * cells)
        weight = weight / weight.sum(dim=2, keepdim=True).clamp(min=1e-6) * keypoints[..., 2:3].clamp(0, 1)
        return torch.matmul(weight, local.flatten(2).transpose(1, 2)).flatten(1)


def _mean(features: Tensor, grown: Tensor, *, row: int | None = None) -> Tensor:
    """Mean (n, c) under the mask (n, 1, 56, 56), or of its `row`-th band, softly cut."""
    cells = features.shape[2]
    weight = F.interpolate(grown, size=(cells, cells), mode="bilinear", align_corners=False, antialias=False)
    if row is not None:
        centres = (torch.arange(cells, dtype=torch.float32, device=features.device) + 0.5) / cells
        apart = centres * _ROWS - (row + 0.5)
        weight = weight * (-(apart * apart) / 0.64).exp().view(1, 1, -1, 1)
    weight = weight + 0.02
    return (features * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))


def _mean_and_deviation(features: Tensor, grown: Tensor) -> list[Tensor]:
    mean = _mean(features, grown)
    square = (features - mean[:, :, None, None]).square()
    return [mean, (_mean(square, grown) + 1e-6).sqrt()]


class ServedEmbedder(ServedStage):
    """The embed stage of the tensor contract: uint8 masks in, probabilities out, and the version of the vectors."""

    inputs = ("crops", "mask", "keypoints")
    outputs = ("embedding", "category", "pattern", "material", "colours", "embedding_version")

    def __init__(self, embedder: Embedder, *, version: int = 1) -> None:
        super().__init__()
        self.embedder = embedder
        self.version = version

    def forward(self, crops: Tensor, mask: Tensor, keypoints: Tensor) -> tuple[Tensor, ...]:
        found = self.embedder(crops, mask.float() / 255, keypoints)
        version = torch.full((crops.shape[0], 1), self.version, dtype=torch.int32, device=crops.device)
        return (
            found["embedding"],
            found["category"].softmax(dim=1),
            found["pattern"].softmax(dim=1),
            found["material"].softmax(dim=1),
            found["colours"],
            version,
        )
