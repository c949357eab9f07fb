"""Training of the keypoints stage: landmarks of street photos."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.stages.keypoints import LandmarkFinder
from lookalike_export.training.augment import Crop
from lookalike_export.training.crops import GarmentCrops
from lookalike_export.training.loop import Plan, fit, make_loader, seed_everything, start_from
from lookalike_export.training.photos import load_street
from lookalike_export.training.rendered import rendered_scenes

__all__ = ["train"]

_SPREAD = 0.04  # of the crop: a little less than one cell
_NEAR = 0.04  # of the crop: what counts as hit


def _loss(model: LandmarkFinder, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hits, distances, cross-entropy of the heat maps with a small Gaussian around the truth, and visibility.

    A hit counts softly, as exp(-d^2 / 2 near^2): a landmark whose truth is doubtful stops pulling once it is far
    off, and the others are pulled the last pixels in (Geman and McClure's way with outliers).
    """
    found, log_heat = model.describe(batch["crop"])
    true = batch["keypoints"]
    known = (true[..., 2] > 0).float()
    count = known.sum().clamp(min=1)
    apart = found[..., :2] - true[..., :2]
    hit = (-apart.square().sum(dim=2) / (2 * _NEAR**2)).exp()
    squared = (model.x - true[..., :1]) ** 2 + (model.y - true[..., 1:2]) ** 2
    target = (-squared / (2 * _SPREAD**2)).softmax(dim=2)
    return {
        "missed": ((1 - hit) * known).sum() / count,
        "distance": 5 * (apart.abs().sum(dim=2) * known).sum() / count,
        "heat": 0.15 * (-(target * log_heat).sum(dim=2) * known).sum() / count,
        "visible": F.binary_cross_entropy_with_logits(found[..., 2], known),
    }


@torch.no_grad()
def _landmark_figures(model: nn.Module, loader: torch.utils.data.DataLoader[dict[str, Tensor]]) -> dict[str, float]:
    """Share of landmarks within 0.1 and 0.05 of the diagonal of a box of common proportions."""
    near: list[Tensor] = []
    for batch in loader:
        found, true = model(batch["crop"]), batch["keypoints"]
        near.append((found[..., :2] - true[..., :2]).norm(dim=2)[true[..., 2] > 0])
    # the diagonal of a box as wide as tall is 1.41 / 1.12 of the crop; real boxes are narrower, about 1.17 / 1.12
    distance = torch.cat(near) / (1.17 / 1.12)
    return {"pck10": (distance < 0.1).float().mean().item(), "pck05": (distance < 0.05).float().mean().item()}


def train(arguments: argparse.Namespace) -> nn.Module:
    """Learn from the landmarks of street photos and rendered outfits, and that shoes and bags have none."""
    seed_everything(arguments.seed)
    data: Path = arguments.data
    outfits = rendered_scenes(arguments.build / "cache" / "wardrobe", outfits=120, singles=60)
    drawn = [garment for scene in outfits for garment in scene.garments if garment.keypoints[:, 2].any()]
    crops = GarmentCrops(load_street(data, "train"), rendered=drawn, without_landmarks=0.2, worn=Crop(rotation=20.0))
    judged = GarmentCrops(load_street(data, "public_test"), train=False, without_landmarks=0.0)
    plan = Plan(epochs=arguments.epochs or 14, batch=32, trunk_rate=6e-4, head_rate=3e-3)
    loader = make_loader(judged, batch=64, shuffle=False, workers=0)
    model = start_from(LandmarkFinder(), arguments.start)
    return fit(
        model,
        make_loader(crops, batch=plan.batch, shuffle=True),
        _loss,
        lambda m: _landmark_figures(m, loader),
        plan=plan,
        folder=arguments.build / "train" / "keypoints",
        start=arguments.start,
        evaluate_every=2,
    )
