"""The command against a real server on a free port."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from PIL import Image

import lookalike
from lookalike.cli import main
from lookalike.v1.garment_pb2 import MASK_FORMAT_RUN_LENGTH
from lookalike.v1.product_service_pb2 import (
    CreateProductRequest,
    CreateProductResponse,
    DeleteProductResponse,
    GetProductResponse,
    ListProductsRequest,
    ListProductsResponse,
    UpdateProductRequest,
    UpdateProductResponse,
)
from lookalike.v1.search_service_pb2 import AnalyzeImageRequest, ListSimilarProductsRequest, SearchProductsRequest
from support_client import Script, failure, serving

PRODUCT = lookalike.build_product(
    "catalogs/default/products/sku-1",
    title="Linen dress\x1b[31m",
    brand="Mira",
    category="dress",
    price=(4990, "EUR"),
    attributes={"fit": "slim"},
)
GARMENT = lookalike.Garment(
    box=lookalike.Box(x0=0.25, y0=0.25, x1=0.75, y1=1),
    source=lookalike.GarmentSource.GARMENT_SOURCE_DETECTED,
    category="dress",
    score=0.93,
    colors=[lookalike.Color(name="red", share=0.61)],
    patterns=[lookalike.Label(name="floral", score=0.9)],
)
FOUND = lookalike.SearchProductsResponse(
    results=[lookalike.GarmentHits(garment=GARMENT, hits=[lookalike.Hit(product=PRODUCT, score=0.87)])]
)


@pytest.fixture
def script() -> Script:
    script = Script()
    script.gate.set()
    return script


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    Image.new("RGB", (60, 90), "teal").save(path)
    return path


def call(script: Script, *arguments: object) -> int:
    """Run the command against a server that follows the script."""

    async def serve_and_run() -> int:
        async with serving(script) as address:
            return await asyncio.to_thread(main, ["--server", address, *map(str, arguments)])

    return asyncio.run(serve_and_run())


def parsed(text: str, kind: type[Message]) -> Message:
    from google.protobuf.json_format import Parse

    return Parse(text, kind())


# Searching


def test_search_prints_a_table(script: Script, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.say("SearchProducts", FOUND)
    code = call(
        script,
        *("search", photo, "--region", "0.25,0.25,0.75,1", "--filter", "price < 10000", "--page-size", 5),
        *("--category-mode", "strict", "--catalog", "summer", "--timeout", "7"),
    )
    output = capsys.readouterr()
    assert code == 0 and output.err == ""
    assert "1 dress  0.93  ·  red 61 %  ·  floral" in output.out
    assert re.search(r"0\.870 +sku-1 +Linen dress \[31m +Mira +dress +€49\.90", output.out)
    # Plain when piped, and no product's title steers the terminal.
    assert "\x1b" not in output.out
    assert script.requests == [
        SearchProductsRequest(
            catalog="catalogs/summer",
            image=photo.read_bytes(),
            regions=[lookalike.Region(box=lookalike.Box(x0=0.25, y0=0.25, x1=0.75, y1=1))],
            filter="price < 10000",
            page_size=5,
            category_mode=lookalike.CategoryMode.CATEGORY_MODE_STRICT,
        )
    ]
    assert script.time_remaining[0] == pytest.approx(7, abs=2)


def test_json_is_the_answer_and_nothing_else(script: Script, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.say("SearchProducts", FOUND)
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse(garments=[GARMENT]))
    script.say("ListSimilarProducts", lookalike.ListSimilarProductsResponse(hits=FOUND.results[0].hits))
    script.say("GetProduct", GetProductResponse(product=PRODUCT))
    script.say("ListProducts", ListProductsResponse(products=[PRODUCT]))
    for command, answer in [
        (("search", photo), FOUND),
        (("analyze", photo), lookalike.AnalyzeImageResponse(garments=[GARMENT])),
        (("similar", "sku-2"), lookalike.ListSimilarProductsResponse(hits=FOUND.results[0].hits)),
        (("products", "get", "sku-1"), GetProductResponse(product=PRODUCT)),
        (("products", "list"), ListProductsResponse(products=[PRODUCT])),
    ]:
        assert call(script, *command, "--json") == 0
        assert parsed(capsys.readouterr().out, type(answer)) == answer


def test_a_saved_search_shows_the_products_images(
    script: Script, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = BytesIO()
    Image.new("RGB", (80, 80), (255, 0, 255)).save(content, "PNG")
    image_id = hashlib.sha256(content.getvalue()).hexdigest()
    stored = tmp_path / "images" / image_id[:2] / image_id[2:4] / image_id
    stored.parent.mkdir(parents=True)
    stored.write_bytes(content.getvalue())
    answer = lookalike.SearchProductsResponse()
    answer.CopyFrom(FOUND)
    answer.results[0].hits[0].image_id = image_id
    script.say("SearchProducts", answer)
    target = tmp_path / "found.png"
    assert call(script, "search", photo, "--save", target, "--images", tmp_path / "images", "--json") == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["results"] and f"picture {target}" in output.err
    with Image.open(target) as picture:
        colors = picture.getcolors(maxcolors=2**24)
    assert colors and sum(count for count, color in colors if color == (255, 0, 255)) > 10_000
    request = script.requests[0]
    assert isinstance(request, SearchProductsRequest) and request.mask_format == MASK_FORMAT_RUN_LENGTH


def test_analyze_prints_and_draws(
    script: Script, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse(garments=[GARMENT]))
    target = tmp_path / "garments.jpg"
    assert call(script, "analyze", photo, "--save", target, "--max-garments", 3) == 0
    output = capsys.readouterr().out
    assert re.search(r"1 +dress +0\.93 +0\.250,0\.250,0\.750,1\.000 +red 61 % +floral", output)
    assert output.endswith(f"picture {target}\n")
    with Image.open(target) as picture:
        assert picture.format == "JPEG" and max(picture.size) >= 1000
    request = script.requests[0]
    assert isinstance(request, AnalyzeImageRequest) and request.max_garments == 3


def test_similar_prints_a_table(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script.say("ListSimilarProducts", lookalike.ListSimilarProductsResponse(hits=FOUND.results[0].hits))
    assert call(script, "similar", "sku-2", "--min-score", 0.5) == 0
    assert "sku-1" in capsys.readouterr().out
    request = script.requests[0]
    assert isinstance(request, ListSimilarProductsRequest)
    assert (request.name, request.min_score) == ("catalogs/default/products/sku-2", 0.5)


# Products


def test_products_are_shown_listed_and_deleted(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script.say("GetProduct", GetProductResponse(product=PRODUCT))
    assert call(script, "products", "get", "sku-1") == 0
    shown = capsys.readouterr().out
    assert re.search(r"name +catalogs/default/products/sku-1\n", shown)
    assert re.search(r"price +€49\.90\n", shown) and re.search(r"attributes\.fit +slim\n", shown)
    script.say("ListProducts", ListProductsResponse(products=[PRODUCT] * 3, next_page_token="more"))
    assert call(script, "products", "list", "--filter", "available", "--limit", 2) == 0
    listed = capsys.readouterr()
    assert listed.out.count("sku-1") == 2 and "--limit 0 lists all" in listed.err
    request = script.requests[-1]
    assert isinstance(request, ListProductsRequest) and (request.filter, request.page_size) == ("available", 2)
    gone = failure(grpc.StatusCode.NOT_FOUND, "no product sku-8", reason="PRODUCT_NOT_FOUND")
    script.say("DeleteProduct", gone, DeleteProductResponse())
    assert call(script, "products", "delete", "sku-8", "sku-9") == 3
    deleted = capsys.readouterr()
    assert deleted.out == "deleted sku-9\n"
    assert deleted.err == "lookalike: PRODUCT_NOT_FOUND: no product sku-8\n"


def test_products_are_listed_line_by_line(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    script.say("ListProducts", ListProductsResponse(products=[PRODUCT] * 3))
    assert call(script, "products", "list", "--jsonl", "--limit", 0) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == [PRODUCT.name] * 3


def updated(script: Script, *arguments: object) -> UpdateProductRequest:
    script.say("UpdateProduct", UpdateProductResponse(product=PRODUCT))
    assert call(script, "products", "update", *arguments) == 0
    request = script.requests[-1]
    assert isinstance(request, UpdateProductRequest)
    return request


def test_an_update_changes_what_is_named(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    request = updated(script, "sku-1", "--price", 3900, "--unavailable")
    assert capsys.readouterr().out == "updated sku-1\n"
    assert sorted(request.update_mask.paths) == ["available", "price.amount_minor"]
    assert request.product == lookalike.Product(
        name=PRODUCT.name, available=False, price=lookalike.Money(amount_minor=3900)
    )
    assert not request.allow_missing


def test_an_update_reaches_every_field(script: Script, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = updated(
        script,
        *("sku-1", "--title", "Linen", "--brand", "", "--category", "dress", "--uri", "https://shop.example/1"),
        *("--price", 3900, "--currency", "EUR", "--available", "--attribute", "fit=slim", "--attribute", "size=38"),
        *("--attribute", "season=", "--image", photo, "--allow-missing", "--json"),
    )
    assert parsed(capsys.readouterr().out, UpdateProductResponse) == UpdateProductResponse(product=PRODUCT)
    assert request.allow_missing
    assert set(request.update_mask.paths) == {
        *("title", "brand", "category", "uri", "available", "price", "images"),
        *("attributes.fit", "attributes.size", "attributes.season"),
    }
    assert request.product.brand == "" and request.product.images[0].content == photo.read_bytes()
    assert request.product.attributes["fit"].string_value == "slim"
    assert request.product.attributes["size"].number_value == 38
    assert "season" not in request.product.attributes


def test_fields_are_cleared(script: Script) -> None:
    request = updated(script, "sku-1", "--clear", "price", "--clear", "uri", "--title", "x")
    assert list(request.update_mask.paths) == ["title", "price", "uri"]
    assert not request.product.HasField("price")


def test_an_update_goes_on_after_a_product_that_is_gone(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    gone = failure(grpc.StatusCode.NOT_FOUND, "no product sku-8", reason="PRODUCT_NOT_FOUND")
    script.say("UpdateProduct", gone, UpdateProductResponse(product=PRODUCT))
    assert call(script, "products", "update", "sku-8", "sku-9", "--unavailable") == 3
    output = capsys.readouterr()
    assert (output.out, output.err) == ("updated sku-9\n", "lookalike: PRODUCT_NOT_FOUND: no product sku-8\n")


def test_a_product_is_created(script: Script, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.say("CreateProduct", CreateProductResponse(product=PRODUCT))
    arguments = ("--title", "Linen dress", "--price", 4990, "--currency", "EUR", "--image", photo)
    assert call(script, "products", "create", "sku-1", *arguments) == 0
    assert capsys.readouterr().out == "created sku-1\n"
    request = script.requests[0]
    assert isinstance(request, CreateProductRequest)
    assert (request.parent, request.product_id) == ("catalogs/default", "sku-1")
    assert request.product.price == lookalike.Money(amount_minor=4990, currency_code="EUR")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("update", "sku-1"), "nothing to change; name a field, such as --price 3900"),
        (
            ("update", "sku-1", "--clear", "price", "--price", "1"),
            "--clear price and a new price contradict each other",
        ),
        (("update", "sku-1", "--image", "missing.jpg"), "the image missing.jpg cannot be read (No such file"),
        (("create", "sku-1", "--price", "1"), "a price needs both --price and --currency"),
    ],
)
def test_what_makes_no_sense_is_said_before_the_server_is_asked(
    script: Script, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    assert call(script, "products", *arguments) == 2
    assert sentence in capsys.readouterr().err
    assert script.requests == []


def test_weights_of_looks_travel(script: Script, photo: Path) -> None:
    script.say("SearchProducts", FOUND)
    assert call(script, "search", photo, "--color-weight", 0.5) == 0
    request = script.requests[0]
    assert isinstance(request, SearchProductsRequest) and request.reranking.color_weight == 0.5


# Errors


@pytest.mark.parametrize(
    ("answer", "code", "sentence"),
    [
        (
            failure(grpc.StatusCode.INVALID_ARGUMENT, "`)` is missing", reason="FILTER_MALFORMED", field="filter"),
            3,
            "lookalike: FILTER_MALFORMED: `)` is missing (field filter)\n",
        ),
        (failure(grpc.StatusCode.INTERNAL, "internal error"), 3, "lookalike: internal error\n"),
        (
            failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", reason="OVERLOADED"),
            4,
            "lookalike: OVERLOADED: busy\n",
        ),
    ],
)
def test_what_the_server_refuses_is_said(
    script: Script, photo: Path, capsys: pytest.CaptureFixture[str], answer: Message, code: int, sentence: str
) -> None:
    script.say("SearchProducts", answer)
    assert call(script, "search", photo) == code
    output = capsys.readouterr()
    assert output.out == "" and output.err == sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("search", "missing.jpg"), "missing.jpg cannot be read (No such file or directory)"),
        (("search", "street.png", "--save", "out.gif"), "out.gif is no picture's name; end it with one of .png"),
        (("search", "street.png", "--save", "nowhere/out.png"), "the folder of nowhere/out.png does not exist"),
        (("import", "nowhere"), "nowhere does not exist"),
        (("--ca-file", "nothing.pem", "products", "list"), "nothing.pem cannot be read"),
    ],
)
def test_local_files_are_looked_at_first(
    script: Script,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(photo.parent)
    assert call(script, *arguments) == 2
    assert sentence in capsys.readouterr().err
    assert script.requests == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("search", "a.jpg", "--region", "0.5,0,0.5,1"), "write x0,y0,x1,y1 as shares of the photo"),
        (("search", "a.jpg", "--region", "0,0,1"), "write x0,y0,x1,y1 as shares of the photo"),
        (("search", "a.jpg", "--region", "nan,0,1,1"), "write x0,y0,x1,y1 as shares of the photo"),
        (("search", "a.jpg", "--page-size", "-1"), "no whole number of 0 or more"),
        (("search", "a.jpg", "--color-weight", "2"), "write a number of 0 to 1"),
        (("products", "update", "x", "--price", "19.99"), "write it in minor units as a whole number"),
        (("products", "update", "x", "--price", "99999999999999999"), "write it in minor units"),
        (("products", "update", "x", "--currency", "euro"), "write a code of ISO 4217, such as EUR"),
        (("products", "update", "x", "--attribute", "slim"), "write KEY=VALUE, such as fit=slim"),
        (("products", "update", "x", "--available", "--unavailable"), "not allowed with argument"),
        (("products", "update", "x", "--clear", "id"), "'id' is none of its values; there are title, brand"),
        (("search", "a.jpg", "--timeout", "0"), "write seconds, such as 30"),
        (("search", "a.jpg", "--category-mode", "perhaps"), "none of its values; there are off, prefer, strict"),
        (("search", "a.jpg", "--category-mode", "stric"), "did you mean strict?"),
        (("serach", "a.jpg"), "lookalike: there is no command 'serach'; did you mean search?"),
        (("products", "lsit"), "lookalike products: there is no action 'lsit'; did you mean list?"),
        (("products",), "required: ACTION, one of get, list, create, update, delete"),
        (
            ("search", "a.jpg", "--filtr", "available"),
            "there is no option --filtr; did you mean --filter?",
        ),
        (("search", "a.jpg", "--filter", "price", "<", "5"), "'<' '5' mean? Put what belongs together in quotes"),
        (("search",), "usage: lookalike search PHOTO [options]\n`lookalike search --help` explains it"),
        (("--server", "localhost", "search", "a.jpg"), "'localhost' is no address of a server; write HOST:PORT"),
        (("search", "a.jpg", "--server", "https://host:1"), "no address of a server; write HOST:PORT"),
    ],
)
def test_wrong_usage_is_explained(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_large_photo_is_refused_before_sending(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(25 * 2**20)
    assert call(script, "analyze", tmp_path / "large.jpg") == 3
    assert "large.jpg has 25.0 MiB and an image may have 20 MiB" in capsys.readouterr().err
    assert script.requests == []


# The command as a program


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(lookalike.__file__).parents[1]), **environment},
    )


def test_a_server_that_is_away_is_named() -> None:
    ended = run("-m", "lookalike", "products", "list", "--timeout", "0.5", LOOKALIKE_SERVER="127.0.0.1:1")
    assert ended.returncode == 4
    assert ended.stderr.endswith("cannot reach a server at 127.0.0.1:1; is it running there? (connection refused)\n")
    assert ended.stdout == ""


def test_without_the_extra_one_sentence_says_what_to_install() -> None:
    hide = "import sys; sys.modules['rich'] = None; import importlib.util as u; real = u.find_spec; "
    hide += "u.find_spec = lambda name, package=None: None if name == 'rich' else real(name, package); "
    ended = run("-c", hide + "from lookalike.cli import main; sys.exit(main(['products', 'list']))")
    assert ended.returncode == 2
    assert (
        ended.stderr
        == "lookalike: the lookalike command needs more packages than the SDK: pip install 'lookalike[cli]'\n"
    )


def test_the_sdk_needs_no_extra() -> None:
    extras = ("rich", "PIL", "aiohttp", "fsspec", "pyarrow")
    ended = run("-c", f"import lookalike, sys; print([name for name in {extras} if name in sys.modules])")
    assert (ended.stdout, ended.stderr) == ("[]\n", "")
