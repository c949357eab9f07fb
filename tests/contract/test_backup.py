"""What is saved is restored whole, on every database and from one kind into another; what is damaged is refused."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import MemoryIndex, vector
from lookalike_service.backup import Backup, Contents
from lookalike_service.database import DatabaseOptions, make_engine, open_database
from lookalike_service.errors import StartupError
from lookalike_service.images import Images
from lookalike_service.migrate import newest_version
from lookalike_service.model import Box, Hint, Money, Product, ProductImage, View
from lookalike_service.projection import Projection, only
from lookalike_service.store import SqlStore
from lookalike_service.version_records import SqlVersions
from lookalike_service.versions import State
from support_database import differences, made_without_versions, rows_of_products, version_of


@asynccontextmanager
async def opened(database: DatabaseOptions) -> AsyncIterator[SqlStore]:
    store = SqlStore(await open_database(database))
    yield store
    await store.close()


def on_sqlite(folder: Path) -> DatabaseOptions:
    return DatabaseOptions(f"sqlite+aiosqlite:///{folder / 'other.db'}")


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


async def made(images: Images, number: int) -> Product:
    sha256 = await images.put(f"photograph {number}".encode())
    embedding = vector(f"look {number}").astype(np.float16)
    view = View(f"p{number}/0", sha256, Box(0.1, 0.2, 0.3, 0.4), "top", ("red",), "solid", 1, embedding, (0.75,))
    return Product(
        "default",
        f"p{number}",
        title=f"Title {number} 日本 😀\n",
        price=Money(2**40, "EUR") if number % 2 else None,
        attributes={"base64": "QQ==", "stock": 3, "weight": 0.25, "sale": True},
        images=(ProductImage(sha256, Hint(box=Box(0, 0, 1, 1)) if number % 2 else None),),
        revision=number + 1,
        indexed_revision=number + 1,
        views=(view,),
    )


async def filled(store: SqlStore, images: Images, *, products: int = 5) -> dict[str, Product]:
    for number in range(products):
        await store.write(await made(images, number), expected_revision=0, pending=False)
    return await store.products("default", [f"p{number}" for number in range(products)], views=True)


@pytest.fixture
async def saved(tmp_path: Path) -> Path:
    """A backup of five products."""
    images = Images(f"file://{tmp_path}/saved-images")
    async with opened(on_sqlite(tmp_path)) as store:
        await filled(store, images)
        await Backup(tmp_path / "backup").save(store.engine, images)
    return tmp_path / "backup"


async def test_all_of_it_comes_back_and_the_index_follows(database: DatabaseOptions, tmp_path: Path) -> None:
    images, folder = Images(f"file://{tmp_path}/images"), Backup(tmp_path / "backup")
    async with opened(database) as store:
        before = await filled(store, images)
        await SqlVersions(store).adopt(["default"], 1)
        await store.settle([await store.delete("default", "p4", expected_revision=5, revision=9)])
        assert await folder.save(store.engine, images) == Contents(products=5, views=4, photographs=4)
    elsewhere = Images(f"file://{tmp_path}/elsewhere")
    engine = make_engine(on_sqlite(tmp_path))
    assert await folder.restore(engine, elsewhere) == Contents(products=5, views=4, photographs=4)
    assert await version_of(engine) == newest_version()
    assert await differences(engine) == []
    store = SqlStore(engine)
    assert [(each.version, each.state) for each in (await SqlVersions(store).all())["default"]] == [(1, State.SERVING)]
    after = await store.products("default", list(before), views=True, deleted=True)
    left = after.pop("p4")
    assert (left.deleted, left.revision) == (True, 9)
    del before["p4"]
    assert after == before
    for id, product in after.items():
        assert product.views[0].embedding.tolist() == before[id].views[0].embedding.tolist()
        assert await elsewhere.get(product.images[0].sha256) == f"photograph {id[1:]}".encode()
    index = MemoryIndex()
    assert await Projection(shelves=only(1, index), store=store).replay() == 5
    assert sorted(index.catalogs["default"]) == ["p0/0", "p1/0", "p2/0", "p3/0"]
    await store.close()


async def test_it_is_restored_into_every_database(database: DatabaseOptions, saved: Path, tmp_path: Path) -> None:
    """As a shop does that outgrows SQLite; tables that a gateway has made already are no hindrance."""
    async with opened(database):
        pass
    engine, images = make_engine(database), Images(f"file://{tmp_path}/restored")
    await Backup(saved).restore(engine, images)
    store = SqlStore(engine)
    products = await store.page("default", views=True)
    wanted = [replace(await made(images, number), create_time=None, update_time=None) for number in range(5)]
    assert [replace(each, create_time=None, update_time=None) for each in products] == wanted
    await store.write(replace(wanted[0], id="new"), expected_revision=0, pending=True)
    assert len(await store.pending(limit=100)) == 6
    with pytest.raises(StartupError, match="holds products already"):
        await Backup(saved).restore(engine, images)
    await store.close()


async def test_a_backup_of_the_first_version_is_restored(
    database: DatabaseOptions, saved: Path, tmp_path: Path
) -> None:
    for name, column in (("products", "deleted"), ("views", "shares")):
        rows = rows_of(saved, name)
        with gzip.open(saved / f"{name}.jsonl.gz", "wt") as file:
            for row in rows:
                del row[column]
                file.write(json.dumps(row) + "\n")
    manifest = json.loads((saved / "manifest.json").read_text())
    del manifest["rows"]["embedding_versions"]
    (saved / "manifest.json").write_text(json.dumps({**manifest, "version": "0001"}))
    engine = make_engine(database)
    await Backup(saved).restore(engine, Images(f"file://{tmp_path}/restored"))
    assert await version_of(engine) == newest_version()
    assert await differences(engine) == []
    products = await SqlStore(engine).page("default", views=True)
    assert [(each.id, each.deleted, each.views[0].shares) for each in products] == [
        (f"p{number}", False, ()) for number in range(5)
    ]
    await engine.dispose()


async def test_a_database_of_the_first_version_is_saved_before_it_is_migrated(
    database: DatabaseOptions, tmp_path: Path
) -> None:
    """An upgrade begins with a backup, made by the new program while the tables are still the old ones."""
    engine, images = make_engine(database), Images(f"file://{tmp_path}/images")
    with pytest.raises(StartupError, match="holds no catalog"):
        await Backup(tmp_path / "backup").save(engine, images)
    await made_without_versions(engine)
    assert await Backup(tmp_path / "backup").save(engine, images) == Contents(1, 0, 0)
    await engine.dispose()
    manifest = json.loads((tmp_path / "backup" / "manifest.json").read_text())
    assert manifest["version"] == "0001"
    target = make_engine(on_sqlite(tmp_path))
    await Backup(tmp_path / "backup").restore(target, images)
    assert await version_of(target) == newest_version()
    assert await rows_of_products(target) == [("default", "p", "a title", False)]
    await target.dispose()


async def test_it_is_of_one_moment(database: DatabaseOptions, tmp_path: Path) -> None:
    """Products that change while they are saved are saved with the views that they had, or with all new ones."""
    images, folder = Images(f"file://{tmp_path}/images"), tmp_path / "backup"
    async with opened(database) as store:
        before = await filled(store, images, products=12)
        ended = asyncio.Event()

        async def keep_changing() -> None:
            current = dict(before)
            while not ended.is_set():
                for id, product in current.items():
                    revision = product.revision + 100
                    views = tuple(replace(view, id=f"{id}/{revision}") for view in product.views)
                    current[id] = replace(product, revision=revision, views=views)
                    await store.write(current[id], expected_revision=product.revision, pending=False)

        changing = asyncio.create_task(keep_changing())
        await asyncio.sleep(0.2)
        await Backup(folder).save(store.engine, images)
        ended.set()
        await changing
    rows = {name: rows_of(folder, name) for name in ("products", "views")}
    assert {row["id"]: f"{row['id']}/{row['revision']}" for row in rows["products"] if row["revision"] > 100} == {
        row["product_id"]: row["id"] for row in rows["views"] if not row["id"].endswith("/0")
    }
    assert len(rows["views"]) == len(rows["products"]) == 12


async def test_photographs_are_copied_once(tmp_path: Path) -> None:
    images = Images(f"file://{tmp_path}/images")
    async with opened(on_sqlite(tmp_path)) as store:
        await filled(store, images)
        await Backup(tmp_path / "backup").save(store.engine, images)
        photographs = {path: path.stat().st_mtime_ns for path in (tmp_path / "backup/photographs").glob("*/*")}
        await store.write(await made(images, 7), expected_revision=0, pending=False)
        assert await Backup(tmp_path / "backup").save(store.engine, images) == Contents(6, 6, 6)
    assert len(photographs) == 5
    assert all(path.stat().st_mtime_ns == time for path, time in photographs.items())


async def test_a_missing_photograph_makes_no_backup(tmp_path: Path) -> None:
    images = Images(f"file://{tmp_path}/images")
    async with opened(on_sqlite(tmp_path)) as store:
        await filled(store, images)
        next((tmp_path / "images").glob("*/*/*")).unlink()
        with pytest.raises(StartupError, match=r"the photograph [0-9a-f]{64} is missing"):
            await Backup(tmp_path / "backup").save(store.engine, images)
    with pytest.raises(StartupError, match="no complete backup"):
        await Backup(tmp_path / "backup").restore(make_engine(on_sqlite(tmp_path)), images)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("manifest.json", b"{", "manifest.json is damaged"),
        ("manifest.json", b'{"format": "lookalike-backup-9"}', "is of format lookalike-backup-9"),
        ("products.jsonl.gz", b"", "products.jsonl.gz has 0 rows, and 5 were saved"),
        ("views.jsonl.gz", gzip.compress(b'{"catalog"'), "views.jsonl.gz is missing or damaged"),
        ("images.jsonl.gz", b"no gzip", "images.jsonl.gz is missing or damaged"),
        ("photograph", b"another", r"the photograph [0-9a-f]{64} is damaged"),
        ("photograph", None, r"the photograph [0-9a-f]{64} is missing"),
        ("version", None, "of version 9999, and this program knows none newer"),
    ],
)
async def test_a_damaged_backup_changes_nothing(
    saved: Path, tmp_path: Path, file: str, content: bytes | None, sentence: str
) -> None:
    if file == "version":
        manifest = json.loads((saved / "manifest.json").read_text())
        (saved / "manifest.json").write_text(json.dumps({**manifest, "version": "9999"}))
    else:
        path = next(saved.glob("photographs/*/*")) if file == "photograph" else saved / file
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    target = DatabaseOptions(f"sqlite+aiosqlite:///{tmp_path / 'target.db'}")
    async with opened(target) as store:
        with pytest.raises(StartupError, match=sentence):
            await Backup(saved).restore(store.engine, Images(f"file://{tmp_path}/restored"))
        assert await store.page("default") == []
        assert await store.pending(limit=10) == []
        assert await version_of(store.engine) == newest_version()
