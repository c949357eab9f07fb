"""A server that speaks Triton's protocol and says what a test tells it to."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from support_glue import REPOSITORY

__all__ = ["Arrays", "FakeTriton", "Message", "looks", "sent", "serving", "two_garments"]

KINDS = {"float32": "FP32", "int32": "INT32", "uint8": "UINT8"}
Message = Any  # of Triton's protobufs, which bring no types
Arrays = dict[str, np.ndarray[Any, Any]]
Answer = Callable[[Message], Awaitable[Arrays]]


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Serves the repository's real configurations; `answer` plays the models. `add` makes a further version of them."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.ready = True
        self.finished = 0
        self.configs = {}
        for path in REPOSITORY.glob("*/config.pbtxt"):
            self.configs[path.parent.name] = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        self.failure: tuple[grpc.StatusCode, str] | None = None
        self.answer: Answer = two_garments

    def add(self, version: int) -> None:
        """Serve the ensembles of another embedding version, too."""
        for name in ("garments", "garments_in_regions"):
            config = model_config_pb2.ModelConfig()
            config.CopyFrom(self.configs[f"{name}_1"])
            config.name = f"{name}_{version}"
            config.parameters["embedding_version"].string_value = str(version)
            self.configs[config.name] = config

    def remove(self, version: int) -> None:
        """Serve them no more."""
        for name in ("garments", "garments_in_regions"):
            self.configs.pop(f"{name}_{version}", None)

    async def ModelReady(self, request: Message, context: Message) -> Message:  # noqa: N802 - Triton's name
        return service_pb2.ModelReadyResponse(ready=self.ready and request.name in self.configs)

    async def ModelConfig(self, request: Message, context: Message) -> Message:  # noqa: N802 - Triton's name
        return service_pb2.ModelConfigResponse(config=self.configs[request.name])

    async def ModelInfer(self, request: Message, context: Message) -> Message:  # noqa: N802 - Triton's name
        self.requests.append(request)
        if self.failure is not None:
            await context.abort(*self.failure)
        arrays = await self.answer(request)
        response = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
        for output in request.outputs:
            array = arrays[output.name]
            tensor = response.outputs.add(name=output.name, datatype=KINDS[str(array.dtype)])
            tensor.shape.extend(array.shape)
            response.raw_output_contents.append(array.tobytes())
        self.finished += 1
        return response


async def two_garments(request: Message) -> Arrays:
    keypoints = np.zeros((2, 8, 3), np.float32)
    keypoints[1, 0] = (0.5, 1.0, 0.75)
    category = np.zeros((2, 23), np.float32)
    category[0, [0, 1, 11]] = (0.3, 0.3, 0.4)  # top/t-shirt and top/longsleeve together beat dress
    category[1, 13] = 1
    colours = np.zeros((2, 16), np.float32)
    colours[:, [3, 5]] = (0.25, 0.75)
    return {
        "crop_box": np.array([[0.1, 0.1, 0.5, 0.5], [-0.2, 0.0, 0.8, 0.5]], np.float32),
        "garment_box": np.array([[0.2, 0.2, 0.4, 0.4], [0.0, 0.0, 0.8, 0.5]], np.float32),
        "garment_score": np.array([0.9, 1.0], np.float32),
        "garment_class": np.array([2, -1], np.int32),
        "source": np.array([0, 1], np.int32),
        "keypoints": keypoints,
        "mask": np.full((2, 56, 56), 255, np.uint8),
        "embedding": np.eye(2, 256, dtype=np.float32),
        "category": category,
        "pattern": np.array([[0.1, 0.5, 0.1, 0.1, 0.1, 0.1]] * 2, np.float32),
        "material": np.array([[0, 0, 1, 0]] * 2, np.float32),
        "colours": colours,
        "embedding_version": np.ones((2, 1), np.int32),
    }


async def looks(request: Message) -> Arrays:
    """One garment, which the bytes of the photo decide, and each embedding version sees in its own way."""
    version = int(request.model_name.rpartition("_")[2])
    seed = hashlib.sha256(request.raw_input_contents[0] + bytes([version])).digest()
    seen = np.random.default_rng(int.from_bytes(seed[:8], "big")).normal(size=(1, 256)).astype(np.float32)
    one = {name: array[:1] for name, array in (await two_garments(request)).items()}
    unit = seen / np.linalg.norm(seen)
    return {**one, "embedding": unit, "embedding_version": np.full((1, 1), version, np.int32)}


def sent(request: Message, name: str, kind: type[np.generic]) -> np.ndarray[Any, Any]:
    index = [tensor.name for tensor in request.inputs].index(name)
    return np.frombuffer(request.raw_input_contents[index], kind)


@asynccontextmanager
async def serving(fake: FakeTriton) -> AsyncIterator[str]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
