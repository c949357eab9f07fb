"""GarmentFinder over Triton's gRPC: the ensembles `garments_<v>` and `garments_in_regions_<v>`."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from lookalike_service.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    ImageUnreadable,
    LookalikeError,
    ModelUnavailable,
    Overloaded,
    RegionInvalid,
)
from lookalike_service.model import Box, Found, Garment, Vocabularies
from lookalike_service.triton_answers import read_garments

__all__ = ["TritonFinder"]

_MAX_REGIONS = 16
_POLL_SECONDS = 0.2
_TOO_LATE = "the photo was not looked at before the deadline"
_BY_REASON: dict[str, type[LookalikeError]] = {
    "IMAGE_UNREADABLE": ImageUnreadable,
    "IMAGE_TOO_LARGE": ImageTooLarge,
    "REGION_INVALID": RegionInvalid,
}
_REASON = re.compile(rf"({'|'.join(_BY_REASON)}): (.*)", re.DOTALL)
# What Triton says when a queue is full, or when a request has waited there for too long.
_OVERLOAD = re.compile(r"maximum queue size|timeout expired", re.IGNORECASE)

# ModelConfig of Triton's protobufs; tritonclient brings no types.
Config = Any


@dataclass(frozen=True, slots=True)
class _Served:
    """What a pair of ensembles says of itself."""

    embedding_version: int
    embedding_size: int
    vocabularies: Vocabularies
    outputs: tuple[str, ...]


class TritonFinder:
    """Finds and describes garments by asking one pair of ensembles of one Triton."""

    def __init__(
        self, client: InferenceServerClient, *, served: _Served, detected: Sequence[str], cancel_on_wire: bool
    ) -> None:
        """Not for callers: see `connect`, which learns from Triton what is served."""
        self.embedding_version = served.embedding_version
        self.embedding_size = served.embedding_size
        self.vocabularies = served.vocabularies
        self._client = client
        self._detected = tuple(detected)
        self._cancel_on_wire = cancel_on_wire
        self._in_flight: set[asyncio.Future[InferResult]] = set()
        # An output that is also an inner input breaks a request that does not ask for it: always ask for all.
        self._outputs = [InferRequestedOutput(name) for name in served.outputs]

    @classmethod
    async def connect(
        cls, address: str, *, embedding_version: int = 1, timeout: float = 60.0, cancel_on_wire: bool = False
    ) -> Self:
        """Wait until both ensembles of an embedding version are ready and learn what their numbers mean.

        `address` is host:port of Triton's gRPC, `timeout` in seconds. Raises ModelUnavailable when Triton is not
        there in time or serves something else.

        A tritonserver of 2024 dies of a segmentation fault when a gRPC call is cancelled or runs into its deadline
        under load (server#7368, #8034; seen with 2.51 within a second). So by default no call is cut short on the
        wire: Triton itself drops requests whose time is over from its queues, and a caller who leaves early is let
        go while its request runs out. `cancel_on_wire` is for newer servers and ends such work at once.
        """
        client = InferenceServerClient(address)
        try:
            models = [f"garments_{embedding_version}", f"garments_in_regions_{embedding_version}"]
            await _wait_until_ready(client, models, address=address, timeout=timeout)
            configs = [(await client.get_model_config(model, client_timeout=timeout)).config for model in models]
            detected = await _detector_classes(client, configs, timeout=timeout)
            served = _learned(configs, embedding_version)
            return cls(client, served=served, detected=detected, cancel_on_wire=cancel_on_wire)
        except InferenceServerException as error:
            await client.close()
            raise ModelUnavailable(f"Triton at {address} does not say what it serves: {error.message()}") from error
        except BaseException:
            await client.close()
            raise

    async def find(
        self,
        image: bytes,
        *,
        regions: Sequence[Box] = (),
        min_score: float = 0.0,
        max_garments: int = 0,
        timeout: float | None = None,
    ) -> Found:
        """Describe the garments of an encoded photo, or of the caller's regions when there are any.

        Zeros mean the ensemble's defaults; a negative `min_score` means no threshold. `timeout` in seconds holds
        for the whole call and for its waits in Triton's queues. Raises ImageUnreadable, ImageTooLarge,
        RegionInvalid, Overloaded, ModelUnavailable, DeadlineExceeded.
        """
        if not image:
            raise ImageUnreadable("the image is empty")
        if timeout is not None and timeout <= 0:
            raise DeadlineExceeded("no time was left to look at the photo")
        inputs = [
            _input("image", np.frombuffer(image, np.uint8), "UINT8"),
            _input("options", np.array([min_score, max_garments], np.float32), "FP32"),
        ]
        model = f"garments_{self.embedding_version}"
        if regions:
            model = f"garments_in_regions_{self.embedding_version}"
            inputs.append(_input("regions", _region_rows(regions), "FP32"))
        started = time.perf_counter()
        result = await self._infer(model, inputs, timeout)
        elapsed = time.perf_counter() - started
        return Found(self._garments(result), self.embedding_version, elapsed)

    async def close(self, *, grace: float = 15.0) -> None:
        """Wait up to `grace` seconds for requests that are still on their way, then close the connection."""
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=grace)
        await self._client.close()

    async def __aenter__(self) -> Self:
        """Nothing to do: `connect` has done it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def _infer(self, model: str, inputs: list[InferInput], timeout: float | None) -> InferResult:
        # Triton knows no deadline, but told in microseconds, every queue on the way drops what is too late.
        microseconds = None if timeout is None else max(1, math.ceil(timeout * 1e6))
        limit = timeout if self._cancel_on_wire else None
        call = asyncio.ensure_future(
            self._client.infer(model, inputs, outputs=self._outputs, client_timeout=limit, timeout=microseconds)
        )
        started = time.monotonic()
        self._in_flight.add(call)
        call.add_done_callback(self._done)
        try:
            if self._cancel_on_wire:
                return await call
            return await asyncio.wait_for(asyncio.shield(call), timeout)
        except TimeoutError as error:
            raise DeadlineExceeded(_TOO_LATE) from error
        except InferenceServerException as error:
            late = timeout is not None and time.monotonic() - started >= timeout
            known = DeadlineExceeded(_TOO_LATE) if late else _translated(error)
            if known is None:
                raise
            raise known from error

    def _done(self, call: asyncio.Future[InferResult]) -> None:
        self._in_flight.discard(call)
        if not call.cancelled():
            call.exception()  # whoever waited for it may be gone; asyncio complains about what nobody looked at

    def _garments(self, result: InferResult) -> tuple[Garment, ...]:
        arrays = {output.name(): result.as_numpy(output.name()) for output in self._outputs}
        missing = [name for name, array in arrays.items() if array is None or array.shape[0] == 0]
        if missing:
            raise ModelUnavailable(f"Triton answered without {', '.join(missing)}")
        versions = set(arrays["embedding_version"].ravel().tolist())
        if versions != {self.embedding_version}:
            message = f"Triton answered with vectors of version {sorted(versions)}, not {self.embedding_version}"
            raise ModelUnavailable(message)
        return read_garments(arrays, vocabularies=self.vocabularies, detected=self._detected)


async def _wait_until_ready(client: InferenceServerClient, models: list[str], *, address: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    problem = "it does not answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            missing = [model for model in models if not await client.is_model_ready(model, client_timeout=left)]
            if not missing:
                return
            problem = f"it does not serve {' and '.join(missing)}"
        except InferenceServerException as error:
            problem = str(error.message())
        await asyncio.sleep(min(_POLL_SECONDS, max(left, 0.0)))
    raise ModelUnavailable(f"Triton at {address} was not ready within {timeout:g} s: {problem}")


async def _detector_classes(
    client: InferenceServerClient, configs: Sequence[Config], *, timeout: float
) -> tuple[str, ...]:
    """Ask the step that gives `classes` what they are called: the detector may be swapped, and its words with it."""
    for step in (step for config in configs for step in config.ensemble_scheduling.step):
        if "classes" in step.output_map:
            version = str(step.model_version) if step.model_version > 0 else ""
            answer = await client.get_model_config(step.model_name, version, client_timeout=timeout)
            return _words(answer.config, "garment")
    return ()


def _learned(configs: Sequence[Config], embedding_version: int) -> _Served:
    """Read version, vocabularies and vector size from the ensembles' configurations, which must agree."""
    served = [
        _Served(
            embedding_version=int(_parameter(config, "embedding_version") or 0),
            embedding_size=next((int(output.dims[-1]) for output in config.output if output.name == "embedding"), 0),
            vocabularies=_vocabularies(config),
            outputs=tuple(output.name for output in config.output),
        )
        for config in configs
    ]
    if len(set(served)) > 1:
        names = " and ".join(config.name for config in configs)
        raise ModelUnavailable(f"the ensembles {names} disagree in parameters or outputs")
    if served[0].embedding_version != embedding_version or served[0].embedding_size < 1:
        raise ModelUnavailable(f"the ensemble {configs[0].name} does not serve vectors of version {embedding_version}")
    return served[0]


def _vocabularies(config: Config) -> Vocabularies:
    return Vocabularies(
        category=_words(config, "category"),
        pattern=_words(config, "pattern"),
        material=_words(config, "material"),
        colour=_words(config, "colour"),
    )


def _words(config: Config, name: str) -> tuple[str, ...]:
    words = _parameter(config, f"{name}_labels")
    return tuple(words.split(",")) if words else ()


def _parameter(config: Config, key: str) -> str:
    return str(config.parameters[key].string_value) if key in config.parameters else ""


def _input(name: str, array: npt.NDArray[Any], kind: str) -> InferInput:
    tensor = InferInput(name, list(array.shape), kind)
    tensor.set_data_from_numpy(array)
    return tensor


def _region_rows(regions: Sequence[Box]) -> npt.NDArray[np.float32]:
    if len(regions) > _MAX_REGIONS:
        raise RegionInvalid(f"{len(regions)} regions were given; at most {_MAX_REGIONS} are allowed")
    return np.array([(box.x0, box.y0, box.x1, box.y1) for box in regions], np.float32)


def _translated(error: InferenceServerException) -> LookalikeError | None:
    """Say in our words what Triton said in its own; None for what nobody foresaw."""
    status, message = str(error.status()).removeprefix("StatusCode."), str(error.message())
    refused = _REASON.search(message)
    if status == "INVALID_ARGUMENT" and refused:
        return _BY_REASON[refused[1]](refused[2])
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(_TOO_LATE)
    if _OVERLOAD.search(message):
        return Overloaded("Triton has more photos waiting than it can look at in time")
    if status in ("UNAVAILABLE", "CANCELLED", "NOT_FOUND") or "Stub process" in message:
        return ModelUnavailable("Triton cannot look at photos right now")
    return None
