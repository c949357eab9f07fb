"""The rival that brings batching and worker processes ready-made: the same pipeline on LitServe.

Run as `python -m bench.rival_litserve DIRECTORY PORT [OPTIONS]`; `start` does it from Python.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import signal
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import fastapi
import litserve
from starlette.types import ASGIApp, Receive, Scope, Send

from bench.rival_http import HOST, Caller, serving
from bench.rival_pipeline import Looker, Reply, Searcher
from bench.rival_shelf import Shelf

__all__ = ["call", "start"]

call = Caller


def start(
    directory: Path,
    *,
    workers: int = 2,
    intra_op: int = 1,
    spinning: bool = True,
    batch: int = 1,
    api_servers: int = 1,
    fast_queue: bool = False,
    most_waiting: int = 64,
) -> AbstractContextManager[str]:
    """Serve the shop that `rival_shelf` wrote to `directory`; gives the URL for `call`.

    `workers` processes search, with `intra_op` threads within a graph, which wait for each other `spinning` or asleep;
    each takes up to `batch` waiting photos at once. More than `most_waiting` photos, over all `api_servers` processes,
    are refused. `fast_queue` brings answers back over ZeroMQ.
    """
    waiting = max(1, most_waiting // api_servers)
    options = (
        f"--workers {workers} --intra-op {intra_op} --spinning {int(spinning)} --batch {batch} "
        f"--api-servers {api_servers} --fast-queue {int(fast_queue)} --most-waiting {waiting}"
    )
    return serving("bench.rival_litserve", directory, options.split())


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    image: bytes
    deadline: float | None  # on the clock that all processes of a machine share


async def _job(request: fastapi.Request) -> _Job:
    limit = request.headers.get("x-deadline-ms")
    deadline = None if limit is None else time.monotonic() + float(limit) / 1000
    return _Job(await request.body(), deadline)


class _PatientLoop(litserve.loops.BatchedLoop):  # type: ignore[misc]  # LitServe brings no types
    """LitServe's batching, but asleep while nobody asks: its own loop polls, which takes a core from everybody else."""

    def get_batch_requests(
        self,
        lit_api: litserve.LitAPI,
        request_queue: queue.Queue[tuple[int, str, float, _Job]],
        transport: object,
    ) -> tuple[list[tuple[int, str, _Job]], list[tuple[int, str]]]:
        """The photos to search together, and those that LitServe's own time limit drops, which nobody set."""
        taken = []
        with contextlib.suppress(queue.Empty):
            taken.append(request_queue.get(timeout=1.0))
            while len(taken) < lit_api.max_batch_size:
                taken.append(request_queue.get_nowait())
        return [(response_queue, uid, job) for response_queue, uid, _, job in taken], []


class _Api(litserve.LitAPI):  # type: ignore[misc]  # LitServe brings no types
    """Search as LitServe wants it told: a photo or a list of them in, as many replies out."""

    def __init__(self, directory: Path, *, intra_op: int, spinning: bool, batch: int) -> None:
        super().__init__(max_batch_size=batch, api_path="/search", loop=_PatientLoop() if batch > 1 else "auto")
        self._directory = directory
        self._intra_op, self._spinning = intra_op, spinning

    def setup(self, device: object) -> None:
        """Once in every worker."""
        self._searcher = Searcher(Looker(intra_op=self._intra_op, spinning=self._spinning), Shelf(self._directory))

    def decode_request(self, request: _Job) -> _Job:
        """As it comes."""
        return request

    def predict(self, jobs: _Job | Sequence[_Job]) -> Reply | list[Reply]:
        """Drop what is late, search the rest together."""
        alone = isinstance(jobs, _Job)
        wanted: Sequence[_Job] = [jobs] if isinstance(jobs, _Job) else jobs
        in_time = [job for job in wanted if self._searcher.can_answer_by(job.deadline)]
        replies = iter(self._searcher.search([job.image for job in in_time]))
        late = Reply.failure(504, "the photo's turn came too late for its deadline")
        answers = [next(replies) if job in in_time else late for job in wanted]
        return answers[0] if alone else answers

    def encode_response(self, output: Reply) -> fastapi.Response:
        """The reply, unchanged."""
        headers = {"x-garments": str(output.garments)}
        return fastapi.Response(output.body, output.status, headers, media_type="application/json")


# LitServe hands these to FastAPI as they stand, where a postponed annotation would be looked up in the wrong module.
_Api.decode_request.__annotations__["request"] = Annotated[_Job, fastapi.Depends(_job)]
_Api.encode_response.__annotations__["return"] = fastapi.Response


class _Bound:
    """Refuses photos when too many are under way; LitServe's own queue has no end."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/search":
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._most:
            refusal = Reply.failure(503, "too many photos are waiting; try again later")
            await fastapi.Response(refusal.body, 503, media_type="application/json")(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1


def _server(options: argparse.Namespace) -> Any:  # noqa: ANN401 - LitServe brings no types
    api = _Api(
        options.directory,
        intra_op=options.intra_op,
        spinning=bool(options.spinning),
        batch=options.batch,
    )
    most = options.most_waiting + max(1, options.workers // options.api_servers)
    return litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=options.workers,
        fast_queue=bool(options.fast_queue),
        timeout=False,
        middlewares=[(_Bound, {"most": most})],
        disable_openapi_url=True,
    )


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # upon which LitServe ends its processes


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    for name in ("--workers", "--intra-op", "--spinning", "--batch", "--api-servers", "--fast-queue", "--most-waiting"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    _server(options).run(
        host=HOST,
        port=options.port,
        num_api_servers=options.api_servers,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
        loop="uvloop",
        http="httptools",
        timeout_keep_alive=600,
    )


if __name__ == "__main__":
    main()
