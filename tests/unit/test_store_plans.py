"""How the database finds what it is asked for: pages of millions of products must not sort or skip."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from lookalike_service import tables
from lookalike_service.filter import parse
from lookalike_service.reads import shown_views
from support_gateway import open_store

FILTERS = ["", "available", 'brand = "a" AND price < 5', 'category = "top" OR colors : "red"', "attributes.stock < 5"]


@pytest.mark.parametrize("filter", FILTERS)
async def test_a_page_is_a_walk_along_the_primary_key(filter: str, tmp_path: Path) -> None:
    """What lies before the page is not looked at, and nothing is sorted: the last page costs what the first did."""
    query = tables.page("default", after="p-500000", until="p-520000", limit=51, filter=parse(filter), dialect="sqlite")
    statement = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    assert "OFFSET" not in str(statement).replace("LIMIT 51 OFFSET 0", "")
    store = await open_store(tmp_path)
    async with store.engine.connect() as connection:
        plan = [row.detail for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))]
    await store.close()
    assert plan[0] == "SEARCH products USING INDEX sqlite_autoindex_products_1 (catalog=? AND id>? AND id<?)"
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in plan), plan
    if "category" in filter:
        assert any("SEARCH views USING INDEX sqlite_autoindex_views_1" in step for step in plan)


async def test_a_stretch_is_counted_in_the_primary_key_alone(tmp_path: Path) -> None:
    statement = tables.stretch("default", after="p-500000", rows=20_000).compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
    )
    store = await open_store(tmp_path)
    async with store.engine.connect() as connection:
        plan = [row.detail for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))]
    await store.close()
    assert plan == ["SEARCH products USING COVERING INDEX sqlite_autoindex_products_1 (catalog=? AND id>?)"]


async def test_shown_views_are_found_below_their_products(tmp_path: Path) -> None:
    """One step per product, not one for every product and id, and not the whole catalog."""
    query = shown_views("default", ["p", "q"], ["p/1", "q/1", "q/2"])
    statement = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    store = await open_store(tmp_path)
    async with store.engine.connect() as connection:
        plan = [row.detail for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))]
    await store.close()
    assert plan == ["SEARCH views USING INDEX sqlite_autoindex_views_1 (catalog=? AND product_id=?)"]
