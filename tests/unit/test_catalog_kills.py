"""A process that dies at any step of a write leaves the old or the new product, in database and index."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import support_killed
from fakes import FakeFinder, MemoryIndex, photo
from lookalike_service.admission import Deadline
from lookalike_service.catalog import Catalog
from lookalike_service.drafts import Draft, NewImage
from lookalike_service.images import Images
from lookalike_service.model import Product
from lookalike_service.projection import Projection, only
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from lookalike_service.tokens import Tokens
from lookalike_service.versions import Pair
from support_faults import Mortal, Steps
from support_gateway import MEMORY, open_store, watching

SETTINGS = Settings(token_keys=("0123456789abcdef",))  # type: ignore[arg-type]
OLD = Draft(
    Product("default", "p", title="old", brand="old"),
    tuple(NewImage(photo({"look": look})) for look in ("one", "two", "three")),
)
NEW = Draft(
    Product("default", "p", title="new", brand="new"),
    tuple(NewImage(photo({"look": look})) for look in ("three", "four")),
)


@dataclass
class World:
    """What outlives a process."""

    store: SqlStore
    images: Images
    index: MemoryIndex


@asynccontextmanager
async def world(*, stocked: bool) -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        opened = World(await open_store(Path(folder)), Images(f"file://{folder}/images"), MemoryIndex())
        if stocked:
            async with process(opened, Steps()) as catalog:
                await catalog.put(OLD, deadline=Deadline(10))
        yield opened
        await opened.store.close()


@asynccontextmanager
async def process(world: World, steps: Steps) -> AsyncIterator[Catalog]:
    """A gateway's product side that dies where the steps say; a new one has replayed the outbox before it serves."""
    store: Any = Mortal(world.store, steps, "write", "delete", "settle")
    images: Any = Mortal(world.images, steps, "put")
    index: Any = Mortal(world.index, steps, "upsert", "delete")
    projection = Projection(shelves=only(1, index), store=store)
    await projection.start()
    versions = await watching(world.store, {1: Pair(FakeFinder(), world.index)})
    try:
        yield Catalog(
            SETTINGS,
            versions=versions,
            store=store,
            images=images,
            projection=projection,
            tokens=Tokens(["0123456789abcdef"], lifetime=60),
        )
        if not steps.dead:
            # Entries are removed after the acknowledgement; every step that was begun has then come back, too.
            while await world.store.pending(limit=1) or len(steps.names) % 2:
                await asyncio.sleep(0.001)
    finally:
        await versions.close()
        await projection.stop()


async def create(catalog: Catalog) -> None:
    await catalog.create(OLD, deadline=Deadline(10))


async def replace_it(catalog: Catalog) -> None:
    await catalog.put(NEW, deadline=Deadline(10))


async def price(catalog: Catalog) -> None:
    def change(stored: Product | None) -> Draft:
        assert stored
        images = tuple(NewImage(sha256=image.sha256) for image in stored.images)
        return Draft(replace(stored, brand="new", revision=0), images)

    await catalog.update("default", "p", change, allow_missing=False, deadline=Deadline(10))


async def delete(catalog: Catalog) -> None:
    await catalog.delete("default", "p", allow_missing=False, revision=0)


async def create_again(catalog: Catalog) -> None:
    await catalog.delete("default", "p", allow_missing=False, revision=0)
    await catalog.create(NEW, deadline=Deadline(10))


State = tuple[object, ...]
Write = Callable[[Catalog], Coroutine[Any, Any, None]]


async def recorded(world: World) -> State:
    """The product of record as far as two runs of the same write agree."""
    product = (await world.store.products("default", ["p"], views=True)).get("p")
    if product is None:
        return ()
    assert [image.sha256 for image in product.images] == [view.image_sha256 for view in product.views]
    for image in product.images:
        assert await world.images.get(image.sha256), "a product of record has lost a photograph"
    return product.title, product.brand, tuple(view.id for view in product.views)


async def indexed(world: World) -> State:
    """The same as the index has it; every row is of the revision of record."""
    product = (await world.store.products("default", ["p"])).get("p")
    entries = world.index.catalogs.get("default", {}).values()
    if product is None:
        assert not entries, "a deleted product is found"
        return ()
    assert {entry.product.indexed_revision for entry in entries} == {product.indexed_revision}
    order = {image.sha256: number for number, image in enumerate(product.images)}
    rows = sorted(entries, key=lambda entry: order[entry.view.image_sha256])
    return product.title, rows[0].product.brand, tuple(entry.view.id for entry in rows)


async def nothing_half_written_is_found(world: World) -> None:
    """Before any replay: what a search takes for current, by its revision, is a view of record."""
    product = (await world.store.products("default", ["p"], views=True)).get("p")
    views = {view.id for view in product.views} if product else set()
    for entry in world.index.catalogs.get("default", {}).values():
        if product and entry.product.indexed_revision == product.indexed_revision:
            assert entry.view.id in views
            assert entry.product.brand == product.brand


WRITES: dict[str, tuple[Write, bool]] = {
    "create": (create, False),
    "replace": (replace_it, True),
    "update": (price, True),
    "delete": (delete, True),
    "delete and create": (create_again, True),
}


async def states(write: Write, *, stocked: bool) -> tuple[list[State], int]:
    """Old and new, and those in between when the write is several; and how many steps it takes."""
    async with world(stocked=stocked) as calm:
        before = await recorded(calm)
        steps = Steps()
        async with process(calm, steps) as catalog:
            await write(catalog)
        assert await indexed(calm) == await recorded(calm)
        middle: list[State] = [()] if write is create_again else []
        return [before, *middle, await recorded(calm)], len(steps.names)


@pytest.mark.parametrize("name", WRITES)
async def test_at_every_step_old_or_new_is_left_whole(name: str) -> None:
    write, stocked = WRITES[name]
    allowed, count = await states(write, stocked=stocked)
    assert len(set(allowed)) == len(allowed)
    assert count >= 6
    seen = set()
    for last in range(count):
        async with world(stocked=stocked) as left:
            steps, acknowledged = Steps(last), False
            with contextlib.suppress(Exception):
                async with process(left, steps) as catalog:
                    await write(catalog)
                    acknowledged = True
                    while not steps.dead:  # what comes after the acknowledgement
                        await asyncio.sleep(0.001)
            assert steps.dead
            await nothing_half_written_is_found(left)
            async with process(left, Steps()):
                pass
            state = await recorded(left)
            assert state == await indexed(left), steps.names
            assert state in allowed, steps.names
            assert not acknowledged or state == allowed[-1], steps.names
            assert await left.store.pending(limit=1) == []
            seen.add(state)
    assert seen == set(allowed)


@pytest.mark.parametrize("name", WRITES)
async def test_a_replay_that_dies_as_well_is_replayed(name: str) -> None:
    write, stocked = WRITES[name]
    allowed, count = await states(write, stocked=stocked)
    for last in range(1, count, 2):
        async with world(stocked=stocked) as left:
            steps = Steps(last)
            with contextlib.suppress(Exception):
                async with process(left, steps) as catalog:
                    await write(catalog)
                    while not steps.dead:
                        await asyncio.sleep(0.001)
            for again in range(8):
                with contextlib.suppress(Exception):
                    async with process(left, Steps(again)):
                        pass
            async with process(left, Steps()):
                assert await recorded(left) == await indexed(left)
                assert await recorded(left) in allowed


@pytest.mark.parametrize("lines", [5, 60, 150])
async def test_after_a_real_kill_nothing_acknowledged_is_lost(lines: int) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        child = await asyncio.create_subprocess_exec(
            sys.executable, support_killed.__file__, folder,
            stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        assert child.stdout
        said = [await child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += (await child.stdout.read()).splitlines()
        await child.wait()
        acknowledged = {number: round for number, round in (map(int, line.split()) for line in said)}
        assert len(acknowledged) >= min(lines, 5)
        store = await open_store(Path(folder))
        assert await support_killed.lost(acknowledged, store, Images(f"file://{folder}/images")) == []
        await store.close()
