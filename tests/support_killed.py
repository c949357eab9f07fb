"""A gateway's product side in a process of its own that writes, says what is acknowledged, and waits to be killed."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

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
from support_gateway import open_store, watching

PRODUCTS, WRITERS = 40, 8


def draft(number: int, round: int) -> Draft:
    """The product of that number as it is in that round; the title tells."""
    product = Product("default", f"p{number}", title=str(round), brand=f"b{round}", revision=round)
    images = (f"look {number}", f"look {number} of {round}")
    return Draft(product, tuple(NewImage(photo({"look": look})) for look in images))


async def opened(folder: Path) -> tuple[Catalog, SqlStore]:
    """A gateway's product side over an index in memory; what the folder holds is replayed."""
    store, index = await open_store(folder), MemoryIndex()
    projection = Projection(shelves=only(1, index), store=store)
    await projection.start()
    catalog = Catalog(
        Settings(),
        versions=await watching(store, {1: Pair(FakeFinder(), index)}),
        store=store,
        images=Images(f"file://{folder}/images"),
        projection=projection,
        tokens=Tokens(lifetime=60),
    )
    return catalog, store


async def write_for_ever(catalog: Catalog, acknowledged: Callable[[int, int], None], *, first: int = 1) -> None:
    """Write round after round, and say number and round of each as soon as it is acknowledged; minus is a delete."""

    async def work(begin: int) -> None:
        for round in range(first, 1_000_000):
            for number in range(begin, PRODUCTS, WRITERS):
                if (number + round) % 5 == 0:
                    await catalog.delete("default", f"p{number}", allow_missing=True, revision=round)
                    acknowledged(number, -round)
                else:
                    await catalog.put(draft(number, round), deadline=Deadline(60))
                    acknowledged(number, round)

    async with asyncio.TaskGroup() as group:
        for begin in range(WRITERS):
            group.create_task(work(begin))


async def lost(acknowledged: Mapping[int, int], store: SqlStore, images: Images) -> list[str]:
    """What was acknowledged, by number and last round, and is not there as it was sent."""
    faults = []
    for number, round in acknowledged.items():
        stored = (await store.products("default", [f"p{number}"], views=True, deleted=True)).get(f"p{number}")
        # The process may have begun the next round of a product, and ended it without being heard.
        if stored is None or stored.revision < abs(round):
            faults.append(f"p{number} is older than {round}")
            continue
        if stored.revision == abs(round) and stored.deleted is not (round < 0):
            faults.append(f"p{number} is the other way round in {round}")
        if stored.deleted:
            continue
        wanted = [hashlib.sha256(each.content).hexdigest() for each in draft(number, stored.revision).images]
        if stored.title != str(stored.revision) or [view.image_sha256 for view in stored.views] != wanted:
            faults.append(f"p{number} is half of {stored.revision}")
        faults += [f"p{number} has lost the photograph {each}" for each in wanted if not await images.get(each)]
    return faults


async def main(folder: Path) -> None:
    """Write until killed, and print what is acknowledged."""
    catalog, _ = await opened(folder)
    await write_for_ever(catalog, lambda number, round: print(number, round, flush=True))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
