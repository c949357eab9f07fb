"""The whole stack through the client: photos in, lookalikes out, and every error that a caller can provoke."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

import lookalike
from lookalike import Client
from lookalike.v1 import search_service_pb2, search_service_pb2_grpc
from lookalike.v1.garment_pb2 import (
    GARMENT_SOURCE_DETECTED,
    GARMENT_SOURCE_REGION,
    GARMENT_SOURCE_WHOLE_IMAGE,
    MASK_FORMAT_POLYGON,
    MASK_FORMAT_RUN_LENGTH,
)
from lookalike.v1.product_pb2 import PRODUCT_VIEW_NAME
from lookalike_service.wardrobe import Item, render_item
from support_broken import bomb, oversized, truncated
from support_stack import Stack, jpeg, overlap

STREET = Path(__file__).parents[3] / "shared" / "data" / "street" / "public_test" / "images"
HOME = STREET.parents[2] / "items" / "public_test" / "images"


async def test_a_view_of_an_item_finds_the_item(client: Client, items: list[Item]) -> None:
    ranks = []
    for item in items[:18]:
        view = render_item(item, view=2, size=360)
        answer = await client.search(jpeg(view.image), max_garments=1, product_view=PRODUCT_VIEW_NAME)
        found = [hit.product.name.rsplit("/", 1)[1] for hit in answer.results[0].hits]
        ranks.append(found.index(item.id) if item.id in found else 10)
    assert sum(rank == 0 for rank in ranks) >= 11, ranks
    assert sum(rank < 5 for rank in ranks) >= 16, ranks


async def test_an_outfit_gives_its_garments(client: Client, outfit: tuple[bytes, list[Item]]) -> None:
    photo, worn = outfit
    answer = await client.search(photo, page_size=5, mask_format=MASK_FORMAT_RUN_LENGTH, include_embedding=True)
    found = {result.garment.category for result in answer.results}
    assert len(found & {item.category for item in worn}) >= len(worn) - 1
    for result in answer.results:
        garment = result.garment
        assert garment.source == GARMENT_SOURCE_DETECTED
        assert 0 <= garment.box.x0 < garment.box.x1 <= 1
        assert math.isclose(sum(color.share for color in garment.colors), 1, abs_tol=0.02)
        assert math.isclose(np.linalg.norm(garment.embedding.values), 1, abs_tol=1e-3)
        assert sum(garment.mask.run_length.runs) == garment.mask.run_length.width * garment.mask.run_length.height
        assert len(garment.landmarks) == 8
        names = [hit.product.name for hit in result.hits]
        assert len(names) == len(set(names)) == 5
        scores = [hit.score for hit in result.hits]
        assert scores == sorted(scores, reverse=True)
        assert -1 <= scores[-1] <= scores[0] <= 1


async def test_analyze_gives_the_same_garments_without_a_search(
    client: Client, outfit: tuple[bytes, list[Item]]
) -> None:
    new = outfit[0] + bytes(8)  # to decoders the same photo; one that was looked at a moment ago needs no inference
    analyzed = await client.analyze(new, mask_format=MASK_FORMAT_POLYGON)
    searched = await client.search(outfit[0])
    assert [garment.box for garment in analyzed.garments] == [result.garment.box for result in searched.results]
    assert all(garment.mask.polygon.rings for garment in analyzed.garments)
    assert analyzed.timings.inference.ToMilliseconds() > 0


async def test_regions_are_taken_as_they_are(client: Client, outfit: tuple[bytes, list[Item]]) -> None:
    whole = await client.analyze(outfit[0])
    first = whole.garments[0].box
    region = lookalike.Region(box=first, id="tapped")
    answer = await client.search(outfit[0], regions=[region, (0.1, 0.1, 0.4, 0.5)])
    assert [result.garment.source for result in answer.results] == [GARMENT_SOURCE_REGION] * 2
    assert answer.results[0].garment.region_id == "tapped"
    assert overlap(answer.results[0].garment.box, first) > 0.999


async def test_an_empty_picture_counts_as_one_garment(client: Client) -> None:
    answer = await client.analyze(jpeg(np.full((300, 200, 3), 200, np.uint8)))
    assert [garment.source for garment in answer.garments] == [GARMENT_SOURCE_WHOLE_IMAGE]


async def test_a_token_stands_for_the_garment(client: Client, outfit: tuple[bytes, list[Item]]) -> None:
    answer = await client.search(outfit[0], page_size=4)
    result = answer.results[0]
    again = await client.search_garments([result.garment.garment_token], page_size=4)
    assert [h.product.name for h in again.results[0].hits] == [h.product.name for h in result.hits]
    assert again.timings.inference.ToNanoseconds() == 0
    page = await client.next_page(result, page_size=4)
    assert not {h.product.name for h in page.hits} & {h.product.name for h in result.hits}
    assert page.hits[0].score <= result.hits[-1].score + 1e-6


async def test_filters_hold(client: Client, outfit: tuple[bytes, list[Item]]) -> None:
    answer = await client.search(outfit[0], filter='category = "shoes" AND price < 100000 AND available', page_size=20)
    hits = answer.results[0].hits
    assert hits
    assert all(hit.product.category.split("/")[0] == "shoes" for hit in hits)


async def test_similar_products_need_no_photo(client: Client, items: list[Item]) -> None:
    answer = await client.similar(items[0].id, page_size=5)
    assert len(answer.hits) == 5
    assert items[0].id not in {hit.product.name.rsplit("/", 1)[1] for hit in answer.hits}


async def test_get_list_and_delete(client: Client, items: list[Item]) -> None:
    photo = jpeg(render_item(items[0], view=0, size=240).image)
    extra = lookalike.build_product("zz-extra", title="Extra", images=[photo])
    answers = [answer async for answer in client.import_products([extra])]
    assert answers[0].garment_views == 1
    product = await client.get_product("zz-extra")
    assert product.title == "Extra"
    names = [listed.name async for listed in client.list_products()]
    assert len(names) == len(items) + 1
    assert names == sorted(names)
    await client.delete_product("zz-extra")
    with pytest.raises(lookalike.ProductNotFound):
        await client.get_product("zz-extra")
    assert len([name async for name in client.list_products()]) == len(items)


async def test_an_import_reports_each_failure_and_goes_on(client: Client, items: list[Item]) -> None:
    good = jpeg(render_item(items[1], view=0, size=240).image)
    products = [
        lookalike.build_product("yy-1", images=[good]),
        lookalike.build_product("yy-2", images=[b"this is no image"]),
        lookalike.build_product("yy-3", images=[truncated(good)]),
        lookalike.build_product("yy-4", images=[good]),
    ]
    answers = [answer async for answer in client.import_products(products)]
    reasons = [lookalike.error_from_status(a.error).reason if a.error.code else "" for a in answers]
    assert reasons == ["", "IMAGE_UNREADABLE", "IMAGE_UNREADABLE", ""]
    again = [answer async for answer in client.import_products([products[0]])]
    assert again[0].embedded_views == 0
    for name in ("yy-1", "yy-4"):
        await client.delete_product(name)


BAD_IMAGES = {
    "empty": (b"", lookalike.ImageUnreadable),
    "text": (b"a red dress, please", lookalike.ImageUnreadable),
    "cut JPEG": (truncated(jpeg(np.full((200, 200, 3), 90, np.uint8))), lookalike.ImageUnreadable),
    "60,000 x 60,000 header": (bomb(60_000, 60_000), lookalike.ImageTooLarge),
    "25 MB": (oversized(25_000_000), lookalike.ImageTooLarge),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
async def test_a_bad_image_is_named_and_the_server_goes_on(
    stack: Stack, name: str, outfit: tuple[bytes, list[Item]]
) -> None:
    image, expected = BAD_IMAGES[name]
    # straight to the server: the client itself would refuse the large one before sending
    async with grpc.aio.insecure_channel(stack.address, options=[("grpc.max_send_message_length", -1)]) as channel:
        stub = search_service_pb2_grpc.SearchServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.AnalyzeImage(search_service_pb2.AnalyzeImageRequest(image=image), timeout=20)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        async with Client(stack.address) as client:
            if name != "25 MB":
                with pytest.raises(expected):
                    await client.analyze(image)
            assert (await client.analyze(outfit[0])).garments


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
async def test_of_an_animation_the_first_frame_counts(client: Client, kind: str, items: list[Item]) -> None:
    first = Image.fromarray(render_item(items[2], view=0, size=200).image)
    second = Image.new("RGB", first.size, (0, 0, 0))
    coded = io.BytesIO()
    first.save(coded, kind, save_all=True, append_images=[second], duration=100)
    answer = await client.analyze(coded.getvalue())
    still = await client.analyze(jpeg(np.asarray(first)))
    assert answer.garments[0].category == still.garments[0].category


@pytest.mark.parametrize(
    "regions",
    [
        [(0.2, 0.2, 1.2, 0.8)],
        [(-0.1, 0.2, 0.5, 0.8)],
        [(0.5, 0.5, 0.5, 0.9)],
        [(0.6, 0.1, 0.5, 0.9)],
        [(0, 0, 1, 1)] * 17,
    ],
)
async def test_a_bad_region_is_named(
    client: Client, outfit: tuple[bytes, list[Item]], regions: list[tuple[float, ...]]
) -> None:
    with pytest.raises(lookalike.RegionInvalid):
        await client.analyze(
            outfit[0], regions=[lookalike.Region(box=lookalike.Box(x0=a, y0=b, x1=c, y1=d)) for a, b, c, d in regions]
        )


async def test_what_does_not_hold_is_named(client: Client, outfit: tuple[bytes, list[Item]]) -> None:
    with pytest.raises(lookalike.FilterMalformed) as malformed:
        await client.search(outfit[0], filter='category = "dress" AND (price <')
    assert malformed.value.position == 31
    with pytest.raises(lookalike.GarmentTokenInvalid):
        await client.search_garments(["forged"])
    with pytest.raises(lookalike.CatalogNotFound):
        await client.search(outfit[0], catalog="elsewhere")
    with pytest.raises(lookalike.ProductNotFound):
        await client.similar("nobody")
    with pytest.raises(lookalike.RequestInvalid):
        await client.search(outfit[0], page_size=-1)
    with pytest.raises(lookalike.DeadlineExceeded):
        await client.search(outfit[0], timeout=0.001)
    with pytest.raises(lookalike.ProductNotFound):
        await client.also_viewed("nobody")


async def test_what_others_also_viewed(client: Client) -> None:
    ids = [product.name.rpartition("/")[2] async for product in client.list_products(page_size=50)][:40]
    asked, companion = ids[0], ids[-1]
    views = [lookalike.ProductPageView(product=id, session=f"visit {n}") for n in range(3) for id in (asked, companion)]
    for view in views:
        view.view_time.GetCurrentTime()
    assert (await client.record_views(views)).accepted == 6
    first, *others = (await client.also_viewed(asked, page_size=5)).products
    assert first.product.name.endswith(companion)
    assert first.origin == lookalike.AlsoViewedProduct.ORIGIN_VIEWED_TOGETHER
    assert [each.origin for each in others] == [lookalike.AlsoViewedProduct.ORIGIN_SIMILAR] * 4
    assert [await client.forget_session(f"visit {n}") for n in range(3)] == [2, 2, 2]


async def test_health_is_said_per_service(stack: Stack) -> None:
    async with grpc.aio.insecure_channel(stack.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "lookalike.v1.SearchService", "lookalike.v1.ProductService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def width_of(picture: Path) -> int:
    with Image.open(picture) as image:
        return image.width


def run_command(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lookalike", "--server", stack.address, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_searches_and_draws(stack: Stack, tmp_path: Path, outfit: tuple[bytes, list[Item]]) -> None:
    photo, picture = tmp_path / "photo.jpg", tmp_path / "found.png"
    photo.write_bytes(outfit[0])
    done = run_command(stack, "search", str(photo), "--save", str(picture), "--images", str(stack.directory / "images"))
    assert done.returncode == 0, done.stderr
    assert "score" in done.stdout
    assert width_of(picture) > 600
    answer = json.loads(run_command(stack, "search", str(photo), "--json").stdout)
    assert answer["results"][0]["hits"][0]["product"]["name"].startswith("catalogs/default/products/")


def test_the_demo_runs_on_a_folder_of_pictures(
    tmp_path: Path, items: list[Item], outfit: tuple[bytes, list[Item]]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for item in items[:8]:
        cv2.imwrite(str(folder / f"{item.id}.jpg"), render_item(item, view=0, size=240).image[..., ::-1])
    (folder / "broken.jpg").write_bytes(b"not a picture")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(outfit[0])
    command = [sys.executable, "-m", "lookalike_service.demo", "--catalog", str(folder), "--photo", str(photo)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    matched = re.fullmatch(r"demo: (\d+) garments, (\d+) products, picture (\S+)", last)
    assert matched, last
    assert int(matched[1]) >= 1
    assert int(matched[2]) == 8
    assert "broken" in done.stdout + done.stderr
    assert width_of(tmp_path / matched[3]) > 600


@pytest.mark.skipif(not STREET.is_dir(), reason="photographs are not at hand")
async def test_real_photos_give_sensible_garments(client: Client) -> None:
    found: list[set[str]] = []
    for path in sorted(STREET.glob("*.jpg"))[:12]:
        answer = await client.analyze(path)
        found.append({garment.category for garment in answer.garments})
    assert sum("shoes" in categories for categories in found) >= 8, found
    assert sum(bool(categories & {"top", "outer", "dress"}) for categories in found) >= 11, found


@pytest.mark.skipif(not HOME.is_dir(), reason="photographs are not at hand")
async def test_home_photos_are_garments_too(client: Client) -> None:
    rows = json.loads((HOME.parent / "labels.json").read_text())[:40]
    answers = [await client.analyze(HOME / row["file_name"], max_garments=1) for row in rows]
    right = [answer.garments[0].category == row["coarse"] for answer, row in zip(answers, rows, strict=True)]
    assert sum(right) >= 30
