"""Imports: a bounded number of products under way, answers in order, cuts resumed by sending again."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

import grpc

from lookalike.calls import Caller, check_size
from lookalike.errors import (
    DeadlineExceeded,
    LookalikeError,
    MessageTooLarge,
    ServerFault,
    Unavailable,
)
from lookalike.iteration import each
from lookalike.status import error_from_rpc, status_from_error
from lookalike.v1.product_pb2 import Product
from lookalike.v1.product_service_pb2 import IMPORT_OUTCOME_FAILED, ImportProductsRequest, ImportProductsResponse

__all__ = ["Importer", "Products"]

Products = AsyncIterable[Product] | Iterable[Product]
# What grpc.aio says, in place of the stream's own status, when a write meets a stream that has just ended.
WRITE_FAILED = "Internal error from Core"
ImportCall = grpc.aio.StreamStreamCall[ImportProductsRequest, ImportProductsResponse]


@dataclass(frozen=True, slots=True)
class _Item:
    request: ImportProductsRequest
    name: str
    size: int
    # Why the product cannot be sent; an empty request keeps its place in the stream.
    refusal: LookalikeError | None = None


class _Window:
    """The products that were taken from the source and are not answered yet, oldest first."""

    def __init__(self, *, most: int, most_bytes: int) -> None:
        self._items: deque[_Item] = deque()
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._ended = False
        self._changed = asyncio.Condition()
        self.answered = 0
        self.progress = time.monotonic()

    @property
    def empty(self) -> bool:
        return not self._items

    def _has_room(self, size: int) -> bool:
        return not self._items or (len(self._items) < self._most and self._bytes + size <= self._most_bytes)

    async def add(self, item: _Item) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(item.size))
            if not self._items:
                self.progress = time.monotonic()
            self._items.append(item)
            self._bytes += item.size
            self._changed.notify_all()

    async def end(self) -> None:
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def get(self, index: int) -> _Item | None:
        """The product of that index, counted from the beginning of the import; None after the last one."""
        async with self._changed:
            await self._changed.wait_for(lambda: index - self.answered < len(self._items) or self._ended)
            place = index - self.answered
            return self._items[place] if place < len(self._items) else None

    async def pop(self) -> _Item:
        async with self._changed:
            item = self._items.popleft()
            self._bytes -= item.size
            self.answered += 1
            self._changed.notify_all()
            return item


class Importer:
    """One import."""

    def __init__(
        self,
        open_stream: Callable[[], ImportCall],
        *,
        caller: Caller,
        name_of: Callable[[str], str],
        timeout: float,
        max_in_flight: int,
        max_bytes_in_flight: int,
    ) -> None:
        self._open_stream = open_stream
        self._caller = caller
        self._name_of = name_of
        self._timeout = timeout
        self._window = _Window(most=max_in_flight, most_bytes=max_bytes_in_flight)
        self._source_error: Exception | None = None

    async def run(self, products: Products) -> AsyncGenerator[ImportProductsResponse, None]:
        """Answers in the order of the products; `position` counts from the beginning of the import.

        Raises LookalikeError when no product was answered for `timeout` seconds, or on an error that trying again
        does not heal; and whatever `products` raises, after the answers of what it gave before.
        """
        feeding = asyncio.create_task(self._feed(products))
        attempts = 0
        try:
            while True:
                attempts += 1
                answered = self._window.answered
                try:
                    async with aclosing(self._stream()) as answers:
                        async for answer in answers:
                            yield answer
                            # How long the receiver took is not the server's fault.
                            self._window.progress = time.monotonic()
                    break
                except (grpc.aio.AioRpcError, LookalikeError) as error:
                    if self._window.answered > answered:
                        attempts = 1
                    await self._wait_before_retry(error, attempts=attempts)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        if self._source_error is not None:
            raise self._source_error

    async def _wait_before_retry(self, failure: grpc.aio.AioRpcError | LookalikeError, *, attempts: int) -> None:
        error = failure if isinstance(failure, LookalikeError) else error_from_rpc(failure)
        if error.code is grpc.StatusCode.CANCELLED or error.message == WRITE_FAILED:
            error = Unavailable("the stream was cut")
        error = self._caller.explain(error, seconds=self._timeout)
        delay = self._caller.retry.delay(error, attempts=attempts)
        if delay is None or time.monotonic() + delay - self._window.progress >= self._timeout:
            raise error from failure
        await asyncio.sleep(delay)

    async def _feed(self, products: Products) -> None:
        try:
            async for product in each(products):
                await self._window.add(self._item(product))
        except Exception as error:
            self._source_error = error
        finally:
            await self._window.end()

    def _item(self, product: Product) -> _Item:
        request = ImportProductsRequest(product=product)
        name = request.product.name = self._name_of(product.name)
        try:
            check_size(request, name=name)
        except MessageTooLarge as refusal:
            return _Item(ImportProductsRequest(), name, 0, refusal)
        return _Item(request, name, request.ByteSize())

    async def _stream(self) -> AsyncGenerator[ImportProductsResponse, None]:
        """One stream: sends what is not answered yet, then goes on with the source."""
        first = self._window.answered
        call = self._open_stream()
        sending = asyncio.create_task(self._send(call, first=first))
        try:
            while (answer := await self._read(call)) is not None:
                due = self._window.answered
                if answer.position + first != due or self._window.empty:
                    raise ServerFault(f"the server answered product {answer.position + first}, but {due} was due")
                yield self._completed(answer, item=await self._window.pop(), position=due)
            if not self._window.empty:
                raise Unavailable("the server ended the import early")
        finally:
            sending.cancel()
            call.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def _completed(self, answer: ImportProductsResponse, *, item: _Item, position: int) -> ImportProductsResponse:
        answer.position = position
        if item.refusal is not None:
            answer.name = item.name
            answer.outcome = IMPORT_OUTCOME_FAILED
            answer.error.CopyFrom(status_from_error(item.refusal))
        return answer

    async def _send(self, call: ImportCall, *, first: int) -> None:
        index = first
        try:
            while (item := await self._window.get(index)) is not None:
                await call.write(item.request)
                index += 1
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream is over; the reading side says why.
            return

    async def _read(self, call: ImportCall) -> ImportProductsResponse | None:
        """The next answer, or None at the end; waits at most `timeout` while a product is unanswered."""
        # Cancelling a read cancels the whole call, so a wait that comes to its end leaves the read alone.
        reading = asyncio.ensure_future(call.read())
        try:
            while not reading.done():
                waited = 0.0 if self._window.empty else time.monotonic() - self._window.progress
                if waited >= self._timeout:
                    raise DeadlineExceeded(
                        f"no product was answered for {self._timeout:g} s; allow more with `timeout`"
                    )
                await asyncio.wait({reading}, timeout=self._timeout - waited)
        except BaseException:
            reading.cancel()
            raise
        answer = reading.result()
        return answer if isinstance(answer, ImportProductsResponse) else None
