"""The embedded stack, started once for all tests, with a small rendered catalog imported."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from lookalike import Client, SyncClient
from lookalike.catalogs import Fetcher, load, open_catalog
from lookalike.v1.product_pb2 import Product
from lookalike.v1.product_service_pb2 import IMPORT_OUTCOME_CREATED
from lookalike_service.embedded.stack import serving
from lookalike_service.wardrobe import Item, Photo, choose_outfit, make_items, render_outfit, write_catalog
from support_page import CHROMIUM, Attendant, Running, browser_of, running, stocked
from support_stack import Stack, jpeg

ITEMS = make_items(48, seed=11)


@pytest.fixture(scope="session")
def items() -> list[Item]:
    """The rendered items of the catalog."""
    return ITEMS


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Triton, Milvus Lite, SQLite and the gateway, with two views of every item imported."""
    folder = tmp_path_factory.mktemp("wardrobe")
    catalog = write_catalog(folder, items=ITEMS, views=(0, 1), size=320)
    directory = tmp_path_factory.mktemp("stack")
    with serving(directory) as address:
        with SyncClient(address) as client:
            outcomes = [answer.outcome for answer in client.import_products(products_of(catalog))]
        assert outcomes == [IMPORT_OUTCOME_CREATED] * len(ITEMS)
        yield Stack(address, directory, catalog)


async def products_of(catalog: Path) -> AsyncGenerator[Product, None]:
    """The products of a catalog file that can be read."""
    async with Fetcher() as fetcher, open_catalog(catalog, fetcher=fetcher) as opened:
        async for loaded in load(opened, fetcher=fetcher):
            if loaded.product is not None:
                yield loaded.product


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    """A client of the running stack."""
    async with Client(stack.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def outfit(items: list[Item]) -> tuple[bytes, list[Item]]:
    """A rendered street photo as JPEG, and the items worn on it."""
    photo = render_outfit(choose_outfit(items, seed=4), seed=4)
    return jpeg(photo.image), [garment.item for garment in photo.garments]


# Of a module and not of the session: Playwright has a loop of its own, beside which no test with one could run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    if not CHROMIUM.exists():
        pytest.skip(
            f"there is no {CHROMIUM}; on Debian `apt-get install chromium` brings it, and `make test` as root does"
        )
    with browser_of() as started:
        yield started


@pytest.fixture(scope="module")
def shopping(items: list[Item]) -> Iterator[Running]:
    """A gateway with a page, over models that know the rendered photos by heart, and its products."""
    with running(Attendant(), also_viewed_seconds=0) as started:
        started.do(stocked(started.shop, started.attendant, items[:40]))
        yield started


@pytest.fixture(scope="module")
def street(items: list[Item]) -> Photo:
    """A rendered photo with several garments of that shop."""
    return render_outfit(choose_outfit(items[:40], seed=4), seed=4)


@pytest.fixture(scope="module")
def content(street: Photo, shopping: Running) -> bytes:
    """The photo as a file, which the models of that shop know."""
    return shopping.attendant.show(jpeg(street.image), street.garments)
