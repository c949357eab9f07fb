"""One row of a catalog as a product; everything that is wrong with a row is a sentence of its own."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TypeVar

from lookalike.currencies import CURRENCIES
from lookalike.v1.product_pb2 import Money, Product
from lookalike.values import AttributeLike, BoxLike, build_product

__all__ = ["FIELDS", "Entry", "ImageReference", "RowInvalid", "entry_of"]

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
ID_PATTERN = re.compile(r"[A-Za-z0-9._~-]{1,128}")
KEY_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
YES, NO = {"true", "yes", "1"}, {"false", "no", "0"}
# The contract's bounds (product.proto).
LONGEST = {"title": 1000, "brand": 200, "category": 200, "uri": 2000}
MOST_IMAGES = 16
MOST_ATTRIBUTES = 64
MOST_ATTRIBUTE_BYTES = 32 * 1024
LARGEST_PRICE = 2**53
LARGEST_REVISION = 2**62 - 1

Value = TypeVar("Value")


class RowInvalid(ValueError):
    """The row cannot become a product; the text says why."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image as a row names it: a path or an address, or (in Parquet) its bytes."""

    location: str | bytes
    hint: BoxLike | str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A row as a product without its images, and where those are; no product when there are problems."""

    product: Product | None
    images: tuple[ImageReference, ...] = ()
    problems: tuple[str, ...] = ()


class _Reader:
    """Reads field after field and collects what is wrong with each."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def take(self, read: Callable[[], Value], default: Value) -> Value:
        try:
            return read()
        except RowInvalid as error:
            self.problems.append(str(error))
            return default


def entry_of(record: Mapping[str, object], *, category: str = "") -> Entry:
    """What the row's fields say; `category` is for rows without their own."""
    reader = _Reader()
    take = reader.take
    for field in sorted(set(record) - set(FIELDS)):
        reader.problems.append(
            f"unknown field {field!r}; the fields are {', '.join(FIELDS)} (your own go in attributes)"
        )
    product_id = take(lambda: _id(record), "")
    texts = {name: take(partial(_text, record, name), "") for name in LONGEST}
    price = take(lambda: _price(record), None)
    available = take(lambda: _available(record), None)
    attributes = take(lambda: _attributes(record), dict[str, AttributeLike]())
    revision = take(lambda: _whole(record.get("revision", 0), name="revision", most=LARGEST_REVISION), 0)
    images = take(lambda: _images(record), tuple[ImageReference, ...]())
    if reader.problems:
        return Entry(None, images, tuple(reader.problems))
    texts["category"] = texts["category"] or category
    try:
        product = build_product(
            product_id, price=price, available=available, attributes=attributes, revision=revision, **texts
        )
    except (TypeError, ValueError) as error:
        # Such as half a surrogate pair.
        return Entry(None, images, (str(error),))
    return Entry(product, images)


def _id(record: Mapping[str, object]) -> str:
    value = record.get("id")
    # A shop's ids are often numbers.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(record, "id")
    if not ID_PATTERN.fullmatch(text):
        raise RowInvalid(f"the id is {_shown(text)}; ids are 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -")
    return text


def _text(record: Mapping[str, object], name: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowInvalid(f"{name} is {_shown(value)}; it must be text")
    most = LONGEST.get(name, len(value))
    if len(value) > most:
        raise RowInvalid(f"{name} has {len(value):,} characters; {most:,} at most")
    if "\x00" in value:
        raise RowInvalid(f"{name} has a zero character")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _whole(value: object, *, name: str, most: int) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RowInvalid(f"{name} is {_shown(value)}; it must be a whole number of 0 or more")
    if value > most:
        raise RowInvalid(f"{name} is {_shown(value)}; it must be at most {most}")
    return value


def _available(record: Mapping[str, object]) -> bool | None:
    value = record.get("available")
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in YES | NO:
        raise RowInvalid(f"available is {_shown(value)}; write true or false")
    return value.lower() in YES


def _price(record: Mapping[str, object]) -> Money | None:
    price: object = record.get("price")
    currency: object = record.get("currency")
    if price is None:
        return None
    if isinstance(price, Mapping):
        currency = price.get("currency_code", price.get("currency"))
        price = price.get("amount_minor", price.get("minor_units"))
    if _is_fraction(price):
        raise RowInvalid(f"the price is {price}; write it in minor units as a whole number (1999 for 19.99 euros)")
    amount = _whole(price, name="price", most=LARGEST_PRICE)
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3}", currency):
        raise RowInvalid(f"the price's currency is {_shown(currency)}; write a code such as EUR")
    if currency not in CURRENCIES:
        raise RowInvalid(f"the price's currency is {currency!r}, which is no currency of ISO 4217")
    return Money(amount_minor=amount, currency_code=currency)


def _is_fraction(price: object) -> bool:
    """Whether somebody wrote euros: 49.0 may mean 49 cents as well as 49 euros, so it is refused too."""
    if isinstance(price, str):
        return re.fullmatch(r"-?[0-9]+[.,][0-9]*", price) is not None
    return isinstance(price, Decimal) or (isinstance(price, float) and math.isfinite(price))


def _attributes(record: Mapping[str, object]) -> dict[str, AttributeLike]:
    attributes = record.get("attributes") or {}
    if not isinstance(attributes, Mapping):
        raise RowInvalid(f"attributes is {_shown(attributes)}; it must be an object")
    for key, value in attributes.items():
        if not isinstance(key, str) or not KEY_PATTERN.fullmatch(key):
            raise RowInvalid(
                f"attributes has the key {_shown(key)}; keys are 1 to 64 of the characters A-Z a-z 0-9 _, "
                "the first no digit"
            )
        if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not math.isfinite(value)):
            raise RowInvalid(f"attributes.{key} is {_shown(value)}; it must be text, a number, true or false")
    if len(attributes) > MOST_ATTRIBUTES:
        raise RowInvalid(f"has {len(attributes)} attributes; {MOST_ATTRIBUTES} at most")
    size = len(json.dumps(dict(attributes), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > MOST_ATTRIBUTE_BYTES:
        raise RowInvalid(f"attributes has {size:,} bytes as JSON; {MOST_ATTRIBUTE_BYTES:,} at most")
    return dict(attributes)


def _images(record: Mapping[str, object]) -> tuple[ImageReference, ...]:
    entries: list[object] = []
    for value in (record.get("images"), record.get("image")):
        if value is not None:
            entries.extend(value if isinstance(value, list) else [value])
    if not entries:
        raise RowInvalid("has no image")
    if len(entries) > MOST_IMAGES:
        raise RowInvalid(f"has {len(entries)} images; {MOST_IMAGES} at most")
    return tuple(_image(entry) for entry in entries)


def _image(entry: object) -> ImageReference:
    hint: BoxLike | str | None = None
    location = entry
    if isinstance(entry, Mapping):
        location, hint = entry.get("bytes") or entry.get("path"), _hint(entry)
    if not isinstance(location, (str, bytes)) or not location:
        raise RowInvalid(
            f"an image is {_shown(entry)}; write a path or an address, or an object with path and box or category"
        )
    return ImageReference(location, hint)


def _hint(entry: Mapping[str, object]) -> BoxLike | str | None:
    box = entry.get("box")
    if box is None:
        category = entry.get("category")
        return category if isinstance(category, str) else None
    edges = box if isinstance(box, list) and len(box) == 4 else []
    numbers = [float(edge) for edge in edges if isinstance(edge, (int, float)) and not isinstance(edge, bool)]
    if len(numbers) != 4 or not (0 <= numbers[0] < numbers[2] <= 1 and 0 <= numbers[1] < numbers[3] <= 1):
        raise RowInvalid(f"an image's box is {_shown(box)}; write [x0, y0, x1, y1], each 0..1 and x0 < x1, y0 < y1")
    return numbers[0], numbers[1], numbers[2], numbers[3]
