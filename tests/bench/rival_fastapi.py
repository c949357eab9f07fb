"""The rival that most would write: FastAPI on uvicorn, ONNX Runtime and faiss in one process.

Run as `python -m bench.rival_fastapi DIRECTORY PORT [OPTIONS]`; `start` does it from Python.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fastapi
import uvicorn

from bench.rival_http import HOST, Caller, serving
from bench.rival_pipeline import Looker, Reply, Searcher
from bench.rival_shelf import Shelf

__all__ = ["call", "start"]

logger = logging.getLogger(__name__)

call = Caller


def start(
    directory: Path,
    *,
    processes: int = 1,
    threads: int = 2,
    intra_op: int = 1,
    spinning: bool = True,
    shared: bool = False,
    batch: int = 1,
    most_waiting: int = 64,
) -> AbstractContextManager[str]:
    """Serve the shop that `rival_shelf` wrote to `directory`; gives the URL for `call`.

    `threads` search in each process, each with sessions of its own or with `shared` ones, that use `intra_op` threads
    within a graph, which wait for each other `spinning` or asleep. A thread takes up to `batch` waiting photos at once
    and runs their garments together. More than `most_waiting` photos, over all processes, are refused.
    """
    waiting = max(1, most_waiting // processes)
    options = (
        f"--threads {threads} --intra-op {intra_op} --spinning {int(spinning)} --shared {int(shared)} "
        f"--batch {batch} --most-waiting {waiting}"
    )
    return serving("bench.rival_fastapi", directory, options.split(), processes=processes)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    image: bytes
    deadline: float | None
    reply: asyncio.Future[Reply]


class _Workers:
    """Threads that take photos from one bounded queue."""

    def __init__(self, searchers: Sequence[Searcher], *, batch: int, most_waiting: int) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._batch = batch
        self._most_waiting = most_waiting
        for searcher in searchers:
            threading.Thread(target=self._work, args=(searcher,), daemon=True).start()

    async def search(self, image: bytes, *, wait: float | None) -> Reply:
        """Answer a photo; refuses at once when too many wait, drops it when its time is over before its turn."""
        if self._jobs.qsize() >= self._most_waiting:
            return Reply.failure(503, "too many photos are waiting; try again later")
        deadline = None if wait is None else time.monotonic() + wait
        job = _Job(image, deadline, asyncio.get_running_loop().create_future())
        self._jobs.put(job)
        return await job.reply

    def _work(self, searcher: Searcher) -> None:
        while True:
            jobs = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while len(jobs) < self._batch:
                    jobs.append(self._jobs.get_nowait())
            late = [job for job in jobs if not searcher.can_answer_by(job.deadline)]
            _deliver(late, [Reply.failure(504, "the photo's turn came too late for its deadline")] * len(late))
            jobs = [job for job in jobs if job not in late]
            if not jobs:
                continue
            try:
                replies = searcher.search([job.image for job in jobs])
            except Exception:
                logger.exception("a search failed")
                replies = [Reply.failure(500, "internal error")] * len(jobs)
            _deliver(jobs, replies)


def _deliver(jobs: Sequence[_Job], replies: Sequence[Reply]) -> None:
    for job, reply in zip(jobs, replies, strict=True):
        job.reply.get_loop().call_soon_threadsafe(_set, job.reply, reply)


def _set(future: asyncio.Future[Reply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)


def _application(workers: _Workers) -> fastapi.FastAPI:
    application = fastapi.FastAPI(openapi_url=None)

    async def search(request: fastapi.Request) -> fastapi.Response:
        limit = request.headers.get("x-deadline-ms")
        reply = await workers.search(await request.body(), wait=None if limit is None else float(limit) / 1000)
        headers = {"x-garments": str(reply.garments)}
        return fastapi.Response(reply.body, reply.status, headers, media_type="application/json")

    async def health() -> fastapi.Response:
        return fastapi.Response()

    application.add_api_route("/search", search, methods=["POST"])
    application.add_api_route("/health", health)
    return application


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    for name in ("--threads", "--intra-op", "--spinning", "--shared", "--batch", "--most-waiting"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args()
    shelf = Shelf(options.directory)
    looker = partial(Looker, intra_op=options.intra_op, spinning=bool(options.spinning))
    searchers = [Searcher(looker(), shelf) for _ in range(1 if options.shared else options.threads)]
    if options.shared:
        searchers *= options.threads
    workers = _Workers(searchers, batch=options.batch, most_waiting=options.most_waiting)
    uvicorn.run(
        _application(workers),
        host=HOST,
        port=options.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_keep_alive=600,
    )


if __name__ == "__main__":
    main()
