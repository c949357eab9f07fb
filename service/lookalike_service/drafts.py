"""What a write is asked to do, and what became of it."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field, replace

from lookalike_service.model import Hint, Product

__all__ = ["Draft", "NewImage", "Outcome", "Written", "same_content", "same_to_searches"]


class Outcome(enum.Enum):
    """What became of a write."""

    CREATED = 1
    UPDATED = 2
    UNCHANGED = 3


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image of a draft: its bytes, or the SHA-256 of one that the product has already."""

    content: bytes = field(repr=False, default=b"")
    sha256: str = ""
    hint: Hint | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A product as its sender wants it; the product's own images are ignored, and revision 0 lets us count."""

    product: Product
    images: tuple[NewImage, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """The product as it now is, and how many of its views this write embedded."""

    product: Product
    outcome: Outcome
    embedded: int


def same_content(product: Product, other: Product) -> bool:
    """Whether two products differ in nothing but what every write changes."""
    return _plain(product) == _plain(other) and _attributes(product) == _attributes(other)


def same_to_searches(product: Product, other: Product) -> bool:
    """Whether the index would hold the same of two products; a change of anything else never touches it."""
    return _searchable(product) == _searchable(other)


def _plain(product: Product) -> Product:
    return replace(product, attributes={}, revision=0, indexed_revision=0, create_time=None, update_time=None)


def _searchable(product: Product) -> object:
    price = product.price.amount_minor if product.price else None
    return product.brand, price, product.available, _attributes(product), product.views


def _attributes(product: Product) -> str:
    """As JSON, where 1 and true differ, which in Python they do not."""
    return json.dumps(dict(product.attributes), sort_keys=True) if product.attributes else ""
