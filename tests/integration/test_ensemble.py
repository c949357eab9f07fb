"""The served pipeline, with the trained graphs, on rendered photos: right, whole, and calm about bad input."""

from __future__ import annotations

import asyncio
import contextlib
import io
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from lookalike_service.embedded import EmbeddedTriton
from lookalike_service.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    ImageUnreadable,
    LookalikeError,
    Overloaded,
    RegionInvalid,
)
from lookalike_service.model import Box, Found, Garment, Source, Vocabularies
from lookalike_service.triton import TritonFinder
from lookalike_service.triton_answers import read_garments
from lookalike_service.wardrobe import choose_outfit, make_items, render_item, render_outfit
from support_direct import DirectPipeline
from support_glue import REPOSITORY

T = TypeVar("T")
ITEMS = make_items(24, seed=5)
# Two runs of one graph differ in the last bits when their batches differ; a cosine of vectors this close is 1.
TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTriton]:
    with EmbeddedTriton(REPOSITORY, run_directory=tmp_path_factory.mktemp("triton")) as server:
        yield server


@pytest.fixture(scope="module")
def direct() -> DirectPipeline:
    return DirectPipeline(REPOSITORY)


def encoded(pixels: npt.NDArray[np.uint8], kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **{"quality": 92, **options})
    return buffer.getvalue()


def outfit(seed: int) -> tuple[bytes, list[tuple[float, ...]]]:
    """An outfit's photo and the boxes of its garments, 0..1."""
    photo = render_outfit(choose_outfit(ITEMS, seed=seed), seed=seed)
    return encoded(photo.image), [garment.box for garment in photo.garments]


def using(triton: EmbeddedTriton, work: Callable[[TritonFinder], Awaitable[T]], *, capacity: int = 0) -> T:
    async def run() -> T:
        async with await TritonFinder.connect(triton.grpc_address, capacity=capacity, timeout=30) as finder:
            return await work(finder)

    return asyncio.run(run())


def find(triton: EmbeddedTriton, image: bytes, **options: Any) -> Found:  # noqa: ANN401 - the arguments of `find`
    return using(triton, lambda finder: finder.find(image, **options))


async def patiently(finder: TritonFinder, image: bytes) -> Found:
    """Ask again while the queues are full, as the SDK does: a busy machine is no failure."""
    for _ in range(200):
        with contextlib.suppress(Overloaded):
            return await finder.find(image)
        await asyncio.sleep(0.3)
    pytest.fail("the server did not recover")


def labels(stage: str, head: str) -> tuple[str, ...]:
    return tuple((REPOSITORY / stage / "labels" / f"{head}.txt").read_text().split("\n")[:-1])


def described(arrays: dict[str, Any]) -> tuple[Garment, ...]:
    """The garments that the gateway reads from such outputs."""
    heads = {head: labels("embed", head) for head in ("category", "pattern", "material", "colour")}
    return read_garments(arrays, vocabularies=Vocabularies(**heads), detected=labels("detect", "garment"))


def same(garment: Garment, expected: Garment) -> None:
    for name in ("x0", "y0", "x1", "y1"):
        assert getattr(garment.crop_box, name) == pytest.approx(getattr(expected.crop_box, name), abs=1e-5)
        # A pixel of the mask on the verge moves the box by one cell.
        assert getattr(garment.box, name) == pytest.approx(getattr(expected.box, name), abs=0.03)
    assert garment.score == pytest.approx(expected.score, abs=5e-3)
    assert garment.embedding @ expected.embedding == pytest.approx(1, abs=TOLERANCE)
    assert np.abs(garment.mask.astype(int) - expected.mask).max() <= 2
    assert garment.landmarks[:, 2] == pytest.approx(expected.landmarks[:, 2], abs=1e-3)
    assert garment.categories[0].score == pytest.approx(expected.categories[0].score, abs=1e-3)


def overlap(a: Box, b: tuple[float, ...]) -> float:
    """Intersection over union."""
    width = min(a.x1, b[2]) - max(a.x0, b[0])
    height = min(a.y1, b[3]) - max(a.y0, b[1])
    inner = max(width, 0) * max(height, 0)
    return inner / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_served_is_what_the_graphs_and_the_glue_say(triton: EmbeddedTriton, direct: DirectPipeline, seed: int) -> None:
    image, _ = outfit(seed)
    found, expected = find(triton, image), described(direct.find(image))
    assert len(found.garments) == len(expected) >= 1
    for garment, other in zip(found.garments, expected, strict=True):
        same(garment, other)


def test_garments_of_rendered_outfits_are_found(triton: EmbeddedTriton) -> None:
    hits = total = 0
    for seed in range(1, 9):
        image, boxes = outfit(seed)
        found = [garment.box for garment in find(triton, image).garments if garment.source is Source.DETECTED]
        hits += sum(any(overlap(box, truth) > 0.5 for box in found) for truth in boxes)
        total += len(boxes)
    assert total >= 16 and hits >= total / 2


def test_every_field_of_a_garment_makes_sense(triton: EmbeddedTriton) -> None:
    async def work(finder: TritonFinder) -> None:
        image, _ = outfit(4)
        found = await finder.find(image, min_score=-1)
        scores = [garment.score for garment in found.garments]
        assert scores == sorted(scores, reverse=True) and found.embedding_version == 1
        for garment in found.garments:
            assert 0 <= garment.box.x0 < garment.box.x1 <= 1 and 0 <= garment.box.y0 < garment.box.y1 <= 1
            assert garment.crop_box.x0 < garment.box.x0 + 0.01 and garment.crop_box.x1 > garment.box.x1 - 0.01
            assert garment.embedding.shape == (finder.embedding_size,)
            assert np.linalg.norm(garment.embedding) == pytest.approx(1, abs=1e-3)
            words = finder.vocabularies
            named = (garment.categories, garment.patterns, garment.materials)
            for labels, known in zip(named, (words.category, words.pattern, words.material), strict=True):
                # What has less than a hundredth is left out.
                assert 1 - 0.01 * len(known) <= sum(label.score for label in labels) <= 1.001
                assert {label.name for label in labels} <= set(known)
            assert sum(label.score for label in garment.colours) <= 1.001
            assert garment.mask.shape == (56, 56) and garment.landmarks.shape == (8, 3)

    using(triton, work)


def test_regions_are_described_in_order_without_detecting(triton: EmbeddedTriton, direct: DirectPipeline) -> None:
    image, boxes = outfit(2)
    regions = [Box(*box) for box in boxes] + [Box(0, 0, 1, 1), Box(0.2, 0.1, 0.21, 0.13)]
    found = find(triton, image, regions=regions)
    assert len(found.garments) == len(regions)
    rows = np.array([[box.x0, box.y0, box.x1, box.y1] for box in regions], np.float32)
    for garment, other in zip(found.garments, described(direct.find(image, regions=rows)), strict=True):
        assert (garment.source, garment.score, garment.detected) == (Source.REGION, 1.0, "")
        same(garment, other)


def test_sixteen_regions_are_the_most(triton: EmbeddedTriton) -> None:
    image, _ = outfit(1)
    assert len(find(triton, image, regions=[Box(0.1, 0.1, 0.9, 0.9)] * 16).garments) == 16


def test_options_choose_how_many(triton: EmbeddedTriton) -> None:
    image, _ = outfit(3)
    everything = find(triton, image, min_score=-1, max_garments=16).garments
    assert len(find(triton, image, min_score=-1, max_garments=1).garments) == 1
    assert len(everything) >= len(find(triton, image).garments)
    surest = [garment.box for garment in find(triton, image, min_score=0.5).garments]
    assert len(surest) < len(everything) and all(box in [garment.box for garment in everything] for box in surest)


def test_nothing_found_is_the_whole_image(triton: EmbeddedTriton) -> None:
    (whole,) = find(triton, encoded(np.full((300, 200, 3), 128, np.uint8)), min_score=0.99).garments
    assert (whole.source, whole.score, whole.box) == (Source.WHOLE_IMAGE, 0.0, Box(0, 0, 1, 1))
    assert np.linalg.norm(whole.embedding) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("GIF", {"save_all": True}), ("WEBP", {"save_all": True})],
)
def test_formats_and_animations_are_seen_alike(triton: EmbeddedTriton, kind: str, options: dict[str, Any]) -> None:
    pixels = render_item(ITEMS[0], view=0, size=360).image
    reference = find(triton, encoded(pixels, "PNG"), regions=[Box(0, 0, 1, 1)]).garments[0]
    if "save_all" in options:
        other = Image.fromarray(np.zeros_like(pixels))
        options = {**options, "append_images": [other], "duration": 100, "lossless": True}
    found = find(triton, encoded(pixels, kind, **options), regions=[Box(0, 0, 1, 1)]).garments[0]
    assert found.embedding @ reference.embedding > 0.97


def test_a_turned_photo_is_seen_upright(triton: EmbeddedTriton) -> None:
    photo = render_outfit(choose_outfit(ITEMS, seed=6), seed=6).image
    upright = find(triton, encoded(photo, "PNG"), regions=[Box(0.2, 0.2, 0.8, 0.6)]).garments[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the stored picture must be turned clockwise to stand upright
    turned = encoded(np.ascontiguousarray(np.rot90(photo)), "PNG", exif=exif)
    found = find(triton, turned, regions=[Box(0.2, 0.2, 0.8, 0.6)]).garments[0]
    assert found.embedding @ upright.embedding == pytest.approx(1, abs=TOLERANCE)


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda photo: b"", ImageUnreadable),
        (lambda photo: b"this is text and no picture at all", ImageUnreadable),
        (lambda photo: photo[: len(photo) // 2], ImageUnreadable),
        (lambda photo: png_header(60_000, 60_000), ImageTooLarge),
        (lambda photo: photo + bytes(25 * 2**20), ImageTooLarge),
    ],
    ids=["empty", "text", "truncated", "bomb", "25 MB"],
)
def test_bad_images_are_refused_and_the_server_goes_on(
    triton: EmbeddedTriton, make: Callable[[bytes], bytes], error: type[LookalikeError]
) -> None:
    photo, _ = outfit(1)
    with pytest.raises(error):
        find(triton, make(photo))
    assert find(triton, photo).garments


@pytest.mark.parametrize(
    "regions",
    [
        [Box(0, 0, 1.2, 1)],
        [Box(-0.1, 0, 1, 1)],
        [Box(0.5, 0.5, 0.5, 0.9)],
        [Box(0, 0, 1, 1), Box(0, 0, float("nan"), 1)],
        [Box(0, 0, 1, 1)] * 17,
    ],
    ids=["outside", "negative", "no area", "not a number", "17"],
)
def test_bad_regions_are_refused(triton: EmbeddedTriton, regions: list[Box]) -> None:
    with pytest.raises(RegionInvalid):
        find(triton, outfit(1)[0], regions=regions)


def test_the_glue_checks_regions_itself(triton: EmbeddedTriton) -> None:
    """Whoever speaks to Triton without the gateway meets the same bounds."""
    client = InferenceServerClient(triton.grpc_address)
    image = np.frombuffer(outfit(1)[0], np.uint8)
    tensors = []
    for name, array, kind in (
        ("image", image, "UINT8"),
        ("options", np.zeros(2, np.float32), "FP32"),
        ("regions", np.tile(np.array([0, 0, 1, 1], np.float32), (17, 1)), "FP32"),
    ):
        tensors.append(InferInput(name, list(array.shape), kind))
        tensors[-1].set_data_from_numpy(array)
    outputs = [output.name for output in client.get_model_config("garments_in_regions_1").config.output]
    with pytest.raises(InferenceServerException, match="REGION_INVALID: 17 regions"):
        client.infer("garments_in_regions_1", tensors, outputs=[InferRequestedOutput(name) for name in outputs])
    client.close()


def test_callers_at_the_same_time_get_their_own_garments(triton: EmbeddedTriton, direct: DirectPipeline) -> None:
    """Requests with different numbers of garments share batches and must not share rows; a bad one fails alone."""
    photos = [outfit(seed)[0] for seed in range(1, 5)]
    expected = [described(direct.find(photo)) for photo in photos]
    order = np.random.default_rng(0).integers(0, len(photos) + 1, 24).tolist()

    async def work(finder: TritonFinder) -> None:
        images = [*photos, b"no picture"]
        answers = await asyncio.gather(*(patiently(finder, images[i]) for i in order), return_exceptions=True)
        for i, answer in zip(order, answers, strict=True):
            if i == len(photos):
                assert isinstance(answer, ImageUnreadable)
                continue
            assert isinstance(answer, Found)
            for garment, other in zip(answer.garments, expected[i], strict=True):
                same(garment, other)

    using(triton, work)


def test_too_many_callers_are_refused_and_none_is_forgotten(triton: EmbeddedTriton) -> None:
    photo, _ = outfit(1)

    async def work(finder: TritonFinder) -> None:
        asked = [finder.find(photo, max_garments=1) for _ in range(250)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Overloaded)]
        assert len(refused) + sum(isinstance(answer, Found) for answer in answers) == 250
        assert refused and len(refused) < 250
        assert (await patiently(finder, photo)).garments

    using(triton, work, capacity=250)


def test_deadlines_and_cancelled_callers_do_not_hurt_the_server(triton: EmbeddedTriton) -> None:
    photo, _ = outfit(1)

    async def work(finder: TritonFinder) -> None:
        answers: list[object] = []
        for _ in range(3):
            # The ones to be cancelled go first: behind the others a full queue might refuse them before that.
            left = [asyncio.create_task(finder.find(photo)) for _ in range(10)]
            late = [asyncio.create_task(finder.find(photo, timeout=0.15)) for _ in range(30)]
            await asyncio.sleep(0.05)
            for task in left:
                task.cancel()
            answers += await asyncio.gather(*left, *late, return_exceptions=True)
        assert any(isinstance(answer, DeadlineExceeded) for answer in answers)
        assert any(isinstance(answer, asyncio.CancelledError) for answer in answers)
        assert all(isinstance(answer, Found | LookalikeError | asyncio.CancelledError) for answer in answers)
        assert (await patiently(finder, photo)).garments  # what the callers left behind is worked off first

    using(triton, work)
    assert triton.running


def decoders() -> list[Path]:
    """The processes of the decode step, in /proc."""
    model = str(REPOSITORY / "decode" / "1" / "model.py").encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if model in (process / "cmdline").read_bytes():
                found.append(process)
    return found


def test_the_processes_that_decode_are_confined(triton: EmbeddedTriton) -> None:
    find(triton, outfit(0)[0])
    assert decoders()
    for process in decoders():
        status = (process / "status").read_text()
        assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
        limits = (process / "limits").read_text()
        assert "Max address space         unlimited" not in limits or Path("/dev/nvidiactl").exists()
        assert "Max cpu time              unlimited" not in limits
