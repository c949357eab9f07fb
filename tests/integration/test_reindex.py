"""A new model on the whole embedded stack: the command of the docs, while a client searches and imports."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike import Client, build_product
from lookalike.v1.product_service_pb2 import IMPORT_OUTCOME_FAILED
from lookalike_export.hub.repository import Repository, Shape
from lookalike_service.embedded.stack import serving
from lookalike_service.wardrobe import make_items, render_item
from support_glue import REPOSITORY
from support_models import copy_repository, write_stand_ins
from support_stack import jpeg

SIZE = 256


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "stack"


@pytest.fixture
def address(tmp_path: Path, directory: Path) -> Iterator[str]:
    """The stack over a repository with two embedding versions, whose encoders differ."""
    models = copy_repository(REPOSITORY, tmp_path / "model_repository")
    write_stand_ins(tmp_path / "second", embedding_version=2)
    words = {
        head: tuple((REPOSITORY / "embed" / "labels" / f"{head}.txt").read_text().split())
        for head in ("category", "pattern", "material")
    }
    Repository(models).add_embedder(tmp_path / "second" / "embed" / "1" / "model.onnx", 2, Shape(SIZE, words))
    with serving(directory, repository=models, timeout=300) as serving_at:
        yield serving_at


async def reindex(directory: Path, *arguments: str) -> list[str]:
    """Run the command as the docs say; its lines."""
    environment = dict(line.split("=", 1) for line in (directory / "run" / "environment").read_text().splitlines())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lookalike", "reindex", *arguments,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), "LOOKALIKE_DEADLINE_SECONDS": "1", **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode().splitlines()


async def test_a_new_model_takes_over_under_load(address: str, directory: Path) -> None:
    photos = {item.id: jpeg(render_item(item, view=0, size=240).image) for item in make_items(10, seed=3)}
    first, *others = photos
    answers: list[int] = []
    over = asyncio.Event()

    async with Client(address) as client:

        async def search(number: int) -> None:
            answer = await client.search(photos[first] + bytes(number % 250 + 1))  # to decoders the same photo
            best = max(
                hit.score for result in answer.results for hit in result.hits if hit.product.name.endswith(first)
            )
            assert best > 0.99, "the vector was compared with those of its own version"
            answers.append(answer.embedding_version)

        async def load() -> None:
            number = 0
            while not over.is_set():
                number += 1
                await search(number)

        async def write(*ids: str) -> None:
            async for answer in client.import_products(build_product(id, images=[photos[id]]) for id in ids):
                assert answer.outcome != IMPORT_OUTCOME_FAILED, answer.error.message

        async def until(version: int) -> None:
            for _ in range(100):
                if answers[-1:] == [version]:
                    return
                await asyncio.sleep(0.1)
            raise AssertionError(f"version {version} does not answer")

        await write(first, *others[:6])
        async with asyncio.TaskGroup() as group:
            group.create_task(load())
            await until(1)
            group.create_task(write(*others[6:]))
            said = await reindex(directory, "2")
            assert said[-2] == "default: embedding version 2 serves"
            assert "0 missing, 0 surplus, 0 outdated" in said[1]
            await until(2)
            await reindex(directory, "--rollback")
            await until(1)
            await reindex(directory, "--rollback")
            await until(2)
            await reindex(directory, "--drop", "1")
            over.set()
        order = [version for version, before in zip(answers, [0, *answers], strict=False) if version != before]
        assert order == [1, 2, 1, 2]
        for id, photo in photos.items():
            found = await client.search(photo)
            assert max(h.score for r in found.results for h in r.hits if h.product.name.endswith(id)) > 0.99
        assert await reindex(directory, "--status") == ["default: embedding version 2 serving"]
