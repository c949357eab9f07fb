"""The adapter to Triton, against a server that speaks Triton's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
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
from lookalike_service.model import Box, Found, Source
from lookalike_service.refining import weighed_score
from lookalike_service.triton import TritonFinder
from support_triton import Arrays, FakeTriton, Message, sent, serving, two_garments


@asynccontextmanager
async def connected(fake: FakeTriton, **options: bool) -> AsyncIterator[TritonFinder]:
    async with serving(fake) as address, await TritonFinder.connect(address, timeout=5, **options) as finder:
        yield finder


def find(fake: FakeTriton, image: bytes = b"photo", **options: Any) -> Found:  # noqa: ANN401 - the arguments of `find`
    async def run() -> Found:
        async with connected(fake) as finder:
            return await finder.find(image, **options)

    return asyncio.run(run())


def test_connect_learns_size_version_and_vocabularies() -> None:
    async def run() -> None:
        async with connected(FakeTriton()) as finder:
            assert (finder.embedding_size, finder.embedding_version) == (256, 1)
            assert finder.vocabularies.category[:2] == ("top/t-shirt", "top/longsleeve")
            assert finder.vocabularies.material == ("denim", "knit", "leather", "other")
            assert len(finder.vocabularies.colour) == 16 and len(finder.vocabularies.pattern) == 6

    asyncio.run(run())


def test_capacity_keeps_every_instance_of_the_narrowest_step_busy() -> None:
    def capacity(**groups: str) -> int:
        fake = FakeTriton()
        for model, group in groups.items():
            fake.configs[model].ClearField("instance_group")
            text_format.Merge(f"instance_group [ {{ {group} }} ]", fake.configs[model])

        async def run() -> int:
            async with connected(fake) as finder:
                return finder.capacity

        return asyncio.run(run())

    assert capacity() == 4  # two instances of every step
    assert capacity(embed="count: 1 kind: KIND_CPU") == 2
    glue = {"decode": "count: 40 kind: KIND_CPU", "crop": "count: 40 kind: KIND_CPU"}
    graphs = dict.fromkeys(("detect", "keypoints", "segment", "embed"), "count: 1 kind: KIND_GPU gpus: [ 0, 1 ]")
    assert capacity(**glue, **graphs) == 64  # detect takes batches of 16, on two cards


def test_a_photo_keeps_its_place_until_triton_is_done_with_it() -> None:
    """The first caller leaves; the second one's photo is not sent while Triton is busy with what nobody waits for."""
    fake, gate = FakeTriton(), asyncio.Event()

    async def held_back(request: Message) -> Arrays:
        await gate.wait()
        return await two_garments(request)

    async def run() -> None:
        fake.answer = held_back
        async with serving(fake) as address, await TritonFinder.connect(address, capacity=1, timeout=5) as finder:
            with pytest.raises(DeadlineExceeded):
                await finder.find(b"first", timeout=0.1)
            with pytest.raises(DeadlineExceeded):
                await finder.find(b"second", timeout=0.1)
            assert len(fake.requests) == 1
            third = asyncio.create_task(finder.find(b"third", timeout=5))
            await asyncio.sleep(0.05)
            assert len(fake.requests) == 1
            gate.set()
            assert (await third).garments and len(fake.requests) == 2

    asyncio.run(run())


def test_a_garment_is_read_whole() -> None:
    found = find(FakeTriton())
    top, given = found.garments
    assert (found.embedding_version, found.inference_seconds > 0) == (1, True)
    assert top.category == "top" and top.categories[0].name == "dress"
    assert [label.score for label in top.categories] == sorted((label.score for label in top.categories), reverse=True)
    assert [(label.name, label.score) for label in top.colours] == [("red", 0.75), ("beige", 0.25)]
    assert top.patterns[0].name == "striped" and top.materials[0].name == "leather"
    assert (top.source, top.detected) == (Source.DETECTED, "dress")
    assert top.score == pytest.approx(weighed_score(0.9, certainty=1.0, agreement=top.categories[0].score))
    assert top.embedding.shape == (256,) and top.mask.shape == (56, 56)
    assert (given.source, given.detected, given.category) == (Source.REGION, "", "shorts")


def test_landmarks_move_from_the_crop_to_the_photo() -> None:
    given = find(FakeTriton()).garments[1]
    assert given.landmarks[0] == pytest.approx([-0.2 + 0.5 * 1.0, 0.5, 0.75])
    assert given.landmarks[1] == pytest.approx([-0.2, 0.0, 0.0])


def test_the_request_holds_bytes_options_regions_and_asks_for_every_output() -> None:
    fake = FakeTriton()
    find(fake, b"\xff\xd8bytes", min_score=0.4, max_garments=3, timeout=2.5)
    find(fake, regions=[Box(0.25, 0.5, 0.75, 1.0)])
    whole, regions = fake.requests
    assert whole.model_name == "garments_1" and regions.model_name == "garments_in_regions_1"
    assert sent(whole, "image", np.uint8).tobytes() == b"\xff\xd8bytes"
    assert sent(whole, "options", np.float32) == pytest.approx([0.4, 3])
    assert sent(regions, "options", np.float32).tolist() == [0, 0]
    assert sent(regions, "regions", np.float32).tolist() == [0.25, 0.5, 0.75, 1.0]
    assert (
        whole.parameters["timeout"].int64_param == pytest.approx(2_500_000, rel=0.1)
        and "timeout" not in regions.parameters
    )
    for request in (whole, regions):
        assert {output.name for output in request.outputs} == set(asyncio.run(two_garments(None)))


def test_an_encoder_without_a_head_lacks_that_field() -> None:
    fake = FakeTriton()
    for name in ("garments_1", "garments_in_regions_1"):
        fake.configs[name].parameters["pattern_labels"].string_value = ""
        del fake.configs[name].parameters["material_labels"]
        outputs = [output for output in fake.configs[name].output if output.name != "material"]
        del fake.configs[name].output[:]
        fake.configs[name].output.extend(outputs)
    garment = find(fake).garments[0]
    assert garment.patterns == () and garment.materials == () and garment.category == "top"


UNAVAILABLE, INVALID = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INVALID_ARGUMENT
INTERNAL = grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(
    ("code", "text", "kind", "sentence"),
    [
        (INVALID, "in ensemble 'garments_1', IMAGE_UNREADABLE: not a JPEG", ImageUnreadable, "not a JPEG"),
        (INVALID, "in ensemble 'garments_1', IMAGE_TOO_LARGE: 9 bytes", ImageTooLarge, "9 bytes"),
        (INVALID, "in ensemble 'garments_in_regions_1', REGION_INVALID: no area", RegionInvalid, "no area"),
        (
            UNAVAILABLE,
            "in ensemble 'garments_1', [request id: <id_unknown>] Exceeds maximum queue size",
            Overloaded,
            "",
        ),
        (UNAVAILABLE, "in ensemble 'garments_1', Request timeout expired", Overloaded, ""),
        (UNAVAILABLE, "Server is stopping", ModelUnavailable, ""),
        (INTERNAL, "Stub process 'embed_0_1' is not healthy.", ModelUnavailable, ""),
        (grpc.StatusCode.NOT_FOUND, "Request for unknown model", ModelUnavailable, ""),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", DeadlineExceeded, ""),
    ],
)
def test_what_triton_says_becomes_our_words(
    code: grpc.StatusCode, text: str, kind: type[LookalikeError], sentence: str
) -> None:
    fake = FakeTriton()
    fake.failure = (code, text)
    with pytest.raises(kind) as caught:
        find(fake)
    assert type(caught.value) is kind
    assert sentence in caught.value.message and "ensemble" not in caught.value.message


@pytest.mark.parametrize(("code", "text"), [(INTERNAL, "decode failed"), (INVALID, "unexpected shape for input")])
def test_what_nobody_foresaw_stays_unforeseen(code: grpc.StatusCode, text: str) -> None:
    fake = FakeTriton()
    fake.failure = (code, text)
    with pytest.raises(InferenceServerException):
        find(fake)


def test_bad_input_is_refused_before_it_is_sent() -> None:
    fake = FakeTriton()
    with pytest.raises(ImageUnreadable):
        find(fake, b"")
    with pytest.raises(RegionInvalid, match="17 regions"):
        find(fake, regions=[Box(0, 0, 1, 1)] * 17)
    with pytest.raises(DeadlineExceeded):
        find(fake, timeout=0)
    assert fake.requests == []


def test_a_passed_deadline_lets_the_caller_go_and_never_cancels_the_call() -> None:
    fake = FakeTriton()

    async def slowly(request: Message) -> Arrays:
        await asyncio.sleep(0.4)
        return await two_garments(request)

    async def run() -> None:
        fake.answer = slowly
        loop = asyncio.get_running_loop()
        async with connected(fake) as finder:
            started = loop.time()
            with pytest.raises(DeadlineExceeded):
                await finder.find(b"photo", timeout=0.1)
            assert loop.time() - started < 0.3
        assert fake.finished == 1  # closing waited for it

    asyncio.run(run())


@pytest.mark.parametrize("cancel_on_wire", [False, True])
def test_a_cancelled_caller_ends_the_call_only_where_the_server_can_bear_it(cancel_on_wire: bool) -> None:
    fake = FakeTriton()
    entered = asyncio.Event()

    async def slowly(request: Message) -> Arrays:
        entered.set()
        await asyncio.sleep(0.3)
        return await two_garments(request)

    async def run() -> None:
        fake.answer = slowly
        async with connected(fake, cancel_on_wire=cancel_on_wire) as finder:
            task = asyncio.create_task(finder.find(b"photo"))
            await entered.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.5)
        assert fake.finished == (0 if cancel_on_wire else 1)

    asyncio.run(run())


def test_a_late_refusal_is_a_passed_deadline() -> None:
    fake = FakeTriton()

    async def run() -> None:
        async def late(request: Message) -> Arrays:
            await asyncio.sleep(0.2)
            raise RuntimeError("the queue's timer")

        fake.answer = late
        async with connected(fake) as finder:
            with pytest.raises(DeadlineExceeded):
                await finder.find(b"photo", timeout=0.15)

    asyncio.run(run())


@pytest.mark.parametrize("break_it", ["empty", "version"])
def test_answers_that_cannot_be_trusted_are_refused(break_it: str) -> None:
    fake = FakeTriton()

    async def broken(request: Message) -> Arrays:
        arrays = await two_garments(request)
        if break_it == "empty":
            arrays["embedding"] = np.zeros((0, 256), np.float32)
        else:
            arrays["embedding_version"] = np.full((2, 1), 2, np.int32)
        return arrays

    fake.answer = broken
    with pytest.raises(ModelUnavailable):
        find(fake)


def test_connect_names_what_it_waited_for() -> None:
    async def run() -> None:
        fake = FakeTriton()
        del fake.configs["garments_in_regions_1"]
        async with serving(fake) as address:
            with pytest.raises(ModelUnavailable, match=f"{address} .* garments_in_regions_1"):
                await TritonFinder.connect(address, timeout=0.5)
        with pytest.raises(ModelUnavailable, match=r"127\.0\.0\.1:1 was not ready within 0\.5 s"):
            await TritonFinder.connect("127.0.0.1:1", timeout=0.5)

    asyncio.run(run())


def test_connect_refuses_ensembles_that_disagree_or_serve_another_version() -> None:
    async def run() -> None:
        fake = FakeTriton()
        async with serving(fake) as address:
            fake.configs["garments_1"].parameters["material_labels"].string_value = "wood"
            with pytest.raises(ModelUnavailable, match="disagree"):
                await TritonFinder.connect(address, timeout=5)
            for name in ("garments_1", "garments_in_regions_1"):
                fake.configs[name].parameters["material_labels"].string_value = "wood"
                fake.configs[name].parameters["embedding_version"].string_value = "2"
            with pytest.raises(ModelUnavailable, match="version 1"):
                await TritonFinder.connect(address, timeout=5)

    asyncio.run(run())


def test_photos_go_round_the_servers_of_an_address_when_told_so() -> None:
    def answered(*, round_robin: bool, photos: int) -> list[int]:
        fakes = [FakeTriton(), FakeTriton()]

        async def run() -> None:
            async with serving(fakes[0]) as first, serving(fakes[1]) as second:
                address = f"ipv4:{first},{second}"
                async with await TritonFinder.connect(address, timeout=5, round_robin=round_robin) as finder:
                    for _ in range(photos):
                        await finder.find(b"photo", timeout=5)
                        # The second connection may be there a little later than the first.
                        if round_robin and all(fake.finished for fake in fakes):
                            break

        asyncio.run(run())
        return [fake.finished for fake in fakes]

    assert all(answered(round_robin=True, photos=500))
    assert 0 in answered(round_robin=False, photos=10)


def test_with_one_of_two_servers_gone_the_other_one_answers() -> None:
    async def run() -> None:
        left = FakeTriton()
        async with serving(left) as staying:
            async with serving(FakeTriton()) as leaving:
                finder = await TritonFinder.connect(f"ipv4:{leaving},{staying}", timeout=5, round_robin=True)
            async with finder:
                for _ in range(4):
                    await finder.find(b"photo", timeout=5)
        assert left.finished == 4

    asyncio.run(run())
