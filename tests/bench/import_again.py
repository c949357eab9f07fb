"""How much faster an unchanged import is:

    PYTHONPATH=tests python tests/bench/import_again.py [--products 10000] [--model-ms 60]

The models are stood in for by a finder that takes as long as two cores need for a photo, two photos at a time; the
index is the in-memory fake; server, client, database and image store are the real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from typing import Any

from fakes import FakeFinder
from lookalike.v1 import product_pb2
from lookalike_service.model import Found
from support_gateway import open_shop, product


class SlowFinder(FakeFinder):
    """Takes its time, and has two photos under way at most."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._cores = asyncio.Semaphore(2)

    async def find(self, image: bytes, **options: Any) -> Found:  # noqa: ANN401 - as FakeFinder
        async with self._cores:
            await asyncio.sleep(self._seconds)
        return await super().find(image.rstrip(), **options)


def catalog(count: int, image_bytes: int) -> Sequence[product_pb2.Product]:
    """Products with one photo of the given size each."""
    products = [product(f"p{number:06d}", f"look {number}", title=f"Product {number}") for number in range(count)]
    for each in products:
        each.price.amount_minor, each.price.currency_code = 1999, "EUR"
        each.attributes["size"].string_value = "M"
        each.images[0].content = each.images[0].content.ljust(image_bytes)
    return products


async def measure(count: int, model_seconds: float, image_bytes: int) -> None:
    """Print the seconds of both imports and what the second one did."""
    finder = SlowFinder(model_seconds)
    async with open_shop(finder=finder) as shop:
        products = catalog(count, image_bytes)
        seconds = []
        for _ in range(2):
            calls, upserted, begin = finder.calls, shop.index.upserted, time.perf_counter()
            answers = await shop.bring(products)
            seconds.append(time.perf_counter() - begin)
            print(
                f"{len(answers)} products in {seconds[-1]:.1f} s ({len(answers) / seconds[-1]:.0f}/s), "
                f"{finder.calls - calls} photos to the models, {shop.index.upserted - upserted} views to the index"
            )
        print(f"the unchanged import is {seconds[0] / seconds[1]:.1f} times faster")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=10_000)
    parser.add_argument("--model-ms", type=float, default=60.0)
    parser.add_argument("--image-bytes", type=int, default=60_000)
    options = parser.parse_args()
    asyncio.run(measure(options.products, options.model_ms / 1000, options.image_bytes))
