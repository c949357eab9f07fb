"""What each stage says about rendered outfits, as a picture for the model card: no photograph of a person is needed."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import cv2
import numpy as np

from lookalike_export.accuracy.asking import as_jpeg
from lookalike_export.stages.vocabulary import COLOURS
from lookalike_export.training.photos import Pixels
from lookalike_service.model import Box, Garment, GarmentFinder
from lookalike_service.wardrobe import choose_outfit, make_items, render_item, render_outfit

__all__ = ["sheet"]

_TILE = (300, 450)
_INK = ((214, 39, 40), (31, 119, 180), (44, 160, 44), (148, 103, 189), (255, 127, 14), (23, 190, 207), (140, 86, 75))


async def sheet(finder: GarmentFinder, photos: list[Pixels]) -> Pixels:
    """One row per photo: boxes with class and score, masks, landmarks, and what embed says of each garment."""
    rows = []
    for photo in photos:
        found = await finder.find(as_jpeg(photo))
        garments = list(found.garments)
        rows.append(
            np.hstack([_boxes(photo, garments), _masks(photo, garments), _landmarks(photo, garments), _words(garments)])
        )
    return np.asarray(np.vstack(rows), np.uint8)


def _tile(photo: Pixels) -> Pixels:
    return np.asarray(cv2.resize(photo, _TILE, interpolation=cv2.INTER_AREA), np.uint8)


def _corners(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    width, height = _TILE
    return (int(box.x0 * width), int(box.y0 * height)), (int(box.x1 * width), int(box.y1 * height))


def _write(image: Pixels, text: str, at: tuple[int, int], ink: tuple[int, ...], *, size: float = 0.42) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 3, cv2.LINE_AA)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)


def _boxes(photo: Pixels, garments: list[Garment]) -> Pixels:
    tile = _tile(photo)
    for index, garment in enumerate(garments):
        ink = _INK[index % len(_INK)]
        low, high = _corners(garment.box)
        cv2.rectangle(tile, low, high, ink, 2, cv2.LINE_AA)
        _write(tile, f"{garment.detected or 'photo'} {garment.score:.2f}", (low[0] + 3, low[1] + 14), ink)
    return tile


def _masks(photo: Pixels, garments: list[Garment]) -> Pixels:
    tile = np.asarray(_tile(photo) // 2 + 110, np.uint8)
    width, height = _TILE
    for index, garment in enumerate(garments):
        side = garment.mask.shape[0]
        box = garment.crop_box
        sx, sy = (box.x1 - box.x0) * width / side, (box.y1 - box.y0) * height / side
        matrix = np.array([[sx, 0, box.x0 * width + sx / 2 - 0.5], [0, sy, box.y0 * height + sy / 2 - 0.5]])
        mask = cv2.warpAffine(garment.mask, matrix, _TILE, flags=cv2.INTER_LINEAR, borderValue=(0,))
        weight = mask[..., None].astype(np.float32) / 255 * 0.65
        tile = np.asarray(tile * (1 - weight) + np.array(_INK[index % len(_INK)]) * weight, np.uint8)
    return tile


def _landmarks(photo: Pixels, garments: list[Garment]) -> Pixels:
    tile = _tile(photo)
    for index, garment in enumerate(garments):
        for x, y, visible in garment.landmarks:
            if visible > 0.5:
                at = (int(x * _TILE[0]), int(y * _TILE[1]))
                cv2.circle(tile, at, 5, (255, 255, 255), -1, cv2.LINE_AA)
                cv2.circle(tile, at, 4, _INK[index % len(_INK)], -1, cv2.LINE_AA)
    return tile


def _words(garments: list[Garment]) -> Pixels:
    tile = np.full((_TILE[1], _TILE[0], 3), 255, np.uint8)
    for index, garment in enumerate(garments[:7]):
        y = 22 + 62 * index
        _write(tile, garment.categories[0].name if garment.categories else garment.category, (10, y), _INK[index])
        said = [labels[0].name for labels in (garment.patterns, garment.materials) if labels]
        _write(tile, ", ".join(said), (10, y + 18), (60, 60, 60), size=0.38)
        x = 10.0
        for label in garment.colours:
            width = 220 * label.score
            cv2.rectangle(tile, (int(x), y + 24), (int(x + width), y + 36), COLOURS[label.name], -1)
            x += width
        cv2.rectangle(tile, (10, y + 24), (230, y + 36), (120, 120, 120), 1)
    return tile


def _rendered() -> list[Pixels]:
    items = make_items(600, seed=11)
    worn = [render_outfit(choose_outfit(items, seed=seed), seed=seed, size=(400, 600)).image for seed in (3, 5)]
    shot = render_item(items[2], view=0, size=600).image
    margin = (shot.shape[1] - shot.shape[0] * 2 // 3) // 2
    return [*worn, np.ascontiguousarray(shot[:, margin : shot.shape[1] - margin])] if margin > 0 else [*worn, shot]


async def _served(repository: Path, build: Path) -> Pixels:
    from lookalike_service.embedded.triton import EmbeddedTriton
    from lookalike_service.triton import TritonFinder

    with EmbeddedTriton(repository, run_directory=build / "examples") as triton:
        finder = await TritonFinder.connect(triton.grpc_address, embedding_version=1)
        try:
            return await sheet(finder, _rendered())
        finally:
            await finder.close()


def main() -> None:
    """`python -m lookalike_export.examples --out docs/pictures/models.png`."""
    parser = argparse.ArgumentParser(prog="examples", description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/models.png"))
    arguments = parser.parse_args()
    picture = asyncio.run(_served(arguments.repository, arguments.build))
    cv2.imwrite(str(arguments.out), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{arguments.out}: {picture.shape[1]} x {picture.shape[0]}")


if __name__ == "__main__":
    main()
