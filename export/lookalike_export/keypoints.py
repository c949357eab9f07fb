"""The keypoints stage: a garment crop to eight landmarks (collars, sleeves, waist, hem)."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.backbone import CHANNELS, Backbone, Normalize
from lookalike_export.crops import GarmentCrops
from lookalike_export.photos import load_street
from lookalike_export.segment import Decoder
from lookalike_export.training import Plan, fit, make_loader, seed_everything

__all__ = ["LandmarkFinder", "train"]

INPUT_SIZE, LANDMARKS = 160, 8


class LandmarkFinder(nn.Module):
    """Crops (n, 3, 224, 224) uint8 -> (n, 8, 3): x, y in 0..1 of the crop, visibility as a logit (a probability when served).

    A landmark is the mean of its heat map (integral regression, Sun et al., ECCV 2018): finer than the map's
    cells, and free of an argmax that exports badly.
    """

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.backbone = Backbone(pretrained=pretrained)
        self.decoder = Decoder(width=96, stride=8)
        self.heat = nn.Conv2d(96, LANDMARKS, 1)
        self.visible = nn.Linear(CHANNELS[32] + 96, LANDMARKS)
        cells = INPUT_SIZE // 8
        centres = (torch.arange(cells, dtype=torch.float32) + 0.5) / cells
        self.register_buffer("x", centres.repeat(cells).view(1, 1, -1), persistent=False)
        self.register_buffer("y", centres.repeat_interleave(cells).view(1, 1, -1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        x = F.interpolate(self.normalize(crops), size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False)
        maps = self.backbone(x)
        decoded = self.decoder(maps)
        heat = self.heat(decoded).flatten(2).softmax(dim=2)
        pooled = torch.cat([maps[32].mean(dim=(2, 3)), decoded.mean(dim=(2, 3))], dim=1)
        return torch.stack([(heat * self.x).sum(dim=2), (heat * self.y).sum(dim=2), self.visible(pooled)], dim=2)


def _loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    found, true = model(batch["crop"]), batch["keypoints"]
    known = (true[..., 2] > 0).float()
    distance = (found[..., :2] - true[..., :2]).abs().sum(dim=2)
    return {
        "distance": 10 * (distance * known).sum() / known.sum().clamp(min=1),
        "visible": F.binary_cross_entropy_with_logits(found[..., 2], known),
    }


@torch.no_grad()
def landmark_figures(model: nn.Module, loader: torch.utils.data.DataLoader[dict[str, Tensor]]) -> dict[str, float]:
    """Share of landmarks within 0.1 and 0.05 of the box diagonal (margin 0.12 of the crop removed, square box assumed)."""
    near: list[Tensor] = []
    for batch in loader:
        found, true = model(batch["crop"]), batch["keypoints"]
        near.append((found[..., :2] - true[..., :2]).norm(dim=2)[true[..., 2] > 0])
    # the diagonal of a box as wide as tall is 1.41 / 1.12 of the crop; real boxes are narrower, about 1.17 / 1.12
    distance = torch.cat(near) / (1.17 / 1.12)
    return {"pck10": (distance < 0.1).float().mean().item(), "pck05": (distance < 0.05).float().mean().item()}


def train(arguments: argparse.Namespace) -> nn.Module:
    """Learn from the landmarks of street photos."""
    seed_everything(arguments.seed)
    data: Path = arguments.data
    crops = GarmentCrops(load_street(data, "train"), landmarks_only=True)
    judged = GarmentCrops(load_street(data, "public_test"), train=False, landmarks_only=True)
    plan = Plan(epochs=arguments.epochs or 14, batch=32, trunk_rate=6e-4, head_rate=3e-3)
    loader = make_loader(judged, batch=64, shuffle=False, workers=0)
    return fit(
        LandmarkFinder(), make_loader(crops, batch=plan.batch, shuffle=True), _loss, lambda m: landmark_figures(m, loader),
        plan=plan, folder=arguments.build / "train" / "keypoints", evaluate_every=2,
    )  # fmt: skip
