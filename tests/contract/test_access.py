"""Users, passwords, TLS and time limits at the real servers that pip brings."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from fakes import DIMENSION, vector
from lookalike_service.database import DatabaseOptions, make_engine, open_database
from lookalike_service.errors import IndexUnavailable, StartupError, StoreUnavailable
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.model import Product
from lookalike_service.store import SqlStore
from support_engines import DATABASE_SERVERS, MilvusAccess, milvus
from support_proxy import Certificates, door, make_certificates

pytestmark = pytest.mark.skipif(
    "MILVUS_URI" in os.environ or "DATABASE_URL" in os.environ, reason="a server of elsewhere has its own users and TLS"
)
# SQLite is no server: it has no users, no TLS and no connection that could break.
on_servers = pytest.mark.parametrize("database", DATABASE_SERVERS, indirect=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure_milvus(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusAccess]:
    """A Milvus 2.3.5 that speaks TLS only."""
    settings = {
        "tls_mode": 1,
        "server_pem_path": str(certificates.server),
        "server_key_path": str(certificates.key),
        "ca_pem_path": str(certificates.authority),
    }
    with milvus(tmp_path_factory.mktemp("secure"), settings=settings) as access:
        yield access


@asynccontextmanager
async def connected(options: MilvusOptions, *, timeout: float = 20.0) -> AsyncIterator[MilvusIndex]:
    index = await MilvusIndex.connect(options, embedding_version=1, dimension=DIMENSION, timeout=timeout)
    yield index
    await index.close()


async def test_milvus_by_tls_with_a_user(secure_milvus: MilvusAccess, certificates: Certificates, catalog: str) -> None:
    options = MilvusOptions(secure_milvus.uri, token=secure_milvus.token, ca_certificate=str(certificates.authority))
    async with connected(options) as index:
        await index.prepare(catalog)
        assert (await index.search(catalog, vector("x")[None], limit=1))[0].matches == ()
    with pytest.raises(StartupError, match=r"refuses us; check the user and password in LOOKALIKE_MILVUS_TOKEN"):
        async with connected(replace(options, token="root:wrong")):
            pass


async def test_milvus_with_a_certificate_that_nobody_knows(secure_milvus: MilvusAccess, tmp_path: Path) -> None:
    others = make_certificates(tmp_path)
    options = MilvusOptions(secure_milvus.uri, token=secure_milvus.token, ca_certificate=str(others.authority))
    with pytest.raises(StartupError, match=r"did not answer within 2 s.*LOOKALIKE_MILVUS_CA_CERTIFICATE"):
        async with connected(options, timeout=2):
            pass


async def test_a_plain_client_never_gets_the_channel_of_one_with_tls(
    secure_milvus: MilvusAccess, certificates: Certificates
) -> None:
    """pymilvus shares channels by address and token; with ours in use, a plain one must still fail."""
    options = MilvusOptions(secure_milvus.uri, token=secure_milvus.token, ca_certificate=str(certificates.authority))
    plain = replace(options, uri=options.uri.replace("https://", "http://"), ca_certificate="")
    async with connected(options):
        with pytest.raises(StartupError, match="whether it speaks TLS"):
            async with connected(plain, timeout=2):
                pass


async def test_a_milvus_that_falls_silent_holds_nobody_up(milvus_options: MilvusOptions, catalog: str) -> None:
    """Every call ends in its time, and all goes on once Milvus answers again."""
    port = make_url(milvus_options.uri).port
    assert port is not None
    async with door(port) as passage:
        options = replace(milvus_options, uri=f"http://127.0.0.1:{passage.port}", call_seconds=2.0)
        async with connected(options) as index:
            await index.prepare(catalog)
            await index.search(catalog, vector("x")[None], limit=1)
            passage.passing.clear()
            calls = [
                index.search(catalog, vector("x")[None], limit=1),
                index.delete(catalog, ["a/0"]),
                index.revisions(catalog, ["a/0"]),
            ]
            begin = time.monotonic()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [IndexUnavailable] * 3
            assert time.monotonic() - begin < 5
            passage.passing.set()
            await asyncio.sleep(0.5)
            assert (await index.search(catalog, vector("x")[None], limit=1))[0].matches == ()


@on_servers
async def test_the_user_and_password_of_the_database(database: DatabaseOptions) -> None:
    url = make_url(database.url)
    bare = url._replace(username=None, password=None).render_as_string()
    assert url.password is not None
    engine = await open_database(DatabaseOptions(bare, user="postgres", password=str(url.password)))
    await engine.dispose()
    begin = time.monotonic()
    with pytest.raises(StartupError, match="password authentication failed") as caught:
        await open_database(DatabaseOptions(bare, user="postgres", password="a wrong one"))
    assert "a wrong one" not in str(caught.value)
    assert time.monotonic() - begin < 5  # waiting would not help
    with pytest.raises(StartupError, match=r'database "nowhere" does not exist'):
        await open_database(replace(database, url=url.set(database="nowhere").render_as_string(hide_password=False)))


@on_servers
async def test_the_database_by_tls(database: DatabaseOptions, certificates: Certificates, tmp_path: Path) -> None:
    """These servers are built without TLS; the door before them speaks it as PostgreSQL does."""
    url = make_url(database.url)
    assert url.port is not None
    async with door(url.port, certificates=certificates) as passage:
        secure = url.set(host="localhost", port=passage.port).render_as_string(hide_password=False)
        checked = DatabaseOptions(secure, tls="verify-full", ca_certificate=str(certificates.authority))
        for options in (checked, DatabaseOptions(secure, tls="require")):
            engine = await open_database(options, timeout=10)
            async with engine.connect() as connection:
                assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
            await engine.dispose()
        unknown = make_certificates(tmp_path)
        for options in (replace(checked, ca_certificate=str(unknown.authority)), replace(checked, ca_certificate="")):
            with pytest.raises(StartupError, match="CERTIFICATE_VERIFY_FAILED"):
                await open_database(options, timeout=10)
    with pytest.raises(StartupError, match="database cannot be opened"):
        await open_database(replace(database, tls="require"), timeout=0.5)


@on_servers
async def test_a_call_to_the_database_ends_in_its_time(database: DatabaseOptions) -> None:
    store = SqlStore(await open_database(replace(database, call_seconds=1.0)))
    blocker = make_engine(database)
    async with blocker.begin() as connection:
        await connection.execute(text("LOCK TABLE products IN ACCESS EXCLUSIVE MODE"))
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await store.products("default", ["p"])
        assert time.monotonic() - begin < 4
    assert await store.products("default", ["p"]) == {}
    await store.close()
    await blocker.dispose()


@on_servers
async def test_waiting_for_a_connection_ends_in_its_time(database: DatabaseOptions) -> None:
    store = SqlStore(await open_database(replace(database, connections=1, pool_seconds=0.3)))
    async with store.engine.connect():
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await store.products("default", ["p"])
        assert time.monotonic() - begin < 3
    assert await store.products("default", ["p"]) == {}
    await store.close()


@on_servers
async def test_a_database_that_falls_silent_holds_nobody_up(database: DatabaseOptions) -> None:
    url = make_url(database.url)
    assert url.port is not None
    async with door(url.port) as passage:
        through = url.set(port=passage.port).render_as_string(hide_password=False)
        store = SqlStore(await open_database(replace(database, url=through, call_seconds=0.5, connect_seconds=1.0)))
        passage.passing.clear()
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await store.products("default", ["p"])
        assert time.monotonic() - begin < 8
        passage.passing.set()
        await store.write(Product("default", "p", revision=1), expected_revision=0, pending=False)
        assert list(await store.products("default", ["p"])) == ["p"]
        await store.close()


async def test_a_database_that_does_not_answer_is_named() -> None:
    with pytest.raises(StartupError, match="LOOKALIKE_DATABASE_URL"):
        await open_database(DatabaseOptions("postgresql+asyncpg://postgres@127.0.0.1:9/postgres"), timeout=0.5)
