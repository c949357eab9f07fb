"""A gateway's recording of views in a process of its own, that says what is acknowledged and waits to be killed."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from lookalike_service.admission import Deadline
from lookalike_service.model import Product
from lookalike_service.page_view_store import SqlPageViews
from lookalike_service.page_views import PageView
from lookalike_service.recording import ViewRecorder
from lookalike_service.settings import Settings
from support_gateway import open_store
from support_sessions import DAY, NOW

__all__ = ["KEY", "PRODUCTS"]

KEY = "a secret of sixteen"
PRODUCTS, STREAMS = 20, 6


async def record_for_ever(folder: Path) -> None:
    """Record views of ever new sessions, and print each session as soon as its three views are acknowledged."""
    store = await open_store(folder)
    for number in range(PRODUCTS):
        await store.write(Product("default", f"p{number}", revision=1), expected_revision=0, pending=False)
    settings = Settings(session_key=KEY, page_views_per_second=1e9)  # type: ignore[arg-type]
    recorder = ViewRecorder(settings, views=SqlPageViews(store), now=lambda: NOW)

    async def stream(first: int) -> None:
        rng = random.Random(first)
        for number in range(1_000_000):
            session = f"{first}-{number}"
            seen = rng.sample(range(PRODUCTS), 3)
            views = [PageView("default", f"p{each}", session, NOW - rng.randrange(5) * DAY) for each in seen]
            await recorder.record(views, deadline=Deadline(60))
            print(session, flush=True)

    await asyncio.gather(*(stream(first) for first in range(STREAMS)))


if __name__ == "__main__":
    asyncio.run(record_for_ever(Path(sys.argv[1])))
