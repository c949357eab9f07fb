"""What tests of the page share: visits of a browser, and a gateway in a thread whose models know rendered photos."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from fakes import DIMENSION, FakeFinder, vector
from lookalike.v1 import product_pb2
from lookalike_service.errors import ImageUnreadable
from lookalike_service.model import Box, Found, Garment, Label, Source, Vocabularies
from lookalike_service.wardrobe import CATEGORIES, PALETTE, DrawnGarment, Item, render_item
from support_gateway import Shop, open_shop
from support_stack import jpeg

__all__ = ["CARD", "CHROMIUM", "Attendant", "Running", "Visit", "browser_of", "running", "stocked", "visiting"]

CHROMIUM = Path("/usr/bin/chromium")
MASK = 56
# What a page may take on a machine that is busy with other things; a test that passes takes a moment.
PATIENCE_MS = 30_000
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Asked:
    """What the models were asked."""

    image: bytes
    regions: Sequence[Box]


class Attendant(FakeFinder):
    """A GarmentFinder that knows what is on the photos that it was shown, and sees it as true models would."""

    vocabularies = Vocabularies(category=CATEGORIES, colour=tuple(PALETTE))

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Sequence[DrawnGarment]] = {}
        self.asked: list[Asked] = []

    def show(self, content: bytes, garments: Sequence[DrawnGarment]) -> bytes:
        """Remember a photo; returns it."""
        self._known[hashlib.sha256(content).hexdigest()] = garments
        return content

    async def find(
        self,
        image: bytes,
        *,
        regions: Sequence[Box] = (),
        min_score: float = 0.0,
        max_garments: int = 0,
        timeout: float | None = None,
    ) -> Found:
        self.calls += 1
        self.asked.append(Asked(image, regions))
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise self.failure
        worn = self._known.get(hashlib.sha256(image).hexdigest())
        if worn is None:
            raise ImageUnreadable("these bytes are no image")
        garments = [_seen(each) for each in worn]
        if regions:
            garments = [_seen(max(worn, key=lambda each: _shared(each, box)), box=box) for box in regions]
        return Found(tuple(garments[: max_garments or 16]), 1, 0.001)


def _shared(garment: DrawnGarment, box: Box) -> float:
    x0, y0, x1, y1 = garment.box
    return max(0.0, min(x1, box.x1) - max(x0, box.x0)) * max(0.0, min(y1, box.y1) - max(y0, box.y0))


def _seen(drawn: DrawnGarment, *, box: Box | None = None) -> Garment:
    item, around = drawn.item, box or Box(*drawn.box)
    height, width = drawn.mask.shape
    rows = slice(int(around.y0 * height), max(int(around.y0 * height) + 1, int(around.y1 * height)))
    columns = slice(int(around.x0 * width), max(int(around.x0 * width) + 1, int(around.x1 * width)))
    return Garment(
        box=around,
        crop_box=around,
        score=1.0 if box else 0.9,
        source=Source.REGION if box else Source.DETECTED,
        category=item.category,
        categories=(Label(item.category, 0.95),),
        colours=(Label(item.colours[0], 0.8), *(Label(colour, 0.2) for colour in item.colours[1:2])),
        patterns=(Label(item.pattern, 0.9),),
        materials=(),
        landmarks=drawn.landmarks,
        mask=cv2.resize(drawn.mask[rows, columns], (MASK, MASK), interpolation=cv2.INTER_AREA).astype(np.uint8),
        embedding=_embedding(item),
    )


def _embedding(item: Item) -> npt.NDArray[np.float32]:
    """Kind first, color next, and a little of its own, (32,) float32 of unit length."""
    parts = ((1.0, item.category), (0.7, f"{item.category} in {item.colours[0]}"), (0.4, item.id))
    whole = np.zeros(DIMENSION, np.float32)
    for weight, look in parts:
        whole += weight * vector(look)
    unit: npt.NDArray[np.float32] = whole / np.linalg.norm(whole)
    return unit


async def stocked(shop: Shop, attendant: Attendant, items: Sequence[Item], *, size: int = 240) -> None:
    """Import one picture of every item."""
    products = []
    for item in items:
        view = render_item(item, view=0, size=size)
        content = attendant.show(jpeg(view.image), view.garments)
        products.append(
            product_pb2.Product(
                name=f"catalogs/default/products/{item.id}",
                title=item.title,
                brand=item.brand,
                category=item.category,
                price=product_pb2.Money(amount_minor=item.price, currency_code=item.currency),
                uri=f"https://shop.example/products/{item.id}",
                images=[product_pb2.ProductImage(content=content)],
            )
        )
    await shop.bring(products)


@dataclass
class Running:
    """A gateway that runs in a thread of its own, beside a test that waits for a browser."""

    shop: Shop
    attendant: Attendant
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        """Where the page is."""
        assert self.shop.gateway.site is not None
        return self.shop.gateway.site.url

    def do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Have the gateway's thread do something."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)


@contextmanager
def running(
    attendant: Attendant,
    **changes: Any,  # noqa: ANN401 - as `open_shop`
) -> Iterator[Running]:
    """Serve in a thread until the block ends; settings as for `open_shop`."""
    changes = {"page_address": "127.0.0.1:0", "page_records_views": True, "catalogs": "default", **changes}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    opened = _opened(attendant, changes)
    try:
        shop = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(60)
        try:
            yield Running(shop, attendant, loop)
        finally:
            asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def _opened(attendant: Attendant, changes: dict[str, Any]) -> AsyncIterator[Shop]:
    async with open_shop(finder=attendant, **changes) as shop:
        yield shop


@contextmanager
def browser_of(executable: Path = CHROMIUM) -> Iterator[Browser]:
    """The system's Chromium."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(executable), args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


CARD = "#grid .card:not(.skeleton)"


@dataclass
class Visit:
    """A tab with the page, what it has asked the server, and what went wrong in it."""

    page: Page
    asked: list[Request]
    errors: list[str]

    def choose(self, content: bytes, *, name: str = "street.jpg", kind: str = "image/jpeg") -> None:
        """Choose a photo."""
        field = "#choose" if self.page.locator("#welcome").is_visible() else "#choose-next"
        self.page.locator(field).set_input_files({"name": name, "mimeType": kind, "buffer": content})

    def found(self, content: bytes) -> None:
        """Choose a photo, and wait until its first lookalikes are there."""
        photo = self.page.locator("#photo")
        before = photo.get_attribute("src")
        self.choose(content)
        # The page reads the file first; until then the photo before it is still shown, done and with its lookalikes.
        expect(photo).not_to_have_attribute("src", before or "")
        expect(self.page.locator("#stage")).to_have_attribute("data-state", "done")
        expect(self.page.locator("#grid")).to_have_attribute("aria-busy", "false")

    def messages(self, method: str) -> list[dict[str, Any]]:
        """What was asked of a method so far; {} where a photo was sent, whose request a browser does not show."""
        asked = [each for each in self.asked if each.url.endswith(f"/api/{method}")]
        return [json.loads(each.post_data or "{}") for each in asked]

    def titles(self) -> list[str]:
        """What the grid shows."""
        expect(self.page.locator("#grid")).to_have_attribute("aria-busy", "false")
        return self.page.locator(f"{CARD} .card-title").all_text_contents()


@contextmanager
def visiting(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = (1280, 900),
    **options: Any,  # noqa: ANN401 - those of a browser context
) -> Iterator[Visit]:
    """Open the page in a tab of its own."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    try:
        page = context.new_page()
        visit = Visit(page, [], [])
        page.on("request", lambda request: visit.asked.append(request) if "/api/" in request.url else None)
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        page.on("console", lambda said: visit.errors.append(said.text) if said.type == "error" else None)
        page.goto(url)
        yield visit
    finally:
        context.close()
