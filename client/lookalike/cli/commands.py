"""The commands: arguments in, calls, tables or JSON out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from lookalike.cli.connecting import Patience, api_key, channel_options, credentials
from lookalike.cli.display import Display
from lookalike.cli.evaluate import evaluate_command
from lookalike.cli.importing import import_catalog
from lookalike.cli.products import products_command
from lookalike.cli.ranking import ranking_options
from lookalike.cli.usage import UsageError, check_picture
from lookalike.cli.views import also_viewed_command, views_command
from lookalike.client import Client, SearchOptions
from lookalike.v1.garment_pb2 import MASK_FORMAT_RUN_LENGTH, MASK_FORMAT_UNSPECIFIED, MaskFormat

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
        "also-viewed": also_viewed_command,
        "views": views_command,
        "bench": _bench,
        "evaluate": evaluate_command,
    }
    async with Client(
        options.server,
        catalog=options.catalog,
        timeout=options.timeout,
        retry=Patience(seconds=options.timeout),
        credentials=credentials(options),
        api_key=api_key(options),
        channel_options=channel_options(options),
    ) as client:
        return await commands[options.command](client, options)


async def _import(client: Client, options: argparse.Namespace) -> int:
    return SOME_FAILED if await import_catalog(client, options, display=Display()) else 0


async def _bench(client: Client, options: argparse.Namespace) -> int:
    # Needs packages that the other commands do without.
    from lookalike.cli.bench import bench_command

    return await bench_command(client, options)


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
        embedding_version=options.embedding_version,
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
    return {
        **ranking_options(options),
        "page_size": options.page_size,
        "min_score": options.min_score,
        "embedding_version": options.embedding_version,
    }


def _mask_format(options: argparse.Namespace) -> MaskFormat.ValueType:
    return MASK_FORMAT_RUN_LENGTH if options.save else MASK_FORMAT_UNSPECIFIED


def _photo(options: argparse.Namespace) -> bytes:
    """The photo's bytes; what would spoil the picture at the end is found before the server is asked."""
    if options.save:
        check_picture(options.save, endings=PICTURES)
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
