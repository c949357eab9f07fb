"""Callers in processes of their own: one process of Python cannot ask for as many photos as a GPU embeds."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import numpy as np
from hdrh.histogram import HdrHistogram
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from bench.calls import ensemble_inputs
from bench.gpu_plan import GARMENTS
from lookalike.bench.load import LONGEST_US, Answer, Run, closed_loop, event_loop

__all__ = ["ROUTES", "Callers", "Load", "Route", "calling"]

# Three garments that stand one above the other, as in a photo of a whole outfit.
REGIONS: Final = ((0.3, 0.1, 0.7, 0.45), (0.3, 0.4, 0.7, 0.85), (0.35, 0.8, 0.65, 1.0))
READY_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Route:
    """An ensemble, and whether the callers say where the garments are."""

    name: str
    model: str
    regions: bool


ROUTES: Final = (Route("detected", "garments_1", False), Route("regions", "garments_in_regions_1", True))


@dataclass(frozen=True, slots=True)
class Load:
    """Photos per second, milliseconds, garments per photo, answers by code, and what a photo cost the callers."""

    photos_per_s: float
    p50: float
    p99: float
    garments: float
    codes: dict[str, int]
    client_cpu_ms: float


class Callers:
    """Processes that are connected and wait to be told to begin."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def run(self, *, callers: int, seconds: float, warmup: float) -> Load:
        """A closed loop of so many callers, shared out among the processes (at least one each)."""
        each = [max(1, (callers + number) // len(self._pipes)) for number in range(len(self._pipes))]
        for pipe, own in zip(self._pipes, each, strict=True):
            pipe.send((own, seconds, warmup))
        return _together([pipe.recv() for pipe in self._pipes])


@contextmanager
def calling(address: str, route: Route, photos: Sequence[bytes], *, processes: int) -> Iterator[Callers]:
    """Start the processes, each with its share of the photos, during a `with` block."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pipes = []
        for number in range(processes):
            ours, theirs = context.Pipe()
            own = photos[number % len(photos) :: processes]
            process = context.Process(target=_work, args=(theirs, address, route, own), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join, 10)
            stack.callback(ours.close)
            pipes.append(ours)
        for pipe in pipes:
            if not pipe.poll(READY_SECONDS):
                raise TimeoutError(f"a caller of {address} was not ready within {READY_SECONDS} s")
            pipe.recv()
        yield Callers(pipes)


def _work(pipe: Connection, address: str, route: Route, photos: Sequence[bytes]) -> None:
    requests = [_request(photo, route) for photo in photos]
    pipe.send("ready")
    while True:
        try:
            callers, seconds, warmup = pipe.recv()
        except EOFError:
            return
        with asyncio.Runner(loop_factory=event_loop) as runner:
            used = time.process_time()
            run = runner.run(_run(address, route, requests, callers=callers, seconds=seconds, warmup=warmup))
            pipe.send((run.to_json(), (time.process_time() - used) * seconds / (seconds + warmup)))


def _request(photo: bytes, route: Route) -> list[InferInput]:
    inputs = ensemble_inputs(photo, max_garments=GARMENTS)
    if route.regions:
        regions = InferInput("regions", [len(REGIONS), 4], "FP32")
        regions.set_data_from_numpy(np.array(REGIONS, np.float32))
        inputs.append(regions)
    return inputs


async def _run(
    address: str, route: Route, requests: Sequence[list[InferInput]], *, callers: int, seconds: float, warmup: float
) -> Run:
    client = InferenceServerClient(address)
    try:
        config = (await client.get_model_config(route.model)).config
        # One that is left out may be an input of a step, which breaks the request.
        outputs = [InferRequestedOutput(output.name) for output in config.output]

        async def call(number: int) -> Answer:
            result = await client.infer(route.model, requests[number % len(requests)], outputs=outputs)
            return Answer(garments=len(result.as_numpy("source")))

        return await closed_loop(call, callers=callers, seconds=seconds, warmup=warmup)
    finally:
        await client.close()


def _together(answers: Sequence[tuple[dict[str, object], float]]) -> Load:
    """One load of what the processes say, whose windows are the same within the time that a message takes."""
    latencies, codes = HdrHistogram(1, LONGEST_US, 3), Counter[str]()
    photos, garments = 0.0, 0
    for run, _ in answers:
        latencies.add(HdrHistogram.decode(run["histogram"]))
        codes.update(run["codes"])  # type: ignore[call-overload]  # a dict of counts
        photos += float(str(run["throughput"]))
        garments += int(str(run["garments"]))
    good = max(codes["OK"], 1)
    p50, p99 = (latencies.get_value_at_percentile(percent) / 1000 for percent in (50.0, 99.0))
    client_cpu_ms = 1000 * sum(used for _, used in answers) / good
    return Load(photos, p50, p99, garments / good, dict(codes), client_cpu_ms)
