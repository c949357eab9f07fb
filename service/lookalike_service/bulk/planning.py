"""From a catalog file to parts that can be worked on by themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lookalike.catalogs import Catalog, Row

__all__ = ["Scan", "scan"]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a catalog file holds; `digest` changes with anything that would change a product."""

    digest: str
    products: int
    unusable: int
    parts: int


def scan(
    catalog: Catalog, *, part_products: int, write: Callable[[int, Sequence[Row]], None], refuse: Callable[[Row], None]
) -> Scan:
    """Read every row; those that are products go to `write`, part by part, the others to `refuse`."""
    digest = hashlib.sha256()
    products = unusable = parts = 0
    part: list[Row] = []
    for row in catalog.rows():
        digest.update(_said(row))
        if row.entry.product is None:
            unusable += 1
            refuse(row)
            continue
        products += 1
        part.append(row)
        if len(part) == part_products:
            write(parts, part)
            part, parts = [], parts + 1
    if part:
        write(parts, part)
        parts += 1
    return Scan(digest.hexdigest(), products, unusable, parts)


def _said(row: Row) -> bytes:
    """Everything that a row says, as bytes that are the same on every run."""
    product = row.entry.product.SerializeToString(deterministic=True) if row.entry.product else b""
    images = [
        (hashlib.sha256(image.location).digest() if isinstance(image.location, bytes) else image.location, image.hint)
        for image in row.entry.images
    ]
    return repr((row.number, product, images, row.entry.problems)).encode("utf-8", "surrogatepass")
