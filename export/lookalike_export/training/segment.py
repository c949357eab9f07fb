"""Training of the segment stage: masks of street photos and of cut-out home photos."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.stages.segment import Segmenter
from lookalike_export.training.augment import Crop
from lookalike_export.training.crops import GarmentCrops
from lookalike_export.training.foreground import foreground_masks
from lookalike_export.training.loop import Plan, fit, make_loader, seed_everything, start_from
from lookalike_export.training.photos import load_items, load_street

__all__ = ["train"]

_MAIN_CLASSES = (0, 1, 2, 3, 5, 6, 7)


def _loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cross-entropy for every pixel plus soft Dice for the whole, so that thin straps count too."""
    logits, target = model(batch["crop"]), batch["mask"]
    probability = logits.sigmoid()
    overlap = (probability * target).sum(dim=(1, 2))
    dice = 1 - (2 * overlap + 1) / (probability.sum(dim=(1, 2)) + target.sum(dim=(1, 2)) + 1)
    return {"cross_entropy": F.binary_cross_entropy_with_logits(logits, target), "dice": 0.5 * dice.mean()}


@torch.no_grad()
def _mean_overlap(model: nn.Module, loader: torch.utils.data.DataLoader[dict[str, Tensor]]) -> dict[str, float]:
    """Mean over the seven main classes of mask IoU in served crops."""
    sums: dict[int, list[float]] = {}
    for batch in loader:
        found, true = model(batch["crop"]) > 0, batch["mask"] > 0.5
        overlap = (found & true).sum(dim=(1, 2)) / (found | true).sum(dim=(1, 2)).clamp(min=1)
        for garment, value in zip(batch["garment"].tolist(), overlap.tolist(), strict=True):
            sums.setdefault(garment, []).append(value)
    means = {g: sum(v) / len(v) for g, v in sums.items()}
    return {"miou": sum(means.get(g, 0.0) for g in _MAIN_CLASSES) / len(_MAIN_CLASSES)}


def train(arguments: argparse.Namespace) -> nn.Module:
    """Learn from street masks and from the cut-out home photos."""
    seed_everything(arguments.seed)
    data: Path = arguments.data
    paths = sorted((data / "items" / "train" / "images").glob("*.jpg"))
    masks = foreground_masks(paths, cache=arguments.build / "cache" / "items_masks")
    items = [i for i in load_items(data, "train", masks=masks) if i.mask is not None]
    near = Crop(margin=(0.02, 0.25), shift=0.05)  # boxes are good by now: a narrower world is learnt better
    crops = GarmentCrops(load_street(data, "train"), items[:: max(1, len(items) // 800)], worn=near)
    judged = GarmentCrops(load_street(data, "public_test"), train=False)
    plan = Plan(epochs=arguments.epochs or 8, batch=32, trunk_rate=6e-4, head_rate=3e-3)
    loader = make_loader(judged, batch=64, shuffle=False, workers=0)
    return fit(
        start_from(Segmenter(), arguments.start),
        make_loader(crops, batch=plan.batch, shuffle=True),
        _loss,
        lambda m: _mean_overlap(m, loader),
        plan=plan,
        folder=arguments.build / "train" / "segment",
        start=arguments.start,
        evaluate_every=2,
    )
