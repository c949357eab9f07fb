"""The composition root: puts adapters, use cases and servicers together and runs the gRPC server."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lookalike.v1 import product_service_pb2, search_service_pb2
from lookalike.v1.product_service_pb2_grpc import add_ProductServiceServicer_to_server
from lookalike.v1.search_service_pb2_grpc import add_SearchServiceServicer_to_server
from lookalike_service.admission import Permits
from lookalike_service.also_viewed import AlsoViewed
from lookalike_service.catalog import Catalog
from lookalike_service.database import open_database
from lookalike_service.errors import LookalikeError, StartupError
from lookalike_service.images import Images
from lookalike_service.interceptor import ErrorInterceptor
from lookalike_service.listening import access, check_callers, health_server, listen
from lookalike_service.metrics import exposed
from lookalike_service.model import GarmentFinder
from lookalike_service.names import Names
from lookalike_service.notifying import notify
from lookalike_service.observing import ObservingInterceptor
from lookalike_service.opening import watch_of
from lookalike_service.options import database_options
from lookalike_service.page_view_store import SqlPageViews
from lookalike_service.page_views import PageViewStore
from lookalike_service.ports import ImageStore, Store
from lookalike_service.probe import Probe
from lookalike_service.projection import Projection
from lookalike_service.recording import ViewRecorder
from lookalike_service.search import Searcher
from lookalike_service.servicers import ProductServicer, SearchServicer
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from lookalike_service.tokens import Tokens
from lookalike_service.tracing import traced
from lookalike_service.version_records import SqlVersions
from lookalike_service.watching import VersionWatch
from lookalike_service.web.calls import Calls
from lookalike_service.web.endpoints import Endpoints
from lookalike_service.web.site import Site
from lookalike_service.web.thumbnails import Thumbnails

__all__ = ["Gateway", "build", "run"]

logger = logging.getLogger(__name__)

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in ((search_service_pb2, "SearchService"), (product_service_pb2, "ProductService"))
)


class Gateway:
    """A gRPC server that is built but not started; `port` is the one that it has got."""

    def __init__(
        self,
        server: grpc.aio.Server,
        *,
        port: int,
        projection: Projection,
        recorder: ViewRecorder,
        health_servicer: health.aio.HealthServicer,
        finder: Callable[[], GarmentFinder],
        probe_seconds: float,
        watching: grpc.aio.Server | None = None,
        site: Site | None = None,
    ) -> None:
        """`watching` answers health on a port of its own; `site` is the page."""
        self.port = port
        self.site = site
        self._server = server
        self._watching = watching
        self._projection = projection
        self._recorder = recorder
        self._health = health_servicer
        self._probe = Probe(finder, seconds=probe_seconds, changed=self._seeing)
        self._probing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Replay the outbox, then serve. Raises StartupError."""
        try:
            await self._projection.start()
        except LookalikeError as error:
            raise StartupError(f"what an earlier run left unfinished cannot be finished: {error.message}") from error
        self._recorder.start()
        await self._server.start()
        if self._watching:
            await self._watching.start()
        if self.site:
            await self.site.start()
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._probing = asyncio.create_task(self._probe.run())

    async def stop(self, *, grace: float) -> None:
        """Say NOT_SERVING, refuse new calls, let those under way finish within `grace` seconds."""
        if self._probing:
            self._probing.cancel()
        await self._health.enter_graceful_shutdown()
        await asyncio.gather(self._server.stop(grace), *([self.site.stop()] if self.site else []))
        if self._watching:
            await self._watching.stop(None)
        await self._recorder.stop()
        await self._projection.stop()

    async def _seeing(self, seeing: bool) -> None:
        """Without models products can still be read, written in part, and searched with tokens: only photos cannot."""
        status = health_pb2.HealthCheckResponse.SERVING if seeing else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set(SERVICES[0], status)


async def build(
    settings: Settings,
    *,
    versions: VersionWatch,
    store: Store,
    page_views: PageViewStore,
    images: ImageStore,
    shared_port: bool = False,
) -> Gateway:
    """Put a gateway together and bind its port, which others may share when told so; `versions` has begun to watch.

    Raises StartupError.
    """
    names = Names(settings.catalogs)
    tokens = Tokens([key.get_secret_value() for key in settings.token_keys], lifetime=settings.token_seconds)
    permits = Permits(
        settings.photo_permits or -(-versions.capacity // settings.workers),
        waiters=settings.search_waiters,
        seconds=settings.permit_wait_seconds,
        work="photos",
    )
    projection = Projection(shelves=lambda catalog: versions.now.shelves(catalog), store=store)
    searcher = Searcher(settings, versions=lambda: versions.now, store=store, tokens=tokens, permits=permits)
    catalog_side = Catalog(
        settings, versions=versions, store=store, images=images, projection=projection, tokens=tokens
    )
    also_viewed = AlsoViewed(
        settings, versions=lambda: versions.now, searcher=searcher, store=store, views=page_views, tokens=tokens
    )
    recorder = ViewRecorder(settings, views=page_views)
    watched: list[grpc.aio.ServerInterceptor] = [ObservingInterceptor(), door := access(settings)]
    server = grpc.aio.server(
        interceptors=[ErrorInterceptor(), *watched], options=_options(settings, shared_port=shared_port)
    )
    calls = Calls(watched)
    searching = SearchServicer(searcher, also_viewed, names, settings)
    products = ProductServicer(catalog_side, recorder, names, settings)
    for each in (server, calls.as_server()):
        add_SearchServiceServicer_to_server(searching, each)
        add_ProductServiceServicer_to_server(products, each)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    endpoints = Endpoints(
        settings,
        calls=calls,
        access=door,
        thumbnails=Thumbnails(images, mebibytes=settings.page_thumbnail_mebibytes),
        vocabularies=lambda catalog: _serving(versions, catalog).vocabularies,
    )
    return Gateway(
        server,
        port=listen(server, settings),
        projection=projection,
        recorder=recorder,
        health_servicer=health_servicer,
        watching=health_server(health_servicer, settings, shared_port=shared_port),
        finder=lambda: _serving(versions, settings.catalogs[0]),
        probe_seconds=settings.probe_seconds,
        site=Site(settings, endpoints, shared_port=shared_port) if settings.page_address else None,
    )


def _serving(versions: VersionWatch, catalog: str) -> GarmentFinder:
    """The models that a catalog is searched with. Raises ModelUnavailable."""
    now = versions.now
    return now.choose(catalog, asked=now.serving(catalog)).finder


def _options(settings: Settings, *, shared_port: bool) -> list[tuple[str, int]]:
    seconds = settings.connection_seconds
    return [
        *([("grpc.max_connection_age_ms", round(seconds * 1000))] if seconds else []),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_concurrent_streams", settings.concurrent_streams),
        # Two servers on one port would share it silently, each with a part of the calls; workers mean to (workers.py).
        ("grpc.so_reuseport", int(shared_port)),
    ]


async def run(settings: Settings, *, shared_port: bool = False) -> None:
    """Connect to Triton, Milvus, database and image store, and serve until SIGTERM or SIGINT. Raises StartupError.

    With `shared_port` other processes that ask for it, too, may listen on the same address.
    """
    check_callers(settings)
    ended = asyncio.Event()
    with _signals(ended.set):
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(exposed(settings.metrics_address))
            await stack.enter_async_context(traced(settings.traces_url, share=settings.traces_share))
            gateway = await _unless(ended, _connected(settings, stack, shared_port=shared_port))
            if gateway is None:
                return
            await gateway.start()
            logger.info("serving on %s (port %d)", settings.address, gateway.port)
            notify("READY=1")
            await ended.wait()
            notify("STOPPING=1")
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


async def _connected(settings: Settings, stack: AsyncExitStack, *, shared_port: bool) -> Gateway:
    images = Images(settings.images_url)
    begin = time.monotonic()
    store = SqlStore(
        await open_database(database_options(settings), timeout=settings.startup_seconds),
        seconds=settings.database_seconds,
        remembered=settings.products_remembered,
    )
    stack.push_async_callback(store.close)
    left = max(1.0, settings.startup_seconds - (time.monotonic() - begin))
    versions = watch_of(settings, SqlVersions(store))
    stack.push_async_callback(versions.close)
    await versions.start(settings.embedding_version, timeout=left)
    return await build(
        settings,
        versions=versions,
        store=store,
        page_views=SqlPageViews(store),
        images=images,
        shared_port=shared_port,
    )


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
