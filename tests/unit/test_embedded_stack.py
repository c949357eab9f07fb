"""How the embedded stack is watched: where the gateway's metrics are, and what Triton is told of traces."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lookalike_service.embedded import PortTaken, stack
from lookalike_service.embedded.ports import free_ports
from lookalike_service.settings import Settings


@pytest.fixture
def taken() -> Iterator[str]:
    """An address where somebody listens, standing in for the default one."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def untold(address: str) -> Settings:
    """Settings whose default address is this one."""
    return Settings.model_construct(metrics_address=address, _fields_set=set())


def test_a_second_stack_takes_a_free_port_for_its_metrics(taken: str) -> None:
    assert stack.with_free_metrics_port(untold(taken)).metrics_address == "127.0.0.1:0"


def test_a_port_that_somebody_chose_is_kept(taken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for chosen in (taken, ""):
        monkeypatch.setenv("LOOKALIKE_METRICS_ADDRESS", chosen)
        assert stack.with_free_metrics_port(Settings()).metrics_address == chosen


def test_the_default_port_is_used_when_it_is_free() -> None:
    settings = untold(f"127.0.0.1:{free_ports(1, host='127.0.0.1')[0]}")
    assert stack.with_free_metrics_port(settings) is settings


def test_whoever_tries_it_out_gets_the_page_unless_he_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = stack.with_page(Settings())
    assert (usual.page_address, usual.page_records_views) == ("127.0.0.1:8080", True)
    monkeypatch.setenv("LOOKALIKE_PAGE_ADDRESS", "")
    monkeypatch.setenv("LOOKALIKE_PAGE_RECORDS_VIEWS", "false")
    told = stack.with_page(Settings())
    assert (told.page_address, told.page_records_views) == ("", False)


def test_a_port_of_the_page_that_is_taken_is_said_before_anything_starts(
    taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_PAGE_ADDRESS", taken)
    with pytest.raises(PortTaken, match=r"for the page \(LOOKALIKE_PAGE_ADDRESS\) is taken"):
        stack.serve(tmp_path, address="127.0.0.1:0")
    assert list(tmp_path.iterdir()) == []


def test_triton_traces_what_the_gateway_traces_and_sends_it_to_the_same_collector() -> None:
    arguments = stack.trace_arguments("http://127.0.0.1:4318/v1/traces")
    assert "--trace-config=rate=0" in arguments
    assert "--trace-config=opentelemetry,url=http://127.0.0.1:4318/v1/traces" in arguments
    assert stack.trace_arguments("") == ()
