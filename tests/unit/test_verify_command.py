"""The operator's commands of `python -m lookalike_service`, over Milvus Lite and SQLite."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import numpy as np

from fakes import DIMENSION, vector
from lookalike_service.embedded.milvus import EmbeddedMilvus
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.model import Box, Entry, Product, View
from support_gateway import eventually, open_store


async def verify(environment: dict[str, str], *arguments: str) -> tuple[int | None, list[str], str]:
    return await run(environment, "verify", *arguments)


async def run(environment: dict[str, str], *arguments: str) -> tuple[int | None, list[str], str]:
    """Exit code, lines of the output, and what was complained of."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lookalike_service", *arguments,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    return process.returncode, out.decode().splitlines(), errors.decode()


def product(id: str) -> Product:
    view = View(
        f"{id}/1", "0" * 64, Box(0, 0, 1, 1), "top", ("red",), "solid", 1, vector(id).astype(np.float16), (1.0,)
    )
    return Product("default", id, revision=7, indexed_revision=7, views=(view,))


async def test_verify_finds_and_repairs(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    environment = {
        "LOOKALIKE_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/catalog.db",
        "LOOKALIKE_STARTUP_SECONDS": "20",
    }
    code, _, said = await verify(environment)
    assert (code, "holds no vector of embedding version 1" in said) == (1, True)
    for id in ("a", "b", "c"):
        await store.write(product(id), expected_revision=0, pending=id == "c")
    with EmbeddedMilvus(tmp_path / "data", run_directory=tmp_path / "run") as milvus:
        environment["LOOKALIKE_MILVUS_URI"] = milvus.uri
        index = await MilvusIndex.connect(MilvusOptions(milvus.uri), embedding_version=1, dimension=DIMENSION)
        await index.prepare("default")
        ghost = product("ghost")
        await index.upsert("default", [Entry(each, each.views[0]) for each in (product("a"), ghost)])

        async def there() -> None:
            assert len(await index.revisions("default", ["a/1", "ghost/1"])) == 2

        await eventually(there)
        code, out, _ = await verify(environment)
        assert (code, out[0]) == (
            3, "default: 3 products with 3 views, 2 in the index; 2 missing, 1 surplus, 0 outdated",
        )  # fmt: skip
        assert sorted(out[1:]) == ["  missing b/1", "  missing c/1", "  surplus ghost/1"]
        code, out, _ = await verify(environment, "--repair", "--catalog", "default")
        assert code == 0
        assert out[0].endswith("1 missing, 1 surplus, 0 outdated (repaired)")  # the outbox had the other one
        assert await store.pending(limit=1) == []
        code, out, _ = await verify(environment)
        assert (code, out) == (
            0, ["default: 3 products with 3 views, 3 in the index; 0 missing, 0 surplus, 0 outdated"],
        )  # fmt: skip
        code, _, said = await verify(environment, "--catalog", "nowhere")
        assert (code, "there is no catalog nowhere" in said) == (1, True)
        await index.close()
    await store.close()


async def test_migrate_backup_and_restore(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.write(product("a"), expected_revision=0, pending=False)
    await store.close()
    here = {
        "LOOKALIKE_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/catalog.db",
        "LOOKALIKE_IMAGES_URL": f"file://{tmp_path}/images",
    }
    there = {
        "LOOKALIKE_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/other.db",
        "LOOKALIKE_IMAGES_URL": f"file://{tmp_path}/others",
    }
    folder = str(tmp_path / "backup")
    code, out, _ = await run(here, "migrate")
    assert (code, out[0].startswith("the tables are of version")) == (0, True)
    code, out, _ = await run(here, "backup", folder)
    assert (code, out) == (0, [f"saved 1 products, 1 views and 0 photographs in {folder}"])
    code, out, _ = await run(there, "restore", folder)
    assert (code, out) == (0, [f"restored 1 products, 1 views and 0 photographs from {folder}"])
    code, _, said = await run(there, "restore", folder)
    assert (code, "lookalike: " in said) == (1, True)
    code, _, said = await run({**there, "LOOKALIKE_DATABASE_URL": "nonsense"}, "migrate")
    assert (code, "LOOKALIKE_DATABASE_URL" in said) == (1, True)
