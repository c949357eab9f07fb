"""Values as people read them, the same in tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike.v1.garment_pb2 import GARMENT_SOURCE_REGION, GARMENT_SOURCE_WHOLE_IMAGE, Garment, Label
from lookalike.v1.product_pb2 import Money, Product

__all__ = ["counted", "garment_title", "likely", "one_line", "price_text", "product_id", "product_title", "source_text"]

SYMBOLS = {"EUR": "€", "GBP": "£", "JPY": "¥", "USD": "$"}
# ISO 4217: currencies whose smallest unit is not a hundredth.
NO_DECIMALS = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF")
)
THREE_DECIMALS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
# Below this a pattern or material is a guess not worth showing.
LIKELY = 0.5


def price_text(money: Money) -> str:
    """`€19.99`, `¥1,999`, `19.99 SEK`; empty without a currency."""
    code = money.currency_code
    if not code:
        return ""
    decimals = 0 if code in NO_DECIMALS else 3 if code in THREE_DECIMALS else 2
    whole, rest = divmod(money.amount_minor, 10**decimals)
    amount = f"{whole:,}" + (f".{rest:0{decimals}d}" if decimals else "")
    return f"{SYMBOLS[code]}{amount}" if code in SYMBOLS else f"{amount} {code}"


def one_line(text: str) -> str:
    """The text without line breaks, and without what could steer a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def product_id(name: str) -> str:
    """The last part of a product's name."""
    return name.rsplit("/", 1)[-1]


def product_title(product: Product) -> str:
    """The title on one line, or the id where there is none."""
    return one_line(product.title) or product_id(product.name)


def garment_title(garment: Garment) -> str:
    """The likeliest category as words: "t-shirt" for "top/t-shirt"."""
    words = garment.category
    if garment.categories and garment.categories[0].name.split("/")[0] == garment.category:
        words = garment.categories[0].name.rsplit("/", 1)[-1]
    return one_line(words.replace("_", " ")) or "garment"


def source_text(garment: Garment) -> str:
    """How sure the detector is ("0.93"), or who else says that there is a garment."""
    if garment.source == GARMENT_SOURCE_REGION:
        return one_line(f"region {garment.region_id}")
    if garment.source == GARMENT_SOURCE_WHOLE_IMAGE:
        return "whole photo"
    return f"{garment.score:.2f}"


def likely(labels: Sequence[Label]) -> str:
    """The likeliest label if it is likely and says something, else nothing."""
    if not labels or labels[0].score < LIKELY or labels[0].name == "other":
        return ""
    return labels[0].name.replace("_", " ")


def counted(number: int, noun: str, *, plural: str = "") -> str:
    """`1 garment`, `2 garments`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
