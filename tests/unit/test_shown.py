"""Products of hits are read once, and asked for their revisions each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Connection, create_engine, event, insert, update

from fakes import vector
from lookalike_service import tables
from lookalike_service.model import Box, Product, View
from lookalike_service.records import product_row, view_rows
from lookalike_service.shown import ShownProducts

SHOWN = {"p/0": "p", "p/1": "p", "q/0": "q"}


def product(id: str, *, version: int = 1) -> Product:
    views = []
    for n in range(2):
        embedding = vector(f"{id} {n}").astype(np.float16)
        views.append(View(f"{id}/{n}", f"{n:064x}", Box(0, 0, 1, 1), "top", (), "", version, embedding))
    return Product("default", id, title="old", revision=1, indexed_revision=1, views=tuple(views))


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    tables.metadata.create_all(engine)
    with engine.connect() as connection:
        for each in (product("p"), product("q")):
            connection.execute(insert(tables.products), product_row(each))
            connection.execute(insert(tables.views), view_rows(each))
        yield connection
    engine.dispose()


@contextmanager
def statements(connection: Connection) -> Iterator[list[str]]:
    """The tables that are asked meanwhile, in turn."""
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        asked.append(statement.split("FROM ")[1].split()[0])

    event.listen(connection, "before_cursor_execute", note)
    yield asked
    event.remove(connection, "before_cursor_execute", note)


def read(shown: ShownProducts, connection: Connection, views: dict[str, str], version: int = 1) -> dict[str, str]:
    found = shown.read(connection, "default", views, embedding_version=version)
    return {view_id: product.title for view_id, (product, _) in found.items()}


def test_what_is_known_is_asked_for_its_revision_alone(connection: Connection) -> None:
    shown = ShownProducts(10)
    with statements(connection) as first:
        assert read(shown, connection, SHOWN) == dict.fromkeys(SHOWN, "old")
    with statements(connection) as second:
        assert read(shown, connection, SHOWN) == dict.fromkeys(SHOWN, "old")
    assert (first, second) == (["products", "products", "images", "views"], ["products"])
    with statements(connection) as another_view:
        assert read(shown, connection, {"q/1": "q"}) == {"q/1": "old"}
        assert read(shown, connection, {"q/0": "q", "q/1": "q"}) == {"q/0": "old", "q/1": "old"}
    assert another_view == [*first, "products"]


def test_a_change_and_a_deletion_are_seen_at_once(connection: Connection) -> None:
    shown = ShownProducts(10)
    read(shown, connection, SHOWN)
    row = product_row(replace(product("p"), title="new", revision=2))
    connection.execute(update(tables.products).where(tables.products.c.id == "p").values(row))
    connection.execute(update(tables.products).where(tables.products.c.id == "q").values(deleted=True))
    assert read(shown, connection, SHOWN) == {"p/0": "new", "p/1": "new"}


def test_views_of_another_embedding_version_are_others(connection: Connection) -> None:
    shown = ShownProducts(10)
    assert read(shown, connection, SHOWN, version=2) == {}
    connection.execute(insert(tables.views), view_rows(product("p", version=2)))
    assert read(shown, connection, SHOWN, version=2) == {"p/0": "old", "p/1": "old"}
    assert read(shown, connection, SHOWN) == dict.fromkeys(SHOWN, "old")


def test_without_room_everything_is_read_each_time(connection: Connection) -> None:
    for most in (0, 1):
        shown = ShownProducts(most)
        for _ in range(2):
            assert read(shown, connection, SHOWN) == dict.fromkeys(SHOWN, "old")
