"""Triton's statistics as stages of a run, from a server that speaks as Triton does."""

from __future__ import annotations

import asyncio
import json

import pytest

from lookalike.bench import Answer, closed_loop
from lookalike.bench.measuring import Measured, measure
from lookalike.bench.triton import StatisticsMissing, read_statistics, stages_between
from lookalike.bench.waterfall import waterfall
from support_clock import jump
from support_http import website

STATS = "/v2/models/stats"


def model(
    name: str, *, requests: int, items: int, executions: int, queue_ms: int, compute_ms: int
) -> dict[str, object]:
    """Counters as Triton writes them; `queue_ms` and `compute_ms` per request."""

    def counter(milliseconds: int) -> dict[str, int]:
        return {"count": requests, "ns": requests * milliseconds * 1_000_000}

    return {
        "name": name,
        "version": "1",
        "inference_count": items,
        "execution_count": executions,
        "inference_stats": {
            "success": counter(queue_ms + compute_ms),
            "fail": {},
            "queue": counter(queue_ms),
            "compute_input": counter(1),
            "compute_infer": counter(compute_ms - 2),
            "compute_output": counter(1),
        },
    }


def stats(*models: dict[str, object]) -> bytes:
    return json.dumps({"model_stats": models}).encode()


async def test_stages_are_what_was_added_between_two_readings() -> None:
    before = stats(
        model("embed", requests=10, items=10, executions=10, queue_ms=100, compute_ms=50),
        model("idle", requests=7, items=7, executions=7, queue_ms=1, compute_ms=2),
    )
    with website({STATS: before}) as site:

        async def call(number: int) -> Answer:
            embed = model("embed", requests=10, items=10, executions=10, queue_ms=100, compute_ms=50)
            more = model("embed", requests=4, items=20, executions=5, queue_ms=3, compute_ms=40)
            site.files[STATS] = stats(
                added(embed, more),
                model("decode", requests=4, items=4, executions=4, queue_ms=0, compute_ms=12),
                model("garments_1", requests=4, items=4, executions=4, queue_ms=0, compute_ms=70),
                model("idle", requests=7, items=7, executions=7, queue_ms=1, compute_ms=2),
            )
            return Answer(phases={"wire": 0.001, "inference": 0.060, "own": 0.002})

        found = await measure(lambda: closed_loop(call, callers=1, seconds=0.05, warmup=0), triton=site.url + "/")
    assert [stage.model for stage in found.stages] == ["decode", "embed", "garments_1"]
    embed = found.stages[1]
    assert (embed.requests, embed.failed, embed.mean_batch) == (4, 0, 4.0)
    assert (embed.queue_ms, embed.compute_ms, embed.total_ms) == pytest.approx((3, 40, 43))
    assert found.to_json()["stages"][1]["queue_ms"] == 3  # type: ignore[index]


def added(first: dict[str, object], second: dict[str, object]) -> dict[str, object]:
    """The counters of both, as of one model."""

    def add(one: object, other: object) -> object:
        if isinstance(one, dict) and isinstance(other, dict):
            return {key: add(value, other[key]) for key, value in one.items()}
        return one + other if isinstance(one, int) and isinstance(other, int) else one

    return {key: add(value, second[key]) for key, value in first.items()}


def test_large_counters_may_be_texts() -> None:
    after = {
        ("crop", "1"): {"inference_count": "6", "execution_count": "2", "inference_stats": {"success": {"count": "2"}}}
    }
    [stage] = stages_between({}, after)
    assert (stage.requests, stage.mean_batch, stage.queue_ms) == (2, 3.0, 0.0)


async def test_what_is_no_triton_is_named() -> None:
    with website({STATS: b"<html>", "/else" + STATS: b'{"models": []}'}) as site:
        with pytest.raises(StatisticsMissing, match=r"stats cannot be read \(.*\); give Triton's HTTP address"):
            await read_statistics(site.url)
        with pytest.raises(StatisticsMissing, match="is no statistics of Triton's"):
            await read_statistics(f"{site.url}/else")
        with pytest.raises(StatisticsMissing, match=r"cannot be read \(HTTP 404\)"):
            await read_statistics(f"{site.url}/nowhere")
    for address in ("http://127.0.0.1:1", "localhost:8000", "ftp://127.0.0.1"):
        with pytest.raises(StatisticsMissing, match="such as http://127"):
            await read_statistics(address)


def test_bars_follow_one_another_and_stages_lie_in_the_inference() -> None:
    phases = {"queue": 0.001, "inference": 0.030, "search": 0.004, "own": 0.002, "wire": 0.003, "rerank": 0.005}

    async def call(number: int) -> Answer:
        await asyncio.sleep(0.045)
        return Answer(phases=phases)

    async def once() -> Measured:
        run = await closed_loop(call, callers=1, seconds=1, warmup=0)
        names = (("decode", 2), ("keypoints", 9), ("segment", 7), ("embed", 11), ("garments_1", 29))
        after = {
            (name, "1"): model(name, requests=5, items=5, executions=5, queue_ms=1, compute_ms=length)
            for name, length in names
        }
        return Measured(run, 0.1, stages_between({}, after))

    bars = {bar.name: bar for bar in waterfall(jump(once()))}
    assert list(bars) == [
        *("wire", "queue", "inference", "decode", "keypoints", "segment", "embed", "search", "own", "rerank")
    ]
    assert bars["inference"].start == pytest.approx(4) and bars["inference"].length == pytest.approx(30)
    assert bars["search"].start == pytest.approx(34) and bars["rerank"].start == pytest.approx(40)
    # Keypoints and segment run side by side, embed waits for the slower of them.
    assert bars["decode"].start == pytest.approx(4)
    assert bars["keypoints"].start == bars["segment"].start == pytest.approx(7)
    assert bars["embed"].start == pytest.approx(17) and bars["embed"].waiting == pytest.approx(1)
