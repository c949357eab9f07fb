"""One row of a catalog file as a product; what is wrong with a row is a sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from lookalike.errors import ImageTooLarge
from lookalike.v1.product_pb2 import Money, Product, ProductImage
from lookalike.values import AttributeLike, BoxLike, build_product, product_image

__all__ = ["FIELDS", "RowInvalid", "product_from_record", "record_from_cells"]

FIELDS = (
    "id",
    "title",
    "brand",
    "category",
    "price",
    "currency",
    "available",
    "uri",
    "attributes",
    "images",
    "image",
    "revision",
)
IMAGE_SEPARATOR = "|"
ID_PATTERN = re.compile(r"[A-Za-z0-9._~-]{1,128}")
YES, NO = {"true", "yes", "1"}, {"false", "no", "0"}


class RowInvalid(ValueError):
    """The row cannot become a product; the text says why."""


def record_from_cells(cells: Mapping[str, str]) -> dict[str, object]:
    """A CSV row in the form of a JSON line; empty cells are left out.

    Several images are separated by `|`, `attributes.KEY` is a column per attribute, and what looks like a number
    or a truth value is one.
    """
    record: dict[str, object] = {}
    attributes: dict[str, object] = {}
    for column, cell in cells.items():
        text = cell.strip()
        if not text:
            continue
        if column.startswith("attributes."):
            attributes[column.removeprefix("attributes.")] = _plain(text)
        elif column == "images":
            record[column] = [part.strip() for part in text.split(IMAGE_SEPARATOR) if part.strip()]
        elif column == "price" and re.fullmatch(r"\d+", text):
            record[column] = int(text)
        elif column == "available":
            record[column] = _truth(text)
        else:
            record[column] = text
    if attributes:
        record["attributes"] = attributes
    return record


def _plain(text: str) -> object:
    if re.fullmatch(r"-?\d{1,15}(\.\d+)?", text):
        return float(text)
    return text.lower() == "true" if text.lower() in {"true", "false"} else text


def _truth(text: str) -> bool:
    if text.lower() not in YES | NO:
        raise RowInvalid(f"available is {text!r}; write true or false")
    return text.lower() in YES


def product_from_record(record: Mapping[str, object], *, folder: Path, category: str = "") -> Product:
    """The product, its images read from paths relative to `folder`; `category` is for rows without their own.

    Raises RowInvalid.
    """
    unknown = sorted(set(record) - set(FIELDS))
    if unknown:
        raise RowInvalid(
            f"unknown field {unknown[0]!r}; the fields are {', '.join(FIELDS)} (your own go in attributes)"
        )
    product_id = _text(record, "id")
    if not ID_PATTERN.fullmatch(product_id):
        raise RowInvalid(f"the id is {product_id!r}; ids are 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -")
    images = _images(record, folder=folder)
    if not images:
        raise RowInvalid("has no image")
    available = record.get("available")
    if available is not None and not isinstance(available, bool):
        raise RowInvalid(f"available is {available!r}; write true or false")
    try:
        return build_product(
            product_id,
            title=_text(record, "title"),
            brand=_text(record, "brand"),
            category=_text(record, "category") or category,
            price=_price(record),
            available=available,
            uri=_text(record, "uri"),
            attributes=_attributes(record),
            images=images,
            revision=_whole(record.get("revision", 0), name="revision"),
        )
    except (TypeError, ValueError) as error:
        # Such as a number beyond 64 bits, or half a surrogate pair.
        raise RowInvalid(str(error)) from error


def _text(record: Mapping[str, object], name: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        # A shop's ids are often numbers; anything else as text is a mistake.
        if name == "id" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise RowInvalid(f"{name} is {value!r}; it must be text")
    return value


def _whole(value: object, *, name: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RowInvalid(f"{name} is {value!r}; it must be a whole number of 0 or more")
    return value


def _price(record: Mapping[str, object]) -> Money | None:
    price: object = record.get("price")
    currency: object = record.get("currency")
    if price is None:
        return None
    if isinstance(price, Mapping):
        currency = price.get("currency_code", price.get("currency"))
        price = price.get("amount_minor", price.get("minor_units"))
    if (isinstance(price, float) and math.isfinite(price)) or (isinstance(price, str) and "." in price):
        raise RowInvalid(f"the price is {price}; write it in minor units (1999 for 19.99 euros)")
    amount = _whole(price, name="price")
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3}", currency):
        raise RowInvalid(f"the price's currency is {currency!r}; write a code such as EUR")
    return Money(amount_minor=amount, currency_code=currency)


def _attributes(record: Mapping[str, object]) -> dict[str, AttributeLike]:
    attributes = record.get("attributes") or {}
    if not isinstance(attributes, Mapping):
        raise RowInvalid(f"attributes is {attributes!r}; it must be an object")
    for key, value in attributes.items():
        if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
            raise RowInvalid(f"attributes.{key} is {value!r}; it must be text, a number, true or false")
    return dict(attributes)


def _images(record: Mapping[str, object], *, folder: Path) -> list[ProductImage]:
    entries: list[object] = []
    for value in (record.get("images"), record.get("image")):
        if value is not None:
            entries.extend(value if isinstance(value, list) else [value])
    return [_image(entry, folder=folder) for entry in entries]


def _image(entry: object, *, folder: Path) -> ProductImage:
    hint: BoxLike | str | None = None
    path = entry
    if isinstance(entry, Mapping):
        path, hint = entry.get("path"), _hint(entry)
    if not isinstance(path, str) or not path:
        raise RowInvalid(f"an image is {entry!r}; write a path, or an object with path and box or category")
    if "://" in path:
        raise RowInvalid(f"the image {path} is an address; images must be files, relative to the catalog file")
    try:
        image = product_image(folder / path, hint=hint)
    except ImageTooLarge as error:
        raise RowInvalid(str(error)) from error
    except (OSError, ValueError) as error:
        raise RowInvalid(f"the image {path} cannot be read ({_why(error)})") from error
    if not image.content:
        raise RowInvalid(f"the image {path} is empty")
    return image


def _hint(entry: Mapping[str, object]) -> BoxLike | str | None:
    box = entry.get("box")
    if box is None:
        category = entry.get("category")
        return category if isinstance(category, str) else None
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, (int, float)) for edge in box):
        raise RowInvalid(f"an image's box is {box!r}; write [x0, y0, x1, y1], each 0..1")
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
