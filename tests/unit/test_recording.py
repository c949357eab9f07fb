"""Recording views: written together, pruned by age and number, and refused without losing anything else."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

import support_viewers
from lookalike_service import tables
from lookalike_service.admission import Deadline
from lookalike_service.companions import Decay, Shared
from lookalike_service.errors import StoreUnavailable
from lookalike_service.filter import Node
from lookalike_service.model import Product
from lookalike_service.page_view_store import SqlPageViews
from lookalike_service.page_views import DAY_SECONDS, Fate, PageView, SessionView
from lookalike_service.recording import ViewRecorder
from lookalike_service.settings import Settings
from support_gateway import open_store
from support_sessions import DAY, NOW


class FakeViews:
    """A PageViewStore that takes everything, once its gate is open, and remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.gate = asyncio.Event()
        self.failure: Exception | None = None

    async def add(self, catalog: str, views: Sequence[SessionView], *, most: int) -> list[Fate]:
        self.batches.append((catalog, [view.product_id for view in views]))
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return [Fate.UNKNOWN_PRODUCT if view.product_id == "unknown" else Fate.ACCEPTED for view in views]

    async def shared(
        self, catalog: str, product_id: str, *, decay: Decay, sessions: int, least: int, limit: int
    ) -> Shared:
        return Shared(0.0, 0.0)

    async def holding(self, catalog: str, ids: Collection[str], *, filter: Node | None) -> set[str]:
        return set(ids)

    async def forget(self, catalog: str, session: bytes) -> int:
        return 0

    async def prune(self, *, before: int) -> int:
        return 0

    async def first_day(self, *, most: int) -> int:
        return 0


def seen(*products: str, catalog: str = "default", session: str = "visit", ago: int = 0) -> list[PageView]:
    return [PageView(catalog, product, session, NOW - ago) for product in products]


def recorder_of(views: FakeViews | SqlPageViews, **changes: object) -> ViewRecorder:
    return ViewRecorder(Settings(**changes), views=views, now=lambda: NOW)  # type: ignore[arg-type]


async def test_views_that_come_while_others_are_written_go_together() -> None:
    views = FakeViews()
    recorder = recorder_of(views, page_views_per_second=1e9)
    calls = [seen("a"), seen("b", "unknown"), seen("c", catalog="other"), seen("d"), seen(*["e"] * 999), seen("f")]
    tasks = []
    for call in calls:
        tasks.append(asyncio.create_task(recorder.record(call, deadline=Deadline(10))))
        # The first is being written by the time that the others come.
        await asyncio.sleep(0.01)
    views.gate.set()
    counts = await asyncio.gather(*tasks)
    assert [(catalog, len(products)) for catalog, products in views.batches] == [
        ("default", 1),
        ("default", 4),
        ("other", 1),
        ("default", 999),
    ]
    assert [each[Fate.ACCEPTED] for each in counts] == [1, 1, 1, 1, 999, 1]
    assert counts[1][Fate.UNKNOWN_PRODUCT] == 1
    await recorder.stop()


async def test_a_failure_is_that_of_all_who_were_written_together_and_of_nobody_later() -> None:
    views = FakeViews()
    views.failure = StoreUnavailable("the database does not answer")
    views.gate.set()
    recorder = recorder_of(views)
    outcomes = await asyncio.gather(
        *(recorder.record(seen(id), deadline=Deadline(10)) for id in "ab"), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [StoreUnavailable, StoreUnavailable]
    views.failure = None
    assert (await recorder.record(seen("c"), deadline=Deadline(10)))[Fate.ACCEPTED] == 1


async def test_stopping_finishes_what_is_being_written() -> None:
    views = FakeViews()
    recorder = recorder_of(views)
    recorder.start()
    task = asyncio.create_task(recorder.record(seen("a"), deadline=Deadline(10)))
    while not views.batches:
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.02, views.gate.set)
    await recorder.stop()
    assert (await task)[Fate.ACCEPTED] == 1


@pytest.fixture
async def views(tmp_path: Path) -> AsyncIterator[SqlPageViews]:
    store = await open_store(tmp_path)
    for id in ("a", "b"):
        await store.write(Product("default", id, revision=1), expected_revision=0, pending=False)
    yield SqlPageViews(store)
    await store.close()


async def days_of(tmp_path: Path) -> list[int]:
    store = await open_store(tmp_path)
    rows = await store.read(lambda here: here.execute(select(tables.page_views.c.day)).scalars().all())
    await store.close()
    return sorted(NOW // DAY_SECONDS - day for day in rows)


async def test_what_is_too_old_is_pruned(views: SqlPageViews, tmp_path: Path) -> None:
    recorder = recorder_of(views, page_view_days=10)
    for ago in (0, 3, 6, 9):
        await recorder.record(seen("a", "b", session=f"{ago} days ago", ago=ago * DAY), deadline=Deadline(10))
    assert await recorder.prune() == 0
    assert await recorder_of(views, page_view_days=7).prune() == 2
    assert await days_of(tmp_path) == [0, 0, 3, 3, 6, 6]


async def test_beyond_their_number_the_oldest_days_go_first_but_never_today(
    views: SqlPageViews, tmp_path: Path
) -> None:
    recorder = recorder_of(views)
    for ago in (0, 1, 2):
        for number in range(2):
            made = seen("a", "b", session=f"{number}, {ago} days ago", ago=ago * DAY)
            await recorder.record(made, deadline=Deadline(10))
    assert await recorder_of(views, page_views_kept=12).prune() == 0
    assert await recorder_of(views, page_views_kept=9).prune() == 4
    assert await days_of(tmp_path) == [0] * 4 + [1] * 4
    assert await recorder_of(views, page_views_kept=1).prune() == 4
    assert await days_of(tmp_path) == [0] * 4


async def test_without_a_key_every_start_has_its_own(views: SqlPageViews) -> None:
    for _ in range(2):
        await recorder_of(views).record(seen("a"), deadline=Deadline(10))
    assert await recorder_of(views).forget("default", "visit") == 0
    for _ in range(2):
        await recorder_of(views, session_key="a secret of sixteen").record(seen("a"), deadline=Deadline(10))
    assert await recorder_of(views, session_key="a secret of sixteen").forget("default", "visit") == 1


@pytest.mark.parametrize("lines", [5, 150])
async def test_a_killed_gateway_loses_no_acknowledged_view(tmp_path: Path, lines: int) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, support_viewers.__file__, tmp_path,
        stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert child.stdout
    said = [await child.stdout.readline() for _ in range(lines)]
    child.kill()
    said += (await child.stdout.read()).splitlines()
    await child.wait()
    acknowledged = {line.decode().strip() for line in said}
    assert len(acknowledged) >= lines
    store = await open_store(tmp_path)
    rows = await store.read(lambda here: here.execute(select(tables.page_views)).all())
    counts = await store.read(lambda here: here.execute(select(tables.page_view_counts)).all())
    recounted = Counter((row.product_id, row.day) for row in rows)
    assert {(row.product_id, row.day): row.sessions for row in counts} == recounted
    recorder = recorder_of(SqlPageViews(store), session_key=support_viewers.KEY)
    assert [await recorder.forget("default", session) for session in sorted(acknowledged)] == [3] * len(acknowledged)
    await store.close()
