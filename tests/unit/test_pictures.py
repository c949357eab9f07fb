"""Result pictures: what they show, and what they survive."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops

import lookalike
from lookalike.formatting import garment_title, price_text, source_text
from lookalike.pictures import draw_analysis, draw_search, images_in_folder, open_photo
from lookalike.pictures.colors import garment_color, named_color
from lookalike.pictures.lettering import Lettering, Style
from lookalike.pictures.masks import draw_mask
from lookalike.v1.garment_pb2 import GARMENT_SOURCE_DETECTED, GARMENT_SOURCE_REGION, GARMENT_SOURCE_WHOLE_IMAGE

Pixel = tuple[int, ...]
STYLE = Style(15)


def garment(index: int = 0, *, mask: lookalike.Mask | None = None) -> lookalike.Garment:
    x, y = 0.1 + 0.2 * (index % 4), 0.1 + 0.2 * (index // 4)
    return lookalike.Garment(
        box=lookalike.Box(x0=x, y0=y, x1=x + 0.18, y1=y + 0.18),
        source=GARMENT_SOURCE_DETECTED,
        category="dress",
        score=0.93,
        colors=[lookalike.Color(name="red", share=0.6), lookalike.Color(name="a color nobody knows", share=0.3)],
        patterns=[lookalike.Label(name="floral", score=0.9)],
        landmarks=[lookalike.Landmark(position=lookalike.Point(x=x, y=y), visibility=0.9)],
        mask=mask,
    )


def hit(number: int, *, score: float = 0.8) -> lookalike.Hit:
    product = lookalike.build_product(
        f"catalogs/default/products/p{number}",
        title="A title that is much too long for a card, and goes on and on without end" * 3,
        brand="Maison de la très longue marque",
        price=(4990, "EUR"),
        available=bool(number % 2),
    )
    return lookalike.Hit(product=product, score=score)


def encoded(color: str | Pixel, *, size: tuple[int, int] = (80, 80)) -> bytes:
    content = BytesIO()
    Image.new("RGB", size, color).save(content, "PNG")
    return content.getvalue()


def count(image: Image.Image, color: Pixel) -> int:
    difference = ImageChops.difference(image, Image.new("RGB", image.size, color))
    red, green, blue = difference.split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue).histogram()[0]


# Photos


def test_photos_are_upright_and_opaque() -> None:
    content = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(content, "JPEG", exif=exif)
    assert open_photo(content.getvalue()).size == (20, 40)
    clear = open_photo(Image.new("RGBA", (4, 4), (255, 0, 0, 0)))
    assert clear.mode == "RGB" and clear.getpixel((0, 0)) == (255, 255, 255)
    assert max(open_photo(Image.new("L", (5000, 100))).size) == 2000
    assert open_photo(Image.new("CMYK", (5, 5))).mode == "RGB"
    with pytest.raises(OSError):
        open_photo(b"text")


# Masks


def test_run_lengths_cover_their_box() -> None:
    # The right half of the photo's lower half.
    mask = lookalike.Mask(
        run_length=lookalike.RunLengthMask(
            box=lookalike.Box(x0=0, y0=0.5, x1=1, y1=1), width=2, height=2, runs=[1, 1, 1, 1]
        )
    )
    drawn = draw_mask(mask, size=(100, 200))
    assert drawn is not None and drawn.size == (100, 200)
    assert [drawn.getpixel(place) for place in ((90, 150), (10, 150), (90, 50))] == [255, 0, 0]


def test_run_lengths_may_reach_over_the_edge() -> None:
    box = lookalike.Box(x0=-0.5, y0=-0.5, x1=0.5, y1=0.5)
    run_length = lookalike.RunLengthMask(box=box, width=4, height=4, runs=[0, 16])
    drawn = draw_mask(lookalike.Mask(run_length=run_length), size=(100, 100))
    assert drawn is not None
    assert drawn.getpixel((20, 20)) == 255 and drawn.getpixel((80, 80)) == 0


def test_rings_leave_holes() -> None:
    def ring(low: float, high: float) -> lookalike.Ring:
        corners = ((low, low), (high, low), (high, high), (low, high))
        return lookalike.Ring(points=[lookalike.Point(x=x, y=y) for x, y in corners])

    mask = lookalike.Mask(polygon=lookalike.PolygonMask(rings=[ring(0.1, 0.9), ring(0.4, 0.6), lookalike.Ring()]))
    drawn = draw_mask(mask, size=(100, 100))
    assert drawn is not None
    assert [drawn.getpixel((at, at)) for at in (5, 25, 50, 75, 95)] == [0, 255, 0, 255, 0]


@pytest.mark.parametrize(("width", "height", "runs"), [(2, 2, [1]), (0, 0, []), (2, 2, [4, 4])])
def test_masks_that_do_not_hold_are_left_out(width: int, height: int, runs: list[int]) -> None:
    run_length = lookalike.RunLengthMask(box=lookalike.Box(x1=1, y1=1), width=width, height=height, runs=runs)
    assert draw_mask(lookalike.Mask(run_length=run_length), size=(10, 10)) is None


def test_no_mask_is_none() -> None:
    assert draw_mask(lookalike.Mask(), size=(10, 10)) is None


# Garments in the photo


def test_an_analysis_draws_only_where_garments_are() -> None:
    photo = Image.new("RGB", (700, 700), (200, 200, 200))
    run_length = lookalike.RunLengthMask(
        box=lookalike.Box(x0=0.1, y0=0.5, x1=0.3, y1=0.7), width=4, height=4, runs=[0, 16]
    )
    masked = garment(8, mask=lookalike.Mask(run_length=run_length))
    drawn = draw_analysis(photo, [masked])
    assert drawn.size == (1400, 1400)
    changed = ImageChops.difference(drawn, Image.new("RGB", drawn.size, (200, 200, 200)))
    left, top, right, bottom = changed.getbbox() or (0, 0, 0, 0)
    assert 0 < left <= 0.1 * 1400 and right >= 0.28 * 1400 and bottom < 0.75 * 1400 and top > 0.3 * 1400
    # The garment is tinted in its color, still translucent.
    red, green, blue = drawn.crop((280, 840, 281, 841)).getpixel((0, 0))  # type: ignore[misc]
    assert red < green < blue < 255
    # The named color has its dot, the unknown one does not break it.
    assert count(drawn, named_color("red") or ()) > 50


def test_garments_have_sixteen_colors_of_their_own() -> None:
    assert len({garment_color(index) for index in range(16)}) == 16
    drawn = draw_analysis(Image.new("RGB", (800, 1000), "white"), [garment(index) for index in range(16)])
    assert all(count(drawn, garment_color(index)) > 200 for index in range(16))


def test_a_whole_photo_is_no_box() -> None:
    whole = lookalike.Garment(box=lookalike.Box(x1=1, y1=1), source=GARMENT_SOURCE_WHOLE_IMAGE, category="bag", score=1)
    drawn = draw_analysis(Image.new("RGB", (700, 700), "white"), [whole])
    assert drawn.crop((1350, 700, 1400, 1400)).getcolors() == [(50 * 700, (255, 255, 255))]


# Searches


def results(garments: int, *, hits: int = 5) -> list[lookalike.GarmentHits]:
    return [
        lookalike.GarmentHits(garment=garment(index), hits=[hit(number) for number in range(hits)])
        for index in range(garments)
    ]


def test_a_search_shows_five_products_per_garment() -> None:
    asked: list[str] = []

    def fetch(found: lookalike.Hit) -> bytes:
        asked.append(found.product.name)
        return encoded((255, 0, 255))

    page = draw_search(encoded("teal", size=(300, 450)), results(2, hits=7), fetch)
    assert asked == [f"catalogs/default/products/p{number}" for number in range(5)] * 2
    # The page is drawn at twice the size of its layout, where a card's picture has 166 x 178 pixels.
    assert count(page, (255, 0, 255)) == pytest.approx(10 * 166 * 178 * 4, rel=0.02)
    assert page.getpixel((0, 0)) == page.getpixel((page.width - 1, page.height - 1)) == (255, 255, 255)


def test_pictures_that_cannot_be_shown_become_placeholders() -> None:
    photo = encoded("teal")
    none = draw_search(photo, results(1), lambda _: None)
    broken = draw_search(photo, results(1), lambda _: encoded("red")[:60])
    text = draw_search(photo, results(1), lambda _: b"text")
    assert ImageChops.difference(none, broken).getbbox() is None
    assert ImageChops.difference(none, text).getbbox() is None


@pytest.mark.parametrize(
    ("size", "garments"), [((400, 600), 16), ((900, 400), 3), ((40, 400), 8), ((400, 40), 2), ((1, 1), 1)]
)
def test_any_number_of_garments_on_any_photo(size: tuple[int, int], garments: int) -> None:
    page = draw_search(Image.new("RGB", size, "teal"), results(garments, hits=2), lambda _: None)
    assert 1000 < page.width < 6000 and 800 < page.height < 6000
    # Nothing is drawn over the margins.
    edges = (page.crop((0, 0, page.width, 30)), page.crop((page.width - 30, 0, page.width, page.height)))
    assert all(edge.getcolors() == [(edge.width * edge.height, (255, 255, 255))] for edge in edges)


def test_nothing_found_is_shown_too() -> None:
    photo = Image.new("RGB", (40, 60), "teal")
    assert draw_search(photo, results(1, hits=0), lambda _: None).width > 1000
    assert draw_search(photo, [], lambda _: None).width > 1000


def test_scores_are_bars() -> None:
    def bar(score: float) -> int:
        found = [lookalike.GarmentHits(garment=garment(), hits=[hit(1, score=score)])]
        return count(draw_search(Image.new("RGB", (40, 60)), found, lambda _: None), garment_color(0))

    none, half, full = bar(-0.5), bar(0.5), bar(1.0)
    assert full - none == pytest.approx(150 * 5 * 4, rel=0.05)
    assert half - none == pytest.approx((full - none) / 2, rel=0.05)


def test_stored_images_are_found_by_their_hash(tmp_path: Path) -> None:
    image_id = "ab" + "c" * 62
    path = tmp_path / "ab" / "cc" / image_id
    path.parent.mkdir(parents=True)
    path.write_bytes(b"image")
    fetch = images_in_folder(tmp_path)
    assert fetch(lookalike.Hit(image_id=image_id)) == b"image"
    product = lookalike.Product(images=[lookalike.ProductImage(id=image_id)])
    assert fetch(lookalike.Hit(image_id="0" * 64, product=product)) == b"image"
    assert fetch(lookalike.Hit(image_id="../../etc/passwd")) is None
    assert fetch(lookalike.Hit()) is None


# Words


def test_long_texts_end_in_an_ellipsis() -> None:
    lettering = Lettering()
    assert lettering.fit("short", style=STYLE, scale=2, width=100) == "short"
    cut = lettering.fit("a title that is too long", style=STYLE, scale=2, width=80)
    assert cut.endswith("…") and len(cut) > 5
    assert lettering.width(cut, style=STYLE, scale=2) <= 80
    lines = lettering.wrap("a title that is much too long for two lines", style=STYLE, scale=2, width=90, lines=2)
    assert len(lines) == 2 and lines[1].endswith("…")
    assert all(lettering.width(line, style=STYLE, scale=2) <= 90 for line in lines)
    assert lettering.wrap("two words", style=STYLE, scale=2, width=90, lines=2) == ["two words"]
    assert lettering.wrap("", style=STYLE, scale=2, width=90, lines=2) == []


def test_a_font_of_ones_own_is_used(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        draw_analysis(Image.new("RGB", (40, 60)), [garment()], font=str(tmp_path / "missing.ttf"))


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1999, "EUR", "€19.99"),
        (123456, "USD", "$1,234.56"),
        (1999, "JPY", "¥1,999"),
        (5, "SEK", "0.05 SEK"),
        (1500, "KWD", "1.500 KWD"),
        (0, "", ""),
    ],
)
def test_prices_are_in_their_currency(amount: int, currency: str, text: str) -> None:
    assert price_text(lookalike.Money(amount_minor=amount, currency_code=currency)) == text


def test_garments_have_titles() -> None:
    fine = lookalike.Garment(category="top", categories=[lookalike.Label(name="top/t-shirt", score=0.7)])
    other = lookalike.Garment(category="scarf_tie", categories=[lookalike.Label(name="top/t-shirt", score=0.4)])
    assert (garment_title(fine), garment_title(other), garment_title(lookalike.Garment())) == (
        "t-shirt",
        "scarf tie",
        "garment",
    )
    assert source_text(lookalike.Garment(source=GARMENT_SOURCE_REGION, region_id="left")) == "region left"
