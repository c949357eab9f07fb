"""The engines that the contract suites run on: fakes, embedded ones, and the real servers that pip brings.

MILVUS_URI and DATABASE_URL in the environment put any other server in their place (`make contract`).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pymilvus import MilvusClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from fakes import DIMENSION, MemoryIndex
from lookalike_service.database import DatabaseOptions, open_database
from lookalike_service.milvus import MilvusIndex, MilvusOptions, alias_of
from lookalike_service.ports import Index, Store
from lookalike_service.store import SqlStore
from support_engines import DATABASES, MILVUSES, MilvusAccess, PostgresAccess, lite, milvus, postgres


class Engines:
    """The servers that tests have asked for, each started once and kept until all of these suites have run."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._milvus: dict[str, MilvusAccess] = {}
        self._postgres: dict[int, PostgresAccess] = {}

    def milvus(self, name: str) -> MilvusAccess:
        """Where a Milvus is reached."""
        if name == "server":
            return MilvusAccess(os.environ["MILVUS_URI"], os.environ.get("MILVUS_TOKEN", ""))
        if name not in self._milvus:
            start = lite if name == "lite" else milvus
            self._milvus[name] = self._stack.enter_context(start(self._directory / name))
        return self._milvus[name]

    def postgres(self, version: int) -> PostgresAccess:
        """Where a PostgreSQL is reached."""
        if version not in self._postgres:
            self._postgres[version] = self._stack.enter_context(postgres(version=version))
        return self._postgres[version]


@pytest.fixture(scope="package")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """All real engines; nothing runs before a test asks for it."""
    with ExitStack() as stack:
        yield Engines(tmp_path_factory.mktemp("engines"), stack)


@pytest.fixture
def catalog() -> str:
    """A catalog that no other test uses, with a name that needs escaping."""
    return f"test_{uuid.uuid4().hex[:8]}.a-b"


@contextmanager
def reached(engines: Engines, name: str, catalog: str) -> Iterator[MilvusAccess]:
    """A Milvus; all that a test makes of its catalog is dropped in the end, unless the whole of it is thrown away."""
    access = engines.milvus(name)
    yield access
    if name == "lite":
        return
    client = MilvusClient(access.uri, token=access.token, timeout=20, dedicated=True)
    for name in client.list_collections(timeout=20):
        if name.startswith(alias_of(catalog)):
            for alias in client.list_aliases(name, timeout=20).get("aliases", []):
                client.drop_alias(alias, timeout=20)
            client.drop_collection(name, timeout=20)
    client.close()


@pytest.fixture(params=MILVUSES)
def milvus_access(request: pytest.FixtureRequest, engines: Engines, catalog: str) -> Iterator[MilvusAccess]:
    """Every Milvus in turn."""
    with reached(engines, request.param, catalog) as access:
        yield access


@pytest.fixture
def milvus_options(milvus_access: MilvusAccess) -> MilvusOptions:
    """How to reach every Milvus in turn."""
    return MilvusOptions(milvus_access.uri, token=milvus_access.token)


@pytest.fixture(params=["memory", *MILVUSES])
async def index(request: pytest.FixtureRequest, engines: Engines, catalog: str) -> AsyncIterator[Index]:
    """The fake and every Milvus in turn, with the catalog prepared."""
    if request.param == "memory":
        fake = MemoryIndex()
        await fake.prepare(catalog)
        yield fake
        return
    with reached(engines, request.param, catalog) as access:
        options = MilvusOptions(access.uri, token=access.token)
        found = await MilvusIndex.connect(options, embedding_version=1, dimension=DIMENSION, timeout=20)
        await found.prepare(catalog)
        yield found
        await found.close()


@pytest.fixture(params=DATABASES)
async def database(request: pytest.FixtureRequest, engines: Engines, tmp_path: Path) -> AsyncIterator[DatabaseOptions]:
    """An empty database of every kind in turn; a server named from outside must let us create some."""
    if request.param == "sqlite":
        yield DatabaseOptions(f"sqlite+aiosqlite:///{tmp_path}/catalog.db")
        return
    if request.param == "server":
        url = os.environ["DATABASE_URL"]
    else:
        url = engines.postgres(int(request.param.removeprefix("postgresql-"))).url()
    name = f"test_{uuid.uuid4().hex[:8]}"
    administration = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with administration.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    yield DatabaseOptions(administration.url.set(database=name).render_as_string(hide_password=False))
    async with administration.connect() as connection:
        await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    await administration.dispose()


@pytest.fixture
async def store(database: DatabaseOptions) -> AsyncIterator[Store]:
    """The catalog of record in every database in turn."""
    found = SqlStore(await open_database(database, timeout=20), remembered=100)
    yield found
    await found.close()
