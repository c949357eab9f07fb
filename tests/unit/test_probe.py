"""The gateway's own photo: when it is sent, and what it says of the models."""

from __future__ import annotations

import io
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from fakes import FakeFinder, photo
from lookalike_service import metrics
from lookalike_service.errors import DeadlineExceeded, ModelUnavailable, Overloaded
from lookalike_service.probe import PHOTO, Probe
from support_gateway import eventually, open_shop

SEEN = photo({"look": "one"})


class Watched:
    """A probe of a fake finder, and what it said."""

    def __init__(self, *, seconds: float = 60.0) -> None:
        self.finder = FakeFinder()
        self.said: list[bool] = []
        self.probe = Probe(lambda: self.finder, seconds=seconds, changed=self._changed, photo=SEEN)

    async def _changed(self, seeing: bool) -> None:
        self.said.append(seeing)


def counted(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("lookalike_probes_total", {"outcome": outcome}) or 0.0


def test_its_photo_is_one() -> None:
    with Image.open(io.BytesIO(PHOTO)) as image:
        assert image.size == (32, 32)
        assert image.convert("RGB").getpixel((5, 5)) == (128, 128, 128)


async def test_two_failures_in_a_row_are_an_outage_and_one_answer_ends_it() -> None:
    watched, before = Watched(), counted("error")
    watched.finder.failure = ModelUnavailable("gone")
    await watched.probe.look()
    assert watched.said == []
    await watched.probe.look()
    await watched.probe.look()
    assert watched.said == [False]
    assert counted("error") == before + 3
    assert metrics.REGISTRY.get_sample_value("lookalike_models_seeing") == 0
    watched.finder.failure = None
    await watched.probe.look()
    assert watched.said == [False, True]
    assert metrics.REGISTRY.get_sample_value("lookalike_models_seeing") == 1


async def test_photos_of_callers_are_proof_enough() -> None:
    watched = Watched()
    await watched.probe.look()
    assert watched.finder.calls == 1
    await watched.probe.look()  # its own answer counts, too
    assert watched.finder.calls == 1
    watched.finder.failed = time.monotonic()
    await watched.probe.look()
    assert watched.finder.calls == 2


@pytest.mark.parametrize("failure", [Overloaded("full"), DeadlineExceeded("late")])
async def test_busy_is_not_blind_unless_nobody_is_answered(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    watched.finder.failure = failure
    for _ in range(3):
        await watched.probe.look()
    assert watched.said == []
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    for _ in range(2):
        await watched.probe.look()
    assert watched.said == [False]


async def test_what_nobody_foresaw_is_an_outage_too() -> None:
    watched = Watched()
    watched.finder.failure = RuntimeError("what")
    for _ in range(2):
        await watched.probe.look()
    assert watched.said == [False]


async def test_health_tells_searching_from_the_rest() -> None:
    """A gateway whose models see nothing still reads products and searches with tokens."""
    finder = FakeFinder()
    async with open_shop(finder=finder, probe_seconds=0.02) as shop:
        health = health_pb2_grpc.HealthStub(shop.channel)

        async def status(service: str) -> int:
            return int((await health.Check(health_pb2.HealthCheckRequest(service=service))).status)

        async def is_searching(wanted: int) -> None:
            assert await status("lookalike.v1.SearchService") == wanted

        finder.failure = ModelUnavailable("gone")
        await eventually(lambda: is_searching(health_pb2.HealthCheckResponse.NOT_SERVING))
        for service in ("", "lookalike.v1.ProductService"):
            assert await status(service) == health_pb2.HealthCheckResponse.SERVING
        finder.failure = None
        finder.answered = 0.0

        async def sees_again() -> None:
            # The fake takes the probe's picture for no photo; a caller's photo proves, for a moment, that it sees.
            await finder.find(SEEN)
            await is_searching(health_pb2.HealthCheckResponse.SERVING)

        await eventually(sees_again)
        assert shop.channel.get_state() is grpc.ChannelConnectivity.READY
