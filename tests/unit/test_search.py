"""Search semantics over the in-memory index: categories, pages, outdated hits, similar products."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from fakes import photo, vector
from lookalike.v1 import garment_pb2, search_service_pb2
from lookalike_service.model import Entry
from support_gateway import Shop, open_shop, product

LOOK = {"look": "the look", "category": "dress"}
LOOK_VECTOR = vector("the look").astype(np.float16)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop(rerank_window=10, max_depth=40) as opened:
        yield opened


async def found(shop: Shop, **fields: object) -> search_service_pb2.GarmentHits:
    """What a search for LOOK finds."""
    values = {"image": photo(LOOK), "page_size": 100, **fields}
    answer = await shop.search.SearchProducts(search_service_pb2.SearchProductsRequest(**values))  # type: ignore[arg-type]
    result: search_service_pb2.GarmentHits = answer.results[0]
    return result


def ids(result: search_service_pb2.GarmentHits) -> list[str]:
    return [hit.product.name.rpartition("/")[2] for hit in result.hits]


async def all_pages(shop: Shop, size: int, **fields: object) -> list[str]:
    """The ids of every page that a garment has."""
    result = await found(shop, page_size=size, **fields)
    seen = ids(result)
    query = garment_pb2.GarmentTokens(tokens=[result.garment.garment_token])
    while result.next_page_token:
        assert len(result.hits) == size
        more = {**fields, "image": None, "garments": query, "page_token": result.next_page_token, "page_size": size}
        request = search_service_pb2.SearchProductsRequest(**{k: v for k, v in more.items() if v is not None})  # type: ignore[arg-type]
        [result] = (await shop.search.SearchProducts(request)).results
        seen += ids(result)
    return seen


async def stock(shop: Shop, count: int, **fields: object) -> None:
    categories = ["dress", "dress/gown", "top"]
    await shop.bring(
        product(f"p{number}", f"look {number}", category=categories[number % 3]) for number in range(count)
    )


async def test_off_leaves_the_order_to_looks(shop: Shop) -> None:
    await stock(shop, 12)
    result = await found(shop)
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    assert {hit.product.category for hit in result.hits} == {"dress", "dress/gown", "top"}


async def test_strict_keeps_the_coarse_category(shop: Shop) -> None:
    await stock(shop, 12)
    result = await found(shop, category_mode=search_service_pb2.CATEGORY_MODE_STRICT)
    assert len(result.hits) == 8
    assert {hit.product.category for hit in result.hits} == {"dress", "dress/gown"}


async def test_strict_asks_once_per_category(shop: Shop) -> None:
    await stock(shop, 3)
    worn = photo(LOOK, LOOK, {"look": "shoe", "category": "shoes"})
    strict = search_service_pb2.CATEGORY_MODE_STRICT
    request = search_service_pb2.SearchProductsRequest(image=worn, category_mode=strict)
    answer = await shop.search.SearchProducts(request)
    assert shop.index.searches == 2
    assert [len(result.hits) for result in answer.results] == [2, 2, 0]


async def test_prefer_brings_the_category_forward_within_a_window(shop: Shop) -> None:
    await stock(shop, 25)
    plain = ids(await found(shop))
    preferred = await found(shop, category_mode=search_service_pb2.CATEGORY_MODE_PREFER)
    for begin in (0, 10, 20):
        window = preferred.hits[begin : begin + 10]
        assert {hit.product.name.rpartition("/")[2] for hit in window} == set(plain[begin : begin + 10])
        agreeing = [hit.product.category.startswith("dress") for hit in window]
        assert agreeing == sorted(agreeing, reverse=True)


@pytest.mark.parametrize("mode", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 7, 10])
async def test_pages_are_the_whole_list_cut(shop: Shop, mode: int, size: int) -> None:
    await stock(shop, 23)
    whole = ids(await found(shop, category_mode=mode))
    assert await all_pages(shop, size, category_mode=mode) == whole
    assert len(whole) == len(set(whole)) == (16 if mode == 3 else 23)


async def test_pages_end_at_the_depth(shop: Shop) -> None:
    await stock(shop, 50)
    assert len(await all_pages(shop, 8)) == 40


async def test_a_least_score(shop: Shop) -> None:
    await shop.bring([product("near", {"look": "the look", "variation": "x"}), product("far", "another")])
    assert ids(await found(shop)) == ["near", "far"]
    result = await found(shop, min_score=0.8)
    assert ids(result) == ["near"]
    assert result.next_page_token == ""


async def test_one_product_once_with_its_best_image(shop: Shop) -> None:
    looks = [{"look": "the look", "variation": str(number)} for number in range(4)]
    await shop.bring([product("a", *looks, LOOK), product("b", "another")])
    result = await found(shop)
    assert ids(result) == ["a", "b"]
    everything = await shop.store.products("default", ["a"])
    assert result.hits[0].image_id == everything["a"].images[4].sha256


async def test_a_hit_of_an_outdated_revision_is_dropped_and_replaced(shop: Shop) -> None:
    await stock(shop, 12)
    before = ids(await found(shop))
    shelf = shop.index.catalogs["default"]
    for view_id, entry in list(shelf.items()):
        if entry.product.id == before[0]:
            outdated = replace(entry.product, indexed_revision=1)
            shelf[view_id] = Entry(outdated, entry.view)
        if entry.product.id == before[1]:
            unknown = replace(entry, product=replace(entry.product, id="gone"))
            shelf[view_id] = unknown
    assert ids(await found(shop, page_size=5)) == before[2:7]


async def test_a_page_is_full_however_many_outdated_hits_lie_before_it(shop: Shop) -> None:
    """As after a change of many products that the index has not seen yet."""
    await stock(shop, 8)
    shelf = shop.index.catalogs["default"]
    ghost = next(iter(shelf.values()))
    for number in range(900):
        gone = replace(ghost.product, id=f"gone{number}")
        shelf[f"gone{number}/1"] = Entry(gone, replace(ghost.view, id=f"gone{number}/1", embedding=LOOK_VECTOR))
    assert len(ids(await found(shop, page_size=8))) == 8
    assert len(set(await all_pages(shop, 3))) == 8


async def test_near_identical_images_never_shorten_a_page(shop: Shop) -> None:
    """With a dozen views of every product side by side, every page but the last holds exactly its size of products."""
    await shop.bring(
        product(f"p{number}", *({"look": f"look {number}", "variation": str(view)} for view in range(12)))
        for number in range(23)
    )
    assert len(shop.index.catalogs["default"]) == 23 * 12
    for size in (1, 5, 10):
        pages = await all_pages(shop, size)  # asserts the size of each
        assert len(pages) == len(set(pages)) == 23


async def test_the_merchants_category_wins(shop: Shop) -> None:
    await shop.bring([product("a", {"look": "a", "category": "top"}, category="dress"), product("b", {"look": "b"})])
    assert ids(await found(shop, filter='category = "dress"')) == ["a"]
    assert ids(await found(shop, filter='category = "top"')) == ["b"]


async def test_similar_products_count_the_best_of_all_images(shop: Shop) -> None:
    await shop.bring([product("a", "one", "two"), product("b", "two"), product("c", "one"), product("d", "three")])
    request = search_service_pb2.ListSimilarProductsRequest(name="catalogs/default/products/a", page_size=3)
    answer = await shop.search.ListSimilarProducts(request)
    found_ids = [hit.product.name[-1] for hit in answer.hits]
    assert sorted(found_ids[:2]) == ["b", "c"]
    assert found_ids[2] == "d"
    request.min_score = 0.9
    assert len((await shop.search.ListSimilarProducts(request)).hits) == 2
