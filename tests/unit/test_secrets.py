"""What must not be read by whoever reads logs and errors is in neither, even where everything is logged."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from fakes import photo
from lookalike.v1 import garment_pb2, search_service_pb2
from lookalike_service.database import open_database
from lookalike_service.errors import LookalikeError, StartupError
from lookalike_service.logs import configure_logging
from lookalike_service.milvus import MilvusIndex
from lookalike_service.options import database_options, milvus_options
from lookalike_service.settings import Settings, read_settings
from support_gateway import open_shop, product, refusal
from support_keys import KeyFile

SECRET = "hunter2-hunter2-hunter2"


class Everything(logging.Handler):
    """Keeps every line, formatted as it would be written, its traceback too."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {vars(record)}")


@pytest.fixture
def log() -> Iterator[Everything]:
    """All that LOG_LEVEL=DEBUG would write."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    kept = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    root.handlers.clear()
    configure_logging("DEBUG")
    everything = Everything()
    root.handlers[:] = [everything]
    try:
        yield everything
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in logging.root.manager.loggerDict:
            logging.getLogger(name).setLevel(kept.get(name, logging.NOTSET))


async def test_no_call_leaves_a_secret_in_the_log(tmp_path: Path, log: Everything) -> None:
    keys = KeyFile(tmp_path)
    key = keys.add("web")
    shown = (("authorization", f"Bearer {key}"),)
    image = photo({"look": "a very private dress", "category": "dress"})
    told: list[str] = []
    async with open_shop(keys_file=str(keys.path), token_keys=SECRET, milvus_token=SECRET) as shop:
        await shop.products.CreateProduct(_created(image), metadata=shown)
        request = search_service_pb2.SearchProductsRequest(image=image, filter='brand = "private brand"', page_size=1)
        answer = await shop.search.SearchProducts(request, metadata=shown)
        token = answer.results[0].garment.garment_token
        tokens = garment_pb2.GarmentTokens(tokens=[token])
        again = search_service_pb2.SearchProductsRequest(garments=tokens)
        await shop.search.SearchProducts(again, metadata=shown)
        altered = garment_pb2.GarmentTokens(tokens=[token[:-8] + "AAAAAAAA"])
        broken = search_service_pb2.SearchProductsRequest(garments=altered)
        told.append((await refusal(shop.search.SearchProducts(broken, metadata=shown))).message)
        told.append((await refusal(shop.search.SearchProducts(request, metadata=(("x-api-key", key + "x"),)))).message)
        shop.finder.failure = RuntimeError("what nobody foresaw")
        other = search_service_pb2.SearchProductsRequest(image=image + b" ")
        told.append((await refusal(shop.search.SearchProducts(other, metadata=shown))).message)
    written = "\n".join(log.lines)
    assert "what nobody foresaw" in written  # so that the test is known to see tracebacks
    for secret in (key, key.rpartition("_")[2], SECRET, token, token[:40], "private dress", "private brand"):
        assert secret not in written, secret
        assert not any(secret in sentence for sentence in told), secret
    assert "INSERT INTO" not in written
    assert base64.b64encode(image).decode()[:40] not in written


def _created(image: bytes) -> object:
    from lookalike.v1 import product_service_pb2

    whole = product("p")
    whole.images[0].content = image
    return product_service_pb2.CreateProductRequest(parent="catalogs/default", product_id="p", product=whole)


async def test_passwords_of_servers_that_are_away_are_not_said(log: Everything) -> None:
    settings = Settings(
        database_url=f"postgresql+asyncpg://shop:{SECRET}@127.0.0.1:1/lookalike",
        milvus_uri="http://127.0.0.1:1",
        milvus_token=SecretStr(f"root:{SECRET}"),
    )
    said = []
    with pytest.raises(StartupError) as refused:
        await open_database(database_options(settings), timeout=0.5)
    said.append(str(refused.value))
    with pytest.raises((StartupError, LookalikeError)) as away:
        await MilvusIndex.connect(milvus_options(settings), embedding_version=1, dimension=32, timeout=0.5)
    said.append(str(away.value))
    await asyncio.sleep(0)
    for sentence in (*said, *log.lines, repr(settings)):
        assert SECRET not in sentence


def test_a_setting_that_does_not_hold_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_TOKEN_KEYS", "hunter2")
    with pytest.raises(StartupError) as refused:
        read_settings()
    assert "LOOKALIKE_TOKEN_KEYS" in str(refused.value)
    assert "hunter2" not in str(refused.value)
