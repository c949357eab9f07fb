"""A stage's graph on photographs: what it is served with there, and how good its answers are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from lookalike_export.coco import average_precision, box_precision, box_rows, image_ids
from lookalike_export.graph_check import open_graph
from lookalike_export.stages.contract import LETTERBOX_SIZE
from lookalike_export.stages.vocabulary import CATEGORIES, GARMENTS, MAIN
from lookalike_export.training.augment import GREY, warp
from lookalike_export.training.crops import GarmentCrops
from lookalike_export.training.detect import letterbox_matrix
from lookalike_export.training.foreground import foreground_masks
from lookalike_export.training.photos import StreetPhoto, load_items, load_street, read_image

__all__ = ["Photographs", "Trial", "agreement", "calibration_inputs", "run_graph", "trial_of"]

Arrays = Mapping[str, npt.NDArray[Any]]
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """Inputs with a row per photo or garment, and what judges the outputs; the first figure is the one that counts."""

    inputs: Arrays
    judge: Callable[[Arrays], Figures]


@dataclass(frozen=True, slots=True)
class Photographs:
    """Where photographs, caches and the graphs of earlier stages lie."""

    data: Path
    build: Path
    repository: Path


def run_graph(graph: Path | bytes, inputs: Arrays, *, rows: int = 4) -> Arrays:
    """All outputs for all rows, a few rows at a time."""
    return _run(open_graph(graph), inputs, rows)


def _run(session: onnxruntime.InferenceSession, inputs: Arrays, rows: int = 4) -> Arrays:
    names = [node.name for node in session.get_outputs()]
    count = len(next(iter(inputs.values())))
    parts = [
        session.run(names, {name: array[at : at + rows] for name, array in inputs.items()})
        for at in range(0, count, rows)
    ]
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}


def trial_of(stage: str, photographs: Photographs, *, split: str = "public_test", most: int | None = None) -> Trial:
    """The trial of a stage alone, in true boxes: figures tell graphs of one stage apart, not stages from each other."""
    if stage == "detect":
        return _boxes(photographs, split, most)
    if stage == "embed":
        return _descriptions(photographs, split, most)
    return _crops(stage, photographs, split, most)


def calibration_inputs(stage: str, photographs: Photographs, *, count: int) -> Arrays:
    """What the stage is served with on `train` photographs: half of them worn, half lying, spread over each set."""
    half = count // 2
    street = load_street(photographs.data, "train")
    if stage == "detect":
        paths = [p.path for p in _spread(street, half)]
        paths += [item.path for item in _spread(load_items(photographs.data, "train"), count - half)]
        return {"letterbox": np.stack([_letterbox(path) for path in paths])}
    worn = GarmentCrops(street, train=False)
    lying = _item_crops(photographs, "train")
    crops = np.stack(
        [crops[i]["crop"].numpy() for crops in (worn, lying) for i in _spread(range(len(crops)), max(half, 1))]
    )
    return _described(crops, photographs) if stage == "embed" else {"crops": crops}


def _spread(values: Any, count: int | None) -> list[Any]:  # noqa: ANN401 - of whatever the sequence holds
    if count is None or count >= len(values):
        return list(values)
    return [values[int(i)] for i in np.linspace(0, len(values) - 1, count)]


def _letterbox(path: Path) -> npt.NDArray[np.uint8]:
    image = read_image(path)
    matrix = letterbox_matrix(image.shape[1], image.shape[0])
    return np.ascontiguousarray(warp(image, matrix, LETTERBOX_SIZE, fill=GREY).transpose(2, 0, 1))


def _boxes(photographs: Photographs, split: str, most: int | None) -> Trial:
    truth = photographs.data / "street" / split / "coco.json"
    photos: list[StreetPhoto] = _spread(load_street(photographs.data, split), most)
    ids = image_ids(truth)

    def judge(outputs: Arrays) -> Figures:
        rows: list[dict[str, Any]] = []
        for index, photo in enumerate(photos):
            matrix = letterbox_matrix(photo.width, photo.height)
            corners = (outputs["boxes"][index].reshape(-1, 2, 2) - matrix[:, 2]) / matrix[0, 0]
            scores, classes = outputs["scores"][index].tolist(), outputs["classes"][index].tolist()
            rows += box_rows(ids[photo.path.name], corners, scores, classes)
        precision = box_precision(truth, rows)
        return {
            "ap50": average_precision(precision, MAIN, thresholds=slice(0, 1)),
            "ap": average_precision(precision, MAIN),
        }

    return Trial({"letterbox": np.stack([_letterbox(p.path) for p in photos])}, judge)


def _crops(stage: str, photographs: Photographs, split: str, most: int | None) -> Trial:
    street = load_street(photographs.data, split)
    crops = GarmentCrops(street, train=False, without_landmarks=0.0 if stage == "keypoints" else 1.0)
    samples = [crops[i] for i in _spread(range(len(crops)), most)]
    stacked = {key: np.stack([sample[key].numpy() for sample in samples]) for key in samples[0]}

    def masks(outputs: Arrays) -> Figures:
        found, true = outputs["mask"] > 127, stacked["mask"] > 0.5
        overlap = (found & true).sum(axis=(1, 2)) / (found | true).sum(axis=(1, 2)).clip(1)
        return {"miou": _mean_of_classes(overlap, stacked["garment"])}

    def landmarks(outputs: Arrays) -> Figures:
        known = stacked["keypoints"][..., 2] > 0
        apart = np.linalg.norm(outputs["keypoints"][..., :2] - stacked["keypoints"][..., :2], axis=2)[known]
        diagonal = 1.17 / 1.12  # of a box of common proportions, in crops; as in the training's figures
        return {name: float((apart < part * diagonal).mean()) for name, part in (("pck05", 0.05), ("pck10", 0.1))}

    return Trial({"crops": stacked["crop"]}, masks if stage == "segment" else landmarks)


def _mean_of_classes(values: npt.NDArray[np.float64], garments: npt.NDArray[np.int64]) -> float:
    classes = [GARMENTS.index(name) for name in MAIN]
    return float(np.mean([values[garments == c].mean() for c in classes if (garments == c).any()]))


def _item_crops(photographs: Photographs, split: str) -> GarmentCrops:
    paths = sorted((photographs.data / "items" / split / "images").glob("*.jpg"))
    cache = photographs.build / "cache" / f"items_masks{'' if split == 'train' else '_' + split}"
    items = load_items(photographs.data, split, masks=foreground_masks(paths, cache=cache))
    return GarmentCrops([], items, train=False)


def _described(crops: npt.NDArray[np.uint8], photographs: Photographs) -> Arrays:
    """Crops with the mask and landmarks that the repository's stages see in them."""
    seen = [run_graph(photographs.repository / s / "1" / "model.onnx", {"crops": crops}) for s in _BEFORE_EMBED]
    return {"crops": crops, "mask": seen[0]["mask"], "keypoints": seen[1]["keypoints"]}


_BEFORE_EMBED = ("segment", "keypoints")


def _descriptions(photographs: Photographs, split: str, most: int | None) -> Trial:
    dataset = _item_crops(photographs, split)
    samples = [dataset[i] for i in _spread(range(len(dataset)), most)]
    garments = np.array([int(sample["garment"]) for sample in samples])
    coarse = [name.split("/")[0] for name in CATEGORIES]
    gather = np.array([[float(name == garment) for garment in GARMENTS] for name in coarse])

    def judge(outputs: Arrays) -> Figures:
        similar = outputs["embedding"] @ outputs["embedding"].T
        np.fill_diagonal(similar, -2)
        near = np.argsort(-similar, axis=1)[:, :5]
        return {
            "classes": float(((outputs["category"] @ gather).argmax(axis=1) == garments).mean()),
            "near5": float((garments[near] == garments[:, None]).mean()),
        }

    return Trial(_described(np.stack([sample["crop"].numpy() for sample in samples]), photographs), judge)


def agreement(stage: str, ours: Arrays, theirs: Arrays) -> float:
    """How alike two graphs of one stage answer, 0..1.

    detect: share of the sure boxes (score from 0.3) of `ours` that `theirs` has with the same class and IoU from 0.8;
    keypoints: share of the landmarks within 0.02 of the crop; segment: mean IoU of the masks; embed: mean cosine.
    """
    if stage == "detect":
        return _same_boxes(ours, theirs)
    if stage == "keypoints":
        apart = np.linalg.norm(ours["keypoints"][..., :2] - theirs["keypoints"][..., :2], axis=2)
        return float((apart < 0.02).mean())
    if stage == "segment":
        a, b = ours["mask"] > 127, theirs["mask"] > 127
        return float(((a & b).sum(axis=(1, 2)) / (a | b).sum(axis=(1, 2)).clip(1)).mean())
    return float((ours["embedding"] * theirs["embedding"]).sum(axis=1).mean())


def _same_boxes(ours: Arrays, theirs: Arrays) -> float:
    found = []
    for photo, slot in zip(*np.nonzero(ours["scores"] >= 0.3), strict=True):
        same = theirs["classes"][photo] == ours["classes"][photo, slot]
        a, b = ours["boxes"][photo, slot], theirs["boxes"][photo, same]
        sides = (np.minimum(a[2:], b[:, 2:]) - np.maximum(a[:2], b[:, :2])).clip(0)
        shared = sides.prod(axis=1)
        union = (a[2:] - a[:2]).prod() + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
        found.append(bool((shared / np.maximum(union, 1e-6) >= 0.8).any()))
    return float(np.mean(found)) if found else 1.0
