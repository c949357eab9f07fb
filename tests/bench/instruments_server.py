"""A gateway over fakes in a process of its own, with the instruments that it is told to have: see instruments.py.

Prints its port, then answers every line on standard input with the CPU seconds that it has used; ends with the input.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from fakes import FakeFinder, MemoryIndex
from lookalike_service import server
from lookalike_service.logs import configure_logging
from lookalike_service.metrics import exposed
from lookalike_service.model import Found, Ranking
from lookalike_service.telemetry import asking
from lookalike_service.tracing import trace_headers, traced
from support_gateway import open_shop, product


class AskingFinder(FakeFinder):
    """Is watched as TritonFinder is."""

    async def find(self, image: bytes, **options: Any) -> Found:  # noqa: ANN401 - as FakeFinder
        with asking("triton", "infer", model="garments_1", image_bytes=len(image), regions=0):
            trace_headers()
            return await super().find(image, **options)


class AskingIndex(MemoryIndex):
    """Is watched as MilvusIndex is."""

    async def search(self, catalog: str, vectors: npt.NDArray[np.float32], **options: Any) -> list[Ranking]:  # noqa: ANN401 - as MemoryIndex
        with asking("milvus", "search", collection="garments_default_1", rows=len(vectors)):
            return await super().search(catalog, vectors, **options)


class Unwatched(grpc.aio.ServerInterceptor):
    """In the place of the ObservingInterceptor: nothing."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:  # noqa: ANN401
        return await continuation(handler_call_details)


async def serve(options: argparse.Namespace) -> None:
    """Serve until the input ends."""
    if options.bare:
        vars(server)["ObservingInterceptor"] = Unwatched
    configure_logging("WARNING" if options.log == "off" else "INFO", format="json" if options.log == "json" else "text")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(exposed(options.metrics))
        await stack.enter_async_context(traced(options.traces, share=options.share))
        shop = await stack.enter_async_context(open_shop(finder=AskingFinder(), index=AskingIndex()))
        await shop.bring([product(f"p{number}", f"look {number % 10}") for number in range(50)])
        print(shop.gateway.port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(time.process_time(), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read what to have, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bare", action="store_true", help="without the interceptor")
    parser.add_argument("--log", choices=("off", "text", "json"), default="off")
    parser.add_argument("--metrics", default="", help="host:port")
    parser.add_argument("--traces", default="", help="a collector's URL")
    parser.add_argument("--share", type=float, default=0.0)
    asyncio.run(serve(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
