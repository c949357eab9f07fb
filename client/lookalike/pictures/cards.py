"""A product as a card: picture, title, brand, price, score."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageOps, ImageStat

from lookalike.formatting import price_text, product_title
from lookalike.pictures.canvas import Canvas, Rect, contain, cover
from lookalike.pictures.colors import BORDER, GROUND, INK, LINE, MUTED, PAPER, Color, blend
from lookalike.pictures.lettering import Style
from lookalike.v1.search_service_pb2 import Hit

__all__ = ["CARDS", "CARD_HEIGHT", "draw_card", "draw_nothing_found"]

CARDS = 5
CARD_HEIGHT = 312
PICTURE_HEIGHT = 178
PADDING = 14
RADIUS = 14
INSET = 6
LINE_HEIGHT = 19
# Pictures are cut to the card's shape when that takes away no more than this share of them.
MOST_CUT = 0.12
LARGEST = 1024


def draw_card(canvas: Canvas, hit: Hit, rect: Rect, *, color: Color, picture: bytes | None) -> None:
    """One hit; `color` is that of its garment, `picture` the encoded image of the product."""
    x, y, width, height = rect
    canvas.fill(rect, BORDER, radius=RADIUS)
    canvas.fill((x + 1, y + 1, width - 2, height - 2), PAPER, radius=RADIUS - 1)
    _draw_picture(canvas, _thumbnail(picture), (x + INSET, y + INSET, width - 2 * INSET, PICTURE_HEIGHT))
    inner, left = width - 2 * PADDING, x + PADDING
    baseline = y + INSET + PICTURE_HEIGHT + 24
    title = Style(15.5, bold=True)
    for line in canvas.lettering.wrap(
        product_title(hit.product), style=title, scale=canvas.scale, width=inner, lines=2
    ):
        canvas.text(left, baseline, line, title)
        baseline += LINE_HEIGHT
    canvas.text(left, baseline, hit.product.brand, Style(14, color=MUTED), width=inner)
    _draw_offer(canvas, hit, (left, y + height - 46, inner, 34), color=color)


def _draw_offer(canvas: Canvas, hit: Hit, rect: Rect, *, color: Color) -> None:
    left, top, width, _ = rect
    baseline = top + 12
    score, score_style = f"{hit.score:.2f}", Style(14.5, color=MUTED)
    score_width = canvas.lettering.width(score, style=score_style, scale=canvas.scale)
    sold_out = hit.product.HasField("available") and not hit.product.available
    price = "sold out" if sold_out else price_text(hit.product.price)
    price_style = Style(15.5, color=MUTED) if sold_out else Style(15.5, bold=True, color=INK)
    canvas.text(left, baseline, price, price_style, width=width - score_width - 8)
    canvas.text(left + width, baseline, score, score_style, right=True)
    canvas.fill((left, baseline + 11, width, 5), LINE, radius=2.5)
    filled = width * max(0.0, min(hit.score, 1.0))
    if filled >= 1:
        canvas.fill((left, baseline + 11, max(filled, 5), 5), color, radius=2.5)


def draw_nothing_found(canvas: Canvas, rect: Rect) -> None:
    """What stands in place of the cards of a garment without hits."""
    x, y, width, height = rect
    canvas.fill(rect, GROUND, radius=RADIUS)
    text, style = "No products found", Style(17, color=MUTED)
    half = canvas.lettering.width(text, style=style, scale=canvas.scale) / 2
    canvas.text(x + width / 2 - half, y + height / 2 + 6, text, style)


def _thumbnail(picture: bytes | None) -> Image.Image | None:
    if not picture:
        return None
    try:
        file = Image.open(BytesIO(picture))
        file.draft("RGB", (LARGEST, LARGEST))
        image = ImageOps.exif_transpose(file).convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError):
        # A product's broken picture shall not cost the others theirs.
        return None
    sheet = Image.new("RGBA", image.size, (*PAPER, 255))
    return Image.alpha_composite(sheet, image).convert("RGB")


def _draw_picture(canvas: Canvas, picture: Image.Image | None, rect: Rect) -> None:
    x, y, width, height = rect
    if picture is None:
        canvas.fill(rect, GROUND, radius=RADIUS - INSET)
        _draw_hanger(canvas, x + width / 2, y + height / 2)
        return
    ratio = width / height
    own = picture.width / picture.height
    if 1 - min(own / ratio, ratio / own) <= MOST_CUT:
        shown = cover(picture, ratio=ratio)
    else:
        shown = contain(picture, ratio=ratio, color=_border_color(picture))
    canvas.picture(shown, rect, radius=RADIUS - INSET)


def _border_color(picture: Image.Image) -> Color:
    """The middle color of the picture's edge, so that what is added beside it does not catch the eye."""
    small = picture.resize((16, 16), Image.Resampling.BOX)
    edge = Image.new("L", small.size, 255)
    edge.paste(0, (1, 1, 15, 15))
    red, green, blue = ImageStat.Stat(small, edge).median
    return red, green, blue


def _draw_hanger(canvas: Canvas, x: float, y: float) -> None:
    color = blend(MUTED, GROUND, 0.4)
    left, right, top = (x - 34, y + 22), (x + 34, y + 22), (x, y - 6)
    canvas.line([top, right, left, top], color, width=3.2)
    canvas.line([top, (x, y - 13), (x + 6, y - 17), (x + 6.5, y - 24), (x, y - 28), (x - 6, y - 24)], color, width=3.2)
