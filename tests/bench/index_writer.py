"""A gateway that imports beside the one that searches: a process that upserts products at a steady rate."""

from __future__ import annotations

import asyncio
import itertools
import math
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from bench.made_vectors import Mixture, made_chunk
from lookalike_service.milvus import MilvusIndex, MilvusOptions
from lookalike_service.model import Entry

__all__ = ["Written", "writing"]

# Five writes a second, as an importing gateway does that writes what has come meanwhile.
BEAT_SECONDS: Final = 0.2
STOP_SECONDS: Final = 60.0
START_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True)
class Written:
    """What the writer came to: products and rows, the seconds it took, and milliseconds of each upsert."""

    products: int
    rows: int
    seconds: float
    upsert_ms: list[float]

    @property
    def rate(self) -> float:
        """Products per second."""
        return self.products / self.seconds


class Writer:
    """Tells the process to end, and what it did."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def stop(self) -> Written:
        """Blocks until its last upsert is acknowledged. Raises RuntimeError with what went wrong there."""
        self._pipe.send("stop")
        if not self._pipe.poll(STOP_SECONDS):
            raise RuntimeError(f"the writer does not end within {STOP_SECONDS:.0f} s")
        found: Written | str = self._pipe.recv()
        if isinstance(found, str):
            raise RuntimeError(f"the writer failed: {found}")
        return found


@contextmanager
def writing(
    options: MilvusOptions, mixture: Mixture, *, catalog: str, rate: float, chunks: int, seconds: float
) -> Iterator[Writer]:
    """Upsert `rate` products a second during a block: known ones with another price and new ones in turns.

    The catalog holds the first `chunks` chunks of made products. What is written in the first `seconds` is made before
    the block begins, so that making it takes no processor time from what is measured.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    work = _Work(options, mixture, catalog, rate, chunks, ahead=math.ceil(seconds / BEAT_SECONDS))
    process = context.Process(target=_begin, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    try:
        said = ours.recv() if ours.poll(START_SECONDS) else f"nothing within {START_SECONDS:.0f} s"
        if said != "ready":
            raise RuntimeError(f"the writer did not start: {said}")
        yield Writer(ours)
    finally:
        ours.close()
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


@dataclass(frozen=True, slots=True)
class _Work:
    """What the process does; `ahead` batches are made before it begins."""

    options: MilvusOptions
    mixture: Mixture
    catalog: str
    rate: float
    chunks: int
    ahead: int

    def batches(self) -> Iterator[list[Entry]]:
        """Views of a beat's products at a time."""
        products = max(1, round(self.rate * BEAT_SECONDS))
        for number in itertools.count():
            for chunk in (number % self.chunks, self.chunks + number):
                entries = made_chunk(self.mixture, chunk, catalog=self.catalog, revision=2 + number // self.chunks)
                by_product = [list(views) for _, views in itertools.groupby(entries, key=lambda each: each.product.id)]
                for first in range(0, len(by_product), products):
                    yield [entry for views in by_product[first : first + products] for entry in views]


def _begin(pipe: Connection, work: _Work) -> None:
    try:
        pipe.send(asyncio.run(_write(pipe, work)))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        pass


async def _write(pipe: Connection, work: _Work) -> Written:
    dimension = work.mixture.centers.shape[1]
    index = await MilvusIndex.connect(work.options, embedding_version=1, dimension=dimension)
    try:
        await index.prepare(work.catalog)
        batches = work.batches()
        made = list(itertools.islice(batches, work.ahead))
        pipe.send("ready")
        begin, products, rows, took = time.monotonic(), 0, 0, []
        for batch in itertools.chain(made, batches):
            if pipe.poll():
                break
            await asyncio.sleep(max(0.0, begin + products / work.rate - time.monotonic()))
            sent = time.monotonic()
            await index.upsert(work.catalog, batch, timeout=STOP_SECONDS)
            took.append(1000 * (time.monotonic() - sent))
            products, rows = products + len({entry.product.id for entry in batch}), rows + len(batch)
        return Written(products, rows, time.monotonic() - begin, took)
    finally:
        await index.close()
