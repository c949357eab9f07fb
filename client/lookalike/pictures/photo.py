"""A photo with its garments drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageFilter, ImageOps

from lookalike.formatting import garment_title, source_text
from lookalike.pictures.canvas import Canvas, Rect
from lookalike.pictures.colors import INK, MUTED, PAPER, Color, garment_color, named_color
from lookalike.pictures.lettering import Lettering, Style
from lookalike.pictures.masks import draw_mask
from lookalike.v1.garment_pb2 import GARMENT_SOURCE_WHOLE_IMAGE, Box, Garment
from lookalike.values import ImageLike, load_image

__all__ = ["draw_analysis", "enlarged", "open_photo", "paint_garments"]

# Device pixels of the longest side: enough for sharp letters, small enough for a screen.
SMALLEST, LARGEST = 1400, 2000
# The longest side in logical pixels, which sets how large letters are beside the photo.
LOGICAL = 800
# A landmark that is hidden more likely than not is left out.
VISIBLE = 0.5
# Colors below this share are not worth a dot.
LEAST_SHARE = 0.1


def open_photo(photo: ImageLike | Image.Image) -> Image.Image:
    """The photo upright and RGB, with white behind what is transparent, and at most 2000 pixels long.

    Raises OSError when it cannot be read.
    """
    image = photo if isinstance(photo, Image.Image) else Image.open(BytesIO(load_image(photo)))
    image.draft("RGB", (LARGEST, LARGEST))
    image = ImageOps.exif_transpose(image)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        sheet = Image.new("RGBA", layered.size, (*PAPER, 255))
        return Image.alpha_composite(sheet, layered).convert("RGB")
    return image.convert("RGB")


def enlarged(image: Image.Image) -> Image.Image:
    """A new image with room for fine lines: at least 1400 pixels long."""
    factor = max(SMALLEST / max(image.size), 1.0)
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    return image.resize(size, Image.Resampling.LANCZOS)


def draw_analysis(
    photo: ImageLike | Image.Image, garments: Sequence[Garment], *, font: str | None = None
) -> Image.Image:
    """The photo with every garment's mask, box, landmarks, name, score and colors.

    `garments` come from AnalyzeImage, with masks where `mask_format` asked for them. `font` is the file of a font
    for names that ours does not know. Raises OSError when photo or font cannot be read.
    """
    image = enlarged(open_photo(photo))
    canvas = Canvas(image, scale=max(image.size) / LOGICAL, lettering=Lettering(font or ""))
    paint_garments(canvas, garments, details=True)
    return canvas.image


def paint_garments(canvas: Canvas, garments: Sequence[Garment], *, details: bool) -> None:
    """Draw the garments over the photo that the canvas is; `details` adds scores and colors to the names."""
    # The surest one is drawn last, so that it lies on top.
    for index, garment in reversed(list(enumerate(garments))):
        _paint_shape(canvas, garment, color=garment_color(index))
    for index, garment in reversed(list(enumerate(garments))):
        _paint_landmarks(canvas, garment, color=garment_color(index), size=1.0 if details else 0.8)
    taken: list[Rect] = []
    for index, garment in enumerate(garments):
        taken.append(_paint_chip(canvas, garment, index=index, taken=taken, details=details))


def _on_canvas(canvas: Canvas, box: Box) -> Rect:
    x0, y0 = max(box.x0, 0.0) * canvas.width, max(box.y0, 0.0) * canvas.height
    return x0, y0, max(min(box.x1, 1.0) * canvas.width - x0, 1.0), max(min(box.y1, 1.0) * canvas.height - y0, 1.0)


def _paint_shape(canvas: Canvas, garment: Garment, *, color: Color) -> None:
    mask = draw_mask(garment.mask, size=canvas.image.size)
    bounds = mask.getbbox() if mask is not None else None
    if mask is not None and bounds is not None:
        blur = 1.1 * canvas.scale
        margin = round(4 * blur)
        left, top = max(bounds[0] - margin, 0), max(bounds[1] - margin, 0)
        part = mask.crop((left, top, bounds[2] + margin, bounds[3] + margin))
        canvas.tint(part, (left, top), color, opacity=0.2)
        canvas.tint(_edge(part, blur=2 * blur), (left, top), PAPER, opacity=0.55)
        canvas.tint(_edge(part, blur=blur), (left, top), color, opacity=1.0)
    if garment.source == GARMENT_SOURCE_WHOLE_IMAGE:
        return
    rect = _on_canvas(canvas, garment.box)
    if bounds is None:
        canvas.outline(rect, PAPER, radius=6, line=3, opacity=0.5)
    # Beside a mask the box is the lesser line.
    line, opacity = (2.2, 1.0) if bounds is None else (1.3, 0.75)
    canvas.outline(rect, color, radius=6, line=line, opacity=opacity)


def _edge(mask: Image.Image, *, blur: float) -> Image.Image:
    """A smooth line along the mask's edge, about two `blur` wide."""
    soft = mask.filter(ImageFilter.GaussianBlur(blur))
    # A blurred edge passes through the middle third of the values within one `blur` to either side.
    return soft.point([max(0, min(255, round(255 * (1.9 - abs(value - 127.5) / 48)))) for value in range(256)])


def _paint_landmarks(canvas: Canvas, garment: Garment, *, color: Color, size: float) -> None:
    for landmark in garment.landmarks:
        if landmark.visibility < VISIBLE:
            continue
        x, y = landmark.position.x * canvas.width, landmark.position.y * canvas.height
        canvas.dot(x, y, INK, radius=5.8 * size, opacity=0.16)
        canvas.dot(x, y, PAPER, radius=4.7 * size)
        canvas.dot(x, y, color, radius=3.2 * size)


def _paint_chip(canvas: Canvas, garment: Garment, *, index: int, taken: Sequence[Rect], details: bool) -> Rect:
    size = 15.0 if details else 14.0
    name, number = Style(size, bold=True), Style(size - 2, bold=True, color=PAPER)
    score = Style(size, color=MUTED)
    title, said = garment_title(garment), source_text(garment) if details else ""
    dots = [color for color in map(_dot_color, garment.colors[:3]) if color is not None] if details else []
    height = size * 1.75
    badge = height / 2 - 3
    measure = canvas.lettering
    width = height + 3 + measure.width(title, style=name, scale=canvas.scale) + height * 0.42
    if said:
        width += 7 + measure.width(said, style=score, scale=canvas.scale)
    if dots:
        width += 8 + (len(dots) - 1) * 11 + 11
    rect = _free_place(canvas, _on_canvas(canvas, garment.box), width=width, height=height, taken=taken)
    x, y, _, _ = rect
    canvas.shadow(rect, radius=height / 2, blur=3, opacity=0.28, drop=1.5)
    canvas.fill(rect, PAPER, radius=height / 2)
    canvas.dot(x + height / 2, y + height / 2, garment_color(index), radius=badge)
    figure = str(index + 1)
    half = measure.width(figure, style=number, scale=canvas.scale) / 2
    canvas.text(x + height / 2 - half, y + height / 2 + number.size * 0.34, figure, number)
    baseline = y + height / 2 + size * 0.33
    cursor = x + height + 3
    cursor += canvas.text(cursor, baseline, title, name)
    if said:
        cursor += 7 + canvas.text(cursor + 7, baseline, said, score)
    for place, color in enumerate(dots):
        center = cursor + 8 + 5.5 + place * 11
        canvas.dot(center, y + height / 2, PAPER, radius=6.5)
        canvas.dot(center, y + height / 2, MUTED, radius=5.6, opacity=0.45)
        canvas.dot(center, y + height / 2, color, radius=5)
    return rect


def _dot_color(color: object) -> Color | None:
    share, name = getattr(color, "share", 0.0), getattr(color, "name", "")
    return named_color(name) if share >= LEAST_SHARE else None


def _free_place(canvas: Canvas, box: Rect, *, width: float, height: float, taken: Sequence[Rect]) -> Rect:
    """Near the box, inside the photo, and over no other chip if that is possible."""
    x, y, box_width, box_height = box
    gap = 5.0
    lowest, rightmost = canvas.height - height - gap, canvas.width - width - gap
    wanted = [
        (x, y - height - gap),
        (x + gap, y + gap),
        (x + box_width - width, y - height - gap),
        (x + box_width - width - gap, y + gap),
        (x, y + box_height + gap),
        (x + gap, y + box_height - height - gap),
    ]
    wanted += [(x + gap, y + gap + step * (height + 3)) for step in range(1, 24)]
    places = [(max(min(left, rightmost), gap), max(min(top, lowest), gap)) for left, top in wanted]
    free = [place for place in places if not any(_overlap((*place, width, height), other) for other in taken)]
    return (*(free or places)[0], width, height)


def _overlap(one: Rect, other: Rect) -> bool:
    x, y, width, height = one
    left, top, wide, high = other
    return x < left + wide + 2 and left < x + width + 2 and y < top + high + 2 and top < y + height + 2
