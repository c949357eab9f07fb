"""Named colours inside the mask, computed in the graph: no training, so it can be grafted onto any encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.stages.vocabulary import COLOURS

__all__ = ["ColourShares", "to_lab"]

_SAMPLES = 56
_SHARPNESS = 0.012


def to_lab(rgb: Tensor) -> Tensor:
    """sRGB (n, 3, ...) in 0..1 to CIE L*a*b*, D65 (IEC 61966-2-1 and CIE 15), without branches."""
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0) + 0.055) / 1.055).pow(2.4), rgb / 12.92)
    matrix = torch.tensor(
        [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0178, 0.1095, 0.8727]]
    )  # white point divided in
    xyz = torch.einsum("ij,nj...->ni...", matrix.to(rgb), linear)
    f = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6).pow(1 / 3), xyz * 7.787 + 16 / 116)
    x, y, z = f.unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


class ColourShares(nn.Module):
    """Crops (n, 3, 224, 224) uint8 and mask (n, 56, 56) in 0..1 -> (n, 16) shares of the named colours, summing to 1.

    Every pixel is given to the nearest reference colours by squared Lab distance (lightness at half weight, since
    shade changes it most), softly, and weighted with the mask's inner part.
    """

    references: Tensor  # (16, 3) Lab
    weights: Tensor  # (1, 3, 1)

    def __init__(self) -> None:
        super().__init__()
        references = torch.tensor(list(COLOURS.values()), dtype=torch.float32).t().unsqueeze(0) / 255
        self.register_buffer("references", to_lab(references).squeeze(0).t().contiguous(), persistent=False)
        self.register_buffer("weights", torch.tensor([0.7, 1.0, 1.0]).view(1, 3, 1), persistent=False)

    def forward(self, crops: Tensor, mask: Tensor) -> Tensor:
        small = F.adaptive_avg_pool2d(crops.float() / 255, _SAMPLES)
        lab = to_lab(small.flatten(2)) * self.weights
        references = self.references * self.weights.view(1, 3)
        squared = (
            (lab * lab).sum(dim=1, keepdim=True)
            + (references * references).sum(dim=1).view(1, -1, 1)
            - 2 * torch.matmul(references, lab)
        )
        nearest = (-_SHARPNESS * squared).softmax(dim=1)
        inner = -F.max_pool2d(-mask.unsqueeze(1), 3, 1, 1)  # erosion keeps the edge's mixed pixels out
        weight = inner.flatten(1) ** 2 + 1e-4 * mask.flatten(1) + 1e-6
        shares = torch.matmul(nearest, weight.unsqueeze(2)).squeeze(2)
        return shares / shares.sum(dim=1, keepdim=True)
