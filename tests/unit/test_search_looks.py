"""Reranking by colours and pattern: what it brings forward, and what it leaves alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest

from fakes import photo
from lookalike.v1 import garment_pb2, search_service_pb2
from lookalike_service.model import Looks
from lookalike_service.ranking import agreement
from support_gateway import Shop, open_shop, product

QUERY = {"look": "the look", "colors": {"red": 0.8, "white": 0.2}, "pattern": "striped"}
SHELF = {
    "same": {"red": 0.8, "white": 0.2},
    "mostly": {"red": 0.6, "blue": 0.4},
    "little": {"blue": 0.8, "red": 0.2},
    "other": {"green": 1.0},
}


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop(rerank_window=10, max_depth=40) as opened:
        for number, (id, colors) in enumerate(reversed(SHELF.items())):
            look = {"look": "the look", "variation": str(number), "colors": colors, "pattern": "solid"}
            await opened.bring([product(id, look)])
        await opened.bring(product(f"far{number}", {"look": f"far {number}", **_like_query()}) for number in range(16))
        yield opened


def _like_query() -> dict[str, object]:
    return {"colors": QUERY["colors"], "pattern": "striped"}


async def found(shop: Shop, **fields: object) -> search_service_pb2.GarmentHits:
    values = {"image": photo(QUERY), "page_size": 4, **fields}
    request = search_service_pb2.SearchProductsRequest(**values)  # type: ignore[arg-type]
    result: search_service_pb2.GarmentHits = (await shop.search.SearchProducts(request)).results[0]
    return result


def ids(hits: Iterable[search_service_pb2.Hit]) -> list[str]:
    return [hit.product.name.rpartition("/")[2] for hit in hits]


def weights(color: float = 0, pattern: float = 0) -> search_service_pb2.Reranking:
    return search_service_pb2.Reranking(color_weight=color, pattern_weight=pattern)


def test_agreement() -> None:
    red, half, blue = Looks({"red": 0.7}, "solid"), Looks({"red": 0.4, "blue": 0.4}, "dotted"), Looks({"blue": 1}, "")
    assert agreement(red, red) == (1, 1)
    assert agreement(red, half) == agreement(half, red) == (0.5, 0)
    assert agreement(red, blue) == agreement(blue, Looks()) == agreement(Looks(), Looks()) == (0, 0)


async def test_colors_bring_forward_what_looks_alike_anyway(shop: Shop) -> None:
    plain = await found(shop)
    assert set(ids(plain.hits)) == set(SHELF)
    colored = await found(shop, reranking=weights(color=0.3))
    assert ids(colored.hits) == list(SHELF)
    scores = {hit.product.name: hit.score for hit in plain.hits}
    assert {hit.product.name: hit.score for hit in colored.hits} == pytest.approx(scores)  # still the cosine


async def test_the_same_for_a_tapped_garment_and_its_pages(shop: Shop) -> None:
    """The token holds colours and pattern, so that no model runs."""
    whole = await found(shop, reranking=weights(0.3, 0.1), page_size=20)
    assert len(set(ids(whole.hits))) == 20
    calls = shop.finder.calls
    tapped = garment_pb2.GarmentTokens(tokens=[whole.garment.garment_token])
    seen: list[str] = []
    page = await found(shop, image=None, garments=tapped, reranking=weights(0.3, 0.1), page_size=7)
    while True:
        seen += ids(page.hits)
        if not page.next_page_token:
            break
        page = await found(
            shop, image=None, garments=tapped, reranking=weights(0.3, 0.1), page_size=7, page_token=page.next_page_token
        )
    assert seen == ids(whole.hits)
    assert shop.finder.calls == calls


async def test_a_pattern_counts_by_its_weight(shop: Shop) -> None:
    near = await found(shop, reranking=weights(pattern=0.01))
    assert set(ids(near.hits)) == set(SHELF)
    plain = await found(shop, page_size=10)
    striped = await found(shop, reranking=weights(pattern=1), page_size=10)

    def value(hit: search_service_pb2.Hit) -> float:
        return hit.score + hit.product.name.rpartition("/")[2].startswith("far")

    assert ids(striped.hits) == ids(sorted(plain.hits, key=value, reverse=True))
    assert ids(striped.hits) != ids(plain.hits)


async def test_another_category_gains_nothing_by_its_colors(shop: Shop) -> None:
    bag = {"look": "the look", "variation": "bag", **_like_query()}
    await shop.bring([product("bag", bag, category="bag")])
    assert "bag" in ids((await found(shop, page_size=5)).hits)
    assert "bag" not in ids((await found(shop, reranking=weights(1, 1), page_size=5)).hits)


async def test_similar_products_by_looks(shop: Shop) -> None:
    request = search_service_pb2.ListSimilarProductsRequest(
        name="catalogs/default/products/same", page_size=3, reranking=weights(color=0.3)
    )
    hits = (await shop.search.ListSimilarProducts(request)).hits
    assert ids(hits) == ["mostly", "little", "other"]
    assert not any(image.garment_views for hit in hits for image in hit.product.images)


async def test_a_trace_of_a_color_is_none(shop: Shop) -> None:
    """The models give every garment a little of every colour; a filter must not find them all."""
    traces = {"look": "traces", "colors": {"olive": 0.85, "red": 0.09, "blue": 0.06}}
    spread = {"look": "spread", "colors": {"teal": 0.08, "pink": 0.07}}
    await shop.bring([product("traces", traces), product("spread", spread)])
    assert ids((await found(shop, filter='colors : "olive"')).hits) == ["traces"]
    assert "traces" not in ids((await found(shop, filter='colors : "blue"')).hits)
    assert ids((await found(shop, filter='colors : "teal"')).hits) == ["spread"]
    assert ids((await found(shop, filter='colors : "pink"')).hits) == []
