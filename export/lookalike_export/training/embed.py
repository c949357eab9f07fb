"""Training of the embed stage: one photo under two views stays itself, and like goes to like."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from lookalike_service.wardrobe import fabric
from torch import Tensor, nn
from torch.utils.data import Dataset

from lookalike_export.stages.contract import CROP_SIZE, MASK_SIZE
from lookalike_export.stages.embed import Embedder
from lookalike_export.stages.keypoints import LandmarkFinder
from lookalike_export.stages.segment import Segmenter
from lookalike_export.stages.vocabulary import CATEGORIES, PATTERNS, categories_of, material_of
from lookalike_export.training.augment import (
    GREY,
    Crop,
    crop_matrix,
    jitter_light,
    random_crop_matrix,
    transform_points,
    warp,
)
from lookalike_export.training.crops import MIRRORED, mask_box
from lookalike_export.training.foreground import foreground_masks
from lookalike_export.training.loop import Plan, fit, load_weights, make_loader, seed_everything, start_from
from lookalike_export.training.photos import Pixels, load_items, load_street, read_image
from lookalike_export.training.rendered import rendered_items

__all__ = ["train"]

_SIZE = 160
_LABELLED = 17  # the first entries of CATEGORIES are the home photos' own labels


@dataclass(frozen=True, slots=True)
class Sample:
    """One garment as the earlier stages see it: its photo, box x y w h, served mask (56, 56) and landmarks (8, 3) in the served crop.

    `other` is another photo of the same item. Unknown labels are -1; `allowed` lists possible categories.
    """

    path: Path
    box: tuple[float, float, float, float]
    mask: npt.NDArray[np.uint8]
    keypoints: npt.NDArray[np.float32]
    allowed: tuple[int, ...]
    pattern: int = -1
    material: int = -1
    other: Sample | None = None


class Views(Dataset[dict[str, Tensor]]):
    """Two varied views of each garment, as the served crop would show them."""

    def __init__(self, samples: list[Sample], *, size: int = _SIZE) -> None:
        self.samples, self.size = samples, size
        self.crop = Crop(margin=(-0.25, 0.35), shift=0.1, rotation=18.0, stretch=0.1)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng(torch.randint(0, 2**31, ()).item())
        sample = self.samples[index]
        paint = int(rng.integers(2**31)) if sample.other is None and rng.random() < 0.15 else -1
        if paint >= 0:
            sample = replace(sample, pattern=paint % len(PATTERNS))
        views = [self._view(s or sample, paint, rng) for s in (sample, sample.other)]
        allowed = torch.zeros(len(CATEGORIES))
        allowed[list(sample.allowed)] = 1
        return {
            **{key: torch.stack([view[key] for view in views]) for key in views[0]},
            "allowed": allowed, "pattern": torch.tensor(sample.pattern), "material": torch.tensor(sample.material),
        }  # fmt: skip

    def _view(self, sample: Sample, paint: int, rng: np.random.Generator) -> dict[str, Tensor]:
        image = read_image(sample.path)
        served = crop_matrix(sample.box, size=CROP_SIZE)
        if paint >= 0:
            image = _painted(image, sample, served, paint)
        matrix, mirrored = random_crop_matrix(sample.box, size=self.size, crop=self.crop, rng=rng)
        from_served = matrix @ np.vstack([cv2.invertAffineTransform(served), [0, 0, 1]])
        mask = warp(_full_size(sample.mask), from_served, self.size, fill=(0,))
        crop = warp(image, matrix, self.size, fill=GREY)
        crop = _as_still(crop, rng) if rng.random() < 0.15 else jitter_light(crop, rng)
        keypoints = sample.keypoints.copy()
        keypoints[:, :2] = transform_points(keypoints[:, :2] * CROP_SIZE, from_served) / self.size + rng.normal(0, 0.015, (8, 2))
        keypoints = keypoints[list(MIRRORED)] if mirrored else keypoints
        if rng.random() < 0.15:
            keypoints[:, 2] = 0
        soft = cv2.resize(mask, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.08:
            soft[:] = 255
        return {
            "crops": torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))),
            "mask": torch.from_numpy(soft.astype(np.float32) / 255),
            "keypoints": torch.from_numpy(keypoints.astype(np.float32)),
        }


def _full_size(mask: Pixels) -> Pixels:
    return cv2.resize(mask, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR)


def _as_still(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """A dark film still: few pixels, motion blur, low light, strong compression."""
    size = crop.shape[0]
    small = cv2.resize(crop, None, fx=(f := rng.uniform(0.3, 0.7)), fy=f, interpolation=cv2.INTER_AREA)
    length = int(rng.integers(1, 7))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2 if rng.random() < 0.5 else slice(None), slice(None) if rng.random() < 0.5 else length // 2] = 1
    small = cv2.filter2D(small, -1, kernel / kernel.sum()) if kernel.sum() else small
    dark = 255 * (small / 255.0) ** rng.uniform(1.0, 1.8) * rng.uniform(0.4, 0.9) + rng.normal(0, 4, small.shape)
    coded = cv2.imencode(".jpg", np.clip(dark, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 60))])[1]
    return cv2.resize(cv2.imdecode(coded, cv2.IMREAD_COLOR), (size, size), interpolation=cv2.INTER_LINEAR)


def _painted(image: Pixels, sample: Sample, served: npt.NDArray[np.float64], seed: int) -> Pixels:
    """Put a rendered fabric on the garment, keeping its folds and shades; the pattern follows from the seed."""
    height, width = image.shape[:2]
    mask = cv2.warpAffine(_full_size(sample.mask), cv2.invertAffineTransform(served), (width, height), flags=cv2.INTER_LINEAR)
    weight = mask[..., None].astype(np.float32) / 255
    rng = np.random.default_rng(seed)
    palette = [tuple(int(v) for v in rng.integers(10, 245, 3)) for _ in range(3)]
    cloth = fabric(PATTERNS[seed % len(PATTERNS)], palette=palette, scale=float(rng.uniform(2.0, 7.0)), seed=seed, size=256)
    side = int(max(sample.box[2:]) + 1)
    cloth = cv2.resize(cloth, (side, side), interpolation=cv2.INTER_AREA if side < 256 else cv2.INTER_LINEAR)
    x, y = int(sample.box[0]), int(sample.box[1])
    tiled = np.take(np.take(cloth, (np.arange(height) - y) % side, axis=0), (np.arange(width) - x) % side, axis=1).astype(np.float32)
    light = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.0).astype(np.float32)
    mean = max(float((light * weight[..., 0]).sum() / max(weight.sum(), 1)), 25.0)
    shaded = tiled * np.clip(light / mean, 0.35, 1.5)[..., None]
    return np.clip(image * (1 - weight) + shaded * weight, 0, 255).astype(np.uint8)


def _loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Categories among the allowed ones, patterns and materials where known, both views alike, categories near each other."""
    described = model(*(batch[key].flatten(0, 1) for key in ("crops", "mask", "keypoints")))
    allowed = batch["allowed"].repeat_interleave(2, dim=0)
    smooth = 0.95 * allowed / allowed.sum(dim=1, keepdim=True) + 0.05 / allowed.shape[1]
    chance = described["category"].log_softmax(dim=1)
    known = allowed.sum(dim=1) == 1
    exact = -(smooth * chance).sum(dim=1)
    among = -(chance + (allowed + 1e-9).log()).logsumexp(dim=1)
    vectors = described["embedding"]
    proxies = 16 * vectors @ F.normalize(model.proxies, dim=1).t()
    toward = -(proxies.log_softmax(dim=1) + (allowed + 1e-9).log()).logsumexp(dim=1)
    return {
        "category": torch.where(known, exact, among).mean(),
        "views": 0.7 * _same_under_views(vectors),
        "proxies": 0.4 * toward.mean(),
        "pattern": 0.5 * _where_known(described["pattern"], batch["pattern"].repeat_interleave(2)),
        "material": 0.3 * _where_known(described["material"], batch["material"].repeat_interleave(2)),
    }


def _same_under_views(vectors: Tensor, *, temperature: float = 0.08) -> Tensor:
    """InfoNCE over a batch (van den Oord et al., 2018): rows 2i and 2i + 1 show one garment."""
    similar = vectors @ vectors.t() / temperature
    similar = similar.masked_fill(torch.eye(len(vectors), dtype=torch.bool), float("-inf"))
    return F.cross_entropy(similar, torch.arange(len(vectors)) ^ 1)


def _where_known(logits: Tensor, label: Tensor) -> Tensor:
    if (label >= 0).sum() == 0:
        return logits.sum() * 0
    return F.cross_entropy(logits, label, ignore_index=-1)


class TrainedEmbedder(Embedder):
    """The encoder with one learnt direction per category, which only training needs."""

    def __init__(self, *, size: int, pretrained: bool = True) -> None:
        super().__init__(size=size, pretrained=pretrained)
        self.proxies = nn.Parameter(torch.randn(len(CATEGORIES), self.vector.out_features))


@torch.no_grad()
def _judge(model: nn.Module, samples: list[Sample]) -> dict[str, float]:
    """Labels on home photos in the served crop: all seventeen, and summed into nine classes; neighbours' agreement."""
    vectors, chances, truth = [], [], []
    for start in range(0, len(samples), 32):
        chunk = samples[start : start + 32]
        crops = [warp(read_image(s.path), crop_matrix(s.box, size=CROP_SIZE), CROP_SIZE, fill=GREY).transpose(2, 0, 1) for s in chunk]
        described = model(
            torch.from_numpy(np.stack(crops)), torch.from_numpy(np.stack([s.mask for s in chunk])).float() / 255,
            torch.from_numpy(np.stack([s.keypoints for s in chunk])),
        )  # fmt: skip
        vectors.append(described["embedding"])
        chances.append(described["category"].softmax(dim=1))
        truth += [s.allowed[0] for s in chunk]
    coarse = [name.split("/")[0] for name in CATEGORIES]
    classes = sorted(set(coarse))
    gather = torch.tensor([[float(c == k) for k in classes] for c in coarse])
    chance, labels = torch.cat(chances), torch.tensor(truth)
    top = torch.tensor([classes.index(coarse[t]) for t in truth])
    similar = torch.cat(vectors) @ torch.cat(vectors).t()
    near = similar.fill_diagonal_(-2).topk(5, dim=1).indices
    return {
        "labels": (chance[:, :_LABELLED].argmax(dim=1) == labels).float().mean().item(),
        "classes": ((chance @ gather).argmax(dim=1) == top).float().mean().item(),
        "near5": (top[near] == top[:, None]).float().mean().item(),
    }


class _Looker:
    """Runs the trained segment and keypoints stages over served crops."""

    def __init__(self, build: Path) -> None:
        self.segmenter = load_weights(Segmenter(pretrained=False), build / "train" / "segment" / "last.pt")
        self.landmarks = load_weights(LandmarkFinder(pretrained=False), build / "train" / "keypoints" / "last.pt")

    @torch.no_grad()
    def look(self, samples: list[Sample]) -> list[Sample]:
        """Give each sample the mask and landmarks that the served stages would find."""
        seen = []
        for start in range(0, len(samples), 64):
            chunk = samples[start : start + 64]
            crops = [warp(read_image(s.path), crop_matrix(s.box, size=CROP_SIZE), CROP_SIZE, fill=GREY).transpose(2, 0, 1) for s in chunk]
            pixels = torch.from_numpy(np.stack(crops))
            masks = (self.segmenter(pixels).sigmoid() * 255).round().byte().numpy()
            found = self.landmarks(pixels)
            found[..., 2] = found[..., 2].sigmoid()
            for sample, mask, keypoints in zip(chunk, masks, found.numpy(), strict=True):
                seen.append(replace(sample, mask=mask, keypoints=keypoints.astype(np.float32)))
        return seen


_NO_MASK = np.zeros((MASK_SIZE, MASK_SIZE), np.uint8)
_NO_LANDMARKS = np.zeros((8, 3), np.float32)


def _item_samples(data: Path, split: str, build: Path) -> list[Sample]:
    masks = foreground_masks(sorted((data / "items" / split / "images").glob("*.jpg")), cache=build / "cache" / f"items_masks{'' if split == 'train' else '_' + split}")
    samples = []
    for item in load_items(data, split, masks=masks):
        if item.mask is not None:
            box = mask_box(cv2.imread(str(item.mask), cv2.IMREAD_GRAYSCALE))
        else:
            height, width = read_image(item.path).shape[:2]
            box = (0.0, 0.0, float(width), float(height))
        samples.append(Sample(item.path, box, _NO_MASK, _NO_LANDMARKS, tuple(categories_of(item.garment, item.label, exact=True))))
    return samples


def _street_samples(data: Path, split: str) -> list[Sample]:
    return [
        Sample(p.path, g.box, _NO_MASK, _NO_LANDMARKS, tuple(categories_of(g.garment, g.fine, exact=False)), material=material_of(g.fine))
        for p in load_street(data, split) for g in p.garments if min(g.box[2:]) >= 16
    ]  # fmt: skip


def _rendered_samples(build: Path, count: int) -> list[Sample]:
    samples = []
    for views in rendered_items(build / "cache" / "wardrobe", count=count):
        pair = [
            Sample(v.path, v.box, _NO_MASK, _NO_LANDMARKS, tuple(categories_of(v.garment, v.label, exact=True)), v.pattern, v.material)
            for v in views
        ]  # fmt: skip
        samples += pair[:1] + pair[1:2]
    return samples


def train(arguments: argparse.Namespace) -> nn.Module:
    """Learn from home photos, street garments and rendered items, seen through the trained segment and keypoints stages."""
    seed_everything(arguments.seed)
    looker = _Looker(arguments.build)
    rng = np.random.default_rng(arguments.seed)
    items = looker.look(_item_samples(arguments.data, "train", arguments.build))
    street = looker.look(_street_samples(arguments.data, "train"))
    drawn = looker.look(_rendered_samples(arguments.build, 300))
    pairs = [replace(a, other=b) for a, b in zip(drawn[::2], drawn[1::2], strict=True)]
    judged = looker.look(_item_samples(arguments.data, "public_test", arguments.build))
    plan = Plan(epochs=arguments.epochs or 9, batch=32, trunk_rate=6e-4, head_rate=2e-3, average=0.995, decay=0.04)
    chosen = _balanced(items, rng) + [street[i] for i in rng.permutation(len(street))[:900]] + pairs
    return fit(
        start_from(TrainedEmbedder(size=_SIZE), arguments.start), make_loader(Views(chosen), batch=plan.batch, shuffle=True), _loss, lambda m: _judge(m, judged),
        plan=plan, folder=arguments.build / "train" / "embed",
    )  # fmt: skip


def _balanced(items: list[Sample], rng: np.random.Generator) -> list[Sample]:
    """All of the rare labels, the common ones thinned: about 2,600 of the 3,700 home photos."""
    by_label: dict[int, list[Sample]] = {}
    for item in items:
        by_label.setdefault(item.allowed[0], []).append(item)
    return [group[i] for group in by_label.values() for i in rng.permutation(len(group))[: max(300, int(0.6 * len(group)))]]
