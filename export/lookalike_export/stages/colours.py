"""Named colours inside the mask, computed in the graph: no training, so it can be grafted onto any encoder."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.stages.vocabulary import COLOURS

__all__ = ["ColourShares", "named_shares", "to_lab"]

_SAMPLES = 56


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
    """Crops (n, 3, 224, 224) uint8 and mask (n, 56, 56) in 0..1 -> two (n, 16) shares of the named colours.

    Both sum to 1 and give every pixel to the nearest reference colours by squared Lab distance. The first names
    what is there: nearly all of a pixel goes to one colour. The second is softer, with lightness (which shade
    changes most) at less weight and without the mask's edge, so that it moves little with the light: it feeds
    the vector.
    """

    references: Tensor  # (16, 3) Lab

    def __init__(self) -> None:
        super().__init__()
        references = torch.tensor(list(COLOURS.values()), dtype=torch.float32).t().unsqueeze(0) / 255
        self.register_buffer("references", to_lab(references).squeeze(0).t().contiguous(), persistent=False)

    def forward(self, crops: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        small = F.adaptive_avg_pool2d(crops.float() / 255, _SAMPLES)
        lab = to_lab(small.flatten(2))
        inner = -F.max_pool2d(-mask.unsqueeze(1), 3, 1, 1)
        weight = inner.flatten(1) ** 2 + 1e-4 * mask.flatten(1) + 1e-6
        named = self._shares(lab, mask.flatten(1) ** 2 + 1e-6, lightness=1.0, sharpness=0.2)
        return named, self._shares(lab, weight, lightness=0.7, sharpness=0.012)

    def _shares(self, lab: Tensor, weight: Tensor, *, lightness: float, sharpness: float) -> Tensor:
        scale = torch.tensor([lightness, 1.0, 1.0], device=lab.device)
        lab, references = lab * scale.view(1, 3, 1), self.references * scale
        squared = (
            (lab * lab).sum(dim=1, keepdim=True)
            + (references * references).sum(dim=1).view(1, -1, 1)
            - 2 * torch.matmul(references, lab)
        )
        nearest = (-sharpness * squared).softmax(dim=1)
        shares = torch.matmul(nearest, weight.unsqueeze(2)).squeeze(2)
        return shares / shares.sum(dim=1, keepdim=True)


def named_shares(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Shares (16,) of the named colours among RGB pixels (n, 3): each counts for the nearest one, CIE76 in Lab."""
    references = to_lab(torch.tensor(list(COLOURS.values()), dtype=torch.float32) / 255)
    lab = to_lab(torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255)
    nearest = torch.cdist(lab, references).argmin(dim=1)
    counts = torch.bincount(nearest, minlength=len(COLOURS)).float()
    return np.asarray((counts / counts.sum().clamp(min=1)).numpy(), np.float32)
