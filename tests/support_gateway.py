"""What tests of the gateway share: a gateway over fakes on a free port, its stubs, and patience."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from fakes import FakeFinder, MemoryIndex, photo
from lookalike.v1 import product_pb2, product_service_pb2
from lookalike.v1.product_service_pb2_grpc import ProductServiceStub
from lookalike.v1.search_service_pb2_grpc import SearchServiceStub
from lookalike_service.database import DatabaseOptions, open_database
from lookalike_service.errors import ModelUnavailable
from lookalike_service.images import Images
from lookalike_service.page_view_store import SqlPageViews
from lookalike_service.server import Gateway, build
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Pair
from lookalike_service.watching import VersionWatch

# What is durable waits for the disk; tests of something else need not.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
Check = Callable[[], Coroutine[Any, Any, None]]
OF_VERSION_1 = Settings()


@dataclass
class Shop:
    """A running gateway with everything that it was built from."""

    gateway: Gateway
    channel: grpc.aio.Channel
    finder: FakeFinder
    index: MemoryIndex
    store: SqlStore
    images: Images
    settings: Settings
    versions: VersionWatch
    pairs: dict[int, Pair]
    folder: Path

    @property
    def search(self) -> Any:  # noqa: ANN401 - one class serves synchronous and asynchronous channels
        return SearchServiceStub(self.channel)

    @property
    def products(self) -> Any:  # noqa: ANN401
        return ProductServiceStub(self.channel)

    async def bring(
        self, products: Iterable[product_pb2.Product], *, failing: bool = False
    ) -> list[product_service_pb2.ImportProductsResponse]:
        """Import products and return the answers; unless `failing`, all of them must succeed."""
        requests = (product_service_pb2.ImportProductsRequest(product=product) for product in products)
        answers = [answer async for answer in self.products.ImportProducts(requests)]
        errors = [answer.error for answer in answers if answer.outcome == product_service_pb2.IMPORT_OUTCOME_FAILED]
        assert failing or not errors, errors
        return answers


async def open_store(folder: Path) -> SqlStore:
    """The database `catalog.db` of a folder."""
    return SqlStore(await open_database(DatabaseOptions(f"sqlite+aiosqlite:///{folder}/catalog.db")))


@asynccontextmanager
async def open_shop(
    *,
    images: str = "file",
    finder: FakeFinder | None = None,
    index: MemoryIndex | None = None,
    pairs: dict[int, Pair] | None = None,
    folder: Path | None = None,
    **changes: Any,  # noqa: ANN401 - any setting
) -> AsyncIterator[Shop]:
    """Serve over fakes, a SQLite file and a folder of images; catalogs `default` and `other` exist.

    `images` is the kind of place, as fsspec calls it, where photographs go. `pairs` are more embedding versions, which
    may also come later. Two shops in one `folder` are two gateways of one catalog.
    """
    values = {
        "address": "127.0.0.1:0",
        "catalogs": "default,other",
        "token_keys": "0123456789abcdef",
        # Tests count what the models are asked.
        "probe_seconds": 3600,
        **changes,
    }
    settings = Settings(**values)
    finder, index = finder or FakeFinder(), index or MemoryIndex()
    reached = {} if pairs is None else pairs
    reached.setdefault(1, Pair(finder, index))
    async with AsyncExitStack() as stack:
        path = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        store = await open_store(path)
        stack.push_async_callback(store.close)
        photographs = Images(f"{images}://{path}/images")
        versions = await watching(store, reached, settings)
        stack.push_async_callback(versions.close)
        gateway = await build(
            settings, versions=versions, store=store, page_views=SqlPageViews(store), images=photographs
        )
        await gateway.start()
        stack.push_async_callback(gateway.stop, grace=1)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}"))
        yield Shop(gateway, channel, finder, index, store, photographs, settings, versions, reached, path)


async def watching(store: SqlStore, pairs: Mapping[int, Pair], settings: Settings = OF_VERSION_1) -> VersionWatch:
    """What a gateway knows of the embedding versions, which are reached as far as they are among `pairs`."""

    async def opened(version: int, *, timeout: float) -> Pair:
        if version not in pairs:
            raise ModelUnavailable(f"Triton does not serve garments_{version}")
        return pairs[version]

    versions = VersionWatch(
        SqlVersions(store),
        opened,
        catalogs=settings.catalogs,
        shares=settings.version_shares,
        pause=settings.versions_seconds,
        grace=settings.deadline_seconds,
    )
    await versions.start(settings.embedding_version, timeout=5)
    return versions


def product(
    id: str,
    *looks: dict[str, Any] | str,
    catalog: str = "default",
    **fields: Any,  # noqa: ANN401 - any field
) -> product_pb2.Product:
    """A product with one image per look."""
    contents = [photo({"look": look} if isinstance(look, str) else look) for look in looks or (id,)]
    images = [product_pb2.ProductImage(content=content) for content in contents]
    return product_pb2.Product(name=f"catalogs/{catalog}/products/{id}", images=images, **fields)


@dataclass(frozen=True)
class Refusal:
    """A failed call, taken apart."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: dict[str, str]
    field: str
    retry_seconds: float | None


async def refusal(call: Coroutine[Any, Any, Any] | Any) -> Refusal:  # noqa: ANN401 - whatever can be awaited
    """Await a call that must fail, and say how it did."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)
        assert status is not None, error
        return taken_apart(status, code=error.code())
    raise AssertionError(f"the call went well: {answer}")


def taken_apart(status: status_pb2.Status, *, code: grpc.StatusCode | None = None) -> Refusal:
    """A google.rpc.Status by its details."""
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    kinds = {type(detail).DESCRIPTOR.full_name: detail for detail in (info, request, retry)}
    present = set()
    for packed in status.details:
        name = packed.type_url.rpartition("/")[2]
        assert packed.Unpack(kinds[name])
        present.add(name)
    codes = {each.value[0]: each for each in grpc.StatusCode}
    return Refusal(
        code=code or codes[status.code],
        message=status.message,
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        field=request.field_violations[0].field if request.field_violations else "",
        retry_seconds=retry.retry_delay.ToTimedelta().total_seconds() if "google.rpc.RetryInfo" in present else None,
    )


async def eventually(check: Check, *, seconds: float = 5.0) -> None:
    """Repeat a check until it holds: servers show a write a fraction of a second after they acknowledged it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)
