"""Catalogs on disk as products."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lookalike.catalog_files import CatalogUnreadable, Row, open_catalog
from lookalike.v1.garment_pb2 import Box
from lookalike.v1.product_pb2 import GarmentHint, Money


def rows_of(path: Path, *, category: str = "") -> list[Row]:
    catalog = open_catalog(path, category=category)
    rows = list(catalog.rows())
    assert catalog.total == len(rows)
    return rows


def write(path: Path, text: str | bytes = b"image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def write_lines(path: Path, *records: object) -> Path:
    return write(path, "".join(json.dumps(record) + "\n" for record in records))


# Folders


def test_a_folder_gives_one_product_per_image(tmp_path: Path) -> None:
    for name in ("T-Shirts/red_linen-01.JPG", "2024/Dresses/été.webp", "plain.png", "notes.txt", ".hidden/x.jpg"):
        write(tmp_path / name)
    products = [row.product for row in rows_of(tmp_path)]
    assert [(p.name, p.title, p.category) for p in products if p] == [
        ("2024-Dresses--t-", "été", "dress"),
        ("T-Shirts-red_linen-01", "red linen 01", "top"),
        ("plain", "plain", ""),
    ]
    assert products[0] is not None and products[0].images[0].content == b"image"


def test_a_category_for_all_wins_over_folders(tmp_path: Path) -> None:
    write(tmp_path / "bags/a.jpg")
    assert [row.product.category for row in rows_of(tmp_path, category="hat") if row.product] == ["hat"]


def test_ids_of_a_folder_are_unique_and_stay_the_same(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a b.jpg", "a-b.jpg", "c.jpg", f"{'x' * 150}.jpg", f"{'x' * 151}.jpg"):
        write(tmp_path / name)
    ids = [row.product.name for row in rows_of(tmp_path) if row.product]
    assert len(set(ids)) == 7
    assert "c" in ids
    assert all(len(product_id) <= 128 for product_id in ids)
    write(tmp_path / "b.jpg")
    assert set(ids) < {row.product.name for row in rows_of(tmp_path) if row.product}


def test_a_folder_with_a_product_file_is_read_from_it(tmp_path: Path) -> None:
    write(tmp_path / "images/a.jpg")
    write_lines(tmp_path / "products.jsonl", {"id": "sku-1", "images": ["images/a.jpg"]})
    assert [row.label for row in rows_of(tmp_path)] == ["sku-1"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing", None, "does not exist"),
        ("notes.txt", b"", r"give a folder of images, or a \.csv or \.jsonl file"),
        ("empty.csv", b"id,title\n", "has no products"),
        ("latin.csv", "id,title\n1,été\n".encode("latin-1"), "is not UTF-8 text"),
        ("typo.csv", b"id,colour\n1,red\n", r"has a column 'colour'; the columns are id, title"),
    ],
)
def test_what_is_no_catalog_is_said(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(CatalogUnreadable, match=message):
        open_catalog(tmp_path / name)


def test_a_folder_without_images_is_said(tmp_path: Path) -> None:
    with pytest.raises(CatalogUnreadable, match="holds no JPEG, PNG or WebP images"):
        open_catalog(tmp_path)


# Files


def test_json_lines_carry_every_field(tmp_path: Path) -> None:
    write(tmp_path / "images/a.jpg", b"a")
    write(tmp_path / "images/b.jpg", b"b")
    path = write_lines(
        tmp_path / "products.jsonl",
        {
            "id": "sku-1",
            "title": "Linen dress",
            "brand": "Mira",
            "category": "dress",
            "price": {"minor_units": 4900, "currency": "EUR"},
            "available": False,
            "uri": "https://shop.example/1",
            "attributes": {"size": 38, "organic": True, "fit": "slim"},
            "images": [
                {"path": "images/a.jpg", "box": [0.1, 0.2, 0.5, 1]},
                {"path": "images/b.jpg", "category": "dress"},
                "images/a.jpg",
            ],
            "revision": 12,
        },
        {"id": 7, "price": {"amount_minor": "1999", "currency_code": "USD"}, "image": "images/b.jpg"},
    )
    first, second = (row.product for row in rows_of(path))
    assert first is not None and second is not None
    assert (first.title, first.brand, first.category, first.revision) == ("Linen dress", "Mira", "dress", 12)
    assert first.price == Money(amount_minor=4900, currency_code="EUR")
    assert first.HasField("available") and not first.available
    assert first.attributes["size"].number_value == 38
    assert first.attributes["organic"].bool_value is True
    assert [image.content for image in first.images] == [b"a", b"b", b"a"]
    assert first.images[0].hint == GarmentHint(box=Box(x0=0.1, y0=0.2, x1=0.5, y1=1))
    assert first.images[1].hint == GarmentHint(category="dress")
    assert (second.name, second.price.amount_minor, second.HasField("available")) == ("7", 1999, False)


def test_csv_has_the_same_fields(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", b"a")
    write(tmp_path / "b.jpg", b"b")
    path = write(
        tmp_path / "shop.csv",
        "\ufeffid;title;price;currency;available;images;attributes.size;attributes.fit\r\n"
        'sku-1;"Linen;\nlong";4900;EUR;yes;a.jpg | b.jpg;38.5;slim\r\n'
        "\r\n"
        "sku-2;;;;;b.jpg;;\r\n",
    )
    first, second = rows_of(path, category="dress")
    assert (first.number, second.number) == (2, 5)
    assert first.product is not None and second.product is not None
    assert first.product.title == "Linen;\nlong"
    assert first.product.category == "dress"
    assert first.product.price == Money(amount_minor=4900, currency_code="EUR")
    assert first.product.available
    assert [image.content for image in first.product.images] == [b"a", b"b"]
    assert first.product.attributes["size"].number_value == 38.5
    assert first.product.attributes["fit"].string_value == "slim"
    assert not second.product.HasField("price") and not second.product.attributes


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"id": "x", "images": ["a.jpg"], "price": NaN, "currency": "EUR"}', "NaN is no number"),
        ('{"id": "x", "images": ["a.jpg"], "price": 19.99, "currency": "EUR"}', "write it in minor units"),
        ('{"id": "x", "images": ["a.jpg"], "price": -1, "currency": "EUR"}', "a whole number of 0 or more"),
        ('{"id": "x", "images": ["a.jpg"], "price": 99999999999999999999, "currency": "EUR"}', "out of range"),
        ('{"id": "x", "images": ["a.jpg"], "price": 1}', "currency is None; write a code such as EUR"),
        ('{"id": "x", "images": ["a.jpg"], "price": 1, "currency": "euro"}', "'euro'; write a code such as EUR"),
        ('{"id": "x", "images": ["a.jpg"], "available": "maybe"}', "write true or false"),
        ('{"id": "x", "images": ["a.jpg"], "colour": "red"}', "unknown field 'colour'"),
        ('{"id": "x", "images": ["a.jpg"], "title": 5}', "title is 5; it must be text"),
        ('{"id": "x", "images": ["a.jpg"], "attributes": {"a": [1]}}', r"attributes.a is [1]"),
        ('{"id": "x", "images": ["a.jpg"], "attributes": {"a": 1e999}}', r"attributes.a is inf"),
        ('{"id": "a/b", "images": ["a.jpg"]}', "the id is 'a/b'"),
        ('{"images": ["a.jpg"]}', "the id is ''"),
        ('{"id": "x"}', "has no image"),
        ('{"id": "x", "images": []}', "has no image"),
        ('{"id": "x", "images": ["missing.jpg"]}', "the image missing.jpg cannot be read (No such file"),
        ('{"id": "x", "images": ["nul\\u0000.jpg"]}', "cannot be read"),
        ('{"id": "x", "images": ["empty.jpg"]}', "the image empty.jpg is empty"),
        ('{"id": "x", "images": ["large.jpg"]}', "an image may have 20 MiB"),
        ('{"id": "x", "images": ["https://shop.example/a.jpg"]}', "is an address"),
        ('{"id": "x", "images": [{"path": "a.jpg", "box": [0, 1]}]}', "write [x0, y0, x1, y1]"),
    ],
)
def test_a_row_that_does_not_hold_stops_no_other(tmp_path: Path, line: str, problem: str) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "empty.jpg", b"")
    with write(tmp_path / "large.jpg").open("wb") as file:
        file.truncate(20 * 2**20 + 1)
    path = write(tmp_path / "products.jsonl", f'{line}\n{{"id": "good", "image": "a.jpg"}}\n')
    broken, good = rows_of(path)
    assert broken.number == 1 and broken.product is None
    assert problem in broken.problem
    assert good.number == 2 and good.product is not None


def test_csv_rows_that_do_not_hold_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    path = write(
        tmp_path / "a.csv", "id,price,currency,available,image\nx,19.99,EUR,,a.jpg\ny,,,perhaps,a.jpg\nz,,,,a.jpg,1\n"
    )
    assert [(row.number, row.problem[:40]) for row in rows_of(path)] == [
        (2, "the price is 19.99; write it in minor un"),
        (3, "available is 'perhaps'; write true or fa"),
        (4, "has 6 cells, but there are 5 columns"),
    ]


def test_the_same_id_twice_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    same = {"id": "x", "image": "a.jpg"}
    first, second = rows_of(write_lines(tmp_path / "a.jsonl", same, same))
    assert first.product is not None
    assert second.problem == "the id is that of row 1, which was imported"
