"""The requests of every contender, built before a run, each as a call of the load engine."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient

from lookalike.bench.load import Answer, Call
from lookalike.v1.search_service_pb2 import SearchProductsRequest
from lookalike.v1.search_service_pb2_grpc import SearchServiceStub

__all__ = ["Ensemble", "Watched", "ensemble", "search_call", "search_stub"]

ENSEMBLE: Final = "garments_1"
LARGEST_MESSAGE: Final = 64 * 1024 * 1024

Arrays = dict[str, npt.NDArray[Any]]


class Ensemble:
    """The bare ensemble of a Triton."""

    def __init__(self, client: InferenceServerClient, outputs: Sequence[str]) -> None:
        self._client = client
        # One that is left out may be an input of a step, which breaks the request.
        self._outputs = [InferRequestedOutput(name) for name in outputs]

    async def infer(self, inputs: Sequence[InferInput]) -> Any:  # noqa: ANN401 - tritonclient is untyped
        """Ask for every output."""
        return await self._client.infer(ENSEMBLE, list(inputs), outputs=self._outputs)

    def call(self, photos: Sequence[bytes], *, max_garments: int = 0) -> Call:
        """One photo after the other."""
        requests = [ensemble_inputs(photo, max_garments=max_garments) for photo in photos]

        async def call(number: int) -> Answer:
            result = await self.infer(requests[number % len(requests)])
            return Answer(garments=len(result.as_numpy("source")))

        return call


def ensemble_inputs(photo: bytes, *, max_garments: int = 0) -> list[InferInput]:
    """What the ensemble takes for one photo."""
    arrays: Arrays = {"image": np.frombuffer(photo, np.uint8), "options": np.array([0, max_garments], np.float32)}
    kinds = {"image": "UINT8", "options": "FP32"}
    inputs = []
    for name, array in arrays.items():
        tensor = InferInput(name, list(array.shape), kinds[name])
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


@asynccontextmanager
async def ensemble(address: str) -> AsyncIterator[Ensemble]:
    """Connect to the ensemble of the Triton at host:port."""
    client = InferenceServerClient(address)
    try:
        config = (await client.get_model_config(ENSEMBLE)).config
        yield Ensemble(client, [output.name for output in config.output])
    finally:
        await client.close()


@asynccontextmanager
async def search_stub(address: str) -> AsyncIterator[Any]:
    """The raw stub of a gateway: the client library's retries would hide refusals."""
    options = [("grpc.max_receive_message_length", LARGEST_MESSAGE)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield SearchServiceStub(channel)


def search_call(stub: Any, requests: Sequence[SearchProductsRequest], *, timeout: float | None = None) -> Call:  # noqa: ANN401
    """SearchProducts with one request after the other; `timeout` is the deadline that the server is told, seconds."""

    async def call(number: int) -> Answer:
        try:
            answer = await stub.SearchProducts(requests[number % len(requests)], timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return Answer(code=error.code().name)
        timings = answer.timings
        phases = {
            name: getattr(timings, name).ToTimedelta().total_seconds()
            for name in ("queue", "inference", "search", "own")
        }
        return Answer(phases=phases, garments=len(answer.results))

    return call


@dataclass(slots=True)
class Watched:
    """A call that remembers how long each kind of answer took, warm-up included, in seconds by code."""

    call: Call
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def __call__(self, number: int) -> Answer:
        """As `call`."""
        begin = time.perf_counter()
        answer = await self.call(number)
        self.seconds[answer.code].append(time.perf_counter() - begin)
        return answer

    @property
    def answered(self) -> int:
        """How many were answered OK."""
        return len(self.seconds["OK"])
