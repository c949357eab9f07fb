"""How the command shows its server who it is: keys, certificates, names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from lookalike.cli import main
from lookalike.v1.product_service_pb2 import ListProductsResponse
from support_client import Script, serving
from support_keys import Authority


@pytest.fixture
def script() -> Script:
    script = Script()
    script.gate.set()
    script.say("ListProducts", ListProductsResponse())
    return script


def listed(script: Script, *options: object, credentials: grpc.ServerCredentials | None = None) -> int:
    """The exit code of `products list`."""

    async def serve_and_run() -> int:
        async with serving(script, credentials=credentials) as address:
            arguments = ["--server", address, "--timeout", 2, *options, "products", "list"]
            return await asyncio.to_thread(main, list(map(str, arguments)))

    return asyncio.run(serve_and_run())


def shown_key(script: Script) -> str | None:
    return script.metadata[-1].get("x-api-key")


def test_the_key_comes_from_a_file_or_the_environment(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOKALIKE_API_KEY", raising=False)
    assert listed(script) == 0
    assert shown_key(script) is None
    monkeypatch.setenv("LOOKALIKE_API_KEY", "from the environment")
    assert listed(script) == 0
    assert shown_key(script) == "from the environment"
    (tmp_path / "key").write_text("from-a-file\n")
    assert listed(script, "--api-key-file", tmp_path / "key") == 0
    assert shown_key(script) == "from-a-file"


@pytest.mark.parametrize("content", ["", "two words\n", "two\nlines\n", "schlüssel"])
def test_a_file_without_a_key_is_not_sent(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "key").write_text(content)
    assert listed(script, "--api-key-file", tmp_path / "key") == 2
    assert "holds no API key" in capsys.readouterr().err
    assert script.requests == []


def test_a_certificate_is_shown_and_the_servers_name_is_checked(script: Script, tmp_path: Path) -> None:
    us = Authority("us")
    (tmp_path / "us.pem").write_bytes(us.certificate)
    gateway, (certificate, key) = us.certify("gateway"), us.certify("web").write(tmp_path, "web")
    asking = grpc.ssl_server_credentials(
        [(gateway.key, gateway.certificate)], root_certificates=us.certificate, require_client_auth=True
    )
    trusting = ("--ca-file", tmp_path / "us.pem")
    showing = (*trusting, "--cert-file", certificate, "--key-file", key)
    assert listed(script, *showing, credentials=asking) == 0
    assert listed(script, *showing, "--server-name", "localhost", credentials=asking) == 0
    assert listed(script, *showing, "--server-name", "shop.example", credentials=asking) == 4
    assert listed(script, *trusting, credentials=asking) == 4


def test_a_certificate_needs_its_key(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(script, "--cert-file", "web.pem") == 2
    assert "both --cert-file and --key-file" in capsys.readouterr().err
