"""One picture of a whole search: the photo, and beside it every garment with its best products."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image

from lookalike.formatting import counted
from lookalike.pictures.canvas import Canvas
from lookalike.pictures.cards import CARD_HEIGHT, CARDS, draw_card, draw_nothing_found
from lookalike.pictures.colors import LINE, MUTED, garment_color
from lookalike.pictures.lettering import Lettering, Style
from lookalike.pictures.panel import PANEL_WIDTH, draw_panel, panel_height
from lookalike.pictures.photo import enlarged, open_photo, paint_garments
from lookalike.v1.search_service_pb2 import GarmentHits, Hit
from lookalike.values import ImageLike

__all__ = ["FetchImage", "draw_search"]

FetchImage = Callable[[Hit], bytes | None]
"""Gives the encoded picture of a hit's product, or None when there is none at hand."""

SCALE = 2
# More garments than this stand in two columns.
ONE_COLUMN = 7
# Taller pages are drawn less finely, so that sixteen garments stay a file that viewers open.
TALL = 2400
MARGIN = 56
HEADER = 84
GUTTER = 56
ROW_GAP = 30
CARD_GAP = 16
CARD_WIDTH = 178
CARDS_WIDTH = CARDS * CARD_WIDTH + (CARDS - 1) * CARD_GAP
ROW_WIDTH = PANEL_WIDTH + GUTTER / 2 + CARDS_WIDTH
# The photo is about as high as the rows beside it, within these bounds of its own size.
LOWEST, HIGHEST = 560, 880
NARROWEST, WIDEST = 320, 640


def draw_search(
    photo: ImageLike | Image.Image,
    results: Sequence[GarmentHits],
    fetch_image: FetchImage,
    *,
    font: str | None = None,
) -> Image.Image:
    """The photo with its garments, and per garment its cut-out and its best five products.

    `results` come from SearchProducts; ask it for masks to have garments cut out. Where `fetch_image` gives
    nothing, or no image, a placeholder stands. `font` is the file of a font for titles that ours does not know.
    Raises OSError when photo or font cannot be read.
    """
    image = enlarged(open_photo(photo))
    columns = _columns(results)
    rows_height = max((_height(column) for column in columns), default=0.0)
    photo_height = max(min(rows_height, HIGHEST), LOWEST)
    photo_width = max(min(photo_height * image.width / image.height, WIDEST), NARROWEST)
    photo_height = photo_width * image.height / image.width
    height = HEADER + max(photo_height, rows_height) + 2 * MARGIN
    scale = SCALE if height <= TALL else max(SCALE * TALL / height, 1.0)
    left = MARGIN + photo_width + GUTTER
    width = left + len(columns) * (ROW_WIDTH + GUTTER) - GUTTER + MARGIN
    canvas = Canvas.blank(width, height, scale=scale, lettering=Lettering(font or ""))
    _draw_header(canvas, results)
    _draw_photo(canvas, image, results, width=photo_width, height=photo_height)
    for column in columns:
        y: float = MARGIN + HEADER
        for place, (index, result) in enumerate(column):
            if place:
                canvas.fill((left, y - ROW_GAP - 0.5, ROW_WIDTH, 1), LINE)
            _draw_row(canvas, image, result, index=index, x=left, y=y, fetch_image=fetch_image)
            y += _row_height(result) + 2 * ROW_GAP
        left += ROW_WIDTH + GUTTER
    return canvas.image


def _columns(results: Sequence[GarmentHits]) -> list[list[tuple[int, GarmentHits]]]:
    numbered = list(enumerate(results))
    if len(numbered) <= ONE_COLUMN:
        return [numbered]
    half = (len(numbered) + 1) // 2
    return [numbered[:half], numbered[half:]]


def _row_height(result: GarmentHits) -> float:
    return max(panel_height(result.garment), CARD_HEIGHT)


def _height(column: Sequence[tuple[int, GarmentHits]]) -> float:
    return sum(_row_height(result) for _, result in column) + 2 * ROW_GAP * max(len(column) - 1, 0)


def _draw_header(canvas: Canvas, results: Sequence[GarmentHits]) -> None:
    products = {hit.product.name for result in results for hit in result.hits[:CARDS]}
    summary = f"{counted(len(results), 'garment')}  ·  {counted(len(products), 'product')}"
    canvas.text(MARGIN, MARGIN + 26, "Lookalikes", Style(34, bold=True))
    canvas.text(MARGIN, MARGIN + 52, summary, Style(17, color=MUTED))


def _draw_photo(
    canvas: Canvas, image: Image.Image, results: Sequence[GarmentHits], *, width: float, height: float
) -> None:
    device = (max(round(width * canvas.scale), 1), max(round(height * canvas.scale), 1))
    painted = Canvas(image.resize(device, Image.Resampling.LANCZOS), scale=canvas.scale, lettering=canvas.lettering)
    paint_garments(painted, [result.garment for result in results], details=False)
    rect = (MARGIN, MARGIN + HEADER, width, height)
    canvas.shadow(rect, radius=16, blur=14, opacity=0.16, drop=6)
    canvas.picture(painted.image, rect, radius=16)


def _draw_row(
    canvas: Canvas, image: Image.Image, result: GarmentHits, *, index: int, x: float, y: float, fetch_image: FetchImage
) -> None:
    draw_panel(canvas, image, result.garment, index=index, x=x, y=y)
    left = x + PANEL_WIDTH + GUTTER / 2
    if not result.hits:
        draw_nothing_found(canvas, (left, y, CARDS_WIDTH, CARD_HEIGHT))
    for place, hit in enumerate(result.hits[:CARDS]):
        rect = (left + place * (CARD_WIDTH + CARD_GAP), y, CARD_WIDTH, CARD_HEIGHT)
        draw_card(canvas, hit, rect, color=garment_color(index), picture=fetch_image(hit))
