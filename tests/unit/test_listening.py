"""Where the gateway listens, and with which certificates."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fakes import photo
from lookalike.v1 import search_service_pb2
from lookalike.v1.search_service_pb2_grpc import SearchServiceStub
from lookalike_service.errors import StartupError
from lookalike_service.listening import is_local
from lookalike_service.metrics import REGISTRY
from support_gateway import open_shop, refusal
from support_keys import Authority, Certified, KeyFile

PHOTO = photo({"look": "red dress"})


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:50051", True),
        ("127.8.9.1:0", True),
        ("[::1]:50051", True),
        ("localhost:50051", True),
        ("unix:/run/lookalike.sock", True),
        ("dns:localhost:1", True),
        ("0.0.0.0:50051", False),
        ("[::]:50051", False),
        ("10.0.0.1:50051", False),
        ("shop.example:50051", False),
        (":50051", False),
        ("localhost.example:1", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(address: str, local: bool) -> None:
    assert is_local(address) is local


async def test_beyond_this_machine_callers_must_show_who_they_are(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"LOOKALIKE_KEYS_FILE.*LOOKALIKE_TLS_CLIENT_CA.*LOOKALIKE_ALLOW_ANONYMOUS"):
        async with open_shop(address="0.0.0.0:0"):
            pass
    # TLS alone asks nobody who he is.
    certificate, key = Authority("us").certify("gateway").write(tmp_path, "gateway")
    with pytest.raises(StartupError, match="nobody would be asked"):
        async with open_shop(address="0.0.0.0:0", tls_certificate=certificate, tls_key=key):
            pass


async def test_without_keys_the_log_says_who_may_come(caplog: pytest.LogCaptureFixture) -> None:
    async with open_shop():
        assert "no API keys are set, so 127.0.0.1:0 listens to everybody on this machine" in caplog.text
    async with open_shop(address="0.0.0.0:0", allow_anonymous=True):
        assert "as LOOKALIKE_ALLOW_ANONYMOUS allows" in caplog.text


async def test_keys_over_a_plain_network_are_worth_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = KeyFile(tmp_path)
    async with open_shop(address="0.0.0.0:0", keys_file=str(keys.path)):
        assert "is not encrypted: API keys can be read on the way" in caplog.text


class Calls:
    """A caller with an authority that he trusts, and perhaps a certificate of his own."""

    def __init__(self, port: int, trusted: Authority, shown: Certified | None = None) -> None:
        self._target = f"127.0.0.1:{port}"
        pair = (shown.key, shown.certificate) if shown else (None, None)
        self._credentials = grpc.ssl_channel_credentials(trusted.certificate, *pair)

    async def analyze(self, **options: Any) -> Any:  # noqa: ANN401
        options = {"timeout": 10, **options}
        async with grpc.aio.secure_channel(
            self._target, self._credentials, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            stub: Any = SearchServiceStub(channel)
            return await stub.AnalyzeImage(search_service_pb2.AnalyzeImageRequest(image=PHOTO), **options)

    async def turned_away(self) -> bool:
        try:
            await self.analyze()
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAVAILABLE
        return False


async def test_calls_are_encrypted_and_plain_ones_are_not_answered(tmp_path: Path) -> None:
    us = Authority("us")
    certificate, key = us.certify("gateway").write(tmp_path, "gateway")
    async with open_shop(tls_certificate=certificate, tls_key=key) as shop:
        assert (await Calls(shop.gateway.port, us).analyze()).garments
        assert await Calls(shop.gateway.port, Authority("them")).turned_away()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await shop.search.AnalyzeImage(search_service_pb2.AnalyzeImageRequest(image=PHOTO))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_callers_show_certificates_of_the_authority(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    us, partners, them = Authority("us"), Authority("partners"), Authority("them")
    certificate, key = us.certify("gateway").write(tmp_path, "gateway")
    (tmp_path / "partners.pem").write_bytes(partners.certificate)
    settings: dict[str, Any] = {
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client_ca": str(tmp_path / "partners.pem"),
    }
    caplog.set_level(logging.INFO)
    async with open_shop(**settings) as shop:
        port = shop.gateway.port
        assert (await Calls(port, us, partners.certify("shop-web")).analyze()).garments
        assert await Calls(port, us).turned_away()
        assert await Calls(port, us, them.certify("shop-web")).turned_away()
    assert "AnalyzeImage OK" in caplog.text
    assert "for shop-web" in caplog.text


async def test_certificate_and_key_may_both_be_asked_for(tmp_path: Path) -> None:
    us, keys = Authority("us"), KeyFile(tmp_path)
    certificate, key = us.certify("gateway").write(tmp_path, "gateway")
    (tmp_path / "us.pem").write_bytes(us.certificate)
    settings: dict[str, Any] = {
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client_ca": str(tmp_path / "us.pem"),
    }
    async with open_shop(keys_file=str(keys.path), **settings) as shop:
        calls = Calls(shop.gateway.port, us, us.certify("web"))
        assert (await refusal(calls.analyze())).reason == "CREDENTIALS_INVALID"
        assert (await calls.analyze(metadata=(("x-api-key", keys.add("web")),))).garments


async def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = Authority("old"), Authority("new")
    certificate, key = old.certify("gateway").write(tmp_path, "gateway")
    async with open_shop(tls_certificate=certificate, tls_key=key) as shop:
        port = shop.gateway.port
        await Calls(port, old).analyze()
        (tmp_path / "gateway.pem").write_bytes(new.certify("gateway").certificate)
        # The key does not fit until it is replaced, too: what was there before goes on.
        await Calls(port, old).analyze()
        assert "is not that of the certificate" in caplog.text
        renewed = new.certify("gateway")
        renewed.write(tmp_path, "gateway")
        await Calls(port, new).analyze()
        ends = x509.load_pem_x509_certificate(renewed.certificate).not_valid_after_utc.timestamp()
        assert REGISTRY.get_sample_value("lookalike_certificate_expiry_timestamp_seconds") == ends
        assert await Calls(port, old).turned_away()


async def test_health_has_a_plain_port_for_those_without_a_certificate(tmp_path: Path) -> None:
    certificate, key = Authority("us").certify("gateway").write(tmp_path, "gateway")
    socket = f"unix:{tmp_path}/health.sock"
    async with (
        open_shop(tls_certificate=certificate, tls_key=key, health_address=socket),
        grpc.aio.insecure_channel(socket) as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub: Any = SearchServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.AnalyzeImage(search_service_pb2.AnalyzeImageRequest(image=PHOTO))
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"tls_certificate": "gateway.pem"}, "needs a certificate and its key"),
        ({"tls_client_ca": "gateway.pem"}, "needs a certificate and its key"),
        ({"tls_certificate": "none.pem", "tls_key": "gateway.key"}, "none.pem cannot be read"),
        ({"tls_certificate": "gateway.key", "tls_key": "gateway.key"}, "holds no certificate in PEM"),
        ({"tls_certificate": "gateway.pem", "tls_key": "gateway.pem"}, "holds no private key in PEM"),
        ({"tls_certificate": "gateway.pem", "tls_key": "other.key"}, "is not that of the certificate"),
        (
            {"tls_certificate": "gateway.pem", "tls_key": "gateway.key", "tls_client_ca": "gateway.key"},
            "gateway.key holds no certificate",
        ),
        ({"keys_file": "none.toml"}, "the file of API keys .*none.toml cannot be read"),
    ],
)
async def test_what_cannot_be_served_with(tmp_path: Path, given: dict[str, str], sentence: str) -> None:
    us = Authority("us")
    us.certify("gateway").write(tmp_path, "gateway")
    us.certify("gateway").write(tmp_path, "other")
    with pytest.raises(StartupError, match=sentence):
        settings: dict[str, Any] = {name: str(tmp_path / file) for name, file in given.items()}
        async with open_shop(**settings):
            pass
