"""Bulk loads into catalogs with several embedding versions: what is loaded, left to a filling, or refused."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lookalike_service.bulk import command
from lookalike_service.bulk.arguments import add_bulk
from lookalike_service.bulk.manifest import write_manifest
from lookalike_service.bulk.needed import needed_version, versions_of
from lookalike_service.drafts import Outcome
from lookalike_service.errors import StartupError
from lookalike_service.model import Pending, Product, View
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import State
from support_bulk import ROWS, Bulk, Models, opened, write_rows
from support_triton import serving

ME = "host:1"
REMEDY = "`lookalike reindex --drop 2 --catalog default` takes away what is not needed before the load"


@pytest.fixture
async def bulk(tmp_path: Path) -> AsyncIterator[Bulk]:
    """Three products, embedded into the folder with version 1, and a database where that serves."""
    async with serving(Models()) as address, opened(write_rows(tmp_path, ROWS), tritons=(address,)) as bulk:
        assert await bulk.embed() == []
        yield bulk


async def given(store: SqlStore, states: dict[int, State | None]) -> SqlVersions:
    """Let the catalog `default` have these versions, beside those that it has."""
    records = SqlVersions(store)
    await records.lease("default", ME, seconds=600)
    for version in states:
        await records.begin("default", version, holder=ME)
    assert await records.change("default", states, holder=ME)
    return records


def of_version_2(product: Product) -> list[View]:
    return [replace(view, embedding_version=2) for view in product.views if view.embedding_version == 1]


@pytest.mark.parametrize("state", [State.KEPT, State.FILLED])
async def test_a_catalog_that_needs_another_version_too_is_refused_with_the_remedy(bulk: Bulk, state: State) -> None:
    await given(bulk.store, {2: state})
    for work in (bulk.loader().begin, bulk.load):
        with pytest.raises(StartupError) as refused:
            await work()
        assert f"beside embedding version 1, which serves, 2 ({state.value})" in str(refused.value)
        assert REMEDY in str(refused.value)
    assert await bulk.store.page("default") == []
    await given(bulk.store, {2: None})
    assert (await bulk.load()).outcomes == Counter({Outcome.CREATED: 3})


async def test_a_version_that_is_being_filled_is_left_to_its_filling(bulk: Bulk) -> None:
    records = await given(bulk.store, {2: State.FILLING})
    assert (await bulk.load()).outcomes == Counter({Outcome.CREATED: 3})
    assert await records.lacking("default", 2, limit=9) == ["a", "b", "c"]
    assert {entry.view.embedding_version for entry in bulk.index.catalogs["default"].values()} == {1}
    products = await bulk.store.products("default", ["a", "b", "c"], views=True)
    await records.add_views([(each, of_version_2(each)) for each in products.values()], 2)
    written = bulk.index.upserted
    # What is filled counts as no difference, and a second load neither writes nor takes it away.
    assert (await bulk.load()).outcomes == Counter({Outcome.UNCHANGED: 3})
    assert await records.lacking("default", 2, limit=9) == [] and bulk.index.upserted == written


async def test_what_a_load_changes_for_searches_is_filled_again(bulk: Bulk, tmp_path: Path) -> None:
    await bulk.load()
    records = await given(bulk.store, {2: State.FILLING})
    products = await bulk.store.products("default", ["a", "c"], views=True)
    await records.add_views([(each, of_version_2(each)) for each in products.values()], 2)
    changed = [{**ROWS[0], "title": "shown only"}, ROWS[1], {**ROWS[2], "brand": "Lea"}]
    path = write_rows(tmp_path, changed)
    async with opened(path, tritons=bulk.job.tritons, out="again") as newer:
        assert await newer.embed() == []
        assert (await newer.load()).outcomes == Counter({Outcome.UPDATED: 2, Outcome.UNCHANGED: 1})
    assert await records.lacking("default", 2, limit=9) == ["b", "c"]
    titles = [product.title for product in await bulk.store.page("default")]
    assert titles[0] == "shown only"


class Overtaken(SqlStore):
    """Another process completes version 2 when a load has looked and is about to write."""

    def __init__(self, store: SqlStore) -> None:
        super().__init__(store.engine)
        self.attempts = 0

    async def insert(self, products: list[Product]) -> list[Pending]:  # type: ignore[override]
        self.attempts += 1
        await given(self, {2: State.FILLED})
        return await super().insert(products)


async def test_a_version_that_is_completed_during_a_load_ends_it_and_loses_nothing(bulk: Bulk) -> None:
    await given(bulk.store, {2: State.FILLING})
    overtaken = Overtaken(bulk.store)
    with pytest.raises(StartupError, match=r"2 \(filled\): its products need the vectors of each"):
        await bulk.loader(store=overtaken).load(0)
    assert overtaken.attempts == 1
    assert await bulk.store.page("default") == [] and await bulk.store.pending(limit=1) == []


async def test_a_version_that_is_dropped_during_a_load_costs_another_look(bulk: Bulk) -> None:
    await bulk.load()
    records = await given(bulk.store, {2: State.FILLING})
    products = await bulk.store.products("default", ["a"], views=True)
    await records.add_views([(products["a"], of_version_2(products["a"]))], 2)
    stored = (await bulk.store.products("default", ["a"], views=True))["a"]
    older = replace(stored, title="older", revision=stored.revision + 1, update_time=datetime(2020, 1, 1, tzinfo=UTC))
    await bulk.store.write(older, expected_revision=stored.revision, pending=False)

    class Dropping(SqlStore):
        async def write(self, product: Product, **options: bool | int) -> Pending | None:
            await given(self, {2: State.DROPPING})
            return await super().write(product, **options)  # type: ignore[arg-type]

    loaded = await bulk.loader(store=Dropping(bulk.store.engine)).load(0)
    assert loaded.outcomes[Outcome.UPDATED] == 1
    found = (await bulk.store.products("default", ["a"], views=True))["a"]
    assert (found.title, {view.embedding_version for view in found.views}) == ("Größe", {1})


async def test_the_database_says_which_version_a_load_is_of(
    bulk: Bulk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest(bulk.folder, bulk.manifest)
    records = await given(bulk.store, {1: State.KEPT, 2: State.SERVING})
    parser = argparse.ArgumentParser()
    add_bulk(parser.add_subparsers(dest="command"))
    loading = parser.parse_args(["bulk", str(tmp_path / "products.jsonl"), "--out", bulk.folder.url, "--only", "load"])
    settings = Settings(
        images_url=f"file://{tmp_path}/images", database_url=f"sqlite+aiosqlite:///{tmp_path}/catalog.db"
    )
    with pytest.raises(StartupError, match=r"beside embedding version 2, which serves, 1 \(kept\)"):
        await command.bulk(settings, loading)
    await given(bulk.store, {1: None})
    with pytest.raises(StartupError, match="vectors of embedding version 1, and the catalog wants those of version 2;"):
        await command.bulk(settings, loading)
    assert needed_version(await versions_of(records), "default") == 2
    assert needed_version(await versions_of(records), "new") == 0
    # Without the database the setting says it.
    loading.only = "embed"
    with pytest.raises(StartupError, match="and LOOKALIKE_EMBEDDING_VERSION wants those of version 3;"):
        await command.bulk(settings.model_copy(update={"embedding_version": 3}), loading)
