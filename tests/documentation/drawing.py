"""How the output of each stage is drawn, with the same canvas as the pictures of search results."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike.pictures.canvas import Canvas
from lookalike.pictures.colors import BORDER, GROUND, INK, MUTED, PAPER, Color, blend, garment_color, named_color
from lookalike.pictures.lettering import Lettering, Style
from lookalike_service.model import Box, Garment, Vocabularies
from lookalike_service.wardrobe import Item

__all__ = ["Followed", "Shelved", "cropped", "decoded", "described", "detected", "landmarks", "masks", "searched"]

Floats = npt.NDArray[np.float32]
SCALE = 1.25
WIDTH, MARGIN, GAP = 860, 24, 20
TITLE, TEXT, SMALL = Style(17, bold=True), Style(14), Style(12.5, color=MUTED)
# The row of the photo's own height in the pictures that show it whole.
PHOTO_HEIGHT = 440
# Above it a detection counts (default_min_score of crop), above this one it is drawn at all.
COUNTS, DRAWN = 0.30, 0.10
VISIBLE = 0.5
SHORT = ("collar L", "collar R", "sleeve L", "sleeve R", "waist L", "waist R", "hem L", "hem R")


@dataclass(frozen=True, slots=True)
class Followed:
    """What the stages handed to each other for one photo (`arrays`), and what the gateway makes of it."""

    arrays: dict[str, npt.NDArray[Any]]
    garments: Sequence[Garment]
    words: Vocabularies
    labels: Sequence[str]

    def names(self) -> list[str]:
        """Per crop the detector's word for it, and how sure it is."""
        pairs = zip(self.arrays["garment_class"].tolist(), self.arrays["garment_score"].tolist(), strict=True)
        return [f"{self.labels[number]} {score:.2f}" for number, score in pairs]


@dataclass(frozen=True, slots=True)
class Shelved:
    """A product with one of its photos, encoded, and that photo's vector."""

    item: Item
    photo: bytes
    embedding: Floats


def decoded(followed: Followed) -> Image.Image:
    """The upright photo beside the detector's square."""
    pixels = followed.arrays["pixels"]
    canvas = _sheet(PHOTO_HEIGHT + 90)
    width = PHOTO_HEIGHT * pixels.shape[1] / pixels.shape[0]
    left = (WIDTH - width - PHOTO_HEIGHT - 3 * GAP) / 2
    canvas.picture(Image.fromarray(pixels), (left, MARGIN, width, PHOTO_HEIGHT))
    square = Image.fromarray(followed.arrays["letterbox"][0].transpose(1, 2, 0))
    right = left + width + 3 * GAP
    canvas.picture(square, (right, MARGIN, PHOTO_HEIGHT, PHOTO_HEIGHT))
    _caption(canvas, left, PHOTO_HEIGHT + MARGIN, "pixels", f"{pixels.shape[0]} x {pixels.shape[1]} x 3")
    _caption(canvas, right, PHOTO_HEIGHT + MARGIN, "letterbox", "1 x 3 x 352 x 352, what the detector sees")
    return canvas.image


def detected(followed: Followed) -> Image.Image:
    """All rows of the detector on its square, the unsure ones thin; beside it what the gateway makes of them."""
    arrays = followed.arrays
    canvas = _sheet(PHOTO_HEIGHT + 90)
    square = Image.fromarray(arrays["letterbox"][0].transpose(1, 2, 0))
    canvas.picture(square, (MARGIN, MARGIN, PHOTO_HEIGHT, PHOTO_HEIGHT))
    per_pixel = PHOTO_HEIGHT / square.width
    rows = [
        row
        for row in zip(arrays["scores"].tolist(), arrays["boxes"].tolist(), arrays["classes"].tolist(), strict=True)
        if row[0] >= DRAWN
    ]
    x, y = MARGIN + PHOTO_HEIGHT + 2 * GAP, MARGIN + 16
    canvas.text(x, y, "classes, scores, boxes", TITLE)
    for index, (score, (x0, y0, x1, y1), number) in enumerate(rows):
        color = garment_color(index) if score >= COUNTS else MUTED
        rect = (MARGIN + x0 * per_pixel, MARGIN + y0 * per_pixel, (x1 - x0) * per_pixel, (y1 - y0) * per_pixel)
        canvas.outline(rect, color, line=2.2 if score >= COUNTS else 1.0, radius=3)
        y += 28
        canvas.dot(x + 8, y - 5, color, radius=8 if score >= COUNTS else 4)
        canvas.text(x + 26, y, followed.labels[number], TEXT if score >= COUNTS else SMALL)
        canvas.text(x + 150, y, f"{score:.2f}", TEXT if score >= COUNTS else SMALL)
        corners = ", ".join(f"{corner:.0f}" for corner in (x0, y0, x1, y1))
        canvas.text(x + 205, y, corners, SMALL)
    y += 36
    canvas.text(x, y, f"from {COUNTS:.2f} on a row counts; rows below {DRAWN:.2f} are not shown", SMALL)
    _caption(canvas, MARGIN, PHOTO_HEIGHT + MARGIN, "boxes", "1 x 16 x 4, in pixels of the letterbox")
    return canvas.image


def cropped(followed: Followed) -> Image.Image:
    """The square of each garment."""
    return _tiles(followed, _crops(followed), [f"of {name}" for name in followed.names()])


def landmarks(followed: Followed) -> Image.Image:
    """Each crop with the landmarks that the model takes for visible; pale where it is unsure."""
    canvas, places = _tiled(followed, _crops(followed, faded=True))
    for index, (x, y, side) in enumerate(places):
        rows = followed.arrays["keypoints"][index]
        for name, (across, down, visibility) in zip(SHORT, rows.tolist(), strict=True):
            if visibility < VISIBLE:
                continue
            at = (x + across * side, y + down * side)
            canvas.dot(*at, PAPER, radius=6)
            canvas.dot(*at, garment_color(index), radius=4)
            _label(canvas, at, name, within=(x, x + side))
        seen = int((rows[:, 2] >= VISIBLE).sum())
        _caption(canvas, x, y + side, followed.names()[index], f"{seen} of 8 landmarks visible")
    return canvas.image


def masks(followed: Followed) -> Image.Image:
    """Each mask over its crop, and the mask alone."""
    crops = _crops(followed)
    canvas, places = _tiled(followed, crops, rows=2)
    for index, (x, y, side) in enumerate(places):
        mask = followed.arrays["mask"][index]
        ink = np.array(garment_color(index), np.float32)
        fine = cv2.resize(mask, crops[index].size, interpolation=cv2.INTER_LINEAR)[..., None].astype(np.float32) / 255
        painted = np.asarray(crops[index], np.float32) * (1 - 0.55 * fine) + ink * 0.55 * fine
        canvas.picture(Image.fromarray(painted.astype(np.uint8)), (x, y, side, side))
        alone = Image.fromarray(mask).resize((224, 224), Image.Resampling.NEAREST).convert("RGB")
        canvas.picture(alone, (x, y + side + GAP, side, side))
        covered = (mask > 127).mean()
        _caption(canvas, x, y + 2 * side + GAP, followed.names()[index], f"{covered:.0%} of the crop")
    return canvas.image


def described(followed: Followed) -> Image.Image:
    """Per garment its vector as a strip, its colors, and the likeliest words."""
    row = 104
    canvas = _sheet(MARGIN + row * len(_crops(followed)))
    for index, crop in enumerate(_crops(followed)):
        y = MARGIN + index * row
        canvas.picture(crop, (MARGIN, y, 84, 84))
        x = MARGIN + 84 + GAP
        words = [
            ("category", followed.words.category, 3),
            ("pattern", followed.words.pattern, 2),
            ("material", followed.words.material, 1),
        ]
        said = []
        for name, vocabulary, most in words:
            chances = followed.arrays[name][index]
            best = np.argsort(-chances)[:most]
            said.append(", ".join(f"{vocabulary[at]} {chances[at]:.2f}" for at in best if chances[at] >= 0.05))
        canvas.text(x, y + 14, said[0], TITLE, width=440)
        canvas.text(x, y + 35, "   ·   ".join(said[1:]), TEXT, width=440)
        _shares(canvas, followed.arrays["colours"][index], followed.words.colour, (x + 470, y + 3, 238, 14))
        names = _color_names(followed.arrays["colours"][index], followed.words.colour)
        canvas.text(x + 470, y + 35, names, SMALL, width=238)
        _strip(canvas, followed.arrays["embedding"][index], (x, y + 48, WIDTH - MARGIN - x, 36))
    return canvas.image


def searched(followed: Followed, shelf: Sequence[Shelved]) -> Image.Image:
    """Per garment of the answer the five products whose vectors are nearest, with the vectors."""
    row = 182
    canvas = _sheet(MARGIN + row * len(followed.garments))
    pixels = followed.arrays["pixels"]
    vectors = np.stack([each.embedding for each in shelf])
    for index, garment in enumerate(followed.garments):
        y = MARGIN + index * row
        canvas.picture(_cut(pixels, garment.box), (MARGIN, y, 112, 112))
        canvas.dot(MARGIN + 8, y + 128, garment_color(index), radius=8)
        canvas.text(MARGIN + 22, y + 133, garment.category, TITLE)
        _strip(canvas, garment.embedding, (MARGIN, y + 142, 112, 16))
        for place, (score, found) in enumerate(_nearest(vectors @ garment.embedding, shelf)):
            x = MARGIN + 112 + 2 * GAP + place * 136
            canvas.picture(Image.open(io.BytesIO(found.photo)), (x, y, 112, 112))
            canvas.text(x, y + 127, found.item.title, Style(11.5), width=112)
            canvas.text(x, y + 140, f"{score:.2f}", Style(11.5, bold=True, color=garment_color(index)))
            _strip(canvas, found.embedding, (x + 30, y + 131, 82, 11))
    return canvas.image


def _nearest(scores: Floats, shelf: Sequence[Shelved]) -> list[tuple[float, Shelved]]:
    """The best view of each product, the five best products."""
    best: dict[str, tuple[float, Shelved]] = {}
    for at in np.argsort(-scores).tolist():
        best.setdefault(shelf[at].item.id, (float(scores[at]), shelf[at]))
        if len(best) == 5:
            break
    return list(best.values())


def _sheet(height: float) -> Canvas:
    return Canvas.blank(WIDTH, height, scale=SCALE, lettering=Lettering())


def _crops(followed: Followed, *, faded: bool = False) -> list[Image.Image]:
    crops = followed.arrays["crops"].transpose(0, 2, 3, 1)
    return [Image.fromarray((crop // 2 + 118 if faded else crop).astype(np.uint8)) for crop in crops]


def _tiled(
    followed: Followed, crops: list[Image.Image], *, rows: int = 1
) -> tuple[Canvas, list[tuple[float, float, float]]]:
    """A sheet with the crops side by side, and where each of them is."""
    side = min((WIDTH - 2 * MARGIN - (len(crops) - 1) * GAP) / len(crops), 258)
    canvas = _sheet(MARGIN + rows * (side + GAP) + 44)
    places = [(MARGIN + index * (side + GAP), float(MARGIN), side) for index in range(len(crops))]
    for (x, y, _), crop in zip(places, crops, strict=True):
        canvas.picture(crop, (x, y, side, side))
    return canvas, places


def _tiles(followed: Followed, crops: list[Image.Image], said: Sequence[str]) -> Image.Image:
    canvas, places = _tiled(followed, crops)
    for index, (x, y, side) in enumerate(places):
        box = followed.arrays["crop_box"][index]
        _caption(canvas, x, y + side, said[index], "crop_box " + ", ".join(f"{corner:.2f}" for corner in box))
    return canvas.image


def _caption(canvas: Canvas, x: float, y: float, title: str, more: str) -> None:
    canvas.text(x, y + 26, title, TITLE)
    canvas.text(x, y + 46, more, SMALL)


def _label(canvas: Canvas, at: tuple[float, float], text: str, *, within: tuple[float, float]) -> None:
    style = Style(11.5, bold=True)
    width = canvas.lettering.width(text, style=style, scale=canvas.scale)
    x = at[0] + 9 if at[0] + 9 + width < within[1] else at[0] - 9 - width
    canvas.fill((x - 2, at[1] - 8, width + 4, 15), PAPER, radius=3, opacity=0.8)
    canvas.text(x, at[1] + 4, text, style)


def _shares(canvas: Canvas, shares: Floats, names: Sequence[str], rect: tuple[float, float, float, float]) -> None:
    x, y, width, height = rect
    canvas.fill(rect, GROUND)
    for at in np.argsort(-shares).tolist():
        part = float(shares[at]) * width
        if part >= 1:
            canvas.fill((x, y, part, height), named_color(names[at]) or MUTED)
            x += part
    canvas.outline(rect, BORDER)


def _color_names(shares: Floats, names: Sequence[str]) -> str:
    best = [at for at in np.argsort(-shares).tolist() if shares[at] >= 0.05][:4]
    return ", ".join(f"{names[at]} {shares[at]:.2f}" for at in best)


def _strip(canvas: Canvas, vector: Floats, rect: tuple[float, float, float, float]) -> None:
    """The numbers of a vector side by side: blue below zero, red above, white at zero; fullest at 0.2."""
    x, y, width, height = rect
    strong = np.clip(np.abs(vector) / 0.2, 0, 1)[:, None]
    ends = np.where(vector[:, None] < 0, np.array([[38, 84, 196]]), np.array([[206, 52, 44]]))
    columns = (255 * (1 - strong) + ends * strong).astype(np.uint8)
    picture = Image.fromarray(np.repeat(columns[None], 8, axis=0))
    left, top = round(x * canvas.scale), round(y * canvas.scale)
    fitted = picture.resize((round(width * canvas.scale), round(height * canvas.scale)), Image.Resampling.BOX)
    canvas.image.paste(fitted, (left, top))
    canvas.outline(rect, BORDER)


def _cut(pixels: npt.NDArray[np.uint8], box: Box) -> Image.Image:
    """The box on the photo, in the middle of a pale square."""
    height, width = pixels.shape[:2]
    corners = (round(box.x0 * width), round(box.y0 * height), round(box.x1 * width), round(box.y1 * height))
    part = Image.fromarray(pixels).crop(corners)
    side = max(part.size)
    ground: Color = blend(INK, PAPER, 0.06)
    sheet = Image.new("RGB", (side, side), ground)
    sheet.paste(part, ((side - part.width) // 2, (side - part.height) // 2))
    return sheet
