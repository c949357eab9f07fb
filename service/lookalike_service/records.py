"""Products as rows of the catalog of record, and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import Row

from lookalike_service.model import Box, Hint, Money, Product, ProductImage, View

__all__ = ["image_of", "image_rows", "product_of", "product_row", "view_of", "view_rows"]


def product_row(product: Product) -> dict[str, Any]:
    """The row of a product without its images and views."""
    return {
        "catalog": product.catalog,
        "id": product.id,
        "title": product.title,
        "brand": product.brand,
        "category": product.category,
        "price": product.price.amount_minor if product.price else None,
        "currency": product.price.currency_code if product.price else None,
        "available": product.available,
        "uri": product.uri,
        "attributes": dict(product.attributes),
        "revision": product.revision,
        "indexed_revision": product.indexed_revision,
        "created": _microseconds(product.create_time),
        "updated": _microseconds(product.update_time),
        "deleted": product.deleted,
    }


def product_of(row: Row[Any], *, images: Iterable[Row[Any]] = (), views: Iterable[Row[Any]] = ()) -> Product:
    """The product of a row and of the rows of its images and views."""
    return Product(
        catalog=row.catalog,
        id=row.id,
        title=row.title,
        brand=row.brand,
        category=row.category,
        price=None if row.price is None else Money(row.price, row.currency),
        available=row.available,
        uri=row.uri,
        attributes=row.attributes,
        images=tuple(map(image_of, images)),
        revision=row.revision,
        indexed_revision=row.indexed_revision,
        create_time=_time(row.created),
        update_time=_time(row.updated),
        views=tuple(map(view_of, views)),
        deleted=row.deleted,
    )


def image_rows(product: Product) -> list[dict[str, Any]]:
    """One row per image, in the merchant's order."""
    return [
        {
            "catalog": product.catalog,
            "product_id": product.id,
            "position": position,
            "sha256": image.sha256,
            "hint_category": image.hint.category if image.hint else "",
            "hint_box": _corners(image.hint.box) if image.hint and image.hint.box else None,
        }
        for position, image in enumerate(product.images)
    ]


def image_of(row: Row[Any]) -> ProductImage:
    """The image of a row."""
    box = Box(*row.hint_box) if row.hint_box else None
    return ProductImage(row.sha256, Hint(box, row.hint_category) if box or row.hint_category else None)


def view_rows(product: Product) -> list[dict[str, Any]]:
    """One row per garment view, with its vector as float16."""
    return [
        {
            "catalog": product.catalog,
            "product_id": product.id,
            "id": view.id,
            "embedding_version": view.embedding_version,
            "position": position,
            "image_sha256": view.image_sha256,
            "category": view.category,
            "colours": f"|{'|'.join(view.colours)}|",
            "shares": list(view.shares),
            "pattern": view.pattern,
            **dict(zip(("x0", "y0", "x1", "y1"), _corners(view.box), strict=True)),
            "embedding": view.embedding.astype("<f2").tobytes(),
        }
        for position, view in enumerate(product.views)
    ]


def view_of(row: Row[Any]) -> View:
    """The garment view of a row."""
    return View(
        id=row.id,
        image_sha256=row.image_sha256,
        box=Box(row.x0, row.y0, row.x1, row.y1),
        category=row.category,
        colours=tuple(filter(None, row.colours.split("|"))),
        shares=tuple(row.shares),
        pattern=row.pattern,
        embedding_version=row.embedding_version,
        embedding=np.frombuffer(row.embedding or b"", dtype="<f2"),
    )


def _corners(box: Box) -> list[float]:
    return [box.x0, box.y0, box.x1, box.y1]


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, tz=UTC)


def _microseconds(time: datetime | None) -> int:
    return round((time or datetime.now(tz=UTC)).timestamp() * 1e6)
