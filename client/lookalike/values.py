"""What callers hand over (photos, regions, names, products) as messages of the contract."""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from lookalike.errors import ImageTooLarge
from lookalike.v1.garment_pb2 import Box, Region
from lookalike.v1.product_pb2 import GarmentHint, Money, Product, ProductImage

__all__ = [
    "MAX_IMAGE_BYTES",
    "AttributeLike",
    "BoxLike",
    "ImageLike",
    "RegionLike",
    "as_box",
    "as_region",
    "box_from_text",
    "build_product",
    "catalog_name",
    "load_image",
    "product_image",
    "product_name",
    "read_image",
    "split_product_name",
]

MAX_IMAGE_BYTES = 20 * 1024 * 1024

ImageLike = bytes | bytearray | memoryview | str | os.PathLike[str]
"""An encoded image (JPEG, PNG, WebP) as bytes, or the path of its file; at most 20 MiB."""
BoxLike = Box | tuple[float, float, float, float]
"""x0, y0, x1, y1 on the upright photo, 0..1, origin at the top left."""
RegionLike = Region | BoxLike
"""A place where a garment is; a `Region` may carry an id of the caller's."""
AttributeLike = str | float | bool


def load_image(image: ImageLike) -> bytes:
    """The encoded bytes. Raises OSError for a file that cannot be read, and ImageTooLarge before reading it."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        _check_image_size(memoryview(image).nbytes, name="the image")
        return bytes(image)
    path = Path(image)
    _check_image_size(path.stat().st_size, name=str(path))
    return path.read_bytes()


async def read_image(image: ImageLike) -> bytes:
    """Like load_image, without holding up the event loop while a file is read."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return load_image(image)
    return await asyncio.to_thread(load_image, image)


def _check_image_size(size: int, *, name: str) -> None:
    if size > MAX_IMAGE_BYTES:
        raise ImageTooLarge(
            f"{name} has {size / 2**20:.1f} MiB and an image may have 20 MiB: save it smaller, "
            "1024 pixels on the longest side are plenty"
        )


def as_box(box: BoxLike) -> Box:
    """The box as a message."""
    if isinstance(box, Box):
        return box
    x0, y0, x1, y1 = box
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def box_from_text(text: str) -> tuple[float, float, float, float]:
    """`x0,y0,x1,y1` (or with blanks between) as four numbers of 0..1. Raises ValueError, which says what to write."""
    try:
        x0, y0, x1, y1 = (float(part) for part in re.split(r"[,\s]+", text.strip()))
    except ValueError:
        x0 = y0 = x1 = y1 = math.nan
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise ValueError(f"{text!r} is no region; write x0,y0,x1,y1 as shares of the photo, such as 0.2,0.1,0.8,0.6")
    return x0, y0, x1, y1


def as_region(region: RegionLike) -> Region:
    """The region as a message; a box alone gets no id."""
    return region if isinstance(region, Region) else Region(box=as_box(region))


def catalog_name(catalog: str) -> str:
    """`catalogs/{catalog}` for an id or for a name that is one already."""
    return catalog if catalog.startswith("catalogs/") else f"catalogs/{catalog}"


def product_name(product: str, *, catalog: str = "default") -> str:
    """`catalogs/{catalog}/products/{product}` for an id or for a name that is one already."""
    return product if product.startswith("catalogs/") else f"{catalog_name(catalog)}/products/{product}"


def split_product_name(name: str) -> tuple[str, str]:
    """`catalogs/{catalog}` and the product's id."""
    parent, _, product_id = name.partition("/products/")
    return parent, product_id


def product_image(image: ImageLike, *, hint: BoxLike | str | None = None) -> ProductImage:
    """An image of a product; `hint` says which garment of it is the product: a box, or a category.

    Reads files at once. Raises OSError and ImageTooLarge.
    """
    message = ProductImage(content=load_image(image))
    if isinstance(hint, str):
        message.hint.CopyFrom(GarmentHint(category=hint))
    elif hint is not None:
        message.hint.CopyFrom(GarmentHint(box=as_box(hint)))
    return message


def build_product(
    name: str,
    *,
    title: str = "",
    brand: str = "",
    category: str = "",
    price: Money | tuple[int, str] | None = None,
    available: bool | None = None,
    uri: str = "",
    attributes: Mapping[str, AttributeLike] | None = None,
    images: Iterable[ImageLike | ProductImage] = (),
    revision: int = 0,
) -> Product:
    """A product from plain Python values; `name` may be its id alone, which means the client's catalog.

    `price` is (1999, "EUR") for 19.99 euros: the smallest unit of the currency. Raises OSError and ImageTooLarge.
    """
    product = Product(
        name=name,
        title=title,
        brand=brand,
        category=category,
        available=available,
        uri=uri,
        revision=revision,
        images=[image if isinstance(image, ProductImage) else product_image(image) for image in images],
    )
    if price is not None:
        money = price if isinstance(price, Money) else Money(amount_minor=price[0], currency_code=price[1])
        product.price.CopyFrom(money)
    for key, value in (attributes or {}).items():
        target = product.attributes[key]
        if isinstance(value, bool):
            target.bool_value = value
        elif isinstance(value, str):
            target.string_value = value
        else:
            target.number_value = value
    return product
