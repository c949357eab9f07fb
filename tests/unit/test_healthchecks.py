"""The health checks of the containers, run as the containers run them: as commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

DEPLOY = Path(__file__).parents[2] / "deploy"
DEAD = "in ensemble 'garments_1', Stub process 'crop_0_1' is not healthy."
FULL = "Exceeds maximum queue size"


class FakeTriton(ThreadingHTTPServer):
    """As much of Triton's HTTP as the check asks for; `error` is what every inference answers, when it is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models = ["decode", "garments_1", "garments_in_regions_1"]
        self.ready = True
        self.error = ""
        self.vector = [0.6, 0.8]
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeTriton

    def do_GET(self) -> None:
        self._answer(200 if self.server.ready and self.path == "/v2/health/ready" else 400, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v2/repository/index":
            self._answer(200, [{"name": name} for name in self.server.models])
            return
        self.server.asked.append(self.path)
        picture = bytes(body["inputs"][0]["data"])
        if self.server.error or not picture.startswith(b"\xff\xd8"):
            self._answer(500, {"error": self.server.error})
            return
        self._answer(200, {"outputs": [{"name": "embedding", "data": self.server.vector}]})

    def _answer(self, code: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def triton() -> Iterator[FakeTriton]:
    """A fake Triton that is well."""
    with FakeTriton() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_triton_is_well_when_its_ensembles_answer(triton: FakeTriton) -> None:
    assert _check_triton(triton.address) == (0, "")
    assert triton.asked == ["/v2/models/garments_1/infer"]


def test_every_embedding_version_is_asked(triton: FakeTriton) -> None:
    triton.models.append("garments_2")
    assert _check_triton(triton.address) == (0, "")
    assert triton.asked == ["/v2/models/garments_1/infer", "/v2/models/garments_2/infer"]


def test_triton_is_not_well_without_readiness_ensembles_or_vectors(triton: FakeTriton) -> None:
    triton.vector = []
    assert _check_triton(triton.address) == (1, "garments_1 answered without vectors")
    triton.models = ["decode"]
    assert _check_triton(triton.address) == (1, "the model repository holds no ensemble garments_<version>")
    triton.ready = False
    code, text = _check_triton(triton.address)
    assert code == 1
    assert "/v2/health/ready: 400" in text


def test_triton_is_not_well_when_nobody_listens(triton: FakeTriton) -> None:
    address = triton.address
    triton.shutdown()
    triton.server_close()
    code, text = _check_triton(address)
    assert code == 1
    assert "refused" in text


def test_a_busy_triton_is_well(triton: FakeTriton) -> None:
    triton.error = FULL
    assert _check_triton(triton.address) == (0, "")


def test_a_dead_step_ends_the_server(triton: FakeTriton) -> None:
    triton.error = DEAD
    with subprocess.Popen(["sleep", "60"]) as server:
        code, text = _check_triton(triton.address, "--end", str(server.pid))
        assert code == 1
        assert DEAD in text
        assert server.wait(timeout=10) == -signal.SIGTERM


def test_other_failures_end_nothing(triton: FakeTriton) -> None:
    triton.error = "out of memory"
    with subprocess.Popen(["sleep", "60"]) as server:
        code, _ = _check_triton(triton.address, "--end", str(server.pid))
        assert code == 1
        assert server.poll() is None
        server.kill()


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [("SERVING", 0, ""), ("NOT_SERVING", 1, "says NOT_SERVING")],
)
def test_the_gateway_is_as_well_as_it_says(status: str, code: int, text: str) -> None:
    service = health.HealthServicer()
    service.set("", health_pb2.HealthCheckResponse.ServingStatus.Value(status))
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    health_pb2_grpc.add_HealthServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        answer = _check_gateway(f"127.0.0.1:{port}")
    finally:
        server.stop(None).wait()
    assert answer[0] == code
    assert text in answer[1]


def test_a_gateway_that_is_not_there_is_not_well() -> None:
    code, text = _check_gateway("127.0.0.1:1")
    assert code == 1
    assert "127.0.0.1:1 does not answer" in text


def _check_triton(address: str, *arguments: str) -> tuple[int, str]:
    return _run("triton", "--address", address, *arguments)


def _check_gateway(address: str) -> tuple[int, str]:
    return _run("gateway", HEALTHCHECK_ADDRESS=address)


def _run(name: str, *arguments: str, **environment: str) -> tuple[int, str]:
    command = [sys.executable, str(DEPLOY / name / f"check_{name}.py"), *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stderr.strip()
