"""Training of the detect stage: scenes from street photos, home photos and rendered outfits."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from lookalike_export.coco import average_precision, box_precision, box_rows, image_ids
from lookalike_export.stages.contract import LETTERBOX_SIZE
from lookalike_export.stages.detect import WIDTH, Detector, suppress
from lookalike_export.stages.vocabulary import ACCESSORIES, GARMENTS, MAIN
from lookalike_export.training.assignment import detection_loss
from lookalike_export.training.augment import GREY, jitter_light, warp
from lookalike_export.training.crops import mask_box
from lookalike_export.training.foreground import foreground_masks
from lookalike_export.training.loop import Plan, fit, make_loader, seed_everything, start_from
from lookalike_export.training.photos import (
    ItemPhoto,
    Pixels,
    StreetPhoto,
    load_items,
    load_street,
    load_tagged,
    read_image,
    read_mask,
)
from lookalike_export.training.rendered import RenderedScene, rendered_scenes

__all__ = ["letterbox_matrix", "train"]


Boxes = npt.NDArray[np.float32]  # (g, 5): x0 y0 x1 y1 in pixels, class


@dataclass(frozen=True, slots=True)
class Scene:
    """One photo with its boxes, whatever it came from.

    `regions` reads the class of every pixel, (h, w) of 0 background, 1..14 garments, 15 skin, 16 hair; None where
    nobody drew them. `unknown` are classes that may be on the photo without a box.
    """

    path: Path
    boxes: Boxes
    single: bool
    regions: Callable[[], Pixels] | None = None
    unknown: tuple[int, ...] = ()


def letterbox_matrix(width: int, height: int, *, size: int = LETTERBOX_SIZE) -> npt.NDArray[np.float64]:
    """The served map from photo to letterbox: longest side fits, centred."""
    scale = size / max(width, height)
    return np.array([[scale, 0, (size - scale * width) / 2], [0, scale, (size - scale * height) / 2]])


def street_scenes(photos: Sequence[StreetPhoto]) -> list[Scene]:
    """Boxes of street photos."""
    rows = [[[*_corners(g.box), g.garment] for g in p.garments] for p in photos]
    return [
        Scene(p.path, np.array(r, np.float32).reshape(-1, 5), False, partial(_street_regions, p))
        for p, r in zip(photos, rows, strict=True)
    ]


def _street_regions(photo: StreetPhoto) -> Pixels:
    path = photo.path.parent.parent / "masks" / f"{photo.path.stem}.png"
    with Image.open(path) as mask:  # OpenCV would turn the palette into colours
        return np.asarray(mask, np.uint8)


def _drawn_regions(masks: Sequence[tuple[Path, int]]) -> Pixels:
    """Masks of single garments laid over each other; each comes with its class."""
    regions = np.zeros_like(read_mask(masks[0][0]))
    for path, garment in masks:
        regions[read_mask(path) > 127] = garment + 1
    return regions


def _balanced(scenes: list[Scene], rng: np.random.Generator, *, wanted: float = 0.25) -> list[Scene]:
    """Repeat photos with rare classes (repeat factors, Gupta et al., LVIS, CVPR 2019): sqrt(wanted / frequency)."""
    present = np.array([[(s.boxes[:, 4] == c).any() for c in range(len(GARMENTS))] for s in scenes])
    factors = np.sqrt(wanted / present.mean(axis=0).clip(1e-3)).clip(1, 3)
    repeats = np.where(present, factors, 1.0).max(axis=1)
    return [s for s, r in zip(scenes, repeats, strict=True) for _ in range(int(r + rng.random()))]


def item_scenes(items: Sequence[ItemPhoto]) -> list[Scene]:
    """Boxes of home photos, from their foreground masks."""
    scenes = []
    for item in items:
        if item.mask is not None:
            box = _corners(mask_box(read_mask(item.mask)))
            regions = partial(_drawn_regions, [(item.mask, item.garment)])
            scenes.append(Scene(item.path, np.array([[*box, item.garment]], np.float32), True, regions))
    return scenes


def _corners(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, w, h = box
    return x, y, x + w, y + h


class _Batch(TypedDict):
    """Letterboxes (n, 3, s, s); for each its boxes (g, 4) and classes (g,); known classes (n, 14); regions."""

    letterbox: Tensor
    truth: list[tuple[Tensor, Tensor]]
    known: Tensor
    regions: Tensor  # (n, s / 8, s / 8) of 0..16, 255 where nothing is known


Sampled = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Scenes(Dataset[Sampled]):
    """Letterbox (3, s, s) uint8, boxes (g, 4), classes (g,), known classes (14,) and regions of one varied photo.

    Place, scale and light vary; some home photos come as mosaics.
    """

    def __init__(self, scenes: list[Scene], *, size: int = LETTERBOX_SIZE) -> None:
        self.scenes, self.size = scenes, size
        self.singles = [i for i, s in enumerate(scenes) if s.single]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sampled:
        rng = np.random.default_rng(int(torch.randint(0, 2**31, ())))
        scene = self.scenes[index]
        if scene.single and rng.random() < 0.4:
            image, boxes, regions = self._mosaic(index, rng)
        else:
            spread = (0.5, 1.1) if scene.single else (0.6, 1.5)
            image, boxes, regions = self._place(scene, self.size, rng, scale=float(rng.uniform(*spread)))
        boxes = boxes[(boxes[:, 2:4] - boxes[:, :2]).min(axis=1) > 3] if len(boxes) else boxes
        pixels = torch.from_numpy(np.ascontiguousarray(jitter_light(image, rng, strength=0.8).transpose(2, 0, 1)))
        known = torch.ones(len(GARMENTS))
        known[list(scene.unknown)] = 0
        classes = torch.from_numpy(boxes[:, 4].astype(np.int64))
        return pixels, torch.from_numpy(boxes[:, :4].copy()), classes, known, torch.from_numpy(regions).long()

    def _mosaic(self, index: int, rng: np.random.Generator) -> tuple[Pixels, Boxes, Pixels]:
        half, cells = self.size // 2, self.size // 8
        canvas, rows = np.empty((self.size, self.size, 3), np.uint8), []
        regions = np.zeros((cells, cells), np.uint8)
        chosen = [index, *rng.choice(self.singles, 3)]
        for (x, y), one in zip(((0, 0), (half, 0), (0, half), (half, half)), chosen, strict=True):
            image, boxes, part = self._place(self.scenes[one], half, rng, scale=float(rng.uniform(0.8, 1.2)))
            canvas[y : y + half, x : x + half] = image
            regions[y // 8 : (y + half) // 8, x // 8 : (x + half) // 8] = part
            rows.append(boxes + np.array([x, y, x, y, 0], np.float32))
        return canvas, np.concatenate(rows), regions

    def _place(
        self, scene: Scene, size: int, rng: np.random.Generator, *, scale: float
    ) -> tuple[Pixels, Boxes, Pixels]:
        image = read_image(scene.path)
        height, width = image.shape[:2]
        fit_scale = size / max(height, width) * scale
        stretch = np.exp(rng.uniform(-0.08, 0.08))
        sx, sy = fit_scale * stretch, fit_scale / stretch
        slack_x, slack_y = size - sx * width, size - sy * height
        dx, dy = rng.uniform(min(0, slack_x), max(0, slack_x)), rng.uniform(min(0, slack_y), max(0, slack_y))
        matrix = np.array([[sx, 0, dx], [0, sy, dy]])
        if rng.random() < 0.5:
            matrix = np.array([[-sx, 0, size - dx], [0, sy, dy]])
        return warp(image, matrix, size, fill=GREY), _move_boxes(scene.boxes, matrix, size), _cells(scene, matrix, size)


def _cells(scene: Scene, matrix: npt.NDArray[np.float64], size: int) -> Pixels:
    """The class at the centre of each cell of stride 8."""
    cells = size // 8
    if scene.regions is None:
        return np.full((cells, cells), 255, np.uint8)
    eighth = matrix / 8
    eighth[:, 2] -= 0.5 - 0.5 / 8
    return np.asarray(cv2.warpAffine(scene.regions(), eighth, (cells, cells), flags=cv2.INTER_NEAREST), np.uint8)


def _move_boxes(boxes: Boxes, matrix: npt.NDArray[np.float64], size: int) -> Boxes:
    """Map boxes, clip them, drop those of which less than 30 % is left."""
    if len(boxes) == 0:
        return boxes
    a = boxes[:, :2] * matrix[[0, 1], [0, 1]] + matrix[:, 2]
    b = boxes[:, 2:4] * matrix[[0, 1], [0, 1]] + matrix[:, 2]
    low, high = np.minimum(a, b), np.maximum(a, b)
    clipped_low, clipped_high = low.clip(0, size), high.clip(0, size)
    left = (clipped_high - clipped_low).prod(axis=1) / (high - low).prod(axis=1).clip(1e-6)
    moved = np.concatenate([clipped_low, clipped_high, boxes[:, 4:]], axis=1, dtype=np.float32)
    kept: Boxes = moved[left > 0.3]
    return kept


def _collate(samples: list[Sampled]) -> _Batch:
    return {
        "letterbox": torch.stack([s[0] for s in samples]),
        "truth": [(s[1], s[2]) for s in samples],
        "known": torch.stack([s[3] for s in samples]),
        "regions": torch.stack([s[4] for s in samples]),
    }


class TrainedDetector(Detector):
    """The detector with a head that names every cell's class, which only training needs.

    704 photos hold few boxes but many pixels: naming them teaches the trunk far more than boxes alone.
    """

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__(pretrained=pretrained)
        self.regions = nn.Conv2d(WIDTH, len(GARMENTS) + 3, 1)

    def with_regions(self, letterbox: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits, boxes, and logits (n, 17, s / 8, s / 8) of the regions."""
        levels = self.levels(letterbox)
        return *self.read(levels), self.regions(levels[0]).float()


def _loss(model: TrainedDetector, batch: _Batch) -> dict[str, Tensor]:
    # 1.6 times as fast on a processor that multiplies bfloat16
    with torch.autocast(batch["letterbox"].device.type, torch.bfloat16):
        logits, boxes, regions = model.with_regions(batch["letterbox"])
    terms = detection_loss(logits, boxes, model.centres, model.strides.squeeze(1), batch["truth"], known=batch["known"])
    named = F.cross_entropy(regions, batch["regions"], ignore_index=255, reduction="sum")
    return {**terms, "regions": 0.5 * named / (batch["regions"] < 255).sum().clamp(min=1)}


@torch.no_grad()
def _judge(model: Detector, photos: list[StreetPhoto], truth: Path) -> dict[str, float]:
    """COCO AP50 and AP over the main classes, AP50 over accessories, threshold 0, 16 boxes a photo."""
    rows, ids = [], image_ids(truth)
    for photo in photos:
        matrix = letterbox_matrix(photo.width, photo.height)
        pixels = warp(read_image(photo.path), matrix, LETTERBOX_SIZE, fill=GREY)
        logits, boxes = model(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))
        found, scores, classes = suppress(logits.sigmoid(), boxes.clamp(0, LETTERBOX_SIZE))
        corners = (found[0].numpy().reshape(-1, 2, 2) - matrix[:, 2]) / matrix[0, 0]
        rows += box_rows(ids[photo.path.name], corners, scores[0].tolist(), classes[0].tolist())
    precision = box_precision(truth, rows)
    return {
        "ap50": average_precision(precision, MAIN, thresholds=slice(0, 1)),
        "ap": average_precision(precision, MAIN),
        "ap50_accessories": average_precision(precision, ACCESSORIES, thresholds=slice(0, 1)),
    }


def _rendered(scene: RenderedScene) -> Scene:
    regions = partial(_drawn_regions, [(g.mask, g.garment) for g in scene.garments]) if scene.single else None
    return Scene(scene.path, scene.boxes, scene.single, regions)


@torch.no_grad()
def tagged_scenes(detector: Detector, data: Path) -> list[Scene]:
    """Photos of which only the tags are known, with the surest box of each tagged class as found by `detector`.

    Where it is not sure enough, the class counts as unknown there: neither a box nor background.
    """
    detector.eval()
    scenes, sure = [], 0.3
    for photo in load_tagged(data, "train"):
        image = read_image(photo.path)
        matrix = letterbox_matrix(image.shape[1], image.shape[0])
        pixels = torch.from_numpy(warp(image, matrix, LETTERBOX_SIZE, fill=GREY).transpose(2, 0, 1).copy())
        logits, boxes = detector(pixels[None])
        rows, unknown = [], []
        for garment in photo.garments:
            score, cell = logits[0, :, garment].sigmoid().max(dim=0)
            if score < sure:
                unknown.append(garment)
                continue
            corners = (boxes[0, cell].clamp(0, LETTERBOX_SIZE).numpy().reshape(2, 2) - matrix[:, 2]) / matrix[0, 0]
            rows.append([*corners.flatten(), garment])
        scenes.append(Scene(photo.path, np.array(rows, np.float32).reshape(-1, 5), False, None, tuple(unknown)))
    return scenes


def train(arguments: argparse.Namespace) -> nn.Module:
    """Learn from street photos, home photos (boxes from their masks) and rendered outfits."""
    seed_everything(arguments.seed)
    data: Path = arguments.data
    masks = foreground_masks(
        sorted((data / "items" / "train" / "images").glob("*.jpg")), cache=arguments.build / "cache" / "items_masks"
    )
    items = item_scenes(load_items(data, "train", masks=masks))
    rng = np.random.default_rng(arguments.seed)
    scenes = _balanced(street_scenes(load_street(data, "train")), rng)
    scenes += [items[i] for i in rng.permutation(len(items))[:250]]
    scenes += [_rendered(s) for s in rendered_scenes(arguments.build / "cache" / "wardrobe", outfits=60, singles=40)]
    model = start_from(TrainedDetector(), arguments.start)
    if arguments.start is not None:
        tagged = tagged_scenes(model, data)
        scenes += tagged
        print(f"{len(tagged)} tagged photos, {sum(len(s.boxes) for s in tagged)} boxes found on them", flush=True)
    photos = load_street(data, "public_test")
    truth = data / "street" / "public_test" / "coco.json"
    plan = Plan(epochs=arguments.epochs or 12, batch=8, trunk_rate=4e-4, head_rate=2e-3, average=0.997, decay=0.04)
    loader = make_loader(Scenes(scenes), batch=plan.batch, shuffle=True, collate=_collate)
    return fit(
        model,
        loader,
        _loss,
        lambda m: _judge(m, photos, truth),
        plan=plan,
        folder=arguments.build / "train" / "detect",
        start=arguments.start,
        evaluate_every=2,
    )
