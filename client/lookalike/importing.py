"""Imports: a bounded number of products under way, answers in order, what fails in passing or is cut sent again."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing

import grpc

from lookalike.calls import Caller, check_size
from lookalike.errors import (
    DeadlineExceeded,
    LookalikeError,
    MessageTooLarge,
    ServerFault,
    Unavailable,
)
from lookalike.importing_window import Item, Window
from lookalike.iteration import each
from lookalike.status import error_from_rpc, error_from_status, status_from_error
from lookalike.v1.product_pb2 import Product
from lookalike.v1.product_service_pb2 import IMPORT_OUTCOME_FAILED, ImportProductsRequest, ImportProductsResponse

__all__ = ["Importer", "Products"]

Products = AsyncIterable[Product] | Iterable[Product]
# What grpc.aio says, in place of the stream's own status, when a write meets a stream that has just ended.
WRITE_FAILED = "Internal error from Core"
ImportCall = grpc.aio.StreamStreamCall[ImportProductsRequest, ImportProductsResponse]


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
        self._window = Window(most=max_in_flight, most_bytes=max_bytes_in_flight)
        self._heard = time.monotonic()
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
                settled = self._window.settled
                try:
                    async with aclosing(self._stream()) as answers:
                        async for answer in answers:
                            began = time.monotonic()
                            yield answer
                            # How long the receiver took is not the server's fault.
                            self._window.forgive(time.monotonic() - began)
                    break
                except (grpc.aio.AioRpcError, LookalikeError) as error:
                    if self._window.done:
                        # Nothing is left that the server would be needed for.
                        break
                    if self._window.settled > settled:
                        attempts = 1
                    await self._wait_before_retry(error, attempts=attempts)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        if self._source_error is not None:
            raise self._source_error

    async def _wait_before_retry(self, failure: grpc.aio.AioRpcError | LookalikeError, *, attempts: int) -> None:
        error = failure if isinstance(failure, LookalikeError) else error_from_rpc(failure)
        if error.message == WRITE_FAILED:
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

    def _item(self, product: Product) -> Item:
        request = ImportProductsRequest(product=product)
        name = request.product.name = self._name_of(product.name)
        try:
            check_size(request, name=name)
        except MessageTooLarge as refusal:
            return Item(ImportProductsRequest(), name, 0, refusal)
        return Item(request, name, request.ByteSize())

    async def _stream(self) -> AsyncGenerator[ImportProductsResponse, None]:
        """One stream: sends what is not settled yet, then goes on with the source."""
        await self._window.begin_again()
        call = self._open_stream()
        sent: deque[Item] = deque()
        sending = asyncio.create_task(self._send(call, sent))
        try:
            read = 0
            while (answer := await self._read(call, sent)) is not None:
                if answer.position != read or not sent:
                    raise ServerFault(f"the server answered product {answer.position}, but {read} was due")
                read += 1
                await self._take(answer, item=sent.popleft())
                while (due := await self._window.pop()) is not None:
                    yield due
            if not self._window.empty:
                raise Unavailable("the server ended the import early")
        finally:
            sending.cancel()
            call.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _take(self, answer: ImportProductsResponse, *, item: Item) -> None:
        """Settle the product with its answer, or send it again when the answer is a failure that passes."""
        if item.refusal is not None:
            answer.name = item.name
            answer.outcome = IMPORT_OUTCOME_FAILED
            answer.error.CopyFrom(status_from_error(item.refusal))
        elif answer.outcome == IMPORT_OUTCOME_FAILED:
            delay = self._caller.retry.delay(error_from_status(answer.error), attempts=item.attempts)
            if delay is not None:
                now = time.monotonic()
                # A product that fails for itself has one timeout; when nothing succeeds, none has more.
                if now + delay < min(item.first_sent, self._window.progress) + self._timeout:
                    await self._window.postpone(item, until=now + delay)
                    return
                await self._window.settle(item, answer, progress=False)
                return
        await self._window.settle(item, answer, progress=True)

    async def _send(self, call: ImportCall, sent: deque[Item]) -> None:
        try:
            while (item := await self._window.claim()) is not None:
                if not sent:
                    self._heard = time.monotonic()
                sent.append(item)
                await call.write(item.request)
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream is over; the reading side says why.
            return

    async def _read(self, call: ImportCall, sent: deque[Item]) -> ImportProductsResponse | None:
        """The next answer, or None at the end; waits at most `timeout` while a product is unanswered."""
        # Cancelling a read cancels the whole call, so a wait that comes to its end leaves the read alone.
        reading = asyncio.ensure_future(call.read())
        try:
            while not reading.done():
                waited = time.monotonic() - max(self._heard, self._window.progress) if sent else 0.0
                if waited >= self._timeout:
                    raise DeadlineExceeded(
                        f"no product was answered for {self._timeout:g} s; allow more with `timeout`"
                    )
                await asyncio.wait({reading}, timeout=self._timeout - waited)
        except BaseException:
            reading.cancel()
            raise
        answer = reading.result()
        self._heard = time.monotonic()
        return answer if isinstance(answer, ImportProductsResponse) else None
