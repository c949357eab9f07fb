"""The embed stage: crop, mask and landmarks to one vector, and to category, pattern, material and colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.stages.backbone import CHANNELS, HEAD_CHANNELS, Backbone, Normalize
from lookalike_export.stages.colours import ColourShares
from lookalike_export.stages.contract import EMBEDDING_SIZE, LANDMARKS, ServedStage
from lookalike_export.stages.vocabulary import CATEGORIES, COLOURS, MATERIALS, PATTERNS

__all__ = ["Described", "Embedder", "ServedEmbedder"]

_LOCAL = 32
Described = dict[str, Tensor]


class Embedder(nn.Module):
    """One garment crop -> unit vector and logits.

    The crop's background is painted over with the mean colour through the (slightly grown) mask before the trunk
    sees it, and the trunk's last map is averaged under the mask, so a wall or a neighbour's sleeve reaches neither.
    Around each visible landmark a finer map is read as well: collars, cuffs and hems tell garments apart.
    """

    def __init__(self, *, size: int = 192, pretrained: bool = True) -> None:
        super().__init__()
        self.size = size
        self.normalize = Normalize()
        self.backbone = Backbone(head=True, pretrained=pretrained)
        self.colours = ColourShares()
        self.local = nn.Conv2d(CHANNELS[16], _LOCAL, 1)
        features = HEAD_CHANNELS + LANDMARKS * _LOCAL
        self.dropout = nn.Dropout(0.2)
        self.vector = nn.Linear(features + len(COLOURS), EMBEDDING_SIZE, bias=False)
        self.category = nn.Linear(features, len(CATEGORIES))
        self.pattern = nn.Linear(features, len(PATTERNS))
        self.material = nn.Linear(features, len(MATERIALS))

    def forward(self, crops: Tensor, mask: Tensor, keypoints: Tensor) -> Described:
        """crops (n, 3, 224, 224) uint8, mask (n, 56, 56) in 0..1, keypoints (n, 8, 3)."""
        whole = (mask.mean(dim=(1, 2), keepdim=True) < 0.01).to(mask.dtype)
        mask = torch.maximum(mask, whole)  # a mask that found nothing must not hide everything
        grown = F.max_pool2d(mask.unsqueeze(1), 5, 1, 2)
        x = F.interpolate(self.normalize(crops), size=(self.size, self.size), mode="bilinear", align_corners=False)
        x = x * F.interpolate(grown, size=(self.size, self.size), mode="bilinear", align_corners=False)
        maps = self.backbone(x)
        features = torch.cat([self._pool(maps[0], grown), self._around_landmarks(maps[16], keypoints)], dim=1)
        colours, shades = self.colours(crops, mask)
        dropped = self.dropout(features)
        return {
            "embedding": F.normalize(self.vector(torch.cat([features, 2 * shades], dim=1)), dim=1, eps=1e-6),
            "category": self.category(dropped),
            "pattern": self.pattern(dropped),
            "material": self.material(dropped),
            "colours": colours,
        }

    def _pool(self, features: Tensor, grown: Tensor) -> Tensor:
        cells = features.shape[2]
        weight = F.interpolate(grown, size=(cells, cells), mode="bilinear", align_corners=False, antialias=False) + 0.02
        return (features * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))

    def _around_landmarks(self, features: Tensor, keypoints: Tensor) -> Tensor:
        local = self.local(features)
        cells = local.shape[2]
        centres = (torch.arange(cells, dtype=torch.float32, device=local.device) + 0.5) / cells
        x, y = keypoints[..., 0:1] - centres, keypoints[..., 1:2] - centres  # (n, 8, cells)
        near_x, near_y = (-(x * x) * 72).exp(), (-(y * y) * 72).exp()
        weight = (near_y.unsqueeze(3) * near_x.unsqueeze(2)).flatten(2)  # (n, 8, cells * cells)
        weight = weight / weight.sum(dim=2, keepdim=True).clamp(min=1e-6) * keypoints[..., 2:3].clamp(0, 1)
        return torch.matmul(weight, local.flatten(2).transpose(1, 2)).flatten(1)


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
