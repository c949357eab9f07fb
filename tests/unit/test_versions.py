"""Which embedding version a request gets: by asking, by shares, by a sticky key; and what a gateway starts with."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from fakes import FakeFinder, MemoryIndex, photo
from lookalike import Client
from lookalike.v1 import product_service_pb2, search_service_pb2
from lookalike_service.errors import IndexUnavailable, ModelUnavailable, RequestInvalid, StartupError, VersionsOutdated
from lookalike_service.metrics import REGISTRY
from lookalike_service.model import Box, Entry, Product, View
from lookalike_service.rows import check_versions
from lookalike_service.settings import Settings
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import Pair, Snapshot, State, VersionRecord
from support_gateway import Shop, eventually, open_shop, open_store, product, refusal, watching
from support_versions import Traffic, filled, index_of, model, reindexer, second


def snapshot(*states: State, shares: dict[int, float] | None = None, reached: tuple[int, ...] = (1, 2, 3)) -> Snapshot:
    """Versions 1, 2, ... of the catalog `default` in these states."""
    records = [VersionRecord("default", number, state) for number, state in enumerate(states, 1)]
    return Snapshot({"default": records}, {number: model(number) for number in reached}, shares or {})


def drawn(versions: Snapshot, count: int = 1000) -> Counter[int]:
    places = itertools.cycle((number + 0.5) / count for number in range(count))
    return Counter(versions.choose("default", draw=lambda: next(places)).version for _ in range(count))


def test_without_shares_the_serving_one_answers() -> None:
    assert drawn(snapshot(State.KEPT, State.SERVING)) == {2: 1000}


def test_shares_are_kept_and_the_serving_one_gets_the_rest() -> None:
    versions = snapshot(State.SERVING, State.FILLED, State.KEPT, shares={2: 0.1, 3: 0.25})
    assert drawn(versions) == {1: 650, 2: 100, 3: 250}


@pytest.mark.parametrize("state", [State.FILLING, State.DROPPING])
def test_a_version_that_is_not_whole_has_no_share(state: State) -> None:
    assert drawn(snapshot(State.SERVING, state, shares={2: 0.5})) == {1: 1000}


def test_one_that_is_not_reached_has_no_share() -> None:
    assert drawn(snapshot(State.SERVING, State.FILLED, shares={2: 0.5}, reached=(1,))) == {1: 1000}


def test_a_key_sticks_and_keys_are_shared_out_evenly() -> None:
    one, other = (snapshot(State.SERVING, State.FILLED, shares={2: 0.3}) for _ in range(2))
    got: Counter[int] = Counter()
    for number in range(2000):
        key = f"shopper {number}"
        version = one.choose("default", key=key).version
        assert other.choose("default", key=key).version == version
        got[version] += 1
    assert 0.26 < got[2] / 2000 < 0.34


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (4, "embedding version 4 is not served; 1 and 3 are"),
        (2, "embedding version 2 is still being filled; 1 and 3 are"),
    ],
)
def test_what_cannot_be_asked_for(asked: int, sentence: str) -> None:
    versions = snapshot(State.SERVING, State.FILLING, State.FILLED)
    assert versions.choose("default", asked=3).version == 3
    with pytest.raises(RequestInvalid, match=f"^{sentence}$"):
        versions.choose("default", asked=asked)


def test_a_serving_version_that_is_not_reached() -> None:
    versions = snapshot(State.SERVING, reached=())
    with pytest.raises(ModelUnavailable, match="Triton does not serve garments_1"):
        versions.choose("default")
    with pytest.raises(IndexUnavailable):
        versions.shelves("default")
    with pytest.raises(ModelUnavailable, match="no embedding version"):
        versions.choose("elsewhere")


def test_the_version_before_answers_as_long_as_the_new_one_is_not_reached() -> None:
    records = snapshot(State.KEPT, State.SERVING).records
    versions = Snapshot(records, {1: model(1)}, before={"default": 1})
    assert versions.choose("default").version == 1


def test_a_vector_of_another_version_is_refused_with_the_command_that_mends_it() -> None:
    view = View("p/1", "0" * 64, Box(0, 0, 1, 1), "top", (), "", 1, np.zeros(4, np.float16))
    with pytest.raises(
        VersionsOutdated, match=r"vector of version 1, .* of version 2; `lookalike reindex 2 --catalog d`"
    ):
        check_versions([Entry(Product("d", "p"), view)], 2, catalog="d")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2", "version:share"),
        ("2:1.5", "between 0 and 1"),
        ("2:0.6,3:0.6", "1 at most together"),
        ("x:0.1", "valid int"),
    ],
)
def test_shares_that_make_no_sense(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Settings(version_shares=text)  # type: ignore[arg-type]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """Two versions, one filled beside the other, with half of the traffic."""
    async with open_shop(versions_seconds=0.05, deadline_seconds=1, version_shares="2:0.5") as opened:
        await opened.bring(product(f"p{number}", f"look {number}") for number in range(6))
        new, worker = second(opened), reindexer(opened)
        async with worker.leased():
            await filled(worker, new)
        await eventually(lambda: whole(opened))
        yield opened


async def whole(shop: Shop) -> None:
    assert set(shop.versions.now.dimensions("default")) == {1, 2}


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_two_versions_share_the_traffic_and_the_answer_says_which(shop: Shop) -> None:
    before = {
        number: counted("lookalike_answers_total", catalog="default", version=number, found="yes") for number in "12"
    }
    traffic = Traffic(shop)
    got = Counter([await traffic.search() for _ in range(60)])
    assert set(got) == {1, 2}  # by chance not so once in 10^18
    for number in (1, 2):
        labels = {"catalog": "default", "version": str(number), "found": "yes"}
        assert counted("lookalike_answers_total", **labels) - before[str(number)] == got[number]
        assert counted("lookalike_phase_seconds_count", phase="inference", version=str(number)) > 0
    assert counted("lookalike_embedding_versions", catalog="default", version="2", state="filled") == 1


async def test_a_client_sticks_by_its_key_and_gets_what_it_asks_for(shop: Shop) -> None:
    calls: list[int | None] = []
    async with Client(
        f"127.0.0.1:{shop.gateway.port}", on_call=lambda call: calls.append(call.embedding_version)
    ) as client:
        for key in ("a", "b", "c", "d", "e", "f"):
            image = photo({"look": "look 3"})
            versions = {(await client.search(image, sticky_key=key)).embedding_version for _ in range(5)}
            versions |= {(await client.analyze(image, sticky_key=key)).embedding_version}
            versions |= {(await client.similar("p3", sticky_key=key)).embedding_version}
            versions |= {(await client.also_viewed("p3", sticky_key=key)).embedding_version}
            assert len(versions) == 1
        assert set(calls) == {1, 2}
        for number in (1, 2):
            answer = await client.search(image, embedding_version=number, include_embedding=True)
            assert answer.embedding_version == number
            Traffic.check(answer, "look 3")
            assert (await client.similar("p3", embedding_version=number)).embedding_version == number


async def test_what_is_shown_and_listed_is_of_the_serving_version(shop: Shop) -> None:
    name = "catalogs/default/products/p3"
    shown = await shop.products.GetProduct(product_service_pb2.GetProductRequest(name=name))
    [view] = shown.product.images[0].garment_views
    assert view.embedding_version == 1
    index = index_of(shop.pairs[2])
    assert len(index.catalogs["default"]) == 6
    request = product_service_pb2.ListProductsRequest(parent="catalogs/default", filter='colors : "red"')
    assert len((await shop.products.ListProducts(request)).products) == 6


async def test_colors_are_weighed_by_the_version_that_found_the_hit(shop: Shop) -> None:
    reranking = search_service_pb2.Reranking(color_weight=0.5)
    for number in (1, 2):
        request = search_service_pb2.SearchProductsRequest(
            image=photo({"look": "look 3"}), reranking=reranking, embedding_version=number
        )
        answer = await shop.search.SearchProducts(request)
        assert answer.results[0].hits[0].product.name.endswith("/p3")


async def test_an_unknown_version_is_refused(shop: Shop) -> None:
    request = search_service_pb2.SearchProductsRequest(image=photo({"look": "x"}), embedding_version=7)
    refused = await refusal(shop.search.SearchProducts(request))
    assert (refused.reason, refused.field) == ("REQUEST_INVALID", "embedding_version")
    assert refused.message == "embedding version 7 is not served; 1 and 2 are"


async def test_a_gateway_starts_with_what_the_database_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pairs = {1: model(1), 2: model(2)}
    store = await open_store(tmp_path)
    first = await watching(store, pairs, Settings(embedding_version=2))
    assert first.now.serving("default") == 2
    await first.close()
    later = await watching(store, pairs)
    assert later.now.serving("default") == 2
    assert "LOOKALIKE_EMBEDDING_VERSION=1 is for new catalogs, and `lookalike reindex 1` brings this one" in caplog.text
    await later.close()
    with pytest.raises(StartupError, match="Triton does not serve garments_2"):
        await watching(store, {1: model(1)})
    await store.close()


async def test_of_gateways_that_start_at_once_with_other_settings_one_decides(tmp_path: Path) -> None:
    stores = [await open_store(tmp_path) for _ in range(4)]
    await asyncio.gather(
        *(SqlVersions(store).adopt(["default"], 1 + number % 2) for number, store in enumerate(stores))
    )
    assert [each.state for each in (await SqlVersions(stores[0]).all())["default"]] == [State.SERVING]
    for store in stores:
        await store.close()


async def test_what_no_catalog_has_any_more_is_closed_when_its_calls_are_over(shop: Shop) -> None:
    worker, new = reindexer(shop, call_seconds=0.0), shop.pairs[2]
    async with worker.leased():
        await worker.drop(2, index_of(new))
    assert not new.finder.closed  # type: ignore[attr-defined]

    async def closed() -> None:
        assert new.finder.closed and index_of(new).closed  # type: ignore[attr-defined]

    await eventually(closed)
    assert not shop.finder.closed


async def test_an_index_that_is_not_ready_ends_the_start(tmp_path: Path) -> None:
    store, index = await open_store(tmp_path), MemoryIndex()
    index.failure = IndexUnavailable("the collection garments_default_1 could not be made ready")
    with pytest.raises(StartupError, match="could not be made ready; check that Milvus runs at LOOKALIKE_MILVUS_URI"):
        await watching(store, {1: Pair(FakeFinder(), index)})
    await store.close()
