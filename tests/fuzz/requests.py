"""Whatever message comes, each method answers it or refuses it with an error of the contract; nothing else escapes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import atheris
import grpc

INSTRUMENTED = [
    f"lookalike_service.{name}"
    for name in ("catalog", "drafts", "filter", "garments", "names", "search", "servicers", "wire", "wire_products")
]
with atheris.instrument_imports(include=INSTRUMENTED):
    from support_gateway import open_shop

from fakes import FakeFinder, photo
from fuzz.corpus import METHODS
from lookalike.v1.product_service_pb2 import ImportProductsResponse
from lookalike_service.model import Box, Found

SEEN = photo({"look": "red dress", "category": "dress"}, {"look": "jeans", "category": "pants"})
# What an answer of the contract never has; an unexpected failure is INTERNAL, and gRPC's own word for one is UNKNOWN.
BROKEN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)


class AnyPhotoFinder(FakeFinder):
    """Sees the same two garments on whatever bytes; what real bytes do to a decoder is tried elsewhere."""

    async def find(
        self, image: bytes, *, regions: Sequence[Box] = (), min_score: float = 0.0, max_garments: int = 0,
        timeout: float | None = None,
    ) -> Found:  # fmt: skip
        return await super().find(SEEN, regions=regions, max_garments=max_garments)


class Gateway:
    """A gateway over fakes in this process, and raw bytes to all of its methods."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._open())

    async def _open(self) -> None:
        self._stack = AsyncExitStack()
        shop = await self._stack.enter_async_context(open_shop(finder=AnyPhotoFinder(), log_level="ERROR"))
        self._channel: Any = shop.channel

    def ask(self, number: int, message: bytes) -> None:
        """Send bytes to a method as its request. Raises AioRpcError."""
        self.loop.run_until_complete(self._ask(METHODS[number % len(METHODS)].DESCRIPTOR.name, message))

    async def _ask(self, request: str, message: bytes) -> None:
        method = request.removesuffix("Request")
        service = "SearchService" if method in SEARCHING else "ProductService"
        path = f"/lookalike.v1.{service}/{method}"
        if method == "ImportProducts":
            async for answer in self._channel.stream_stream(path)(iter([message]), timeout=10):
                error = ImportProductsResponse.FromString(answer).error
                assert error.code != grpc.StatusCode.INTERNAL.value[0], error.message
        else:
            await self._channel.unary_unary(path)(message, timeout=10)


SEARCHING = ("SearchProducts", "AnalyzeImage", "ListSimilarProducts")


def one_input(data: bytes) -> None:
    """Let the first byte choose the method, and the others be its request."""
    try:
        GATEWAY.ask(data[0] if data else 0, data[1:])
    except grpc.aio.AioRpcError as error:
        if error.code() in BROKEN:
            raise AssertionError(f"{error.code()}: {error.details()}") from error


if __name__ == "__main__":
    GATEWAY = Gateway()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
