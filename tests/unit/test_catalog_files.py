"""Catalogs as products: folders, CSV, JSON lines and Parquet, on this machine."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from lookalike.catalogs import CatalogUnreadable, Fetcher, Loaded, load, open_catalog
from lookalike.catalogs.extra import ExtraMissing, needs_extra
from lookalike.v1.garment_pb2 import Box
from lookalike.v1.product_pb2 import GarmentHint, Money, Product


def loaded(place: Path | str, *, category: str = "") -> list[Loaded]:
    async def collect() -> list[Loaded]:
        async with Fetcher() as fetcher, open_catalog(place, fetcher=fetcher, category=category) as catalog:
            rows = [row async for row in load(catalog, fetcher=fetcher)]
        assert catalog.total == len(rows)
        return rows

    return asyncio.run(collect())


def products(place: Path | str, *, category: str = "") -> list[Product]:
    rows = loaded(place, category=category)
    assert [row.problems for row in rows if row.problems] == []
    return [row.product for row in rows if row.product is not None]


def open_only(place: Path | str) -> None:
    async def look() -> None:
        async with Fetcher() as fetcher, open_catalog(place, fetcher=fetcher):
            pass

    asyncio.run(look())


def write(path: Path, text: str | bytes = b"image") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def write_lines(path: Path, *records: object) -> Path:
    return write(path, "".join(json.dumps(record) + "\n" for record in records))


def write_parquet(path: Path, **columns: object) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


# Folders


def test_a_folder_gives_one_product_per_image(tmp_path: Path) -> None:
    for name in ("T-Shirts/red_linen-01.JPG", "2024/Dresses/été.webp", "plain.png", "notes.txt", ".hidden/x.jpg"):
        write(tmp_path / name)
    found = products(tmp_path)
    assert [(product.name, product.title, product.category) for product in found] == [
        ("2024-Dresses--t-", "été", "dress"),
        ("T-Shirts-red_linen-01", "red linen 01", "top"),
        ("plain", "plain", ""),
    ]
    assert found[0].images[0].content == b"image"


def test_a_category_for_all_wins_over_folders(tmp_path: Path) -> None:
    write(tmp_path / "bags/a.jpg")
    assert [product.category for product in products(tmp_path, category="hat")] == ["hat"]


def test_ids_of_a_folder_are_unique_and_stay_the_same(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a b.jpg", "a-b.jpg", "c.jpg", f"{'x' * 150}.jpg", f"{'x' * 151}.jpg"):
        write(tmp_path / name)
    ids = [product.name for product in products(tmp_path)]
    assert len(set(ids)) == 7
    assert "c" in ids
    assert all(len(product_id) <= 128 for product_id in ids)
    write(tmp_path / "b.jpg")
    assert set(ids) < {product.name for product in products(tmp_path)}


def test_a_folder_with_a_product_file_is_read_from_it(tmp_path: Path) -> None:
    write(tmp_path / "images/a.jpg")
    write_parquet(tmp_path / "products.parquet", id=["sku-1"], image=["images/a.jpg"])
    assert [product.name for product in products(tmp_path)] == ["sku-1"]
    write_lines(tmp_path / "products.jsonl", {"id": "sku-2", "images": ["images/a.jpg"]})
    assert [product.name for product in products(tmp_path)] == ["sku-2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing", None, "does not exist"),
        ("notes.txt", b"", r"give a folder of images, or a \.csv, \.jsonl or \.parquet file"),
        ("empty.csv", b"id,title\n", "has no products"),
        ("latin.csv", "id,title\n1,été\n".encode("latin-1"), "is not UTF-8 text"),
        ("typo.csv", b"id,colour\n1,red\n", r"has a column 'colour'; the columns are id, title"),
        ("twice.csv", b"id,title,title\n1,a,b\n", "has the column 'title' twice"),
        ("bare.csv", b"title,image\n1,red\n", "has no column 'id'; the first line must name the columns"),
        ("long.csv", b"id,title\n1," + b"x" * 140_000 + b"\n", r"cannot be read \(field larger than field limit"),
        ("text.parquet", b"id,title\n1,red\n", r"text\.parquet is not Parquet"),
        ("empty.parquet", b"", r"empty\.parquet is not Parquet"),
    ],
)
def test_what_is_no_catalog_is_said(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(CatalogUnreadable, match=message):
        open_only(tmp_path / name)


def test_a_folder_without_images_is_said(tmp_path: Path) -> None:
    with pytest.raises(CatalogUnreadable, match="holds no JPEG, PNG or WebP images"):
        open_only(tmp_path)


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
            "failure": "of an earlier import",
        },
        {"id": 7, "price": {"amount_minor": "1999", "currency_code": "USD"}, "image": "images/b.jpg"},
    )
    first, second = products(path)
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
        "\ufeffid;title;price;currency;available;images;attributes.size;attributes.fit;failure\r\n"
        'sku-1;"Linen;\nlong";4900;EUR;yes;a.jpg | b.jpg;38.5;slim;was missing\r\n'
        "\r\n"
        "sku-2;;;;;b.jpg;;\r\n",
    )
    rows = loaded(path, category="dress")
    assert [row.row.number for row in rows] == [2, 5]
    first, second = products(path, category="dress")
    assert first.title == "Linen;\nlong"
    assert first.category == "dress"
    assert first.price == Money(amount_minor=4900, currency_code="EUR")
    assert first.available
    assert [image.content for image in first.images] == [b"a", b"b"]
    assert first.attributes["size"].number_value == 38.5
    assert first.attributes["fit"].string_value == "slim"
    assert not second.HasField("price") and not second.attributes


def test_parquet_has_them_too_with_lists_and_structs(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", b"a")
    image = pyarrow.struct(
        [("path", pyarrow.string()), ("bytes", pyarrow.binary()), ("box", pyarrow.list_(pyarrow.float32()))]
    )
    path = write_parquet(
        tmp_path / "products.parquet",
        id=pyarrow.array([1, 2], pyarrow.int64()),
        title=["Linen dress", None],
        price=pyarrow.array([4900, None], pyarrow.int32()),
        currency=pyarrow.array(["EUR", None]).dictionary_encode(),
        available=[True, None],
        images=pyarrow.array(
            [
                [
                    {"path": "a.jpg", "bytes": None, "box": [0, 0.25, 0.5, 1]},
                    {"path": None, "bytes": b"b", "box": None},
                ],
                [{"path": "a.jpg", "bytes": b"", "box": None}],
            ],
            pyarrow.list_(image),
        ),
        attributes=pyarrow.array([[("fit", "slim")], None], pyarrow.map_(pyarrow.string(), pyarrow.string())),
        **{"attributes.size": [38.5, None], "failure": ["was missing", None]},
    )
    first, second = products(path)
    assert (first.name, first.title, first.available) == ("1", "Linen dress", True)
    assert first.price == Money(amount_minor=4900, currency_code="EUR")
    assert first.attributes["fit"].string_value == "slim" and first.attributes["size"].number_value == 38.5
    assert [image.content for image in first.images] == [b"a", b"b"]
    assert first.images[0].hint == GarmentHint(box=Box(x0=0, y0=0.25, x1=0.5, y1=1))
    assert (second.name, second.images[0].content, len(second.attributes)) == ("2", b"a", 0)


def test_parquet_prices_must_be_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    for number, prices in enumerate(([49.0], [Decimal("49.90")], [float("nan")])):
        path = write_parquet(tmp_path / f"{number}.parquet", id=["x"], price=prices, currency=["EUR"], image=["a.jpg"])
        (row,) = loaded(path)
        assert row.product is None and ("minor units" in row.problems[0] or "whole number" in row.problems[0])


# What does not hold


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"id": "x", "images": ["a.jpg"], "price": NaN, "currency": "EUR"}', "NaN is no number"),
        ('{"id": "x", "images": ["a.jpg"], "price": 19.99, "currency": "EUR"}', "write it in minor units"),
        ('{"id": "x", "images": ["a.jpg"], "price": "19,99", "currency": "EUR"}', "write it in minor units"),
        ('{"id": "x", "images": ["a.jpg"], "price": -1, "currency": "EUR"}', "a whole number of 0 or more"),
        ('{"id": "x", "images": ["a.jpg"], "price": 99999999999999999999, "currency": "EUR"}', "must be at most"),
        ('{"id": "x", "images": ["a.jpg"], "price": 1}', "currency is None; write a code such as EUR"),
        ('{"id": "x", "images": ["a.jpg"], "price": 1, "currency": "euro"}', "'euro'; write a code such as EUR"),
        ('{"id": "x", "images": ["a.jpg"], "price": 1, "currency": "XXQ"}', "no currency of ISO 4217"),
        ('{"id": "x", "images": ["a.jpg"], "available": "maybe"}', "write true or false"),
        ('{"id": "x", "images": ["a.jpg"], "colour": "red"}', "unknown field 'colour'"),
        ('{"id": "x", "images": ["a.jpg"], "title": 5}', "title is 5; it must be text"),
        (json.dumps({"id": "x", "images": ["a.jpg"], "title": "x" * 65536}), "65,536 characters; 1,000 at most"),
        ('{"id": "x", "images": ["a.jpg"], "title": "a\\u0000b"}', "title has a zero character"),
        ('{"id": "x", "images": ["a.jpg"], "revision": 4611686018427387904}', "must be at most 4611686018427387903"),
        ('{"id": "x", "images": ["a.jpg"], "attributes": {"a": [1]}}', r"attributes.a is [1]"),
        ('{"id": "x", "images": ["a.jpg"], "attributes": {"a": 1e999}}', r"attributes.a is inf"),
        ('{"id": "x", "images": ["a.jpg"], "attributes": {"a b": 1}}', "attributes has the key 'a b'"),
        ('{"id": "a/b", "images": ["a.jpg"]}', "the id is 'a/b'"),
        ('{"images": ["a.jpg"]}', "the id is ''"),
        ('{"id": "x"}', "has no image"),
        ('{"id": "x", "images": []}', "has no image"),
        (json.dumps({"id": "x", "images": ["a.jpg"] * 17}), "has 17 images; 16 at most"),
        ('{"id": "x", "images": [5]}', "an image is 5; write a path or an address"),
        ('{"id": "x", "images": ["missing.jpg"]}', "the image missing.jpg cannot be read (No such file"),
        ('{"id": "x", "images": ["nul\\u0000.jpg"]}', "cannot be read"),
        ('{"id": "x", "images": ["empty.jpg"]}', "the image empty.jpg is empty"),
        ('{"id": "x", "images": ["large.jpg"]}', "an image may have 20 MiB"),
        ('{"id": "x", "images": ["big.jpg", "big.jpg"]}', "its images have more than 32 MiB together"),
        ('{"id": "x", "images": ["file:///etc/passwd"]}', "addresses of file:// are not read"),
        ('{"id": "x", "images": ["zip://a.jpg::http://x/a.zip"]}', "addresses of zip:// are not read"),
        ('{"id": "x", "images": [{"path": "a.jpg", "box": [0, 1]}]}', "write [x0, y0, x1, y1]"),
        ('{"id": "x", "images": [{"path": "a.jpg", "box": [0.5, 0, 0.5, 1]}]}', "write [x0, y0, x1, y1]"),
    ],
)
def test_a_row_that_does_not_hold_stops_no_other(tmp_path: Path, line: str, problem: str) -> None:
    write(tmp_path / "a.jpg")
    write(tmp_path / "empty.jpg", b"")
    for name, size in (("large.jpg", 20 * 2**20 + 1), ("big.jpg", 17 * 2**20)):
        with write(tmp_path / name).open("wb") as file:
            file.truncate(size)
    path = write(tmp_path / "products.jsonl", f'{line}\n{{"id": "good", "image": "a.jpg"}}\n')
    broken, good = loaded(path)
    assert broken.row.number == 1 and broken.product is None
    assert problem in broken.problems[0]
    assert good.row.number == 2 and good.product is not None


def test_all_that_is_wrong_with_a_row_is_said(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"id": "a b", "price": 1.5, "available": 3, "title": [], "image": "x"})
    (row,) = loaded(path)
    assert len(row.problems) == 4


def test_csv_rows_that_do_not_hold_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    path = write(
        tmp_path / "a.csv", "id,price,currency,available,image\nx,19.99,EUR,,a.jpg\ny,,,perhaps,a.jpg\nz,,,,a.jpg,1\n"
    )
    assert [(row.row.number, row.problems[0][:40]) for row in loaded(path)] == [
        (2, "the price is 19.99; write it in minor un"),
        (3, "available is 'perhaps'; write true or fa"),
        (4, "has 6 cells, but there are 5 columns"),
    ]


def test_the_same_id_twice_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    same = {"id": "x", "image": "a.jpg"}
    first, second = loaded(write_lines(tmp_path / "a.jsonl", same, same))
    assert first.product is not None
    assert second.problems == ("the id is that of row 1",)


def test_a_missing_package_names_the_extra() -> None:
    said = r"reading Parquet needs more packages: pip install 'lookalike\[import\]'"
    with pytest.raises(ExtraMissing, match=said), needs_extra("reading Parquet"):
        raise ImportError("No module named 'pyarrow'")
