"""Bulk loads without Ray: parts of a catalog, what a worker makes of one, and how that gets into record and index."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pyarrow
import pyarrow.parquet
import pytest
from sqlalchemy import text

from fakes import MemoryIndex
from lookalike import Client
from lookalike.catalogs import Fetcher, load, open_catalog
from lookalike_service.bulk import command
from lookalike_service.bulk.arguments import EXAMPLES, add_bulk
from lookalike_service.bulk.cluster import refuse_absent, running
from lookalike_service.bulk.folder import Folder
from lookalike_service.bulk.manifest import read_manifest, vectors_name, write_manifest
from lookalike_service.bulk.parts import read_plan, read_vectors
from lookalike_service.bulk.planning import Scan
from lookalike_service.bulk.replicas import Replicas
from lookalike_service.drafts import Outcome
from lookalike_service.errors import IndexUnavailable, ModelUnavailable, StartupError
from lookalike_service.images import Images
from lookalike_service.rows import row_of
from lookalike_service.settings import Settings
from lookalike_service.store import SqlStore
from lookalike_service.triton import TritonFinder
from support_bulk import ROWS, Bulk, Models, embed_all, manifest_of, opened, planned_scan, write_rows
from support_gateway import open_shop
from support_triton import serving


async def everything(store: SqlStore) -> dict[str, list[dict[str, Any]]]:
    """All rows, without what every write chooses anew."""
    async with store.engine.connect() as connection:
        tables = {}
        for table, order in (("products", "id"), ("images", "product_id, position"), ("views", "product_id, id")):
            rows = (await connection.execute(text(f"SELECT * FROM {table} ORDER BY {order}"))).mappings()
            tables[table] = [{k: v for k, v in row.items() if k not in ("created", "updated")} for row in rows]
    for row in tables["products"]:
        for name in ("revision", "indexed_revision"):
            # A time in microseconds, where the merchant counts nothing.
            row[name] = "time" if row[name] > 2**40 else row[name]
    return tables


def indexed(index: MemoryIndex) -> dict[str, dict[str, Any]]:
    rows = [row_of(entry) for entry in index.catalogs["default"].values()]
    return {row["id"]: {k: _plain(v) for k, v in row.items() if k != "revision"} for row in rows}


def _plain(value: Any) -> object:  # noqa: ANN401 - whatever a column has
    return value.tobytes() if hasattr(value, "tobytes") else value


async def test_a_bulk_load_stores_what_an_import_stores(tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROWS)
    async with serving(Models()) as address, opened(path, tritons=(address,)) as bulk:
        assert await bulk.embed() == []
        loaded = await bulk.load()
        assert (loaded.products, loaded.outcomes, loaded.failures) == (3, Counter({Outcome.CREATED: 3}), [])
        assert await bulk.store.pending(limit=1) == []
        finder = await TritonFinder.connect(address)
        async with open_shop(finder=finder) as shop, Fetcher() as fetcher:  # type: ignore[arg-type]
            async with Client(f"127.0.0.1:{shop.gateway.port}") as client:
                products = [each.product async for each in load(bulk.catalog, fetcher=fetcher) if each.product]
                answers = [answer async for answer in client.import_products(products)]
            assert len(answers) == 3
            assert await everything(bulk.store) == await everything(shop.store)
            assert indexed(bulk.index) == indexed(shop.index)
            for photo in {image.sha256 for each in await bulk.store.page("default") for image in each.images}:
                assert await Images(bulk.job.images).get(photo) == await shop.images.get(photo) is not None
        await finder.close()


async def test_what_is_loaded_is_not_written_again(tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROWS)
    fake = Models()
    async with serving(fake) as address, opened(path, tritons=(address,)) as bulk:
        await bulk.embed()
        await bulk.load()
        before, written = await bulk.store.products("default", ["a", "b", "c"], views=True), bulk.index.upserted
        again = await bulk.load()
        assert again.outcomes == Counter({Outcome.UNCHANGED: 3})
        assert await bulk.store.products("default", ["a", "b", "c"], views=True) == before
        assert bulk.index.upserted == written


async def test_a_later_change_stays_and_an_earlier_one_is_replaced(tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROWS)
    async with serving(Models()) as address, opened(path, tritons=(address,)) as bulk:
        await bulk.embed()
        await bulk.load()
        stored = await bulk.store.products("default", ["a", "c"], views=True)
        # The shop changes one price, and deletes the other product, while a second load waits for its turn.
        cheaper = replace(stored["a"], title="new", revision=stored["a"].revision + 1, update_time=None)
        await bulk.store.write(cheaper, expected_revision=stored["a"].revision, pending=False)
        await bulk.store.delete("default", "c", expected_revision=stored["c"].revision)
        loaded = await bulk.load()
        assert (loaded.kept, loaded.outcomes) == (2, Counter({Outcome.UNCHANGED: 1}))
        assert set(await bulk.store.products("default", ["a", "c"])) == {"a"}
        # Photographs looked at afterwards are newer, so what the catalog says now counts.
        async with opened(path, tritons=(address,), out="again") as newer:
            await newer.embed()
            loaded = await newer.load()
        assert loaded.outcomes == Counter({Outcome.UPDATED: 1, Outcome.CREATED: 1, Outcome.UNCHANGED: 1})
        assert (await bulk.store.products("default", ["a"]))["a"].title == "Größe"


async def test_rows_fail_by_themselves_and_with_their_place(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        {"id": "gone", "image": "none.jpg"},
        {"id": "d", "image": "broken.jpg"},
        {"id": "e e", "image": "1.jpg"},
    ]
    path = write_rows(tmp_path, rows)
    async with serving(Models()) as address, opened(path, tritons=(address,)) as bulk:
        assert (bulk.manifest.products, bulk.manifest.unusable) == (5, 1)
        assert await bulk.embed() == []
        newer = replace((await _read(bulk, 0))[1], revision=9, indexed_revision=9)
        await bulk.store.write(newer, expected_revision=0, pending=False)
        loaded = await bulk.load()
    assert [(failure.row, failure.label) for failure in loaded.failures] == [(2, "b"), (4, "gone"), (5, "d")]
    outdated, gone, broken = (failure.reason for failure in loaded.failures)
    assert outdated == "REVISION_OUTDATED: revision 7 is older than the stored 9"
    assert gone.startswith("the image none.jpg cannot be read (No such file")
    assert broken == "IMAGE_UNREADABLE: these bytes are no image"
    assert loaded.products == 2


async def _read(bulk: Bulk, part: int) -> tuple[Any, ...]:
    return read_vectors(bulk.folder, part, manifest=bulk.manifest).products


async def test_what_database_and_index_could_not_take_is_brought_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookalike_service.bulk.loading.PAUSES", (0.01,) * 3)
    path = write_rows(tmp_path, ROWS)
    async with serving(Models()) as address, opened(path, tritons=(address,)) as bulk:
        await bulk.embed()
        bulk.index.failure = IndexUnavailable("Milvus is away")
        with pytest.raises(IndexUnavailable):
            await bulk.load()
        # Committed with its entry in the outbox, so the next run brings it although it writes nothing.
        assert [entry.product_id for entry in await bulk.store.pending(limit=9)] == ["a", "b"]
        bulk.index.failure = None
        loaded = await bulk.load()
        assert loaded.outcomes == Counter({Outcome.UNCHANGED: 2, Outcome.CREATED: 1})
        assert len(indexed(bulk.index)) == 4 and await bulk.store.pending(limit=1) == []


async def test_a_triton_that_is_away_fails_the_part_and_no_row(tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROWS)
    async with opened(path, tritons=("127.0.0.1:1",)) as bulk:
        problems = await asyncio.to_thread(embed_all, replace(bulk.job, startup_seconds=0.5))
        assert len(problems) == 2 and problems[0].startswith("Triton at 127.0.0.1:1 was not ready within 0.5 s")
        assert bulk.folder.names("vectors") == set()


async def test_replicas_share_the_work_and_stand_in_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("CONNECT_SECONDS", 0.5), ("REST_SECONDS", 60.0)):
        monkeypatch.setattr(f"lookalike_service.bulk.replicas.{name}", seconds)
    fakes = Models(), Models()
    async with serving(fakes[0]) as first, serving(fakes[1]) as second:
        finder = await Replicas.connect([first, "127.0.0.1:1", second], embedding_version=1, timeout=2)
        assert (finder.embedding_version, finder.embedding_size) == (1, 256)
        for _ in range(2):  # at first most go to the one that is connected
            await asyncio.gather(*(finder.find(b"photo %d" % number, timeout=20) for number in range(12)))
        assert min(fake.finished for fake in fakes) >= 6 and sum(fake.finished for fake in fakes) == 24
        fakes[0].failure = (grpc.StatusCode.UNAVAILABLE, "going down")
        await asyncio.gather(*(finder.find(b"photo %d" % number, timeout=20) for number in range(8)))
        assert sum(fake.finished for fake in fakes) == 32
        fakes[1].failure = fakes[0].failure
        with pytest.raises(ModelUnavailable, match="Triton"):
            await finder.find(b"photo", timeout=0.5)
        with pytest.raises(ModelUnavailable):
            await finder.find(b"photo")
        await finder.close()


async def test_a_plan_gives_the_rows_back(tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROWS)
    table = pyarrow.Table.from_pylist([{"id": "p", "images": [{"bytes": b"photo"}]}])
    pyarrow.parquet.write_table(table, tmp_path / "inline.parquet")
    async with Fetcher() as fetcher:
        for place in (path, tmp_path / "inline.parquet"):
            async with open_catalog(place, fetcher=fetcher) as catalog:
                folder = Folder(str(tmp_path / place.stem))
                seen = planned_scan(catalog, folder)
                parts = [read_plan(folder, part, base=catalog.base) for part in range(seen.parts)]
                rows = [(row.number, row.label, row.entry) for part in parts for row in part.rows()]
                assert rows == [(row.number, row.label, row.entry) for row in catalog.rows()]


async def test_a_folder_is_for_one_state_of_one_catalog_and_version(tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROWS)
    folder = Folder(str(tmp_path / "vectors"))

    async def seen() -> Scan:
        async with Fetcher() as fetcher, open_catalog(path, fetcher=fetcher) as catalog:
            return planned_scan(catalog, folder)

    first = await seen()
    assert read_manifest(folder) is None  # planning was cut short
    write_manifest(folder, manifest_of(first))
    found = read_manifest(folder)
    assert found is not None
    found.refuse_others(catalog="default", embedding_version=1, wanted_by="LOOKALIKE_EMBEDDING_VERSION")
    found.refuse_changed("products.jsonl", (await seen()).digest)
    with pytest.raises(
        StartupError, match="for the catalog 'default', and they are to go to 'other'; name another folder"
    ):
        found.refuse_others(catalog="other", embedding_version=1, wanted_by="LOOKALIKE_EMBEDDING_VERSION")
    with pytest.raises(StartupError, match="vectors of embedding version 1, and the catalog wants those of version 2"):
        found.refuse_others(catalog="default", embedding_version=2, wanted_by="the catalog")
    write_rows(tmp_path, [*ROWS[:2], {**ROWS[2], "title": "changed"}])
    with pytest.raises(StartupError, match=r"products.jsonl is another catalog or has changed since"):
        found.refuse_changed("products.jsonl", (await seen()).digest)
    folder.write("manifest.json", b"{")
    with pytest.raises(StartupError, match="is damaged or of another program"):
        read_manifest(folder)
    strange = Folder(str(tmp_path / "strange"))
    strange.write("letters/a.txt", b"dear")
    with pytest.raises(StartupError, match=r"holds letters and no manifest\.json"):
        read_manifest(strange)
    with pytest.raises(StartupError, match="cannot be used"):
        Folder(str(path))


async def test_files_of_another_load_are_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path, ROWS)
    async with serving(Models()) as address, opened(path, tritons=(address,)) as bulk:
        await bulk.embed()
        for changes in ({"digest": "0" * 64}, {"embedding_version": 2}):
            with pytest.raises(StartupError, match="is of another catalog or embedding version; delete it"):
                read_vectors(bulk.folder, 0, manifest=replace(bulk.manifest, **changes))
        bulk.folder.write(vectors_name(1), b"PAR1")
        with pytest.raises(StartupError, match=r"part-000001.parquet in \S+ is damaged .*; delete it and run"):
            await bulk.loader().load(1)
        with pytest.raises(StartupError, match="--out must name a place that all of them reach"):
            await bulk.loader().load(2)
        with pytest.raises(StartupError, match="are not in LOOKALIKE_IMAGES_URL as this machine sees it"):
            await bulk.loader(images=f"file://{tmp_path}/elsewhere").load(0)


def test_a_cluster_that_is_not_there_is_said_so_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookalike_service.bulk.cluster.PROBE_SECONDS", 0.3)
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(StartupError, match=rf"no Ray cluster at {address}: nothing answers .* leave --address out"):
            refuse_absent(address)
    refuse_absent("")


def test_a_cluster_that_cannot_be_joined_is_said_so_with_what_it_may_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(**options: Any) -> None:  # noqa: ANN401 - whatever Ray is told
        # What Ray says of a wrong token, after 20 s.
        raise ConnectionError(f"Failed to connect to Ray cluster at {options['address']}\n")

    monkeypatch.setattr(ray, "init", refuse)
    sentence = r"at 10\.0\.0\.1:6379 cannot be joined \(Failed to connect .*must be in RAY_AUTH_TOKEN"
    with pytest.raises(StartupError, match=sentence), running("10.0.0.1:6379"):
        pass


def test_a_ray_that_is_slow_to_start_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    failures = [Exception("The current node timed out during startup.\nMore."), Exception("And again.")]

    def start(**_: Any) -> None:  # noqa: ANN401 - whatever Ray is told
        if failures:
            raise failures.pop(0)

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 3.0})
    with running("") as processors:
        assert processors == 3
    failures.extend(Exception(f"Try {number} timed out.\nMore.") for number in (1, 2, 3))
    with pytest.raises(StartupError, match=r"on this machine \(Try 3 timed out\.\), tried 3 times"), running(""):
        pass


async def test_what_stands_in_the_way_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lookalike_service.bulk.cluster.PROBE_SECONDS", 0.3)
    path = str(write_rows(tmp_path, ROWS))
    fake = Models()
    fake.ready = False
    parser = argparse.ArgumentParser()
    add_bulk(parser.add_subparsers(dest="command"))
    async with serving(fake) as address:
        settings = Settings(
            bulk_triton_addresses=(address,), images_url=f"file://{tmp_path}/images", startup_seconds=0.5
        )
        for arguments, sentence in (
            ((path, "--address", "127.0.0.1:1"), "there is no Ray cluster at 127.0.0.1:1"),
            ((path, "--catalog", "nowhere"), "there is no catalog nowhere; LOOKALIKE_CATALOGS names those that are"),
            (("none.csv",), "none.csv does not exist"),
            ((path, "--failures", "f.csv"), "f.csv must end with .jsonl"),
            ((path, "--only", "load"), "holds no vectors yet; without --only load they are made"),
            ((path,), "was not ready within 0.5 s: it does not serve garments_1"),
        ):
            with pytest.raises(StartupError) as refused:
                await command.bulk(settings, parser.parse_args(["bulk", *arguments]))
            assert sentence in str(refused.value)


def test_the_help_teaches_with_examples_that_parse(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_bulk(parser.add_subparsers(dest="command"))
    examples = [line.strip().split("  ")[0] for line in EXAMPLES.splitlines() if line.startswith("  lookalike")]
    assert len(examples) == 5
    for example in examples:
        options = parser.parse_args(shlex.split(example)[1:])
        assert (options.command, options.part, options.in_flight) == ("bulk", 500, 16)
    for wrong in (["--workers", "0"], ["--part", "many"], ["--only", "half"]):
        with pytest.raises(SystemExit):
            parser.parse_args(["bulk", "products.csv", *wrong])
    assert "'many' is no whole number of 1 or more" in capsys.readouterr().err
