"""What searches must find whatever dies: photos with the answers of a calm server."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from lookalike import Client
from lookalike.catalogs import Fetcher, load, open_catalog
from lookalike_service.wardrobe import Item, make_items, render_item, write_catalog

__all__ = ["ITEMS", "Expected", "Photo", "fill", "wrong"]

ITEMS: Final = 24
SHOWN: Final = 6
# Batches of other sizes change the last digits.
TOLERANCE: Final = 0.02
PAGE: Final = 5
MOST_ASKED: Final = 30


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo with what a calm server says of it: categories, and products with their scores."""

    content: bytes
    categories: tuple[str, ...]
    hits: tuple[tuple[str, float], ...]
    token: str


Expected = tuple[Photo, ...]


def hits_of(answer: Any) -> tuple[tuple[str, float], ...]:  # noqa: ANN401 - a message of the contract
    """The products of the first garment with their scores."""
    return tuple((hit.product.name, hit.score) for hit in answer.results[0].hits)


def wrong(photo: Photo, answer: Any) -> str:  # noqa: ANN401
    """What is wrong with an answer to SearchProducts; empty when nothing is."""
    found = hits_of(answer)
    if not found or found[0][0] != photo.hits[0][0]:
        return f"{found[:1]} instead of {photo.hits[:1]}"
    # Further down products may change places with others that are as near.
    scores = zip(found, photo.hits, strict=False)
    if len(found) != len(photo.hits) or any(abs(one[1] - other[1]) > TOLERANCE for one, other in scores):
        return f"{found} instead of {photo.hits}"
    return ""


def rendered(item: Item, view: int) -> bytes:
    """A small photo of an item."""
    coded = io.BytesIO()
    Image.fromarray(render_item(item, view=view, size=200).image).save(coded, "JPEG", quality=90)
    return coded.getvalue()


async def fill(client: Client, folder: Path) -> Expected:
    """Fill the catalog `default`, and remember what is found in it."""
    items = make_items(ITEMS, seed=11)
    catalog = write_catalog(folder, items=items, views=(0,), size=200)
    async with Fetcher() as fetcher, open_catalog(catalog, fetcher=fetcher) as opened:
        products = [loaded.product async for loaded in load(opened, fetcher=fetcher) if loaded.product is not None]
    async for imported in client.import_products(products):
        assert not imported.error.code, imported.error
    contents = [rendered(item, 2) for item in items[:SHOWN]]
    before: Expected = ()
    # A real Milvus shows a write a moment after it has acknowledged it: what a calm server says is what it says twice.
    for _ in range(MOST_ASKED):
        photos = tuple([await _answered(client, content) for content in contents])
        if before and all(each.hits == last.hits for each, last in zip(photos, before, strict=True)):
            return photos
        before = photos
        await asyncio.sleep(1)
    raise TimeoutError(f"{MOST_ASKED} times in a row the server answered the same photos differently")


async def _answered(client: Client, content: bytes) -> Photo:
    answer = await client.search(content, max_garments=1, page_size=PAGE)
    garment = answer.results[0].garment
    return Photo(content, (garment.category,), hits_of(answer), garment.garment_token)
