"""The segment stage: a garment crop to the mask of the garment in its middle."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookalike_export.backbone import CHANNELS, Backbone, Normalize, conv_bn
from lookalike_export.crops import MASK_SIZE, GarmentCrops
from lookalike_export.foreground import foreground_masks
from lookalike_export.photos import load_items, load_street
from lookalike_export.training import Plan, fit, make_loader, seed_everything

__all__ = ["Decoder", "Segmenter", "train"]

INPUT_SIZE = 160
_FOUND_CLASSES = (0, 1, 2, 3, 5, 6, 7)


def separable(inputs: int, outputs: int) -> nn.Sequential:
    """Depthwise 5x5, then pointwise."""
    return nn.Sequential(conv_bn(inputs, inputs, 5, groups=inputs), conv_bn(inputs, outputs, 1))


class Decoder(nn.Module):
    """Joins the trunk's maps top-down into one of `width` channels at `stride`."""

    def __init__(self, *, width: int = 64, stride: int = 4) -> None:
        super().__init__()
        self.strides = [s for s in (32, 16, 8, 4) if s >= stride]
        self.lateral = nn.ModuleList(conv_bn(CHANNELS[s], width, 1, act=False) for s in self.strides)
        self.smooth = nn.ModuleList(separable(width, width) for _ in self.strides)

    def forward(self, maps: dict[int, Tensor]) -> Tensor:
        x: Tensor | None = None
        for stride, lateral, smooth in zip(self.strides, self.lateral, self.smooth, strict=True):
            here = lateral(maps[stride])
            if x is None:
                x = here + here.mean(dim=(2, 3), keepdim=True)
            else:
                x = here + F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = smooth(x)
        assert x is not None
        return x


class Segmenter(nn.Module):
    """Crops (n, 3, 224, 224) uint8 -> mask logits (n, 56, 56)."""

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.backbone = Backbone(pretrained=pretrained)
        self.decoder = Decoder(width=64, stride=4)
        self.out = nn.Conv2d(64, 1, 1)

    def forward(self, crops: Tensor) -> Tensor:
        x = F.interpolate(self.normalize(crops), size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False)
        logits = self.out(self.decoder(self.backbone(x)))
        return F.interpolate(logits, size=(MASK_SIZE, MASK_SIZE), mode="bilinear", align_corners=False)[:, 0]


def _loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cross-entropy for every pixel plus soft Dice for the whole, so that thin straps count too."""
    logits, target = model(batch["crop"]), batch["mask"]
    probability = logits.sigmoid()
    overlap = (probability * target).sum(dim=(1, 2))
    dice = 1 - (2 * overlap + 1) / (probability.sum(dim=(1, 2)) + target.sum(dim=(1, 2)) + 1)
    return {"cross_entropy": F.binary_cross_entropy_with_logits(logits, target), "dice": 0.5 * dice.mean()}


@torch.no_grad()
def mean_overlap(model: nn.Module, loader: torch.utils.data.DataLoader[dict[str, Tensor]]) -> dict[str, float]:
    """Mean over the seven main classes of mask IoU in served crops."""
    sums: dict[int, list[float]] = {}
    for batch in loader:
        found, true = model(batch["crop"]) > 0, batch["mask"] > 0.5
        overlap = (found & true).sum(dim=(1, 2)) / (found | true).sum(dim=(1, 2)).clamp(min=1)
        for garment, value in zip(batch["garment"].tolist(), overlap.tolist(), strict=True):
            sums.setdefault(garment, []).append(value)
    means = {g: sum(v) / len(v) for g, v in sums.items()}
    return {"miou": sum(means.get(g, 0.0) for g in _FOUND_CLASSES) / len(_FOUND_CLASSES)}


def train(arguments: argparse.Namespace) -> nn.Module:
    """Learn from street masks and from the cut-out home photos."""
    seed_everything(arguments.seed)
    data: Path = arguments.data
    paths = sorted((data / "items" / "train" / "images").glob("*.jpg"))
    masks = foreground_masks(paths, cache=arguments.build / "cache" / "items_masks")
    items = [i for i in load_items(data, "train", masks=masks) if i.mask is not None]
    crops = GarmentCrops(load_street(data, "train"), items[:: max(1, len(items) // 1200)])
    judged = GarmentCrops(load_street(data, "public_test"), train=False)
    plan = Plan(epochs=arguments.epochs or 8, batch=32, trunk_rate=6e-4, head_rate=3e-3)
    loader = make_loader(judged, batch=64, shuffle=False, workers=0)
    return fit(
        Segmenter(), make_loader(crops, batch=plan.batch, shuffle=True), _loss, lambda m: mean_overlap(m, loader),
        plan=plan, folder=arguments.build / "train" / "segment", evaluate_every=2,
    )  # fmt: skip
