"""Training of the detect stage: scenes from street photos, home photos and rendered outfits."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn
from torch.utils.data import Dataset

from lookalike_export.stages.contract import LETTERBOX_SIZE
from lookalike_export.stages.detect import Detector, suppress
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
    read_image,
    read_mask,
)
from lookalike_export.training.rendered import RenderedScene, rendered_scenes

__all__ = ["average_precision", "letterbox_matrix", "train"]


Boxes = npt.NDArray[np.float32]  # (g, 5): x0 y0 x1 y1 in pixels, class


@dataclass(frozen=True, slots=True)
class Scene:
    """One photo with its boxes, whatever it came from."""

    path: Path
    boxes: Boxes
    single: bool


def letterbox_matrix(width: int, height: int, *, size: int = LETTERBOX_SIZE) -> npt.NDArray[np.float64]:
    """The served map from photo to letterbox: longest side fits, centred."""
    scale = size / max(width, height)
    return np.array([[scale, 0, (size - scale * width) / 2], [0, scale, (size - scale * height) / 2]])


def street_scenes(photos: Sequence[StreetPhoto]) -> list[Scene]:
    """Boxes of street photos."""
    rows = [[[*_corners(g.box), g.garment] for g in p.garments] for p in photos]
    return [Scene(p.path, np.array(r, np.float32).reshape(-1, 5), False) for p, r in zip(photos, rows, strict=True)]


def item_scenes(items: Sequence[ItemPhoto]) -> list[Scene]:
    """Boxes of home photos, from their foreground masks."""
    scenes = []
    for item in items:
        if item.mask is not None:
            box = _corners(mask_box(read_mask(item.mask)))
            scenes.append(Scene(item.path, np.array([[*box, item.garment]], np.float32), True))
    return scenes


def _corners(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, w, h = box
    return x, y, x + w, y + h


class _Batch(TypedDict):
    """Letterboxes (n, 3, s, s), and for each its boxes (g, 4) and classes (g,)."""

    letterbox: Tensor
    truth: list[tuple[Tensor, Tensor]]


class Scenes(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Letterboxes (3, s, s) uint8, boxes (g, 4), classes (g,); place, scale and light varied, some as mosaics."""

    def __init__(self, scenes: list[Scene], *, size: int = LETTERBOX_SIZE) -> None:
        self.scenes, self.size = scenes, size
        self.singles = [i for i, s in enumerate(scenes) if s.single]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng(int(torch.randint(0, 2**31, ())))
        scene = self.scenes[index]
        if scene.single and rng.random() < 0.4:
            image, boxes = self._mosaic(index, rng)
        else:
            spread = (0.5, 1.1) if scene.single else (0.6, 1.5)
            image, boxes = self._place(scene, self.size, rng, scale=float(rng.uniform(*spread)))
        boxes = boxes[(boxes[:, 2:4] - boxes[:, :2]).min(axis=1) > 3] if len(boxes) else boxes
        pixels = torch.from_numpy(np.ascontiguousarray(jitter_light(image, rng, strength=0.8).transpose(2, 0, 1)))
        return pixels, torch.from_numpy(boxes[:, :4].copy()), torch.from_numpy(boxes[:, 4].astype(np.int64))

    def _mosaic(self, index: int, rng: np.random.Generator) -> tuple[Pixels, Boxes]:
        half = self.size // 2
        canvas, rows = np.empty((self.size, self.size, 3), np.uint8), []
        chosen = [index, *rng.choice(self.singles, 3)]
        for (x, y), one in zip(((0, 0), (half, 0), (0, half), (half, half)), chosen, strict=True):
            image, boxes = self._place(self.scenes[one], half, rng, scale=float(rng.uniform(0.8, 1.2)))
            canvas[y : y + half, x : x + half] = image
            rows.append(boxes + np.array([x, y, x, y, 0], np.float32))
        return canvas, np.concatenate(rows)

    def _place(self, scene: Scene, size: int, rng: np.random.Generator, *, scale: float) -> tuple[Pixels, Boxes]:
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
        return warp(image, matrix, size, fill=GREY), _move_boxes(scene.boxes, matrix, size)


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


def _collate(samples: list[tuple[Tensor, Tensor, Tensor]]) -> _Batch:
    return {"letterbox": torch.stack([s[0] for s in samples]), "truth": [(s[1], s[2]) for s in samples]}


def _loss(model: Detector, batch: _Batch) -> dict[str, Tensor]:
    logits, boxes = model(batch["letterbox"])
    return detection_loss(logits, boxes, model.centres, model.strides.squeeze(1), batch["truth"])


@torch.no_grad()
def average_precision(model: Detector, photos: list[StreetPhoto], truth: Path) -> dict[str, float]:
    """COCO AP50 and AP over the main classes, AP50 over accessories, threshold 0, 16 boxes a photo."""
    rows = []
    ids = {image["file_name"]: image["id"] for image in json.loads(truth.read_text())["images"]}
    for photo in photos:
        matrix = letterbox_matrix(photo.width, photo.height)
        pixels = warp(read_image(photo.path), matrix, LETTERBOX_SIZE, fill=GREY)
        logits, boxes = model(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))
        found, scores, classes = suppress(logits.sigmoid(), boxes.clamp(0, LETTERBOX_SIZE))
        corners = (found[0].numpy().reshape(-1, 2, 2) - matrix[:, 2]) / matrix[0, 0]
        for (low, high), score, garment in zip(corners, scores[0].tolist(), classes[0].tolist(), strict=True):
            rows.append(
                {
                    "image_id": ids[photo.path.name],
                    "category_id": garment + 1,
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "score": score,
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        judge = COCOeval(coco, coco.loadRes(rows), "bbox")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 2]  # (threshold, recall, class)

    def mean(names: Sequence[str], rows: slice) -> float:
        return float(np.mean([precision[rows, :, GARMENTS.index(name)].mean() for name in names]))

    return {
        "ap50": mean(MAIN, slice(0, 1)),
        "ap": mean(MAIN, slice(None)),
        "ap50_accessories": mean(ACCESSORIES, slice(0, 1)),
    }


def _rendered(scene: RenderedScene) -> Scene:
    return Scene(scene.path, scene.boxes, scene.single)


def train(arguments: argparse.Namespace) -> nn.Module:
    """Learn from street photos, home photos (boxes from their masks) and rendered outfits."""
    seed_everything(arguments.seed)
    data: Path = arguments.data
    masks = foreground_masks(
        sorted((data / "items" / "train" / "images").glob("*.jpg")), cache=arguments.build / "cache" / "items_masks"
    )
    items = item_scenes(load_items(data, "train", masks=masks))
    rng = np.random.default_rng(arguments.seed)
    scenes = street_scenes(load_street(data, "train"))
    scenes += [items[i] for i in rng.permutation(len(items))[:300]]
    scenes += [_rendered(s) for s in rendered_scenes(arguments.build / "cache" / "wardrobe", outfits=120, singles=60)]
    photos = load_street(data, "public_test")
    truth = data / "street" / "public_test" / "coco.json"
    plan = Plan(epochs=arguments.epochs or 12, batch=8, trunk_rate=4e-4, head_rate=2e-3, average=0.99, decay=0.04)
    loader = make_loader(Scenes(scenes), batch=plan.batch, shuffle=True, collate=_collate)
    return fit(
        start_from(Detector(), arguments.start),
        loader,
        _loss,
        lambda m: average_precision(m, photos, truth),
        plan=plan,
        folder=arguments.build / "train" / "detect",
        evaluate_every=2,
    )
