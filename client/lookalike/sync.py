"""The client for code without an event loop: the same methods, run in a thread of their own."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from lookalike.client import Client

__all__ = ["SyncClient"]

P = ParamSpec("P")
T = TypeVar("T")


def _like_client(
    build: Callable[Concatenate[Client, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[SyncClient, P], None]]:
    def keep(method: Callable[..., None]) -> Callable[Concatenate[SyncClient, P], None]:
        return functools.wraps(build)(method)

    return keep


def _blocking(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncClient, P], T]:
    @functools.wraps(method)
    def call(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.wait_for(method(self.asynchronous, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[Client, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[SyncClient, P], Generator[T, None, None]]:
    @functools.wraps(method)
    def iterate(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        async def start() -> AsyncGenerator[T, None]:
            return method(self.asynchronous, *args, **kwargs)

        items = self.wait_for(start())
        try:
            while True:
                try:
                    yield self.wait_for(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            self.wait_for(items.aclose())

    return iterate


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


class SyncClient:
    """Client with methods that block; takes what Client takes. Safe to share between threads.

    with SyncClient("127.0.0.1:50051") as client:
        answer = client.search("street.jpg")
    """

    @_like_client(Client.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Client's own signature
        self.asynchronous = Client(*args, **kwargs)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lookalike-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and its thread; closing twice does nothing."""
        if self._loop.is_closed():
            return
        self.wait_for(self.asynchronous.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine that runs in the client's event loop; an interrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    search = _blocking(Client.search)
    search_garments = _blocking(Client.search_garments)
    next_page = _blocking(Client.next_page)
    analyze = _blocking(Client.analyze)
    similar = _blocking(Client.similar)
    also_viewed = _blocking(Client.also_viewed)
    get_product = _blocking(Client.get_product)
    list_products = _iterating(Client.list_products)
    create_product = _blocking(Client.create_product)
    update_product = _blocking(Client.update_product)
    delete_product = _blocking(Client.delete_product)
    import_products = _iterating(Client.import_products)
    record_views = _blocking(Client.record_views)
    forget_session = _blocking(Client.forget_session)
