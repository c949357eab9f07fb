"""A gateway's product side in a process of its own that writes, says what is acknowledged, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from fakes import FakeFinder, MemoryIndex, photo
from lookalike_service.admission import Deadline
from lookalike_service.catalog import Catalog
from lookalike_service.drafts import Draft, NewImage
from lookalike_service.images import Images
from lookalike_service.model import Product
from lookalike_service.projection import Projection
from lookalike_service.settings import Settings
from lookalike_service.tokens import Tokens
from support_gateway import open_store

PRODUCTS, WRITERS = 40, 8


def draft(number: int, round: int) -> Draft:
    """The product of that number as it is in that round; the title tells."""
    product = Product("default", f"p{number}", title=str(round), brand=f"b{round}", revision=round)
    images = (f"look {number}", f"look {number} of {round}")
    return Draft(product, tuple(NewImage(photo({"look": look})) for look in images))


async def write_for_ever(folder: Path) -> None:
    """Write round after round, and print `number round` as soon as one is acknowledged."""
    store, index = await open_store(folder), MemoryIndex()
    projection = Projection(index=index, store=store, embedding_version=1)
    await projection.start()
    catalog = Catalog(
        Settings(),
        finder=FakeFinder(),
        store=store,
        images=Images(f"file://{folder}/images"),
        projection=projection,
        tokens=Tokens(lifetime=60),
    )

    async def work(first: int) -> None:
        for round in range(1, 1_000_000):
            for number in range(first, PRODUCTS, WRITERS):
                if (number + round) % 5 == 0:
                    await catalog.delete("default", f"p{number}", allow_missing=True, revision=round)
                    print(number, -round, flush=True)
                else:
                    await catalog.put(draft(number, round), deadline=Deadline(60))
                    print(number, round, flush=True)

    await asyncio.gather(*(work(first) for first in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(write_for_ever(Path(sys.argv[1])))
