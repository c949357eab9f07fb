"""`lookalike products`: one product or a few at a time."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

from google.protobuf.json_format import MessageToDict, MessageToJson

from lookalike.catalogs.csv_source import plain_value
from lookalike.catalogs.extra import ExtraMissing
from lookalike.catalogs.fetching import Fetcher, Unfetchable
from lookalike.catalogs.locations import LocationInvalid, resolve
from lookalike.cli.display import Display
from lookalike.cli.usage import UsageError
from lookalike.client import Client
from lookalike.errors import NotFound
from lookalike.v1.product_pb2 import PRODUCT_VIEW_BASIC, PRODUCT_VIEW_FULL, Product, ProductImage
from lookalike.v1.product_service_pb2 import (
    CreateProductResponse,
    GetProductResponse,
    ListProductsResponse,
    UpdateProductResponse,
)
from lookalike.values import build_product, product_image

__all__ = ["products_command"]

REFUSED = 3
LARGEST_PAGE = 1000


async def products_command(client: Client, options: argparse.Namespace) -> int:
    """Run the action that was parsed; gives the exit code. Raises UsageError and LookalikeError."""
    actions: dict[str, Callable[[Client, argparse.Namespace], Awaitable[int]]] = {
        "get": _get,
        "list": _list,
        "create": _create,
        "update": _update,
        "delete": _delete,
    }
    return await actions[options.action](client, options)


async def _get(client: Client, options: argparse.Namespace) -> int:
    product = await client.get_product(options.product)
    if options.json:
        print(MessageToJson(GetProductResponse(product=product)))
    else:
        Display().product(product)
    return 0


async def _list(client: Client, options: argparse.Namespace) -> int:
    listed = ListProductsResponse()
    number = 0
    page_size = min(options.limit or LARGEST_PAGE, LARGEST_PAGE)
    view = PRODUCT_VIEW_FULL if options.json or options.jsonl else PRODUCT_VIEW_BASIC
    listing = client.list_products(filter=options.filter, page_size=page_size, product_view=view)
    async with aclosing(listing) as products:
        async for product in products:
            number += 1
            if options.jsonl:
                print(json.dumps(MessageToDict(product), ensure_ascii=False))
            else:
                listed.products.append(product)
            if number == options.limit:
                break
    if options.json:
        print(MessageToJson(listed))
    elif not options.jsonl:
        Display().products(listed.products, limit=options.limit)
    return 0


async def _create(client: Client, options: argparse.Namespace) -> int:
    product, _ = await _fields(options)
    if (options.price is None) != (options.currency is None):
        raise UsageError("a price needs both --price and --currency")
    product.name = options.product
    created = await client.create_product(product)
    if options.json:
        print(MessageToJson(CreateProductResponse(product=created)))
    else:
        print(f"created {options.product}")
    return 0


async def _update(client: Client, options: argparse.Namespace) -> int:
    product, mask = await _fields(options)
    for field in options.clear:
        if any(path.partition(".")[0] == field for path in mask):
            raise UsageError(f"--clear {field} and a new {field} contradict each other")
    mask += dict.fromkeys(options.clear)
    if not mask:
        raise UsageError("nothing to change; name a field, such as --price 3900 or --unavailable")
    code = 0
    for name in options.products:
        product.name = name
        try:
            updated = await client.update_product(product, update_mask=mask, allow_missing=options.allow_missing)
        except NotFound as error:
            code = _missing(error)
            continue
        if options.json:
            print(MessageToJson(UpdateProductResponse(product=updated)))
        else:
            print(f"updated {name}")
    return code


async def _delete(client: Client, options: argparse.Namespace) -> int:
    code = 0
    for product in options.products:
        try:
            await client.delete_product(product, allow_missing=options.missing_ok)
            print(f"deleted {product}")
        except NotFound as error:
            code = _missing(error)
    return code


def _missing(error: NotFound) -> int:
    print(f"lookalike: {error.reason}: {error}", file=sys.stderr)
    return REFUSED


async def _fields(options: argparse.Namespace) -> tuple[Product, list[str]]:
    """What the options say of a product, and the paths of the fields that they name."""
    images = await _images(options.images)
    product = build_product(
        "",
        title=options.title or "",
        brand=options.brand or "",
        category=options.category or "",
        uri=options.uri or "",
        available=options.available,
        attributes={key: plain_value(value) for key, value in options.attributes if value},
        images=images,
    )
    mask = [
        field for field in ("title", "brand", "category", "uri", "available") if getattr(options, field) is not None
    ]
    mask += _take_price(product, options)
    mask += dict.fromkeys(f"attributes.{key}" for key, _ in options.attributes)
    return product, [*mask, "images"] if images else mask


def _take_price(product: Product, options: argparse.Namespace) -> list[str]:
    if options.price is not None:
        product.price.amount_minor = options.price
    if options.currency is not None:
        product.price.currency_code = options.currency
    if options.price is not None and options.currency is not None:
        return ["price"]
    # One without the other: what is stored keeps the rest.
    parts = {"price.amount_minor": options.price, "price.currency_code": options.currency}
    return [path for path, value in parts.items() if value is not None]


async def _images(references: list[str]) -> list[ProductImage]:
    async with Fetcher() as fetcher:

        async def read(reference: str) -> ProductImage:
            try:
                return product_image(await fetcher.read_image(resolve(reference, base=Path())))
            except (Unfetchable, LocationInvalid, ExtraMissing) as error:
                raise UsageError(f"the image {reference} cannot be read ({error})") from error

        return list(await asyncio.gather(*map(read, references)))
