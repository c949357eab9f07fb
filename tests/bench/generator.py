"""What the generator of `lookalike bench` itself costs, against a server of its own process that answers at once:

    PYTHONPATH=tests python tests/bench/generator.py [--seconds 10]

The server reads the request and sends an answer of two garments with ten products each. Printed are the generator's
processor time per request, and the latency that is left when a server has nothing to do.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

import grpc

from lookalike.bench import Run, closed_loop, event_loop, open_loop
from lookalike.bench.measuring import measure
from lookalike.bench.target import Target, searching
from lookalike.v1.garment_pb2 import Garment
from lookalike.v1.product_pb2 import Product
from lookalike.v1.search_service_pb2 import GarmentHits, Hit, SearchProductsRequest, SearchProductsResponse

PHOTO_BYTES = 100_000
HITS = [Hit(score=0.5, product=Product(name=f"catalogs/default/products/{n}", title="A dress")) for n in range(10)]
ANSWER = SearchProductsResponse(results=[GarmentHits(garment=Garment(garment_token="t" * 800), hits=HITS)] * 2)
TIMING = (("server-timing", "queue;dur=0.00, inference;dur=0.00, search;dur=0.00, own;dur=0.00"),)


async def at_once(
    request: SearchProductsRequest, context: grpc.aio.ServicerContext[SearchProductsRequest, SearchProductsResponse]
) -> SearchProductsResponse:
    """Answer every search with the same."""
    context.set_trailing_metadata(TIMING)
    return ANSWER


def serve(port: Connection) -> None:
    """Answer until the process is ended; sends its port first."""

    async def run() -> None:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            at_once, SearchProductsRequest.FromString, SearchProductsResponse.SerializeToString
        )
        service = grpc.method_handlers_generic_handler("lookalike.v1.SearchService", {"SearchProducts": handler})
        server.add_generic_rpc_handlers((service,))
        port.send(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await server.wait_for_termination()

    asyncio.run(run())


async def report(port: int, *, seconds: float) -> None:
    """Measure loads from low to high, and print a row for each."""
    requests = searching([os.urandom(PHOTO_BYTES) for _ in range(20)], catalog="catalogs/default")
    print("| load | answers/s | p50 ms | p99 ms | begun late, p99 ms | of a core | CPU ms a request |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for connections in (1, 4):
        async with Target(f"127.0.0.1:{port}", requests, connections=connections) as target:
            loads: dict[str, Callable[..., object]] = {
                **{f"{rate}/s": partial(open_loop, target.call, rate=rate) for rate in (50, 200, 500)},
                **{f"{callers} callers": partial(closed_loop, target.call, callers=callers) for callers in (1, 8, 32)},
            }
            for name, load in loads.items():
                found = await measure(partial(load, seconds=seconds, warmup=1.0))  # type: ignore[arg-type]
                print(f"| {name}, {connections} connections | {row(found.run, cpu=found.cpu)} |")


def row(run: Run, *, cpu: float) -> str:
    """The figures of a run."""
    percentiles = f"{run.percentile(50):.2f} | {run.percentile(99):.2f} | {run.late_ms:.2f}"
    return f"{run.throughput:.0f} | {percentiles} | {cpu:.0%} | {cpu / run.throughput * 1000:.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    server = processes.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    with asyncio.Runner(loop_factory=event_loop) as runner:
        runner.run(report(ours.recv(), seconds=options.seconds))
    server.terminate()


if __name__ == "__main__":
    main()
