"""Watching the running stack: its metrics over HTTP, and spans of Triton's stages in the trace of a call."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from lookalike import Client
from lookalike_service.embedded import EmbeddedTriton
from lookalike_service.embedded.stack import trace_arguments
from lookalike_service.tracing import begin_call, end_call
from lookalike_service.triton import TritonFinder
from support_glue import REPOSITORY
from support_metrics import shown
from support_models import copy_repository
from support_stack import Stack
from support_telemetry import Collector, kept_spans

CALLS = 20
COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
[RESTRICTED] = [part for part in COMPOSE["services"]["triton"]["command"] if "restricted" in part]
KEY = ("${TRITON_ADMIN_KEY:?set TRITON_ADMIN_KEY in .env}", "0123456789abcdef")
LISTED = Path(__file__).parents[1] / "unit" / "data" / "metrics" / "triton.json"
STAGES = {"garments_1", "decode", "detect", "crop", "keypoints", "segment", "embed"}


async def test_the_log_says_where_the_metrics_are(stack: Stack, client: Client, outfit: tuple[bytes, Any]) -> None:
    await client.search(outfit[0])
    said = re.search(r"metrics on (http://\S+)", (stack.directory / "run" / "gateway.log").read_text())
    assert said is not None
    text = await asyncio.to_thread(_read, said[1])
    for series in (
        'lookalike_calls_total{code="OK",method="lookalike.v1.SearchService/SearchProducts"}',
        'lookalike_server_seconds_count{operation="infer",outcome="ok",server="triton"}',
        'lookalike_server_seconds_count{operation="search",outcome="ok",server="milvus"}',
        'lookalike_index_rows_total{catalog="default",operation="upsert"}',
        'lookalike_imported_products_total{catalog="default",outcome="created"}',
    ):
        assert float(text.split(f"\n{series} ")[1].split()[0]) > 0, series


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as opened:
        yield opened


@pytest.fixture(scope="module")
def traced_triton(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedTriton]:
    """A Triton over stand-ins for the graphs that sends its spans to the collector."""
    folder = tmp_path_factory.mktemp("traced")
    repository = copy_repository(REPOSITORY, folder / "repository")
    arguments = (*trace_arguments(collector.url), RESTRICTED.replace(*KEY))
    with EmbeddedTriton(repository, run_directory=folder / "run", extra_arguments=arguments) as triton:
        yield triton


async def test_tritons_stages_are_in_the_trace_of_the_call(
    traced_triton: EmbeddedTriton, collector: Collector, outfit: tuple[bytes, Any]
) -> None:
    async with await TritonFinder.connect(traced_triton.grpc_address) as finder:
        with kept_spans(share=1.0) as kept:
            for _ in range(CALLS):
                # As gRPC runs it: every call in a task of its own.
                await asyncio.create_task(_call(finder, outfit[0]))
        await finder.find(outfit[0])
    asked = {span.context.trace_id: span for span in kept.get_finished_spans() if span.name == "triton infer"}
    assert len(asked) == CALLS
    await asyncio.to_thread(_wait_for, collector, CALLS)
    spans = _spans(collector)
    whole = 0
    for trace_id, span in asked.items():
        stages = {each["name"]: each for each in spans if each["traceId"] == f"{trace_id:032x}"}
        if stages.keys() >= STAGES:
            whole += 1
            assert stages["InferRequest"]["parentSpanId"] == f"{span.context.span_id:016x}"
    # This Triton overlooks the parent of a few calls in a hundred.
    assert whole >= CALLS // 2
    assert {each["traceId"] for each in spans} <= {f"{trace_id:032x}" for trace_id in asked}


async def test_tritons_metrics_are_those_that_rules_and_dashboard_are_checked_against(
    traced_triton: EmbeddedTriton, outfit: tuple[bytes, Any]
) -> None:
    async with await TritonFinder.connect(traced_triton.grpc_address) as finder:
        await finder.find(outfit[0])
    text = await asyncio.to_thread(_read, f"http://{traced_triton.metrics_address}/metrics")
    assert shown(text) == json.loads(LISTED.read_text()), "write it anew: python -m support_metrics"


async def test_tritons_administration_wants_the_key_that_compose_gives_it(traced_triton: EmbeddedTriton) -> None:
    async with InferenceServerClient(traced_triton.grpc_address) as triton:
        for ask in (triton.get_model_repository_index, triton.get_system_shared_memory_status):
            with pytest.raises(InferenceServerException, match="restricted"):
                await ask()
            assert await ask(headers={"triton-grpc-protocol-admin-key": KEY[1]})
        assert await triton.is_model_ready("garments_1")


async def _call(finder: TritonFinder, photo: bytes) -> None:
    span = begin_call("lookalike.v1.SearchService/SearchProducts", (), request_id="r1")
    await finder.find(photo)
    end_call(span, code=0, reason="")


def _wait_for(collector: Collector, calls: int) -> None:
    """Triton sends what it has every few seconds."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if sum(span["name"] == "InferRequest" for span in _spans(collector)) >= calls // 2:
            time.sleep(1)
            return
        time.sleep(0.2)


def _spans(collector: Collector) -> list[dict[str, Any]]:
    return [
        span
        for body in list(collector.received)
        for resource in json.loads(body)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text
