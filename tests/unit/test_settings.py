"""Settings: read from the environment, checked, frozen, and explained."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from lookalike_service import milvus_versions
from lookalike_service.errors import StartupError
from lookalike_service.settings import INDEX_KINDS, Settings, read_settings


def test_the_defaults_are_right_for_the_first_run() -> None:
    settings = Settings()
    assert settings.address == "127.0.0.1:50051"
    assert settings.catalogs == ("default",)
    assert settings.max_image_bytes == 20 * 1024 * 1024
    assert settings.max_message_bytes == 32 * 1024 * 1024


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_CATALOGS", "default, summer.2027")
    monkeypatch.setenv("LOOKALIKE_TOKEN_KEYS", "a secret of sixteen,another one of them")
    monkeypatch.setenv("LOOKALIKE_SEARCH_PERMITS", "7")
    settings = Settings()
    assert settings.catalogs == ("default", "summer.2027")
    assert [key.get_secret_value() for key in settings.token_keys] == ["a secret of sixteen", "another one of them"]
    assert settings.search_permits == 7


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CATALOGS", "a b", "a catalog id is"),
        ("CATALOGS", "", "at least one"),
        ("TOKEN_KEYS", "short", "at least 16 characters"),
        ("SESSION_KEY", "short", "at least 16 characters"),
        ("INDEX_KIND", "TREE", "HNSW, HNSW_SQ, IVF_FLAT, IVF_SQ8, IVF_RABITQ, FLAT, AUTOINDEX"),
        ("INDEX_PROBES", "2000", r"index_lists \(1024\) at most"),
        ("DATABASE_TLS", "verify", "disable, prefer, require, verify-full"),
        ("DATABASE_CONNECTIONS", "0", "greater than or equal to 1"),
        ("LOG_LEVEL", "LOUD", "DEBUG, INFO"),
        ("LOG_FORMAT", "xml", "text or json"),
        ("METRICS_ADDRESS", "9464", "host:port, as in 127.0.0.1:9464, or empty"),
        ("PAGE_ADDRESS", "8080", "page_address is host:port"),
        ("TRACES_URL", "collector:4318", "a whole URL with its path, as in http"),
        ("TRACES_URL", "http://collector:4318", "a whole URL with its path"),
        ("TRACES_SHARE", "1.5", "less than or equal to 1"),
        ("SEARCH_PERMITS", "0", "greater than or equal to 1"),
        ("DEADLINE_SECONDS", "soon", "valid number"),
    ],
)
def test_what_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    with pytest.raises(ValidationError, match=sentence):
        Settings()


def test_faults_are_said_with_the_names_of_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_LOG_FORMAT", "xml")
    monkeypatch.setenv("LOOKALIKE_SEARCH_PERMITS", "0")
    with pytest.raises(StartupError, match=r"LOOKALIKE_SEARCH_PERMITS: .*; LOOKALIKE_LOG_FORMAT: .*text or json"):
        read_settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().address = "elsewhere"


def test_secrets_are_not_printed() -> None:
    secret = "0123456789abcdef"
    settings = Settings(
        token_keys=(SecretStr(secret),), milvus_token=SecretStr(secret), database_password=SecretStr(secret)
    )
    assert secret not in repr(settings)


def test_the_kinds_of_index_are_those_of_the_table() -> None:
    assert set(INDEX_KINDS) == milvus_versions.INDEX_KINDS


def test_every_setting_is_explained() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.rstrip().endswith("."), name
