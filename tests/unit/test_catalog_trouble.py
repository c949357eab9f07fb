"""Writes in bad circumstances: full disks, cut connections, names that come twice, late messages."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from fakes import photo
from lookalike.v1 import product_pb2, product_service_pb2
from lookalike.v1.product_service_pb2_grpc import ProductServiceStub
from lookalike_service.errors import StoreUnavailable
from lookalike_service.images import Images
from support_full import FullDisk, let_grow, stop_growing
from support_gateway import Shop, open_shop, product, refusal, taken_apart

NAME = "catalogs/default/products/p"
CREATED, UPDATED, UNCHANGED, FAILED = 1, 2, 3, 4


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop() as opened:
        yield opened


def deleting(revision: int = 0, *, allow_missing: bool = False) -> product_service_pb2.DeleteProductRequest:
    return product_service_pb2.DeleteProductRequest(name=NAME, revision=revision, allow_missing=allow_missing)


async def stored(shop: Shop, id: str = "p") -> product_pb2.Product | None:
    request = product_service_pb2.ListProductsRequest(product_view=product_pb2.PRODUCT_VIEW_FULL)
    listed = {each.name: each for each in (await shop.products.ListProducts(request)).products}
    return listed.get(f"catalogs/default/products/{id}")


async def put(shop: Shop, message: product_pb2.Product) -> product_service_pb2.ImportProductsResponse:
    [answer] = await shop.bring([message], failing=True)
    return answer


async def test_a_late_older_write_does_not_bring_back_what_was_deleted(shop: Shop) -> None:
    await put(shop, product("p", revision=100))
    await shop.products.DeleteProduct(deleting(110))
    for revision in (99, 100, 109, 110):
        late = taken_apart((await put(shop, product("p", revision=revision))).error)
        assert (late.code, late.reason) == (grpc.StatusCode.ABORTED, "REVISION_OUTDATED")
        assert "deleted" in late.message
    create = product_service_pb2.CreateProductRequest(product_id="p", product=product("p", revision=105))
    assert (await refusal(shop.products.CreateProduct(create))).reason == "REVISION_OUTDATED"
    assert await stored(shop) is None
    assert shop.index.catalogs["default"] == {}
    assert (await put(shop, product("p", revision=111))).outcome == CREATED
    found = await stored(shop)
    assert found
    assert found.create_time == found.update_time


async def test_a_delete_that_overtook_its_product_holds(shop: Shop) -> None:
    await shop.products.DeleteProduct(deleting(100, allow_missing=True))
    assert taken_apart((await put(shop, product("p", revision=99))).error).reason == "REVISION_OUTDATED"
    await shop.products.DeleteProduct(deleting(90, allow_missing=True))
    await shop.products.DeleteProduct(deleting(200, allow_missing=True))
    assert taken_apart((await put(shop, product("p", revision=150))).error).metadata == {"stored_revision": "200"}
    assert (await put(shop, product("p", revision=201))).outcome == CREATED


async def test_counted_revisions_go_on_after_a_delete(shop: Shop) -> None:
    await put(shop, product("p", revision=2**61))
    await shop.products.DeleteProduct(deleting())
    answer = await put(shop, product("p"))
    assert (answer.outcome, answer.revision) == (CREATED, 2**61 + 1)


async def test_what_is_gone_cannot_be_deleted_or_updated(shop: Shop) -> None:
    await put(shop, product("p"))
    await shop.products.DeleteProduct(deleting())
    for call in (
        shop.products.DeleteProduct(deleting()),
        shop.products.GetProduct(product_service_pb2.GetProductRequest(name=NAME)),
    ):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND")
    await shop.products.DeleteProduct(deleting(allow_missing=True))


async def test_a_name_that_comes_twice_is_written_twice_in_order(shop: Shop) -> None:
    names = ["p", "q", "p", "p", "q", "p"]
    answers = await shop.bring(product(id, title=f"{number}") for number, id in enumerate(names))
    assert [answer.outcome for answer in answers] == [CREATED, CREATED, UPDATED, UPDATED, UPDATED, UPDATED]
    assert shop.finder.calls == 2
    for id, title in (("p", "5"), ("q", "4")):
        found = await stored(shop, id)
        assert found
        assert found.title == title
    again = await shop.bring([product("p", title="5"), product("p", title="5")])
    assert [answer.outcome for answer in again] == [UNCHANGED, UNCHANGED]


async def test_no_room_for_a_photograph(tmp_path: Path) -> None:
    images = Images(f"full://{tmp_path}/images")
    with pytest.raises(StoreUnavailable, match="its disk is full"):
        await images.put(photo({"look": "one"}))
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == []  # nothing half-written stays


async def test_a_full_image_store_acknowledges_nothing() -> None:
    async with open_shop(images="full") as shop:
        refused = await refusal(
            shop.products.CreateProduct(product_service_pb2.CreateProductRequest(product_id="p", product=product("p")))
        )
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert "disk is full" in refused.message
        assert (await put(shop, product("p"))).outcome == FAILED
        assert await stored(shop) is None
        assert not shop.index.catalogs.get("default")
        FullDisk.full = False
        try:
            assert (await put(shop, product("p"))).outcome == CREATED
        finally:
            FullDisk.full = True


async def test_a_full_database_acknowledges_nothing_and_loses_nothing(shop: Shop) -> None:
    await shop.bring(product(f"kept{number}") for number in range(20))
    stop_growing(shop.store)
    answers = await shop.bring((product(f"p{number}", title="x" * 900) for number in range(60)), failing=True)
    failed = [taken_apart(answer.error) for answer in answers if answer.outcome == FAILED]
    assert failed
    assert {(each.code, each.reason) for each in failed} == {(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")}
    assert {each.message for each in failed} == {"the database cannot be written: its disk is full"}
    acknowledged = {answer.name for answer in answers if answer.outcome == CREATED}
    let_grow(shop.store)
    request = product_service_pb2.ListProductsRequest(page_size=1000)
    listed = {each.name for each in (await shop.products.ListProducts(request)).products}
    assert listed == acknowledged | {f"catalogs/default/products/kept{number}" for number in range(20)}
    found = {entry.product.id for entry in shop.index.catalogs["default"].values()}
    assert found == {name.rpartition("/")[2] for name in listed}
    again = await shop.bring(product(f"p{number}", title="x" * 900) for number in range(60))
    assert {answer.outcome for answer in again} <= {CREATED, UNCHANGED}


@asynccontextmanager
async def cut_after(count: int, port: int) -> AsyncIterator[str]:
    """The address of a wire to a port that breaks once `count` bytes have gone to the server."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)

        async def answers() -> None:
            while data := await there.read(65536):
                writer.write(data)

        answering = asyncio.create_task(answers())
        left = count
        while left > 0 and (data := await reader.read(left)):
            back.write(data)
            await back.drain()
            left -= len(data)
        await asyncio.sleep(0.02)
        answering.cancel()
        for each in (writer, back):
            each.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def test_an_import_that_is_cut_at_any_byte(shop: Shop) -> None:
    """What was acknowledged is there, nothing is half there, and sending everything again completes it."""
    batch = [product(f"p{number}", f"look {number}", f"back {number}", title="whole") for number in range(8)]
    size = sum(message.ByteSize() for message in batch) + 900  # with gRPC's own
    outcomes = set()
    for cut in [*range(0, size, size // 14), 24, 33, 400, 401, size - 1]:
        catalog = f"cut{cut}"
        for number, message in enumerate(batch):
            message.name = f"catalogs/default/products/{catalog}-{number}"
        acknowledged = set()
        async with (
            cut_after(cut, shop.gateway.port) as address,
            grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel,
        ):
            stub: ProductServiceStub = ProductServiceStub(channel)
            requests = (product_service_pb2.ImportProductsRequest(product=message) for message in batch)
            # Which code a broken wire gives is the client library's business.
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for answer in stub.ImportProducts(requests, timeout=5):  # type: ignore[attr-defined]
                    assert answer.outcome == CREATED
                    acknowledged.add(answer.name)
        request = product_service_pb2.ListProductsRequest(page_size=1000, product_view=product_pb2.PRODUCT_VIEW_FULL)
        listed = (await shop.products.ListProducts(request)).products
        mine = {each.name: each for each in listed if f"/{catalog}-" in each.name}
        assert acknowledged <= set(mine)
        assert all(each.title == "whole" and len(each.images) == 2 for each in mine.values())
        answers = await shop.bring(batch)
        assert {answer.outcome for answer in answers} <= {CREATED, UNCHANGED}
        assert all(answer.outcome == UNCHANGED for answer in answers if answer.name in acknowledged)
        outcomes.add(len(acknowledged))
    assert min(outcomes) == 0
    assert max(outcomes) >= 4
