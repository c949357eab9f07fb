"""Settings: read from the environment, checked, frozen, and explained."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lookalike_service.settings import Settings


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
        ("INDEX_KIND", "TREE", "HNSW, IVF_FLAT"),
        ("LOG_LEVEL", "LOUD", "DEBUG, INFO"),
        ("SEARCH_PERMITS", "0", "greater than or equal to 1"),
        ("DEADLINE_SECONDS", "soon", "valid number"),
    ],
)
def test_what_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    with pytest.raises(ValidationError, match=sentence):
        Settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().address = "elsewhere"


def test_secrets_are_not_printed() -> None:
    assert "0123456789abcdef" not in repr(Settings(token_keys=("0123456789abcdef",)))  # type: ignore[arg-type]


def test_every_setting_is_explained() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.rstrip().endswith("."), name
