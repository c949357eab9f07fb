"""The projection of looks, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["whitening"]


def whitening(features: Tensor, *, size: int) -> tuple[Tensor, Tensor]:
    """Weight (size, f) and bias (size,) of the principal directions of features (n, f), each with unit variance.

    What most garments share fills the largest directions and says little about any of them, so all count alike
    (Jégou and Chum, ECCV 2012).
    """
    centre = features.mean(dim=0)
    _, scales, directions = torch.linalg.svd(features - centre, full_matrices=False)
    deviations = (scales[:size] / len(features) ** 0.5).clamp(min=1e-6)
    weight = directions[:size] / deviations.unsqueeze(1)
    return weight, -weight @ centre
