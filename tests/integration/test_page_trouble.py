"""The page in a real browser when something is in the way: broken files, no server, models away, keys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from lookalike_service.embedded.ports import free_ports
from lookalike_service.errors import ModelUnavailable
from lookalike_service.wardrobe import Item, Photo, choose_outfit, render_outfit
from support_keys import KeyFile
from support_page import CARD, Attendant, Running, Visit, running, stocked, visiting
from support_stack import jpeg


@pytest.fixture
def visit(browser: Browser, shopping: Running) -> Iterator[Visit]:
    with visiting(browser, shopping.url) as opened:
        yield opened


@pytest.mark.parametrize("known", [False, True], ids=["first", "after another"])
def test_a_broken_file_is_said_and_the_next_photo_works(visit: Visit, content: bytes, known: bool) -> None:
    banner = visit.page.locator("#banner")
    if known:
        visit.found(content)
    visit.choose(b"this is text", name="notes.jpg")
    expect(banner).to_contain_text("This file is no photo that can be read. Choose a JPEG, PNG or WebP file.")
    # A browser shows half a photo, the models do not.
    visit.choose(content[: len(content) // 2])
    expect(visit.page.locator("#nothing")).to_contain_text("no photo that can be read")
    expect(banner).to_be_visible()
    visit.found(content)
    expect(banner).to_be_hidden()
    expect(visit.page.locator(CARD).first).to_be_visible()


def test_the_page_waits_for_a_server_that_is_away(browser: Browser, items: list[Item], tmp_path: Path) -> None:
    attendant = Attendant()
    street = render_outfit(choose_outfit(items[:8], seed=4), seed=4)
    content = attendant.show(jpeg(street.image), street.garments)
    place = {"page_address": f"127.0.0.1:{free_ports(1, host='127.0.0.1')[0]}", "folder": tmp_path}
    with running(attendant, **place) as first:
        first.do(stocked(first.shop, attendant, items[:8]))
        index = first.shop.index
        opened = visiting(browser, first.url)
        visit = opened.__enter__()
    try:
        visit.choose(content)
        expect(visit.page.locator("#banner")).to_contain_text("The server does not answer. Your photo is kept")
        expect(visit.page.locator("#photo")).to_be_visible()
        with running(attendant, index=index, **place):
            # By itself, and without another click.
            expect(visit.page.locator(CARD).first).to_be_visible(timeout=20_000)
            expect(visit.page.locator("#banner")).to_be_hidden()
    finally:
        opened.__exit__(None, None, None)


def test_models_that_are_away_are_said_with_a_way_on(
    visit: Visit, shopping: Running, content: bytes, street: Photo
) -> None:
    attendant, page = shopping.attendant, visit.page
    fresh = attendant.show(content + bytes(8), street.garments)
    attendant.failure = ModelUnavailable("Triton does not answer", retry_after=0.1)
    try:
        visit.choose(fresh)
        expect(page.locator("#banner")).to_contain_text("The models are away for the moment")
        assert len(visit.messages("search")) == 3  # it has tried
    finally:
        attendant.failure = None
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(CARD).first).to_be_visible()


def test_while_it_waits_it_shows_what_is_coming(visit: Visit, shopping: Running, content: bytes, street: Photo) -> None:
    attendant, page = shopping.attendant, visit.page
    fresh = attendant.show(content + bytes(9), street.garments)

    async def gate() -> asyncio.Event:
        return asyncio.Event()

    attendant.gate = shopping.do(gate())
    try:
        visit.choose(fresh)
        expect(page.locator("#stage")).to_have_attribute("data-state", "looking")
        expect(page.locator("#grid")).to_have_attribute("aria-busy", "true")
        expect(page.locator("#grid .skeleton")).to_have_count(12)
        expect(page.locator("#live")).to_have_text("Looking for garments")
        height = page.locator("#grid .skeleton").first.bounding_box()
    finally:
        shopping.loop.call_soon_threadsafe(attendant.gate.set)
    expect(page.locator(CARD).first).to_be_visible()
    attendant.gate = None
    # A card is as large as its skeleton.
    there = page.locator(CARD).first.bounding_box()
    assert height is not None and there is not None
    assert there["height"] == pytest.approx(height["height"], abs=1)


def test_an_empty_catalog_says_what_to_do(browser: Browser, items: list[Item]) -> None:
    attendant = Attendant()
    street = render_outfit(choose_outfit(items[:40], seed=4), seed=4)
    with running(attendant) as empty, visiting(browser, empty.url) as visit:
        visit.found(attendant.show(jpeg(street.image), street.garments))
        expect(visit.page.locator("#nothing")).to_contain_text("The catalog has no products yet")


def test_a_key_is_asked_for_and_stays_in_its_tab(browser: Browser, items: list[Item], tmp_path: Path) -> None:
    attendant, keys = Attendant(), KeyFile(tmp_path)
    key = keys.add("merchandiser", rights='["search"]')
    street = render_outfit(choose_outfit(items[:8], seed=4), seed=4)
    content = attendant.show(jpeg(street.image), street.garments)
    with running(attendant, folder=tmp_path) as open_shop:
        open_shop.do(stocked(open_shop.shop, attendant, items[:8]))
        index = open_shop.shop.index
    with (
        running(attendant, folder=tmp_path, index=index, keys_file=str(keys.path)) as locked,
        visiting(browser, locked.url) as visit,
    ):
        page = visit.page
        dialog = page.get_by_role("dialog", name="API key")
        expect(dialog).to_be_visible()
        page.get_by_label("Key", exact=True).fill(key[:-1] + "0")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("not one of this server's")
        page.get_by_label("Key", exact=True).fill(key)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        visit.found(content)
        # Pictures are fetched with the key, too.
        expect(page.locator(".picture.there img").first).to_have_attribute("src", re.compile("^blob:"))
        assert page.evaluate("Object.values(localStorage).join()") == ""
        assert key not in page.content()
        page.get_by_role("button", name="Forget the key").click()
        expect(dialog).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0
