"""`lookalike bench`: requests from photos, runs, tables."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import aclosing
from functools import partial
from pathlib import Path

from lookalike.bench.load import Run, closed_loop, open_loop
from lookalike.bench.measuring import Measured, measure
from lookalike.bench.sweep import Sweep, sweep
from lookalike.bench.target import Requests, Target, analyzing, searching, searching_tokens, similar_products
from lookalike.bench.triton import StatisticsMissing
from lookalike.catalogs.folder_source import images_in
from lookalike.cli.bench_display import BenchDisplay
from lookalike.cli.connecting import api_key, channel_options, credentials
from lookalike.cli.usage import UsageError, check_picture
from lookalike.client import Client
from lookalike.connection import API_KEY_HEADER
from lookalike.errors import LookalikeError
from lookalike.formatting import counted
from lookalike.values import catalog_name, load_image

__all__ = ["bench_command"]

SOME_FAILED = 1
DEFAULT_CALLERS = 4
MOST_PRODUCTS = 1_000
PICTURES = (".png", ".svg", ".pdf")


async def bench_command(client: Client, options: argparse.Namespace) -> int:
    """Measure and show; gives the exit code. Raises UsageError and LookalikeError."""
    _check(options)
    display = BenchDisplay()
    requests = await _requests(client, options)
    key = api_key(options)
    target = Target(
        options.server,
        requests,
        connections=options.connections,
        credentials=credentials(options),
        channel_options=channel_options(options),
        metadata=((API_KEY_HEADER, key),) if key else (),
        timeout=options.timeout,
    )
    async with target:
        bench = _Bench(target, options, display)
        try:
            found = await bench.search_rate() if options.p99 else None
            if found is None:
                await bench.run_all()
        except StatisticsMissing as error:
            raise UsageError(str(error)) from error
    title = f"{options.method} on {options.server}: {counted(len(requests.messages), 'request')} in turn"
    if options.json:
        print(json.dumps(_json(options, requests, bench.measurements, found), indent=2))
    else:
        display.report(bench.measurements, found)
    if options.save:
        _save(bench.measurements, found, options, title=title)
    fine = found.highest if found else all(each.run.ok_share == 1 for each in bench.measurements)
    return 0 if fine else SOME_FAILED


class _Bench:
    """The runs that the options ask for; keeps what was measured."""

    def __init__(self, target: Target, options: argparse.Namespace, display: BenchDisplay) -> None:
        self._target, self._options, self._display = target, options, display
        self._in_time = options.in_time / 1000 if options.in_time else None
        self.measurements: list[Measured] = []

    async def run_all(self) -> None:
        """One run for each load that was named."""
        for rate in self._options.rate or ():
            await self._open(rate)
        if not self._options.rate:
            for callers in self._options.callers or (DEFAULT_CALLERS,):
                await self._closed(callers)

    async def search_rate(self) -> Sweep:
        """As many runs as it takes to find the highest rate in time."""
        options = self._options
        return await sweep(
            self._open, bound_ms=options.p99, low=options.lowest, high=options.highest, tries=options.tries
        )

    async def _closed(self, callers: int) -> None:
        options = self._options
        self._display.beginning(f"{counted(callers, 'caller')} for {options.seconds:g} s")
        start = partial(
            closed_loop,
            self._target.call,
            callers=callers,
            seconds=options.seconds,
            warmup=options.warmup,
            in_time=self._in_time,
        )
        self.measurements.append(await measure(start, triton=options.triton))

    async def _open(self, rate: float) -> Run:
        options = self._options
        self._display.beginning(f"{rate:.4g} requests/s for {options.seconds:g} s")
        start = partial(
            open_loop,
            self._target.call,
            rate=rate,
            seconds=options.seconds,
            warmup=options.warmup,
            seed=options.seed,
            in_time=self._in_time,
        )
        self.measurements.append(await measure(start, triton=options.triton))
        return self.measurements[-1].run


def _check(options: argparse.Namespace) -> None:
    """What would spoil the end of a long measurement is found before its beginning."""
    if options.save:
        check_picture(options.save, endings=PICTURES)
    if options.lowest > options.highest:
        raise UsageError(f"--lowest {options.lowest:g} is above --highest {options.highest:g}")
    if options.method == "analyze" and (options.filter or options.page_size):
        raise UsageError("analyze finds no products: --filter and --page-size go with the other methods")
    if options.method == "similar" and (options.path or options.max_garments):
        raise UsageError("similar asks for products of the catalog: PHOTOS and --max-garments go with other methods")
    if options.method != "similar" and not options.path:
        raise UsageError(f"{options.method} needs photos: lookalike bench FOLDER")


async def _requests(client: Client, options: argparse.Namespace) -> Requests:
    hits = {"page_size": options.page_size, "filter": options.filter}
    looks = {"max_garments": options.max_garments, "repeat": options.repeat_photos}
    catalog = catalog_name(options.catalog)
    if options.method == "similar":
        return similar_products(await _names(client, options.catalog), **hits)
    photos = _photos(Path(options.path), most=options.photos)
    if options.method == "token":
        tokens = await _tokens(client, photos, max_garments=options.max_garments)
        return searching_tokens(tokens, catalog=catalog, **hits)
    if options.method == "analyze":
        return analyzing(photos.values(), catalog=catalog, **looks)
    return searching(photos.values(), catalog=catalog, **looks, **hits)


def _photos(path: Path, *, most: int) -> dict[str, bytes]:
    """The photos by path, evenly from the whole folder."""
    paths = [path / name for name in images_in(path)] if path.is_dir() else [path]
    if not paths:
        raise UsageError(f"{path} holds no photos: there is no JPEG, PNG or WebP in it or below")
    number = min(most, len(paths))
    chosen = [paths[index * len(paths) // number] for index in range(number)]
    try:
        return {str(each): load_image(each) for each in chosen}
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read ({error.strerror or error})") from error


async def _tokens(client: Client, photos: dict[str, bytes], *, max_garments: int) -> list[str]:
    tokens: list[str] = []
    for path, photo in photos.items():
        try:
            answer = await client.analyze(photo, max_garments=max_garments)
        except LookalikeError as error:
            error.message = f"{path}: {error.message}"
            raise
        tokens += [garment.garment_token for garment in answer.garments if garment.garment_token]
    if not tokens:
        raise UsageError(
            f"the server finds no garment in {counted(len(photos), 'photo')}, so there is nothing to search with: "
            "take photos of people or of clothes"
        )
    return tokens


async def _names(client: Client, catalog: str) -> list[str]:
    names: list[str] = []
    async with aclosing(client.list_products()) as products:
        async for product in products:
            names.append(product.name)
            if len(names) == MOST_PRODUCTS:
                break
    if not names:
        raise UsageError(f"the catalog {catalog} holds no products: load some with lookalike import")
    return names


def _json(
    options: argparse.Namespace, requests: Requests, measurements: list[Measured], found: Sweep | None
) -> dict[str, object]:
    sought = {name: value for name, value in found.to_json().items() if name != "points"} if found else None
    return {
        "server": options.server,
        "method": options.method,
        "requests_in_turn": len(requests.messages),
        "repeat_photos": options.repeat_photos,
        "connections": options.connections,
        "warmup_seconds": options.warmup,
        "seed": options.seed,
        "runs": [each.to_json() for each in measurements],
        "sweep": sought,
    }


def _save(measurements: list[Measured], found: Sweep | None, options: argparse.Namespace, *, title: str) -> None:
    from lookalike.bench.picture import draw

    if not any(each.run.codes["OK"] for each in measurements):
        raise UsageError(f"no request was answered OK, so there is nothing to draw into {options.save}")
    try:
        draw(measurements, Path(options.save), title=title, sweep=found)
    except OSError as error:
        raise UsageError(f"the picture {options.save} cannot be made ({error.strerror or error})") from error
    print(f"picture {options.save}", file=sys.stderr if options.json else sys.stdout)
