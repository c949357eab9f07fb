"""`lookalike bulk` on a real Ray: workers that are killed, runs that are interrupted, and a cluster by its address."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from lookalike_service.embedded.milvus import EmbeddedMilvus
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.store import SqlStore
from lookalike_service.wardrobe import make_items, write_catalog
from support_gateway import eventually, open_store
from support_triton import Arrays, FakeTriton, Message, looks, serving

PRODUCTS, PART = 240, 20
LOCAL_RAY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
CLUSTER = """
import ray
from lookalike_service.bulk.cluster import running
with running(""):
    print(ray.get_runtime_context().gcs_address, flush=True)
    input()
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered wardrobe, one photograph per product."""
    folder = tmp_path_factory.mktemp("catalog")
    return write_catalog(folder, items=make_items(PRODUCTS), views=(0,), size=96)


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("milvus")
    with EmbeddedMilvus(folder / "data", run_directory=folder / "run") as server:
        yield server.uri


@dataclass
class Place:
    """Where a bulk load goes: settings for the command, and what is there afterwards."""

    environment: dict[str, str]
    triton: FakeTriton
    store: SqlStore
    index: MilvusIndex
    catalog: str
    folder: Path

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lookalike_service", "bulk", *arguments, "--catalog", self.catalog,
            env={**os.environ, "PYTHONPATH": ":".join(sys.path), **LOCAL_RAY, **self.environment}, cwd=self.folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *arguments: str) -> tuple[int | None, str, str]:
        """Exit code, output, and what was complained of."""
        process = await self.start(*arguments)
        out, errors = await process.communicate()
        return process.returncode, out.decode(), errors.decode()

    async def check(self, lines: list[dict[str, object]]) -> None:
        """Every product is there once, in record, index and folder, with the vector of its own photograph."""
        products = await self.store.page(self.catalog, limit=10_000, views=True)
        assert [product.id for product in products] == sorted(str(line["id"]) for line in lines)
        views = [view for product in products for view in product.views]
        assert len(views) == len(products)
        for view in views:
            # The models of the test make the vector from the bytes, which the store has under their hash.
            content = await asyncio.to_thread(self._photograph(view.image_sha256).read_bytes)
            assert np.array_equal(view.embedding, vector_of(content))

        async def indexed() -> None:
            found = [row async for rows in self.index.scan(self.catalog) for row in rows]
            assert sorted(row.id for row in found) == sorted(view.id for view in views)

        await eventually(indexed, seconds=10)
        assert await self.store.pending(limit=1) == []

    def _photograph(self, sha256: str) -> Path:
        return self.folder / "images" / sha256[:2] / sha256[2:4] / sha256


def vector_of(content: bytes) -> np.ndarray[tuple[int], np.dtype[np.float16]]:
    """As `looks` does it for embedding version 1."""
    seed = hashlib.sha256(content + bytes([1])).digest()
    vector = np.random.default_rng(int.from_bytes(seed[:8], "big")).normal(size=256).astype(np.float32)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


@asynccontextmanager
async def opened(folder: Path, milvus: str, *, catalog: str, seconds: float = 0.03) -> AsyncIterator[Place]:
    """Models that take `seconds`, SQLite, and a catalog of the server of its own in Milvus Lite."""
    triton = FakeTriton()

    async def slowly(request: Message) -> Arrays:
        await asyncio.sleep(seconds)
        return await looks(request)

    triton.answer = slowly
    async with AsyncExitStack() as stack:
        store = await open_store(folder)
        stack.push_async_callback(store.close)
        index = await MilvusIndex.connect(MilvusOptions(milvus), embedding_version=1, dimension=256)
        stack.push_async_callback(index.close)
        await index.prepare(catalog)
        address = await stack.enter_async_context(serving(triton))
        environment = {
            "LOOKALIKE_BULK_TRITON_ADDRESSES": address,
            "LOOKALIKE_CATALOGS": f"default,{catalog}",
            "LOOKALIKE_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/catalog.db",
            "LOOKALIKE_IMAGES_URL": f"file://{folder}/images",
            "LOOKALIKE_MILVUS_URI": milvus,
            "LOOKALIKE_STARTUP_SECONDS": "10",
        }
        yield Place(environment, triton, store, index, catalog, folder)


async def looked_at(place: Place, photos: int, *, process: asyncio.subprocess.Process) -> None:
    """Return when the models have seen so many photos."""
    ended = asyncio.create_task(process.wait())
    begun = time.monotonic()
    while place.triton.finished < photos:
        await asyncio.wait([ended], timeout=0.05)
        if ended.done() or time.monotonic() - begun > 150:
            if not ended.done():
                process.kill()
            raise AssertionError(await process.communicate())
    ended.cancel()


def workers_of(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    """The processes in which Ray runs our code."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "MapWorker" in " ".join(child.cmdline())]


async def test_a_killed_worker_loses_nothing(catalog: Path, milvus: str, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in catalog.read_text().splitlines()]
    arguments = (str(catalog), "--part", str(PART), "--workers", "2", "--in-flight", "4")
    async with opened(tmp_path, milvus, catalog="killed") as place:
        process = await place.start(*arguments)
        await looked_at(place, 50, process=process)
        victim = workers_of(process)[0]
        victim.kill()
        out, errors = await process.communicate()
        assert (process.returncode, not victim.is_running()) == (0, True), errors.decode()
        # Ray says of what it has lost; whether a commit was heard of is the busy machine's affair.
        assert f"loaded {PRODUCTS} products (" in out.decode() and "), 0 failed, in " in out.decode()
        await place.check(lines)
        names = sorted(path.name for path in (tmp_path / "products-vectors" / "vectors").iterdir())
        assert names == [f"part-{number:06d}.parquet" for number in range(PRODUCTS // PART)]
        # What is done is done: the same command asks no model and writes nothing.
        seen = len(place.triton.requests)
        code, out_again, errors_again = await place.run(*arguments)
        assert (code, len(place.triton.requests)) == (0, seen), errors_again
        assert out_again.startswith(f"loaded {PRODUCTS} products ({PRODUCTS} unchanged), 0 failed, in ")


@asynccontextmanager
async def cluster(token: dict[str, str]) -> AsyncIterator[str]:
    """A Ray of its own, by its address; whoever joins it needs the same token."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLUSTER, env={**os.environ, "PYTHONPATH": ":".join(sys.path), **LOCAL_RAY, **token},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdin is not None
    try:
        lines = [line.decode().strip() async for line in _first(process.stdout)]
        yield lines[0]
    finally:
        process.stdin.write(b"\n")
        await process.communicate()


async def _first(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while line := await stream.readline():
        if line.startswith(b"127."):
            yield line
            return


async def test_an_interrupted_load_on_a_cluster_goes_on(catalog: Path, milvus: str, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in catalog.read_text().splitlines()][:100]
    lines[3]["images"] = ["gone.png"]
    lines[5]["price"] = "49.90"
    path = catalog.with_name("some.jsonl")
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    async with opened(tmp_path, milvus, catalog="interrupted") as place, cluster(token) as address:
        place.environment |= token
        arguments = (str(path), "--part", "10", "--workers", "1", "--in-flight", "4", "--address", address)
        process = await place.start(*arguments)
        await looked_at(place, 30, process=process)
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert process.returncode == 130, errors.decode()
        there = len(list((tmp_path / "some-vectors" / "vectors").iterdir()))
        assert 2 <= there < 10
        code, out, said = await place.run(*arguments)
        assert code == 3, said
        assert out.startswith("loaded 98 products (") and ", 2 failed, in " in out
        assert f"{path} row 4 ({lines[3]['id']}): the image gone.png cannot be read" in said
        # Parts that were there are not embedded again; the one that was cut short is.
        assert len(place.triton.requests) < 98 + 30
        await place.check(lines[:3] + lines[4:5] + lines[6:])
        failed = [json.loads(line) for line in (tmp_path / "some-failures.jsonl").read_text().splitlines()]
        assert [line["id"] for line in failed] == [lines[3]["id"], lines[5]["id"]]
        assert "write it in minor units" in failed[1]["failure"]
