"""`lookalike reindex` over Triton's protocol, Milvus Lite and SQLite, beside a gateway; and all that can be wrong."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from pymilvus import MilvusClient

from lookalike.cli import main as lookalike
from lookalike.v1 import product_pb2, product_service_pb2, search_service_pb2
from lookalike.v1.product_service_pb2_grpc import ProductServiceStub
from lookalike.v1.search_service_pb2_grpc import SearchServiceStub
from lookalike_service.embedded.milvus import EmbeddedMilvus
from lookalike_service.errors import StartupError
from lookalike_service.images import Images
from lookalike_service.maintenance import verify
from lookalike_service.opening import watch_of
from lookalike_service.page_view_store import SqlPageViews
from lookalike_service.reindex_command import Wanted, reindex, wanted_of
from lookalike_service.server import build
from lookalike_service.settings import Settings
from lookalike_service.version_records import SqlVersions
from support_gateway import MEMORY, eventually, open_store
from support_triton import FakeTriton, looks, serving

PRODUCTS = 12


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("lite")
    with EmbeddedMilvus(folder / "data", run_directory=folder / "run") as server:
        yield server.uri


@dataclass
class World:
    """A gateway with a catalog, the Triton that it asks, and what the command says."""

    triton: FakeTriton
    settings: Settings
    channel: grpc.aio.Channel
    said: list[str] = field(default_factory=list)

    async def reindex(self, version: int = 0, **options: object) -> list[str]:
        """Run the command; its lines."""
        self.said.clear()
        await reindex(self.settings, Wanted(version, **options), write=self.said.append)  # type: ignore[arg-type]
        return list(self.said)

    async def fails(self, version: int = 0, **options: object) -> str:
        """Run the command, which must fail; its sentence."""
        with pytest.raises(StartupError) as caught:
            await self.reindex(version, **options)
        assert await self.serving() == 1, "the old version serves on"
        return str(caught.value)

    async def serving(self) -> int:
        request = search_service_pb2.SearchProductsRequest(image=b"photo 3")
        answer = await SearchServiceStub(self.channel).SearchProducts(request)
        hit = answer.results[0].hits[0]
        assert (hit.product.name, hit.score > 0.99) == ("catalogs/default/products/p03", True)
        return int(answer.embedding_version)

    async def serves(self, version: int) -> None:
        async def answered() -> None:
            assert await self.serving() == version

        await eventually(answered)


@pytest.fixture
async def world(milvus: str) -> AsyncIterator[World]:
    triton = FakeTriton()
    triton.answer = looks
    triton.add(2)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        address = await stack.enter_async_context(serving(triton))
        settings = Settings(
            address="127.0.0.1:0", triton_address=address, milvus_uri=milvus, startup_seconds=20, versions_seconds=0.1,
            database_url=f"sqlite+aiosqlite:///{folder}/catalog.db", images_url=f"file://{folder}/images",
            deadline_seconds=20, import_deadline_seconds=60, recent_mebibytes=0,
        )  # fmt: skip
        client = MilvusClient(milvus, timeout=20, dedicated=True)
        stack.callback(client.close)
        stack.callback(_emptied, client)
        store = await open_store(folder)
        stack.push_async_callback(store.close)
        versions = watch_of(settings, SqlVersions(store))
        stack.push_async_callback(versions.close)
        await versions.start(1, timeout=20)
        images = Images(settings.images_url)
        gateway = await build(settings, versions=versions, store=store, page_views=SqlPageViews(store), images=images)
        await gateway.start()
        stack.push_async_callback(gateway.stop, grace=1)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}"))
        # Patient as a gateway on a busy machine, but a drop waits no longer than these calls take.
        opened = World(triton, settings.model_copy(update={"deadline_seconds": 0.5}), channel)
        await brought(opened)
        await opened.serves(1)
        yield opened


def _emptied(client: MilvusClient) -> None:
    for name in client.list_collections(timeout=20):
        for alias in client.list_aliases(name, timeout=20).get("aliases", []):
            client.drop_alias(alias, timeout=20)
        client.drop_collection(name, timeout=20)


async def brought(world: World) -> None:
    products = [
        product_pb2.Product(
            name=f"catalogs/default/products/p{number:02}",
            images=[product_pb2.ProductImage(content=f"photo {number}".encode())],
        )
        for number in range(PRODUCTS)
    ]
    requests = (product_service_pb2.ImportProductsRequest(product=each) for each in products)
    stub = ProductServiceStub(world.channel)
    answers = [answer async for answer in stub.ImportProducts(requests)]
    assert {answer.outcome for answer in answers} == {product_service_pb2.IMPORT_OUTCOME_CREATED}


async def test_there_and_back_and_clean_up(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert await world.reindex(status=True) == ["default: embedding version 1 serving"]
    said = await world.reindex(2, switch=False)
    assert said[0] == "default: embedded 12 products with version 2"
    assert said[1].endswith("12 products with 12 views, 12 in the index; 0 missing, 0 surplus, 0 outdated")
    assert said[2].startswith("default: overlap@10 with version 1: 0.")
    assert "the same command without --no-switch switches" in said[3]
    assert "default: 12 of 12 products (100%)" in capsys.readouterr().err
    assert await world.serving() == 1
    said = await world.reindex(2)
    assert said[0] == "default: embedded 0 products with version 2"
    assert said[-2:] == [
        "default: embedding version 2 serves",
        "default: version 1 is kept: `lookalike reindex --rollback` switches back, "
        "`lookalike reindex --drop 1` throws it away",
    ]
    await world.serves(2)
    assert [report.sentence() for report in await verify(world.settings, [], repair=False)] == [
        f"default by version {version}: 12 products with 12 views, 12 in the index; 0 missing, 0 surplus, 0 outdated"
        for version in (1, 2)
    ]
    assert await world.reindex(2) == ["default: embedding version 2 serves already"]
    assert await world.reindex(rollback=True) == ["default: embedding version 1 serves again; 2 is kept"]
    await world.serves(1)
    assert await world.reindex(rollback=True) == ["default: embedding version 2 serves again; 1 is kept"]
    await world.serves(2)
    world.triton.remove(1)  # its model need not be there any more
    assert await world.reindex(drop=1) == ["default: embedding version 1 is dropped"]
    assert await world.reindex(status=True) == ["default: embedding version 2 serving"]
    assert await world.serving() == 2


async def test_a_new_model_that_is_not_served(world: World) -> None:
    world.triton.remove(2)
    settings = world.settings.model_copy(update={"startup_seconds": 1.0})
    world.settings = settings
    said = await world.fails(2)
    assert "it does not serve garments_2 and garments_in_regions_2; both ensembles of version 2 belong into" in said
    assert await world.reindex(status=True) == ["default: embedding version 1 serving"]


async def test_an_old_model_that_is_missing(world: World) -> None:
    world.settings = world.settings.model_copy(update={"startup_seconds": 2.0})
    world.triton.configs.pop("garments_in_regions_1")
    said = await world.fails(2)
    assert said.startswith("embedding version 1, which catalog default is searched with until the switch, is not")
    assert "--without-old goes on without it" in said
    assert (await world.reindex(2, without_old=True))[-1] == "default: embedding version 1 is dropped"
    assert await world.reindex(status=True) == ["default: embedding version 2 serving"]
    await world.serves(2)


async def test_twice_at_once(world: World) -> None:
    outcomes = await asyncio.gather(
        *(reindex(world.settings, Wanted(2), write=world.said.append) for _ in range(2)), return_exceptions=True
    )
    [refused] = [each for each in outcomes if each is not None]
    assert isinstance(refused, StartupError)
    assert "catalog default is being reindexed already, by " in str(refused)
    await world.serves(2)


async def test_a_photograph_that_is_gone(world: World) -> None:
    shutil.rmtree(next(Path(world.settings.images_url.removeprefix("file://")).iterdir()))
    said = await world.fails(2)
    assert "1 products of catalog default cannot be embedded: p" in said
    assert "is no longer stored; send its content). Import them again with their photographs or delete them" in said
    assert "Version 1 goes on serving" in said
    assert await world.reindex(status=True) == [
        "default: embedding version 1 serving",
        "default: embedding version 2 filling, 12 of 12 products",
    ]
    await world.reindex(2, leave_out=True, switch=False)
    assert await world.reindex(drop=2) == ["default: embedding version 2 is dropped"]


async def test_versions_that_have_nothing_in_common(world: World) -> None:
    said = await world.fails(2, least_overlap=0.999)
    assert "the versions agree on less than --least-overlap 0.999, which looks like a broken model" in said
    assert (await world.reindex(status=True))[1] == "default: embedding version 2 filled"


async def test_a_model_of_another_version(world: World) -> None:
    """Its ensemble says 2 and its graph says 1: somebody copied the folder and kept the model."""

    async def wrong(request: object) -> dict[str, object]:
        arrays = await looks(request)
        return {**arrays, "embedding_version": arrays["embedding_version"] * 0 + 1}

    world.triton.answer = wrong  # type: ignore[assignment]
    world.settings = world.settings.model_copy(update={"import_deadline_seconds": 0.5})
    said = await world.fails(2)
    assert "answered with vectors of version [1], not 2: garments_2 names an embed that was exported for" in said
    assert "`lookalike reindex VERSION`" in said


async def test_a_database_that_is_away(world: World) -> None:
    settings = world.settings.model_copy(update={"database_url": "sqlite+aiosqlite:////nowhere/catalog.db"})
    with pytest.raises(StartupError, match="the database cannot be opened"):
        await reindex(settings, Wanted(2))


async def test_a_catalog_that_is_not_there(world: World) -> None:
    assert "there is no catalog nowhere" in await world.fails(2, catalogs=("nowhere",))


async def test_nothing_to_go_back_to(world: World) -> None:
    assert "keeps no version that served before" in await world.fails(rollback=True)
    assert "has no embedding version 5" in await world.fails(drop=5)
    assert "embedding version 1 serves catalog default; switch to another" in await world.fails(drop=1)


@pytest.mark.parametrize("options", [{}, {"rollback": True, "status": True}, {"drop": 1, "rollback": True}])
def test_one_thing_at_a_time(options: dict[str, object]) -> None:
    with pytest.raises(StartupError, match="reindex needs the VERSION to go to, or one of"):
        wanted_of(None, (), **options)


def test_the_command_is_found(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_DATABASE_URL", "sqlite+aiosqlite:////nowhere/catalog.db")
    assert lookalike(["reindex", "2"]) == 1
    assert "lookalike: the database cannot be opened" in capsys.readouterr().err
    assert lookalike(["reindex"]) == 1
    assert "reindex needs the VERSION" in capsys.readouterr().err
    for wrong in (["reindex", "0"], ["reindex", "two"], ["reindex", "--drop", "-1"]):
        with pytest.raises(SystemExit) as ended:
            lookalike(wrong)
        assert ended.value.code == 2
