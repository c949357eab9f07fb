"""GarmentFinder over Triton's gRPC: the ensembles `garments_<v>` and `garments_in_regions_<v>`."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Sequence
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
from lookalike_service.model import Box, Found, Garment
from lookalike_service.telemetry import asking
from lookalike_service.tracing import trace_headers
from lookalike_service.triton_answers import read_garments
from lookalike_service.triton_served import Served, learn

__all__ = ["TritonFinder"]

_MAX_REGIONS = 16
_POLL_SECONDS = 0.2
# A server that was away is tried again within a second of its return, not within gRPC's two minutes.
_CHANNEL = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
_IN_TURN = (("grpc.lb_policy_name", "round_robin"),)
# Before asking again. At once is too early where a server is still ending, at whose address the next call may arrive.
_PAUSES = (0.0, 0.3)
# Triton takes a timeout of 0 for none at all.
_SHORTEST_SECONDS = 0.001
_TOO_LATE = "the photo was not looked at before the deadline"
_BY_REASON: dict[str, type[LookalikeError]] = {
    "IMAGE_UNREADABLE": ImageUnreadable,
    "IMAGE_TOO_LARGE": ImageTooLarge,
    "REGION_INVALID": RegionInvalid,
}
_REASON = re.compile(rf"({'|'.join(_BY_REASON)}): (.*)", re.DOTALL)
# What Triton says when a queue is full, or when a request has waited there for too long.
_OVERLOAD = re.compile(r"maximum queue size|timeout expired", re.IGNORECASE)
# What it says when the process of a step is gone, or while a step is loaded anew; gRPC, when the server itself went.
_OUTAGE = re.compile(
    r"Stub process|not at ready state|no available versions|RST_STREAM|[Ss]tream removed|Socket closed"
)


class TritonFinder:
    """Finds and describes garments by asking one pair of ensembles of one Triton."""

    def __init__(self, client: InferenceServerClient, *, served: Served, capacity: int, cancel_on_wire: bool) -> None:
        """Not for callers: see `connect`, which learns from Triton what is served."""
        self.capacity = capacity
        self.embedding_version = served.embedding_version
        self.embedding_size = served.embedding_size
        self.vocabularies = served.vocabularies
        self.answered = 0.0
        self.failed = 0.0
        self._client = client
        self._detected = served.detected
        self._cancel_on_wire = cancel_on_wire
        # A photo has its place until Triton is done with it, whether somebody still waits for it or not.
        self._places = asyncio.Semaphore(capacity)
        self._in_flight: set[asyncio.Future[InferResult]] = set()
        # An output that is also an inner input breaks a request that does not ask for it: always ask for all.
        self._outputs = [InferRequestedOutput(name) for name in served.outputs]

    @classmethod
    async def connect(
        cls,
        address: str,
        *,
        embedding_version: int = 1,
        capacity: int = 0,
        timeout: float = 60.0,
        cancel_on_wire: bool = False,
        round_robin: bool = False,
    ) -> Self:
        """Wait until both ensembles of an embedding version are ready and learn what their numbers mean.

        `address` is host:port of Triton's gRPC, `timeout` in seconds; `capacity` is how many photos may be there at
        once, 0 for what Triton's configuration tells. Raises ModelUnavailable when Triton is not
        there in time or serves something else.

        A tritonserver of 2024 dies of a segmentation fault when a gRPC call is cancelled or runs into its deadline
        under load (server#7368, #8034; seen with 2.51 within a second). So by default no call is cut short on the
        wire: Triton itself drops requests whose time is over from its queues, and a caller who leaves early is let
        go while its request runs out. `cancel_on_wire` is for newer servers and ends such work at once.

        With `round_robin` all servers that the address stands for get photos in turn; without, the first that answers.
        """
        client = InferenceServerClient(address, channel_args=(*_CHANNEL, *(_IN_TURN if round_robin else ())))
        try:
            models = [f"garments_{embedding_version}", f"garments_in_regions_{embedding_version}"]
            await _wait_until_ready(client, models, address=address, timeout=timeout)
            served = await learn(client, models, embedding_version=embedding_version, timeout=timeout)
            return cls(client, served=served, capacity=capacity or served.capacity, cancel_on_wire=cancel_on_wire)
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
        with asking("triton", "infer", model=model, image_bytes=len(image), regions=len(regions)):
            result = await self._asked(model, inputs, timeout)
        self.answered = time.monotonic()
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

    async def _asked(self, model: str, inputs: list[InferInput], timeout: float | None) -> InferResult:
        """Ask, and again where that failed for want of a server: another one may have taken over, or an instance
        beside the one that died may be well. Looking at a photo twice does no harm.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        for pause in (*_PAUSES, None):
            try:
                return await self._infer(model, inputs, None if timeout is None else end - time.monotonic())
            except ModelUnavailable:
                if pause is None or time.monotonic() + pause >= end:
                    self.failed = time.monotonic()
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _infer(self, model: str, inputs: list[InferInput], timeout: float | None) -> InferResult:
        ends = None if timeout is None else time.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                await self._places.acquire()
        except TimeoutError as error:
            raise DeadlineExceeded(_TOO_LATE) from error
        if ends is not None:
            timeout = max(ends - time.monotonic(), _SHORTEST_SECONDS)
        # Triton knows no deadline, but told in microseconds, every queue on the way drops what is too late.
        microseconds = None if timeout is None else math.ceil(timeout * 1e6)
        limit = timeout if self._cancel_on_wire else None
        call = asyncio.ensure_future(
            self._client.infer(
                model,
                inputs,
                outputs=self._outputs,
                client_timeout=limit,
                timeout=microseconds,
                headers=trace_headers() or None,
            )
        )
        self._in_flight.add(call)
        call.add_done_callback(self._done)
        try:
            if self._cancel_on_wire:
                return await call
            return await asyncio.wait_for(asyncio.shield(call), timeout)
        except TimeoutError as error:
            raise DeadlineExceeded(_TOO_LATE) from error
        except InferenceServerException as error:
            late = ends is not None and time.monotonic() >= ends
            known = DeadlineExceeded(_TOO_LATE) if late else _translated(error)
            if known is None:
                raise
            raise known from error

    def _done(self, call: asyncio.Future[InferResult]) -> None:
        self._in_flight.discard(call)
        self._places.release()
        if not call.cancelled():
            call.exception()  # whoever waited for it may be gone; asyncio complains about what nobody looked at

    def _garments(self, result: InferResult) -> tuple[Garment, ...]:
        arrays = {output.name(): result.as_numpy(output.name()) for output in self._outputs}
        missing = [name for name, array in arrays.items() if array is None or array.shape[0] == 0]
        if missing:
            raise ModelUnavailable(f"Triton answered without {', '.join(missing)}")
        versions = set(arrays["embedding_version"].ravel().tolist())
        if versions != {self.embedding_version}:
            version = self.embedding_version
            raise ModelUnavailable(
                f"Triton answered with vectors of version {sorted(versions)}, not {version}: garments_{version} names "
                "an embed that was exported for another version. Mend its step, or export the model for a version of "
                "its own and bring the catalog there with `lookalike reindex VERSION`"
            )
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
    if status in ("UNAVAILABLE", "CANCELLED", "NOT_FOUND") or _OUTAGE.search(message):
        return ModelUnavailable("Triton cannot look at photos right now")
    return None
