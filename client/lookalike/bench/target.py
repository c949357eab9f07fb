"""What a Lookalike server is asked in a run: requests built ahead, and calls that cost this side little."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc
from google.protobuf.message import Message

from lookalike.bench.load import Answer
from lookalike.calls import parse_server_timing
from lookalike.connection import connect
from lookalike.errors import LookalikeError, Unavailable
from lookalike.status import error_from_rpc
from lookalike.v1.garment_pb2 import GarmentTokens
from lookalike.v1.search_service_pb2 import (
    AnalyzeImageRequest,
    AnalyzeImageResponse,
    ListSimilarProductsRequest,
    ListSimilarProductsResponse,
    SearchProductsRequest,
    SearchProductsResponse,
)

__all__ = ["Requests", "Target", "analyzing", "searching", "searching_tokens", "similar_products"]

# Each channel shall have a connection of its own; gRPC would share one among channels of the same address.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
Method = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


# Behind its end a photo carries this many blanks and tabs, which no decoder reads.
STAMP_BYTES = 64
BLANKS = bytes.maketrans(b"01", b" \t")


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of one RPC as they go over the wire, and how many garments an answer to them holds.

    `stamped` messages end with a photo's stamp, which is new each time that the photo is sent: no server can know it
    already.
    """

    rpc: str
    messages: tuple[bytes, ...]
    garments: Callable[[bytes], int]
    stamped: bool = False

    def message(self, number: int) -> bytes:
        """What the request of that number sends."""
        message = self.messages[number % len(self.messages)]
        return message[:-STAMP_BYTES] + _stamp() if self.stamped else message


def searching(
    photos: Iterable[bytes],
    *,
    catalog: str,
    page_size: int = 0,
    filter: str = "",
    max_garments: int = 0,
    repeat: bool = False,
) -> Requests:
    """A search for every garment of each photo; `repeat` sends the same bytes again and again."""
    terms = SearchProductsRequest(catalog=catalog, page_size=page_size, filter=filter, max_garments=max_garments)
    return Requests(
        "SearchProducts",
        _with_photos(terms, (SearchProductsRequest(image=_sent(photo, repeat=repeat)) for photo in photos)),
        lambda answer: len(SearchProductsResponse.FromString(answer).results),
        stamped=not repeat,
    )


def analyzing(photos: Iterable[bytes], *, catalog: str, max_garments: int = 0, repeat: bool = False) -> Requests:
    """A description of every garment of each photo; `repeat` sends the same bytes again and again."""
    terms = AnalyzeImageRequest(catalog=catalog, max_garments=max_garments)
    return Requests(
        "AnalyzeImage",
        _with_photos(terms, (AnalyzeImageRequest(image=_sent(photo, repeat=repeat)) for photo in photos)),
        lambda answer: len(AnalyzeImageResponse.FromString(answer).garments),
        stamped=not repeat,
    )


def _with_photos(terms: Message, photos: Iterable[Message]) -> tuple[bytes, ...]:
    """Messages one behind the other are one message to protobuf; so each ends with its photo."""
    return tuple(terms.SerializeToString() + photo.SerializeToString() for photo in photos)


def _sent(photo: bytes, *, repeat: bool) -> bytes:
    return photo if repeat else photo + _stamp()


def _stamp() -> bytes:
    return f"{random.getrandbits(STAMP_BYTES):0{STAMP_BYTES}b}".encode().translate(BLANKS)


def searching_tokens(tokens: Iterable[str], *, catalog: str, page_size: int = 0, filter: str = "") -> Requests:
    """A search for each garment of earlier answers."""
    messages = (
        SearchProductsRequest(
            catalog=catalog, garments=GarmentTokens(tokens=[token]), page_size=page_size, filter=filter
        )
        for token in tokens
    )
    return Requests(
        "SearchProducts",
        tuple(message.SerializeToString() for message in messages),
        lambda answer: len(SearchProductsResponse.FromString(answer).results),
    )


def similar_products(names: Iterable[str], *, page_size: int = 0, filter: str = "") -> Requests:
    """What looks like each product; the answers are read like all, but hold no garments."""
    messages = (ListSimilarProductsRequest(name=name, page_size=page_size, filter=filter) for name in names)
    return Requests("ListSimilarProducts", tuple(message.SerializeToString() for message in messages), _read_hits)


def _read_hits(answer: bytes) -> int:
    ListSimilarProductsResponse.FromString(answer)
    return 0


class Target:
    """A server with the requests that it shall get, in turn over several connections and without retries.

    `call` is a Call of load.py. The phases of an answer are the server's own account, and "wire" for all the rest: the
    network, gRPC on both sides, and this side's reading.
    """

    def __init__(
        self,
        server: str,
        requests: Requests,
        *,
        connections: int = 1,
        credentials: grpc.ChannelCredentials | None = None,
        channel_options: Sequence[tuple[str, int | str]] = (),
        metadata: Sequence[tuple[str, str]] = (),
        timeout: float = 30.0,
    ) -> None:
        self._server, self._requests, self._timeout = server, requests, timeout
        self._metadata = tuple(metadata)
        self._channels = [
            connect(server, credentials=credentials, options=(*OWN_CONNECTION, *channel_options)).channel
            for _ in range(connections)
        ]
        # Without serializers gRPC takes and gives bytes.
        path = f"/lookalike.v1.SearchService/{requests.rpc}"
        methods: list[Method] = [channel.unary_unary(path) for channel in self._channels]
        self._methods = itertools.cycle(methods)

    async def __aenter__(self) -> Self:
        """Connect, and see that the first request is answered. Raises LookalikeError."""
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.gather(*(channel.channel_ready() for channel in self._channels))
            await self._start(0)
        except TimeoutError as error:
            await self._close()
            raise Unavailable(f"cannot reach a server at {self._server}; is it running there?") from error
        except grpc.aio.AioRpcError as error:
            await self._close()
            raise error_from_rpc(error) from error
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels))

    def _start(self, number: int) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
        message = self._requests.message(number)
        return next(self._methods)(message, timeout=self._timeout, metadata=self._metadata)

    async def call(self, number: int) -> Answer:
        """Send a request; refusals are answers like "RESOURCE_EXHAUSTED OVERLOADED"."""
        begun = time.perf_counter()
        call = self._start(number)
        try:
            answer = await call
        except grpc.aio.AioRpcError as rpc_error:
            return Answer(code=_code(error_from_rpc(rpc_error)))
        garments = self._requests.garments(answer)
        trailing = dict(await call.trailing_metadata())
        phases = parse_server_timing(str(trailing.get("server-timing", "")))
        if phases:
            phases["wire"] = max(time.perf_counter() - begun - sum(phases.values()), 0.0)
        return Answer(phases=phases, garments=garments)


def _code(error: LookalikeError) -> str:
    return f"{error.code.name} {error.reason}".rstrip()
