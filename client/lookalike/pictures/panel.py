"""What a search picture says of one garment: its cut-out, category, colors, pattern and material."""

from __future__ import annotations

from PIL import Image

from lookalike.formatting import garment_title, likely, source_text
from lookalike.pictures.canvas import Canvas, contain
from lookalike.pictures.colors import BORDER, MUTED, PAPER, blend, garment_color, named_color
from lookalike.pictures.lettering import Style
from lookalike.pictures.masks import draw_mask
from lookalike.v1.garment_pb2 import Garment

__all__ = ["PANEL_WIDTH", "draw_panel", "panel_height"]

PANEL_WIDTH = 176
TILE_HEIGHT = 176
LINE_HEIGHT = 22
MOST_COLORS = 3
LEAST_SHARE = 0.08
# How much of the tile is left free around the cut-out.
PADDING = 0.07


def panel_height(garment: Garment) -> float:
    """The height of a garment's panel in logical pixels."""
    return TILE_HEIGHT + 54 + LINE_HEIGHT * (len(_colors(garment)) + bool(_description(garment)))


def draw_panel(canvas: Canvas, photo: Image.Image, garment: Garment, *, index: int, x: float, y: float) -> None:
    """The garment cut out of the photo, and under it what the models say."""
    color = garment_color(index)
    ground = blend(color, PAPER, 0.09)
    rect = (x, y, PANEL_WIDTH, TILE_HEIGHT)
    cut_out = _cut_out(photo, garment, ground=ground)
    canvas.picture(contain(cut_out, ratio=PANEL_WIDTH / TILE_HEIGHT, color=ground), rect, radius=14)
    baseline = y + TILE_HEIGHT + 30
    canvas.dot(x + 12, baseline - 6, color, radius=12)
    figure, figure_style = str(index + 1), Style(14, bold=True, color=PAPER)
    half = canvas.lettering.width(figure, style=figure_style, scale=canvas.scale) / 2
    canvas.text(x + 12 - half, baseline - 1.2, figure, figure_style)
    said = source_text(garment)
    said_style = Style(15, color=MUTED)
    said_width = min(canvas.lettering.width(said, style=said_style, scale=canvas.scale), PANEL_WIDTH / 2)
    canvas.text(x + 32, baseline, garment_title(garment), Style(19, bold=True), width=PANEL_WIDTH - 40 - said_width)
    canvas.text(x + PANEL_WIDTH, baseline, said, said_style, width=PANEL_WIDTH / 2, right=True)
    baseline += 4
    for name, share in _colors(garment):
        baseline += LINE_HEIGHT
        shown = named_color(name)
        canvas.dot(x + 12, baseline - 5, BORDER, radius=7)
        canvas.dot(x + 12, baseline - 5, shown or PAPER, radius=6)
        canvas.text(x + 32, baseline, name.replace("_", " "), Style(15), width=PANEL_WIDTH - 80)
        canvas.text(x + PANEL_WIDTH, baseline, f"{share * 100:.0f} %", said_style, right=True)
    if _description(garment):
        canvas.text(x + 32, baseline + LINE_HEIGHT, _description(garment), said_style, width=PANEL_WIDTH - 32)


def _colors(garment: Garment) -> list[tuple[str, float]]:
    return [(color.name, color.share) for color in garment.colors if color.share >= LEAST_SHARE][:MOST_COLORS]


def _description(garment: Garment) -> str:
    return "  ·  ".join(word for word in (likely(garment.patterns), likely(garment.materials)) if word)


def _cut_out(photo: Image.Image, garment: Garment, *, ground: tuple[int, int, int]) -> Image.Image:
    """The garment on `ground`, or the box as it is when there is no mask."""
    width, height = photo.size
    box = garment.box
    part = (
        max(int(box.x0 * width), 0),
        max(int(box.y0 * height), 0),
        min(max(round(box.x1 * width), int(box.x0 * width) + 1), width),
        min(max(round(box.y1 * height), int(box.y0 * height) + 1), height),
    )
    mask = draw_mask(garment.mask, size=photo.size)
    bounds = mask.getbbox() if mask is not None else None
    if mask is None or bounds is None:
        return photo.crop(part)
    seen = photo.crop(bounds)
    sheet = Image.new("RGB", seen.size, ground)
    sheet.paste(seen, (0, 0), mask.crop(bounds))
    margin = round(PADDING * max(seen.size))
    framed = Image.new("RGB", (seen.width + 2 * margin, seen.height + 2 * margin), ground)
    framed.paste(sheet, (margin, margin))
    return framed
