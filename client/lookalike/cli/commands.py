"""The commands: arguments in, calls, tables or JSON out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from lookalike.cli.display import Display
from lookalike.cli.importing import import_catalog
from lookalike.cli.products import products_command
from lookalike.cli.usage import UsageError
from lookalike.client import Client, SearchOptions
from lookalike.v1.garment_pb2 import MASK_FORMAT_RUN_LENGTH, MASK_FORMAT_UNSPECIFIED, MaskFormat
from lookalike.v1.search_service_pb2 import CategoryMode, Reranking

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["run"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
SOME_FAILED = 1


async def run(options: argparse.Namespace) -> int:
    """Run the command that was parsed; gives the exit code. Raises UsageError and LookalikeError."""
    commands: dict[str, Callable[[Client, argparse.Namespace], Awaitable[int]]] = {
        "import": _import,
        "search": _search,
        "analyze": _analyze,
        "similar": _similar,
        "products": products_command,
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
    return SOME_FAILED if await import_catalog(client, options, display=Display()) else 0


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


def _hits(options: argparse.Namespace) -> SearchOptions:
    weights = {"color_weight": options.color_weight, "pattern_weight": options.pattern_weight}
    chosen: SearchOptions = {"reranking": Reranking(**weights)} if any(weights.values()) else {}
    return {
        **chosen,
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
