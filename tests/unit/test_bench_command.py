"""`lookalike bench` against real gRPC servers on a free port."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

import lookalike
from fakes import photo
from lookalike.bench.target import searching
from lookalike.cli import main
from lookalike.cli.arguments import build_parser
from lookalike.cli.commands import run
from lookalike.cli.usage import UsageError
from support_client import Script, failure, serving
from support_gateway import Shop, open_shop, product
from support_glue import load_glue
from support_http import website

SHORT = ("--seconds", "0.4", "--warmup", "0.1")
FOUND = lookalike.SearchProductsResponse(results=[lookalike.GarmentHits(), lookalike.GarmentHits()])
BUSY = failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "at its limit", reason="OVERLOADED", retry_after=0.1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos that the gateway's fake models can read."""
    folder = tmp_path / "street"
    (folder / "more").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(photo({"look": "red dress"}, {"look": "blue jeans"}))
    (folder / "more/b.PNG").write_bytes(photo({"look": "hat"}))
    (folder / "notes.txt").write_text("no photo")
    return folder


async def command(server: str, *arguments: object) -> int:
    """The command on the loop of the server: what measures time bears no gRPC that is shared by two loops."""
    return await run(build_parser().parse_args(list(map(str, ("bench", "--server", server, *SHORT, *arguments)))))


def bench(*arguments: object, products: int = 3, prepare: Callable[[Shop], None] | None = None) -> int:
    """The command's exit code against a gateway over fakes."""

    async def serve_and_run() -> int:
        async with open_shop() as shop:
            await shop.bring(product(f"sku-{number}", f"look {number}") for number in range(products))
            if prepare:
                prepare(shop)
            return await command(f"127.0.0.1:{shop.gateway.port}", *arguments)

    return asyncio.run(serve_and_run())


def bench_script(script: Script, *arguments: object) -> int:
    """The command's exit code against a server that follows the script."""
    script.gate.set()

    async def serve_and_run() -> int:
        async with serving(script) as address:
            return await command(address, *arguments)

    return asyncio.run(serve_and_run())


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_callers_are_measured_and_the_time_taken_apart(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(photos, "--callers", 1, "--callers", 2) == 0
    output = capsys.readouterr()
    assert output.err == "measuring 1 caller for 0.4 s\nmeasuring 2 callers for 0.4 s\n"
    lines = output.out.splitlines()
    assert re.match(r"load +requests +OK +answers/s +p50 ms +p90 ms +p95 ms +p99 ms +p99\.9 ms +max ms", lines[0])
    # Two garments on one photo, one on the other.
    assert re.match(r"1 caller +[\d,]+ .* 1\.[3-7]$", lines[1]) and re.match(r"2 callers +[\d,]+ ", lines[2])
    for phase in ("wire", "queue", "inference", "search", "own"):
        assert re.search(rf"^{phase} +\d+\.\d +\d+%", output.out, re.MULTILINE)
    assert "ERRORS" not in output.out and "\x1b" not in output.out


def test_the_json_has_every_figure(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(photos, "--rate", 50, "--in-time", 20_000, "--connections", 3, "--json", "--seed", 7) == 0
    answer = told(capsys)
    assert answer["method"] == "search" and answer["requests_in_turn"] == 2 and answer["connections"] == 3
    [run] = answer["runs"]
    assert (run["rate"], run["requests"], run["codes"]) == (50, 20, {"OK": 20})
    assert 0 < run["latency_ms"]["p50"] <= run["latency_ms"]["p99.9"] <= run["latency_ms"]["max"]
    assert set(run["phases_ms"]) == {"queue", "inference", "search", "own", "wire"}
    assert run["goodput"] == pytest.approx(50) and run["generator_cpu"] > 0
    assert answer["sweep"] is None and run["stages"] == []


@pytest.mark.parametrize("method", ["token", "analyze", "similar"])
def test_every_method_is_answered(method: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Shop] = []
    arguments = () if method == "similar" else (photos,)
    assert bench(*arguments, "--method", method, "--callers", 2, "--json", prepare=seen.append) == 0
    answer = told(capsys)
    assert answer["requests_in_turn"] == {"token": 3, "analyze": 2, "similar": 3}[method]
    [run] = answer["runs"]
    assert run["requests"] == run["codes"]["OK"] > 2
    garments = {"token": 1.0, "analyze": 1.5, "similar": 0.0}[method]
    assert run["garments"] / run["requests"] == pytest.approx(garments, abs=0.2)
    # Tokens and products need no model: three products were imported and two photos looked at.
    if method != "analyze":
        assert seen[0].finder.calls == 3 + (2 if method == "token" else 0)


def test_requests_carry_what_the_options_say(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script()
    script.say("SearchProducts", FOUND)
    options = ("--page-size", 5, "--filter", "price < 100", "--max-garments", 2, "--catalog", "summer")
    arguments = (photos / "a.jpg", *options, "--timeout", 9, "--callers", 1, "--repeat-photos")
    assert bench_script(script, *arguments) == 0
    assert "2.0" in capsys.readouterr().out
    request = script.requests[0]
    assert request == lookalike.v1.search_service_pb2.SearchProductsRequest(
        catalog="catalogs/summer",
        image=(photos / "a.jpg").read_bytes(),
        page_size=5,
        filter="price < 100",
        max_garments=2,
    )
    assert all(each == request for each in script.requests)
    assert script.time_remaining[0] == pytest.approx(9, abs=2)


@pytest.mark.parametrize(("method", "rpc"), [("search", "SearchProducts"), ("analyze", "AnalyzeImage")])
def test_no_photo_is_sent_twice(method: str, rpc: str, photos: Path) -> None:
    """A server that remembers photos must not look faster than it is."""
    script = Script()
    script.say(rpc, FOUND if method == "search" else lookalike.AnalyzeImageResponse())
    assert bench_script(script, photos / "a.jpg", "--method", method, "--callers", 1, "--max-garments", 3) == 0
    images = [request.image for request in script.requests]  # type: ignore[attr-defined]
    assert len(set(images)) == len(images) > 3
    assert {image.rstrip() for image in images} == {(photos / "a.jpg").read_bytes()}
    assert {request.max_garments for request in script.requests} == {3}  # type: ignore[attr-defined]


def test_the_tail_of_a_photo_is_not_read() -> None:
    decoding = load_glue("decode", "decoding")
    for kind in ("JPEG", "PNG", "WEBP"):
        buffer = BytesIO()
        Image.effect_noise((48, 32), 80).convert("RGB").save(buffer, kind)
        plain = buffer.getvalue()
        message = searching([plain], catalog="").message(0)
        tailed = lookalike.v1.search_service_pb2.SearchProductsRequest.FromString(message).image
        assert tailed.startswith(plain) and len(tailed) > len(plain)
        pixels = [decoding.decode(each, limits=decoding.Limits()) for each in (plain, tailed)]
        assert np.array_equal(*pixels)


def test_the_key_goes_with_every_request(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_API_KEY", "secret")
    script = Script()
    script.say("SearchProducts", FOUND)
    assert bench_script(script, photos, "--callers", 1) == 0
    assert {metadata.get("x-api-key") for metadata in script.metadata} == {"secret"}


def test_errors_stand_above_the_latencies(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script()
    script.say("SearchProducts", *[FOUND] * 20, BUSY)
    assert bench_script(script, photos, "--rate", 100, "--warmup", 0) == 1
    lines = capsys.readouterr().out.splitlines()
    # One answer went to the request before the run.
    assert lines[0] == "ERRORS: 21 of 40 requests (52.5%) at 100/s: 21 RESOURCE_EXHAUSTED OVERLOADED"
    assert lines[1].startswith("load")


def test_a_run_of_errors_alone_has_no_latency(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script()
    script.say("SearchProducts", FOUND, BUSY)
    with pytest.raises(UsageError, match="no request was answered OK, so there is nothing to draw"):
        bench_script(script, photos, "--rate", 50, "--save", tmp_path / "bench.png")
    output = capsys.readouterr()
    assert output.out.startswith("ERRORS: 20 of 20 requests (100.0%) at 50/s: 20 RESOURCE_EXHAUSTED OVERLOADED\n")
    assert re.search(r"^50/s +20 +0 +0\.0( +-){7}$", output.out, re.MULTILINE)
    assert not (tmp_path / "bench.png").exists()


def test_a_sweep_finds_what_the_server_bears(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script()
    script.say("SearchProducts", FOUND)
    arguments = (photos, "--p99", 20_000, "--lowest", 10, "--highest", 40)
    picture = tmp_path / "bench.png"
    assert bench_script(script, *arguments, "--save", picture) == 0
    output = capsys.readouterr()
    assert "p99 within 20000 ms holds up to 40 requests/s, the highest that was allowed (--highest)" in output.out
    assert output.err.splitlines()[-1] == "measuring 40 requests/s for 0.4 s"
    assert f"picture {picture}" in output.out
    with Image.open(picture) as drawn:
        assert drawn.width == 1600 and len(set(drawn.convert("L").tobytes())) > 20
    script.delay = 0.05
    assert bench_script(script, *arguments[:2], 20, "--lowest", 10, "--json") == 1
    answer = told(capsys)
    assert answer["sweep"] == {"bound_ms": 20, "percentile": 99.0, "highest_rate": None, "open_ended": False}
    assert len(answer["runs"]) == 1
    assert bench_script(script, *arguments[:2], 20, "--lowest", 10) == 1
    assert "no rate that was tried keeps p99 within 20 ms: begin with a lower one" in capsys.readouterr().out


def test_stages_of_triton_are_shown(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "bench.svg"
    script = Script(trailing=(("server-timing", "queue;dur=1.0, inference;dur=30, search;dur=4.25, own;dur=2"),))
    script.say("SearchProducts", FOUND)
    with website({"/v2/models/stats": b'{"model_stats": []}'}) as site:
        assert bench_script(script, photos, "--callers", 1, "--triton", site.url, "--save", picture, "--json") == 0
        assert site.asked["/v2/models/stats"] == 2
    output = capsys.readouterr()
    assert json.loads(output.out)["runs"][0]["phases_ms"]["inference"] == pytest.approx(30)
    assert f"picture {picture}" in output.err and picture.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "search needs photos: lookalike bench FOLDER"),
        (("nowhere",), "nowhere cannot be read (No such file or directory)"),
        (("empty",), "empty holds no photos: there is no JPEG, PNG or WebP in it or below"),
        (("empty", "--save", "bench.gif"), "bench.gif is no picture's name; end it with one of .png, .svg, .pdf"),
        (("empty", "--save", "no/bench.png"), "the folder of no/bench.png does not exist"),
        (("empty", "--p99", 5, "--lowest", 9, "--highest", 8), "--lowest 9 is above --highest 8"),
        (("empty", "--method", "analyze", "--page-size", 2), "analyze finds no products"),
        (("empty", "--method", "similar"), "similar asks for products of the catalog"),
        (("a.jpg", "--triton", "http://127.0.0.1:1"), "http://127.0.0.1:1/v2/models/stats cannot be read"),
    ],
)
def test_wrong_usage_is_explained(
    arguments: tuple[object, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("a.jpg").write_bytes(photo({"look": "red dress"}))
    with pytest.raises(UsageError, match=re.escape(sentence)):
        bench(*arguments)


@pytest.mark.parametrize("load", [("--callers", "0"), ("--rate", "0"), ("--rate", "fast"), ("--p99", "-1")])
def test_a_load_that_is_none_is_refused(load: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "street", *load])
    assert ended.value.code == 2
    assert re.search("there must be at least 1|is no number above 0", capsys.readouterr().err)


def test_what_the_server_refuses_is_said_before_the_run(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(lookalike.FilterMalformed):
        bench(photos, "--filter", "price <")
    with pytest.raises(lookalike.CatalogNotFound):
        bench(photos, "--catalog", "nowhere")
    assert "measuring" not in capsys.readouterr().err


def test_nothing_to_ask_for_is_said(photos: Path) -> None:
    with pytest.raises(UsageError, match="the catalog default holds no products: load some with lookalike import"):
        bench("--method", "similar", products=0)
    script = Script()
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse())
    with pytest.raises(UsageError, match="the server finds no garment in 2 photos, so there is nothing to search with"):
        bench_script(script, photos, "--method", "token")
    (photos / "broken.jpg").write_bytes(b"not JSON")
    with pytest.raises(lookalike.ImageUnreadable) as refused:
        bench(photos, "--method", "token")
    assert refused.value.message.startswith(f"{photos / 'broken.jpg'}: ")


def test_a_server_that_is_away_is_named(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(photos), "--server", "127.0.0.1:1", "--timeout", "0.3"]) == 4
    assert "cannot reach a server at 127.0.0.1:1; is it running there?" in capsys.readouterr().err


def test_without_the_extra_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "hdrh" else real(name))
    assert main(["bench", "street"]) == 2
    assert capsys.readouterr().err == "lookalike: lookalike bench needs more packages: pip install 'lookalike[bench]'\n"


def test_a_large_folder_is_sampled_evenly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.jpg").write_bytes(photo({"look": str(number)}))
    script = Script()
    script.say("SearchProducts", FOUND)
    assert bench_script(script, tmp_path, "--photos", 4, "--callers", 1, "--json") == 0
    assert told(capsys)["requests_in_turn"] == 4
    sent = {request.image.rstrip() for request in script.requests}  # type: ignore[attr-defined]
    assert sent == {photo({"look": str(number)}) for number in (0, 5, 10, 15)}


def test_the_sdk_does_not_load_it() -> None:
    import subprocess

    code = "import lookalike.cli.commands, sys; print([name for name in ('hdrh', 'matplotlib') if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "[]\n"


def test_the_code_of_the_guide_holds(capsys: pytest.CaptureFixture[str]) -> None:
    guide = (Path(__file__).parents[2] / "docs/benchmarks.md").read_text()
    [snippet] = re.findall(r"<!-- run by tests/unit/test_bench_command.py -->\n```python\n(.*?)```", guide, re.DOTALL)
    exec(compile(snippet, "docs/benchmarks.md", "exec"), {"__name__": "guide"})
    throughput, p99 = map(float, capsys.readouterr().out.split()[:2])
    assert throughput == pytest.approx(50, rel=0.2) and p99 >= 20
