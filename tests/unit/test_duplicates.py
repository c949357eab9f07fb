"""Duplicates of a whole catalog: found, remembered, resumed, and every bad input named."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fakes import vector
from lookalike.cli import main as command
from lookalike_service.__main__ import main
from lookalike_service.duplicates import DuplicateFinder, Link, Notebook, Report, Trouble
from lookalike_service.duplicates.notebook import Pair, Photo
from lookalike_service.duplicates.progress import Progress
from lookalike_service.errors import StartupError, StoreUnavailable
from lookalike_service.images import Images
from lookalike_service.model import Box, Product, ProductImage, View
from lookalike_service.store import SqlStore
from lookalike_service.wardrobe import make_items, render_item
from support_duplicates import Change, box_after, changed
from support_gateway import open_store
from support_stack import jpeg

CHANGE = Change(0.05, 0.1, 0.85, 0.8, scale=0.7, quality=55, logo=Box(0.7, 0.05, 0.95, 0.25))
SHOTS = [render_item(item, view=0, size=320) for item in make_items(18, seed=8)]
BOXES = [Box(*shot.garments[0].box) for shot in SHOTS]


class BreakingImages(Images):
    """Answers so many reads, then fails; counts them."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reads = 0
        self.most = 1_000_000

    async def get(self, sha256: str) -> bytes | None:
        self.reads += 1
        if self.reads > self.most:
            raise StoreUnavailable("the image store cannot be read")
        return await super().get(sha256)


@dataclass
class Shop:
    """A catalog of record with photographs, and no gateway."""

    folder: Path
    store: SqlStore
    images: BreakingImages

    @property
    def memory(self) -> Path:
        return self.folder / "memory.db"

    async def put(self, id: str, *photos: tuple[bytes, Box], catalog: str = "default") -> list[str]:
        """Add a product and return the names of its photos."""
        names = [await self.images.put(content) for content, _ in photos]
        views = tuple(
            View(f"{id}/{name}", name, box, "top", ("red",), "solid", 1, vector(id).astype(np.float16), (1.0,))
            for name, (_, box) in zip(names, photos, strict=True)
        )
        shown = tuple(map(ProductImage, names))
        product = Product(catalog, id, images=shown, revision=7, indexed_revision=7, views=views)
        await self.store.write(product, expected_revision=0, pending=False)
        return names

    async def fill(self) -> None:
        """One product per shot, and `double-3` with a changed copy of the fourth's picture."""
        for number, shot in enumerate(SHOTS):
            await self.put(f"p{number}", (jpeg(shot.image), BOXES[number]))
        await self.put("double-3", (changed(SHOTS[3].image, CHANGE), box_after(BOXES[3], CHANGE)))

    async def find(self, *, mirrored: bool = False, catalog: str = "default") -> Report:
        notebook = Notebook(self.memory)
        try:
            finder = DuplicateFinder(store=self.store, images=self.images, notebook=notebook, workers=2)
            return await finder.find(catalog, mirrored=mirrored)
        finally:
            notebook.close()

    def remove(self, photo: str) -> None:
        (self.folder / "images" / photo[:2] / photo[2:4] / photo).unlink()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    store = await open_store(tmp_path)
    yield Shop(tmp_path, store, BreakingImages(f"file://{tmp_path}/images"))
    await store.close()


async def test_nothing_is_found_in_an_empty_catalog(shop: Shop) -> None:
    report = await shop.find()
    assert (report.products, report.photos, report.groups) == (0, 0, [])


async def test_two_products_are_enough(shop: Shop) -> None:
    await shop.put("one", (jpeg(SHOTS[6].image), BOXES[6]))
    await shop.put("two", (changed(SHOTS[6].image, CHANGE), box_after(BOXES[6], CHANGE)))
    assert [group.products for group in (await shop.find()).groups] == [("one", "two")]


async def test_photos_without_key_points_are_no_trouble(shop: Shop) -> None:
    for shade in (100, 101):
        await shop.put(f"plain-{shade}", (jpeg(np.full((90, 60, 3), shade, np.uint8)), Box(0, 0, 1, 1)))
    report = await shop.find(mirrored=True)
    assert (report.looked_at, report.troubles, report.groups) == (2, {}, [])
    await shop.fill()
    report = await shop.find(mirrored=True)
    assert (report.looked_at, report.products) == (19, 21)
    assert ("double-3", "p3") in [group.products for group in report.groups]


async def test_a_changed_copy_is_found_and_colours_of_one_cut_are_not(shop: Shop) -> None:
    await shop.fill()
    report = await shop.find()
    assert (report.products, report.photos, report.looked_at) == (19, 19, 19)
    assert [group.products for group in report.groups] == [("double-3", "p3")]
    (link,) = report.groups[0].links
    assert (link.kind, {link.product, link.other_product}) == ("same", {"double-3", "p3"})
    assert 0 < link.different < 0.2
    assert report.sentence() == (
        "default: 19 products with 19 photos, 19 of them new; 2 products show a picture of another one, in 1 group"
    )


async def test_the_second_run_looks_only_at_what_is_new(shop: Shop) -> None:
    await shop.fill()
    first = await shop.find()
    reads = shop.images.reads
    again = await shop.find()
    assert (again.looked_at, again.groups) == (0, first.groups)
    assert shop.images.reads == reads
    await shop.put("late", (changed(SHOTS[5].image, CHANGE), box_after(BOXES[5], CHANGE)))
    third = await shop.find()
    assert (third.looked_at, shop.images.reads) == (1, reads + 1)
    assert [group.products for group in third.groups] == [("double-3", "p3"), ("late", "p5")]
    await shop.store.delete("default", "p3", expected_revision=7)
    assert [group.products for group in (await shop.find()).groups] == [("late", "p5")]


async def test_an_interrupted_run_goes_on_where_it_was(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike_service.duplicates.finding.PHOTOS_AT_ONCE", 4)
    await shop.fill()
    shop.images.most = 10
    with pytest.raises(StoreUnavailable):
        await shop.find()
    shop.images.most = 1_000_000
    report = await shop.find()
    assert report.looked_at == 19 - 8
    assert [group.products for group in report.groups] == [("double-3", "p3")]


async def test_one_photo_of_many_products_and_many_photos_of_one(shop: Shop) -> None:
    photos = [(jpeg(shot.image), box) for shot, box in zip(SHOTS, BOXES, strict=True)]
    copy = (changed(SHOTS[0].image, CHANGE), box_after(BOXES[0], CHANGE))
    await shop.put("a", photos[0], photos[9], copy)
    (name,) = await shop.put("b", photos[9])
    await shop.put("c", photos[9], photos[4])
    await shop.put("elsewhere", photos[4], catalog="other")
    report = await shop.find()
    assert [group.products for group in report.groups] == [("a", "b", "c")]
    assert report.groups[0].links == (
        Link("identical", "a", name, "b", name), Link("identical", "b", name, "c", name),
    )  # fmt: skip
    assert (await shop.find(catalog="other")).groups == []


async def test_mirror_images_are_found_when_asked_for(shop: Shop) -> None:
    await shop.fill()
    number = next(n for n, shot in enumerate(SHOTS) if shot.garments[0].item.category == "shoes")
    change = Change(width=0.95, quality=70, mirrored=True)
    await shop.put("mirrored", (changed(SHOTS[number].image, change), box_after(BOXES[number], change)))
    assert [group.products for group in (await shop.find()).groups] == [("double-3", "p3")]
    groups = (await shop.find(mirrored=True)).groups
    assert ("mirrored", f"p{number}") in [group.products for group in groups]
    assert "mirrored" in {link.kind for group in groups for link in group.links}
    assert [group.products for group in (await shop.find()).groups] == [("double-3", "p3")]


async def test_photos_that_are_gone_or_unreadable_are_named(shop: Shop) -> None:
    await shop.fill()
    (broken,) = await shop.put("broken", (b"no image", Box(0, 0, 1, 1)))
    (gone,) = await shop.put("gone", (jpeg(SHOTS[0].image[:200]), Box(0, 0, 1, 1)))
    shop.remove(gone)
    report = await shop.find()
    assert report.troubles == {Trouble.GONE: 1, Trouble.UNREADABLE: 1}
    assert sorted(report.examples) == [
        f"gone from the image store: {gone} of gone", f"unreadable: {broken} of broken",
    ]  # fmt: skip
    assert [group.products for group in report.groups] == [("double-3", "p3")]
    assert ", 1 gone from the image store, 1 unreadable;" in report.sentence()


async def test_a_memory_of_an_older_format_is_begun_anew(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    await shop.fill()
    await shop.find()
    with sqlite3.connect(shop.memory) as database:
        database.execute("PRAGMA user_version=0")
    database.close()
    with caplog.at_level(logging.WARNING):
        report = await shop.find()
    assert report.looked_at == 19
    assert "has fingerprints of an older format; every photo is looked at anew" in caplog.text


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("PRAGMA user_version=99", "was written by a newer program"),
        ("PRAGMA application_id=7", "is another program's database; name a file of its own with --memory"),
    ],
)
def test_a_memory_that_is_not_ours_is_refused(tmp_path: Path, statement: str, says: str) -> None:
    path = tmp_path / "memory.db"
    Notebook(path).close()
    database = sqlite3.connect(path)
    database.execute(statement)
    database.commit()
    database.close()
    with pytest.raises(StartupError, match=says):
        Notebook(path)


def test_a_memory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    first = Notebook(path)
    with pytest.raises(StartupError, match="another run uses it"):
        Notebook(path)
    first.close()
    path.write_bytes(b"no database at all, but long enough to be looked at" * 50)
    with pytest.raises(StartupError, match="not a database"):
        Notebook(path)
    with pytest.raises(StartupError, match=r"name another file with --memory"):
        Notebook(tmp_path / "nowhere" / "memory.db")


def test_pairs_are_found_again_among_many_photos(tmp_path: Path) -> None:
    photos = [f"{number:05d}" for number in range(20_000)]
    pairs = [Pair(one, other, mirrored=False) for one, other in zip(photos[::2], photos[1::2], strict=True)]
    with closing(Notebook(tmp_path / "memory.db")) as notebook:
        notebook.forget_shown()
        notebook.show(Photo(photo, f"of {photo}", Box(0, 0, 1, 1)) for photo in photos)
        notebook.add_pairs("default", photos, pairs, mirrored=False)
        begun = time.monotonic()
        for _ in range(50):  # trying every photo with every other one takes minutes each time
            assert notebook.unjudged() == len(pairs) and notebook.next_unjudged(1) == pairs[:1]
        assert time.monotonic() - begun < 30
        notebook.judge([(pair, True) for pair in pairs])
        assert notebook.unjudged() == 0 and len(notebook.same(mirrored=False)) == len(pairs)


def test_progress_is_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    moments = iter((0.0, 1.0, 6.0, 7.0))
    progress = Progress("looked at", "photos", 1200, clock=lambda: next(moments))
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            progress.advance(100)
    assert caplog.messages == ["looked at 200 of 1,200 photos, 33.3/s, about 30 s left"]


async def filled(folder: Path) -> None:
    store = await open_store(folder)
    await Shop(folder, store, BreakingImages(f"file://{folder}/images")).fill()
    await store.close()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(filled(tmp_path))
    monkeypatch.setenv("LOOKALIKE_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/catalog.db")
    monkeypatch.setenv("LOOKALIKE_IMAGES_URL", f"file://{tmp_path}/images")
    memory = ["--memory", str(tmp_path / "memory.db")]
    assert main(["duplicates", *memory]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  group 1: double-3, p3"
    assert lines[2].startswith("    same ")
    assert main(["duplicates", *memory, "--json", "--catalog", "default"]) == 3
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["products"], told["new_photos"], told["troubles"]) == (19, 0, {"gone": 0, "unreadable": 0})
    assert [group["products"] for group in told["groups"]] == [["double-3", "p3"]]
    assert main(["duplicates", *memory, "--csv"]) == 3
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["catalog"], row["group"], row["kind"]) == ("default", "1", "same")
    assert {row["product"], row["other_product"]} == {"double-3", "p3"}
    assert main(["duplicates", *memory, "--catalog", "nowhere"]) == 1
    assert "there is no catalog nowhere" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["duplicates", *memory]) == 1
    assert "pip install 'lookalike[duplicates]'" in capsys.readouterr().err


def test_the_command_belongs_to_the_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command(["duplicates"]) == 2
    said = capsys.readouterr().err
    assert "duplicates runs where the server is installed: pip install 'lookalike[service]'" in said


def test_an_interruption_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lookalike_service.__main__.duplicates", interrupted)
    assert main(["duplicates", "--memory", str(tmp_path / "memory.db")]) == 130
    assert "interrupted; run it again" in capsys.readouterr().err
