"""An import that is sent once more: no model runs, and the database is asked for many products at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from lookalike.v1 import product_pb2
from support_gateway import Shop, open_shop, product

UNCHANGED = 3


@contextmanager
def statements(shop: Shop) -> Iterator[list[str]]:
    """The SQL of a block."""
    said: list[str] = []

    def heard(connection: object, cursor: object, statement: str, *more: object) -> None:
        said.append(statement)

    engine = shop.store.engine.sync_engine
    event.listen(engine, "before_cursor_execute", heard)
    yield said
    event.remove(engine, "before_cursor_execute", heard)


def catalog(count: int) -> list[product_pb2.Product]:
    products = [product(f"p{number}", f"look {number}", title=f"Product {number}") for number in range(count)]
    for each in products:
        each.price.amount_minor, each.price.currency_code = 1999, "EUR"
        each.attributes["size"].string_value = "M"
        each.images[0].hint.category = "dress"
    return products


async def test_an_unchanged_import_runs_no_model_and_asks_for_many_at_once() -> None:
    count = 400
    async with open_shop() as shop:
        await shop.bring(catalog(count))
        calls, upserted = shop.finder.calls, shop.index.upserted
        assert calls == count
        while await shop.store.pending(limit=1):  # the last of the first import is still being tidied away
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        with statements(shop) as said:
            answers = await shop.bring(catalog(count))
        assert {answer.outcome for answer in answers} == {UNCHANGED}
        assert (shop.finder.calls, shop.index.upserted) == (calls, upserted)
        assert not [each for each in said if not each.startswith(("SELECT", "BEGIN"))]
        assert len(said) < count  # one product alone takes four


async def test_of_an_import_only_what_changed_is_written() -> None:
    async with open_shop() as shop:
        await shop.bring(catalog(40))
        again = catalog(40)
        again[7].title, again[9].price.amount_minor = "new", 5
        again[11].images[0].hint.category = "top"
        calls, upserted = shop.finder.calls, shop.index.upserted
        answers = await shop.bring(again)
        assert {answer.position for answer in answers if answer.outcome != UNCHANGED} == {7, 9, 11}
        assert [answer.embedded_views for answer in answers if answer.outcome != UNCHANGED] == [0, 0, 1]
        assert (shop.finder.calls - calls, shop.index.upserted - upserted) == (1, 2)
