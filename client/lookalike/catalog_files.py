"""Catalogs on disk: a folder of images, or a CSV or JSON-lines file of products with image paths.

A folder with a `products.jsonl` or `products.csv` is read from that file. Any other folder gives one product per
image (JPEG, PNG, WebP; subfolders too, hidden ones not):

- id: the path without its ending, with every character that ids may not have replaced by `-`
  ("dresses/red linen.jpg" is "dresses-red-linen"); where that is not unique, a few digits of the path's hash follow;
- title: the file's name, `-` and `_` read as spaces;
- category: the innermost subfolder whose name says one ("dresses", "T-Shirts"); otherwise the model decides.

CSV (comma, semicolon or tab; the first line names the columns) and JSON lines have the same fields, catalog_rows.py
lists them; both are UTF-8, and image paths are relative to the file.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from lookalike.catalog_rows import FIELDS, RowInvalid, product_from_record, record_from_cells
from lookalike.v1.product_pb2 import Product

__all__ = ["CatalogFile", "CatalogUnreadable", "Row", "open_catalog"]

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
LONGEST_ID = 128
CATEGORY_WORDS = {
    "top": "top tops shirt shirts blouse blouses t-shirt t-shirts tshirt tshirts tee tees sweater sweaters pullover "
    "pullovers hoodie hoodies polo polos knitwear",
    "outer": "outer outerwear coat coats jacket jackets blazer blazers vest vests cardigan cardigans",
    "dress": "dress dresses gown gowns",
    "pants": "pants trousers jeans chinos leggings",
    "shorts": "shorts",
    "skirt": "skirt skirts",
    "shoes": "shoes shoe boots sneakers sandals heels footwear",
    "bag": "bag bags handbag handbags backpack backpacks purse purses",
    "hat": "hat hats cap caps beanie beanies",
    "belt": "belt belts",
    "scarf_tie": "scarf scarves tie ties",
    "eyewear": "eyewear glasses sunglasses",
    "legwear": "legwear socks tights stockings",
    "accessory": "accessory accessories jewelry jewellery watch watches gloves",
}
CATEGORY_OF = {word: category for category, words in CATEGORY_WORDS.items() for word in words.split()}


class CatalogUnreadable(ValueError):
    """The file or folder cannot be read as a catalog; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """A product, or the reason why there is none.

    `number` is the line of the file, or the place among a folder's images counted from 1; `label` says which
    product or image it is about.
    """

    number: int
    label: str
    product: Product | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """A catalog with its number of rows; `rows()` reads images as it goes, one row at a time."""

    total: int
    rows: Callable[[], Iterator[Row]]


def open_catalog(path: str | os.PathLike[str], *, category: str = "") -> CatalogFile:
    """Look at what is there and count it; `category` is for products that name none. Raises CatalogUnreadable."""
    place = Path(path)
    if place.is_dir():
        for name in ("products.jsonl", "products.csv"):
            if (place / name).is_file():
                return open_catalog(place / name, category=category)
        return _open_folder(place, category=category)
    if not place.exists():
        raise CatalogUnreadable(f"{place} does not exist")
    try:
        if place.suffix.lower() in (".jsonl", ".ndjson"):
            return _open_file(place, _json_records, category=category)
        if place.suffix.lower() in (".csv", ".tsv"):
            return _open_file(place, _csv_records, category=category)
    except UnicodeDecodeError as error:
        raise CatalogUnreadable(f"{place} is not UTF-8 text; save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise CatalogUnreadable(f"{place} cannot be read ({error})") from error
    raise CatalogUnreadable(f"{place} is no catalog; give a folder of images, or a .csv or .jsonl file")


Parse = Callable[[], dict[str, object]]


def _open_file(path: Path, records: Callable[[Path], Iterator[tuple[int, Parse]]], *, category: str) -> CatalogFile:
    total = sum(1 for _ in records(path))
    if not total:
        raise CatalogUnreadable(f"{path} has no products")

    def rows() -> Iterator[Row]:
        seen: dict[str, int] = {}
        for number, parse in records(path):
            label = ""
            try:
                record = parse()
                label = str(record.get("id", ""))
                product = product_from_record(record, folder=path.parent, category=category)
                if product.name in seen:
                    raise RowInvalid(f"the id is that of row {seen[product.name]}, which was imported")
                seen[product.name] = number
                yield Row(number, label, product)
            except RowInvalid as error:
                yield Row(number, label, problem=str(error))

    return CatalogFile(total, rows)


def _json_records(path: Path) -> Iterator[tuple[int, Parse]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, partial(_parse_json, line)


def _parse_json(line: str) -> dict[str, object]:
    try:
        record = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RowInvalid(f"is not JSON ({error})") from error
    if not isinstance(record, dict):
        raise RowInvalid("is not a JSON object")
    return record


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _csv_records(path: Path) -> Iterator[tuple[int, Parse]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        delimiter = max(",;\t", key=header.count)
        columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter), [])]
        for column in columns:
            if column not in FIELDS and not re.fullmatch(r"attributes\.\w+", column):
                raise CatalogUnreadable(
                    f"{path} has a column {column!r}; the columns are {', '.join(FIELDS)} and attributes.KEY"
                )
        reader = csv.reader(file, delimiter=delimiter)
        number = 2
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield number, partial(_parse_cells, cells, columns=columns)
            number = reader.line_num + 2


def _parse_cells(cells: list[str], *, columns: list[str]) -> dict[str, object]:
    if len(cells) > len(columns):
        raise RowInvalid(f"has {len(cells)} cells, but there are {len(columns)} columns")
    return record_from_cells(dict(zip(columns, cells, strict=False)))


def _open_folder(folder: Path, *, category: str) -> CatalogFile:
    images = sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not images:
        raise CatalogUnreadable(f"{folder} holds no JPEG, PNG or WebP images")
    ids = [re.sub(r"[^A-Za-z0-9._~-]", "-", image.with_suffix("").as_posix()) for image in images]
    count = Counter(ids)

    def rows() -> Iterator[Row]:
        for number, (image, product_id) in enumerate(zip(images, ids, strict=True), start=1):
            unique = product_id
            if count[product_id] > 1 or len(product_id) > LONGEST_ID:
                digest = hashlib.sha256(image.as_posix().encode("utf-8", "surrogateescape")).hexdigest()[:8]
                unique = f"{product_id[: LONGEST_ID - 9]}-{digest}"
            record: dict[str, object] = {
                "id": unique,
                "title": " ".join(re.split(r"[-_\s]+", image.stem)).strip(),
                "category": category or _category_of(image),
                "image": str(image),
            }
            try:
                yield Row(number, str(image), product_from_record(record, folder=folder))
            except RowInvalid as error:
                yield Row(number, str(image), problem=str(error))

    return CatalogFile(len(images), rows)


def _category_of(image: Path) -> str:
    for name in reversed(image.parts[:-1]):
        category = CATEGORY_OF.get(name.lower().replace(" ", "-"))
        if category:
            return category
    return ""
