"""The same graphs and the same glue called directly, without any server: what serving is measured against."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import cv2

from support_direct import DirectPipeline

__all__ = ["LAYOUTS", "DirectWorkers", "Layout", "Pace", "direct_workers"]


@dataclass(frozen=True, slots=True)
class Layout:
    """How two cores are used: processes, threads in each, and threads within a session of ONNX Runtime."""

    processes: int
    threads: int
    intra_op: int


LAYOUTS: Final = {
    "one process, two threads": Layout(1, 2, 1),
    "one process, one thread, intra_op 2": Layout(1, 1, 2),
    "two processes": Layout(2, 1, 1),
}


@dataclass(frozen=True, slots=True)
class Pace:
    """Photos per second, and processor milliseconds per photo."""

    photos_per_s: float
    cpu_ms: float


class DirectWorkers:
    """Processes that have everything loaded and wait to be told to begin."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def run(self, *, seconds: float, max_garments: int = 0) -> Pace:
        """Let them work; blocks for a little more than `seconds`."""
        for pipe in self._pipes:
            pipe.send((seconds, max_garments))
        paces: list[Pace] = [pipe.recv() for pipe in self._pipes]
        rate = sum(pace.photos_per_s for pace in paces)
        return Pace(rate, sum(pace.cpu_ms * pace.photos_per_s for pace in paces) / rate)


@contextmanager
def direct_workers(repository: Path, photos: Sequence[bytes], layout: Layout) -> Iterator[DirectWorkers]:
    """Load the pipeline in processes of their own during a `with` block."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pipes = []
        for number in range(layout.processes):
            ours, theirs = context.Pipe()
            begin = number * len(photos) // layout.processes
            own = [*photos[begin:], *photos[:begin]]
            process = context.Process(target=_work, args=(theirs, repository, own, layout), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join, 10)
            stack.callback(ours.close)
            pipes.append(ours)
        for pipe in pipes:
            pipe.recv()
        yield DirectWorkers(pipes)


def _work(pipe: Connection, repository: Path, photos: Sequence[bytes], layout: Layout) -> None:
    # As in the served glue; a lone thread may have both cores for the resizing, too.
    cv2.setNumThreads(layout.intra_op)
    pipelines = [DirectPipeline(repository, threads=layout.intra_op) for _ in range(layout.threads)]
    for pipeline in pipelines:
        pipeline.find(photos[0])
    pipe.send("ready")
    while True:
        try:
            seconds, max_garments = pipe.recv()
        except EOFError:
            return
        pipe.send(_pace(pipelines, photos, seconds, max_garments))


def _pace(pipelines: Sequence[DirectPipeline], photos: Sequence[bytes], seconds: float, max_garments: int) -> Pace:
    """Each thread's own rate, summed: the last photo of each is finished and counted with its time."""
    numbers, counts, rates = itertools.count(), [0] * len(pipelines), [0.0] * len(pipelines)
    begin, used = time.perf_counter(), time.process_time()

    def look(thread: int) -> None:
        done = 0
        while time.perf_counter() - begin < seconds:
            pipelines[thread].find(photos[next(numbers) % len(photos)], options=(0.0, float(max_garments)))
            done += 1
        counts[thread], rates[thread] = done, done / (time.perf_counter() - begin)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(len(pipelines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Pace(sum(rates), 1000 * (time.process_time() - used) / sum(counts))
