"""How well made-up visitors' true companions are found: against the structure they were made with, and popularity."""

from __future__ import annotations

from pathlib import Path

import pytest

from lookalike_service.companions import Decay, companions_of
from lookalike_service.database import DatabaseOptions, open_database
from lookalike_service.model import Product
from lookalike_service.page_view_store import SqlPageViews
from lookalike_service.page_views import DAY_SECONDS, SessionView
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from support_sessions import NOW, Shopping, recall_at_10


async def found_by(folder: Path, shopping: Shopping) -> dict[str, list[str]]:
    """Per product of a group the ten that belong to it most, as the settings' defaults have it."""
    settings, today = Settings(), NOW // DAY_SECONDS
    store = SqlStore(await open_database(DatabaseOptions(f"sqlite+aiosqlite:///{folder}/catalog.db")))
    for id in shopping.products():
        await store.write(Product("default", id, revision=1), expected_revision=0, pending=False)
    views, made = SqlPageViews(store), shopping.views()
    for begin in range(0, len(made), 1000):
        batch = [
            SessionView(each.session.encode(), each.product.rpartition("/")[2], each.view_time.seconds // DAY_SECONDS)
            for each in made[begin : begin + 1000]
        ]
        await views.add("default", batch, most=settings.page_views_per_session)
    decay = Decay(today - settings.page_view_days + 1, today, settings.page_view_half_life)
    found = {}
    for id in shopping.companions():
        shared = await views.shared(
            "default",
            id,
            decay=decay,
            sessions=settings.also_viewed_sessions,
            least=settings.also_viewed_least,
            limit=4 * settings.also_viewed_products,
        )
        found[id] = [each.product_id for each in companions_of(shared, limit=10)]
    await store.close()
    return found


@pytest.mark.parametrize("seed", [1, 2])
async def test_true_companions_are_found_and_bestsellers_do_not_drown_them(tmp_path: Path, seed: int) -> None:
    shopping = Shopping(seed=seed)
    companions = shopping.companions()
    found = await found_by(tmp_path, shopping)
    bestsellers = shopping.popular()
    popular = {id: [each for each in bestsellers if each != id][:10] for id in companions}
    assert recall_at_10(found, companions) >= 0.9
    assert recall_at_10(popular, companions) < 0.1
    shown = [each for ranking in found.values() for each in ranking[:10]]
    assert sum(each.startswith("hit") for each in shown) / len(shown) < 0.05
