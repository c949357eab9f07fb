"""The commands: arguments in, calls, tables or JSON out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from lookalike.cli.display import Display
from lookalike.cli.importing import import_catalog
from lookalike.client import Client, SearchOptions
from lookalike.errors import NotFound
from lookalike.v1.garment_pb2 import MASK_FORMAT_RUN_LENGTH, MASK_FORMAT_UNSPECIFIED, MaskFormat
from lookalike.v1.product_service_pb2 import GetProductResponse, ListProductsResponse
from lookalike.v1.search_service_pb2 import CategoryMode

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["UsageError", "run"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
SOME_FAILED, REFUSED = 1, 3


class UsageError(Exception):
    """What was asked cannot be done; the text is a sentence that says why."""


async def run(options: argparse.Namespace) -> int:
    """Run the command that was parsed; gives the exit code. Raises UsageError and LookalikeError."""
    commands: dict[str, Callable[[Client, argparse.Namespace], Awaitable[int]]] = {
        "import": _import,
        "search": _search,
        "analyze": _analyze,
        "similar": _similar,
        "products": _products,
    }
    async with Client(
        options.server,
        catalog=options.catalog,
        timeout=options.timeout,
        credentials=_credentials(options),
        api_key=os.environ.get("LOOKALIKE_API_KEY"),
    ) as client:
        return await commands[options.command](client, options)


def _credentials(options: argparse.Namespace) -> grpc.ChannelCredentials | None:
    if not (options.tls or options.ca_file):
        return None
    return grpc.ssl_channel_credentials(_read(options.ca_file) if options.ca_file else None)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error})") from error


async def _import(client: Client, options: argparse.Namespace) -> int:
    from lookalike.catalog_files import CatalogUnreadable

    try:
        failed = await import_catalog(client, options.path, category=options.category, display=Display())
    except CatalogUnreadable as error:
        raise UsageError(str(error)) from error
    return SOME_FAILED if failed else 0


async def _search(client: Client, options: argparse.Namespace) -> int:
    photo = _photo(options)
    answer = await client.search(
        photo,
        regions=options.regions,
        max_garments=options.max_garments,
        mask_format=_mask_format(options),
        **_hits(options),
    )
    if options.json:
        _print_json(answer)
    else:
        Display().search(answer)
    if options.save:
        from lookalike.pictures import draw_search, images_in_folder

        fetch = images_in_folder(options.images) if options.images else lambda _: None
        _save(lambda: draw_search(photo, answer.results, fetch, font=options.font), options)
    return 0


async def _analyze(client: Client, options: argparse.Namespace) -> int:
    photo = _photo(options)
    answer = await client.analyze(
        photo,
        regions=options.regions,
        max_garments=options.max_garments,
        mask_format=_mask_format(options),
    )
    if options.json:
        _print_json(answer)
    else:
        Display().analysis(answer)
    if options.save:
        from lookalike.pictures import draw_analysis

        _save(lambda: draw_analysis(photo, answer.garments, font=options.font), options)
    return 0


async def _similar(client: Client, options: argparse.Namespace) -> int:
    answer = await client.similar(options.product, **_hits(options))
    if options.json:
        _print_json(answer)
    else:
        Display().hits(answer.hits)
    return 0


async def _products(client: Client, options: argparse.Namespace) -> int:
    actions = {"get": _get_product, "list": _list_products, "delete": _delete_products}
    return await actions[options.action](client, options)


async def _get_product(client: Client, options: argparse.Namespace) -> int:
    product = await client.get_product(options.product)
    if options.json:
        _print_json(GetProductResponse(product=product))
    else:
        Display().product(product)
    return 0


async def _list_products(client: Client, options: argparse.Namespace) -> int:
    listed = ListProductsResponse()
    page_size = min(options.limit or 1000, 1000)
    async with aclosing(client.list_products(filter=options.filter, page_size=page_size)) as products:
        async for product in products:
            listed.products.append(product)
            if len(listed.products) == options.limit:
                break
    if options.json:
        _print_json(listed)
    else:
        Display().products(listed.products, limit=options.limit)
    return 0


async def _delete_products(client: Client, options: argparse.Namespace) -> int:
    code = 0
    for product in options.products:
        try:
            await client.delete_product(product, allow_missing=options.missing_ok)
            print(f"deleted {product}")
        except NotFound as error:
            print(f"lookalike: {error.reason}: {error}", file=sys.stderr)
            code = REFUSED
    return code


def _hits(options: argparse.Namespace) -> SearchOptions:
    return {
        "filter": options.filter,
        "page_size": options.page_size,
        "min_score": options.min_score,
        "category_mode": CategoryMode.Value(f"CATEGORY_MODE_{options.category_mode.upper()}"),
    }


def _mask_format(options: argparse.Namespace) -> MaskFormat.ValueType:
    return MASK_FORMAT_RUN_LENGTH if options.save else MASK_FORMAT_UNSPECIFIED


def _photo(options: argparse.Namespace) -> bytes:
    """The photo's bytes; what would spoil the picture at the end is found before the server is asked."""
    if options.save:
        target = Path(options.save)
        if target.suffix.lower() not in PICTURES:
            raise UsageError(f"{target} is no picture's name; end it with one of {', '.join(PICTURES)}")
        if not target.absolute().parent.is_dir():
            raise UsageError(f"the folder of {target} does not exist")
    from lookalike.values import load_image

    try:
        return load_image(options.photo)
    except OSError as error:
        raise UsageError(f"{options.photo} cannot be read ({error.strerror or error})") from error


def _save(draw: Callable[[], Image], options: argparse.Namespace) -> None:
    try:
        draw().save(options.save)
    except OSError as error:
        raise UsageError(f"the picture {options.save} cannot be made ({error.strerror or error})") from error
    print(f"picture {options.save}", file=sys.stderr if options.json else sys.stdout)


def _print_json(message: Message) -> None:
    print(MessageToJson(message))
