"""The composition root: puts adapters, use cases and servicers together and runs the gRPC server."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lookalike.v1 import product_service_pb2, search_service_pb2
from lookalike.v1.product_service_pb2_grpc import add_ProductServiceServicer_to_server
from lookalike.v1.search_service_pb2_grpc import add_SearchServiceServicer_to_server
from lookalike_service.admission import Permits
from lookalike_service.catalog import Catalog
from lookalike_service.database import open_database
from lookalike_service.errors import LookalikeError, StartupError
from lookalike_service.images import Images
from lookalike_service.interceptor import ErrorInterceptor
from lookalike_service.milvus import MilvusIndex
from lookalike_service.model import GarmentFinder
from lookalike_service.names import Names
from lookalike_service.options import database_options, milvus_options
from lookalike_service.ports import ImageStore, Index, Store
from lookalike_service.projection import Projection
from lookalike_service.search import Searcher
from lookalike_service.servicers import ProductServicer, SearchServicer
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from lookalike_service.tokens import Tokens
from lookalike_service.triton import TritonFinder

__all__ = ["Gateway", "build", "run"]

logger = logging.getLogger(__name__)

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in ((search_service_pb2, "SearchService"), (product_service_pb2, "ProductService"))
)


class Gateway:
    """A gRPC server that is built but not started; `port` is the one that it has got."""

    def __init__(
        self, server: grpc.aio.Server, *, port: int, projection: Projection, health_servicer: health.aio.HealthServicer
    ) -> None:
        self.port = port
        self._server = server
        self._projection = projection
        self._health = health_servicer

    async def start(self) -> None:
        """Replay the outbox, then serve. Raises StartupError."""
        try:
            await self._projection.start()
        except LookalikeError as error:
            raise StartupError(f"what an earlier run left unfinished cannot be finished: {error.message}") from error
        await self._server.start()
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, *, grace: float) -> None:
        """Say NOT_SERVING, refuse new calls, let those under way finish within `grace` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
        await self._projection.stop()


async def build(
    settings: Settings, *, finder: GarmentFinder, index: Index, store: Store, images: ImageStore
) -> Gateway:
    """Put a gateway together and bind its port. Raises StartupError."""
    try:
        for catalog in settings.catalogs:
            await index.prepare(catalog)
    except LookalikeError as error:
        raise StartupError(f"{error.message}; check that Milvus runs at {settings.milvus_uri}") from error
    names = Names(settings.catalogs)
    tokens = Tokens([key.get_secret_value() for key in settings.token_keys], lifetime=settings.token_seconds)
    permits = Permits(settings.search_permits, waiters=settings.search_waiters, seconds=settings.permit_wait_seconds)
    projection = Projection(index=index, store=store, embedding_version=finder.embedding_version)
    searcher = Searcher(settings, finder=finder, index=index, store=store, tokens=tokens, permits=permits)
    catalog_side = Catalog(settings, finder=finder, store=store, images=images, projection=projection, tokens=tokens)
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=_options(settings))
    add_SearchServiceServicer_to_server(SearchServicer(searcher, names, settings), server)
    add_ProductServiceServicer_to_server(ProductServicer(catalog_side, names, settings), server)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return Gateway(
        server, port=_bound(server, settings.address), projection=projection, health_servicer=health_servicer
    )


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_concurrent_streams", settings.concurrent_streams),
        # Two servers on one port would share it silently, each with a part of the calls.
        ("grpc.so_reuseport", 0),
    ]


def _bound(server: grpc.aio.Server, address: str) -> int:
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartupError(
            f"cannot listen on {address}: the port is taken, or the address is not this machine's; set "
            "LOOKALIKE_ADDRESS to another one (port 0 takes any that is free)"
        ) from error
    return int(port)


async def run(settings: Settings) -> None:
    """Connect to Triton, Milvus, database and image store, and serve until SIGTERM or SIGINT. Raises StartupError."""
    ended = asyncio.Event()
    with _signals(ended.set):
        async with AsyncExitStack() as stack:
            gateway = await _unless(ended, _connected(settings, stack))
            if gateway is None:
                return
            await gateway.start()
            logger.info("serving on %s (port %d)", settings.address, gateway.port)
            await ended.wait()
            logger.info("stopping; calls under way have %.0f s", settings.grace_seconds)
            await gateway.stop(grace=settings.grace_seconds)


async def _unless(ended: asyncio.Event, starting: Coroutine[Any, Any, Gateway]) -> Gateway | None:
    """The gateway, or None when the process is told to end before it is there."""
    begun, told = asyncio.create_task(starting), asyncio.create_task(ended.wait())
    await asyncio.wait([begun, told], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not begun.done():
        begun.cancel()
        await asyncio.wait([begun])
        return None
    return begun.result()


async def _connected(settings: Settings, stack: AsyncExitStack) -> Gateway:
    images = Images(settings.images_url)
    begin = time.monotonic()
    store = SqlStore(
        await open_database(database_options(settings), timeout=settings.startup_seconds),
        seconds=settings.database_seconds,
    )
    stack.push_async_callback(store.close)
    finder = await _started(
        TritonFinder.connect(
            settings.triton_address, embedding_version=settings.embedding_version, timeout=settings.startup_seconds
        )
    )
    stack.push_async_callback(finder.close)
    index = await MilvusIndex.connect(
        milvus_options(settings),
        embedding_version=finder.embedding_version,
        dimension=finder.embedding_size,
        timeout=max(1.0, settings.startup_seconds - (time.monotonic() - begin)),
    )
    stack.push_async_callback(index.close)
    return await build(settings, finder=finder, index=index, store=store, images=images)


async def _started(connecting: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever connects
    try:
        return await connecting
    except LookalikeError as error:
        raise StartupError(error.message) from error


@contextmanager
def _signals(end: Callable[[], object]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
